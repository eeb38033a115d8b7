package local_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestOpenMakesAFolderThatOnlyItsOwnerReads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	h := open(t, dir)
	for name, want := range map[string]string{"version": "1", "lock": fmt.Sprint(os.Getpid())} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("%s is %q, %v; want %q", name, text, err, want)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "secret"))
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() < 32 {
		t.Errorf("secret: %v, %v", info, err)
	}
	if h.Dir() != dir {
		t.Errorf("Dir is %q", h.Dir())
	}
}

func TestOpenRefusesAFolderInUseAndNamesItsOwner(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	_, err := local.Open(dir, nil)
	if !fault.Is(err, fault.Busy) || !strings.Contains(fault.HintOf(err), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Fatalf("%v, hint %q", err, fault.HintOf(err))
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.StartMaria(t.Context(), local.MariaConfig{Name: "late"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("start in a closed home: %v", err)
	}
}

func TestOpenRefusesWhatIsNotItsFolder(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"newer version":    {"version": "99\n", "secret": "x"},
		"broken version":   {"version": "one\n"},
		"foreign folder":   {"thesis.txt": "years of work"},
		"unknown pid file": {"version": "1\n", "live.pid": "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range files {
				write(t, filepath.Join(dir, file), text)
			}
			_, err := local.Open(dir, nil)
			if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
				t.Fatalf("got %v, hint %q", err, fault.HintOf(err))
			}
			if name == "foreign folder" {
				if entries, _ := os.ReadDir(dir); len(entries) != 1 {
					t.Errorf("it wrote into a foreign folder: %v", entries)
				}
			}
		})
	}
}

func TestOpenGoesOnWithAFolderThatWasBeingMade(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "lock"), "1\n")
	write(t, filepath.Join(dir, "version.new"), "")
	open(t, dir)
}

func TestOpenSparesAProcessThatGotTheNumberOfALeftover(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "version"), "1\n")
	file := filepath.Join(dir, "live.pid")
	write(t, file, fmt.Sprintf(`{"pid":%d,"started":1,"kind":"mariadb live","argv0":"mariadbd"}`, os.Getpid()))
	open(t, dir) // this process has that number, and another start time
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the pid file is still there: %v", err)
	}
}

func TestLeftoversOfAKilledOwnerAreClearedAtEveryStage(t *testing.T) {
	for name, stage := range map[string]func(t *testing.T, dir string, lines *bufio.Scanner){
		"at the gate or in bootstrap": func(t *testing.T, dir string, lines *bufio.Scanner) {
			awaitLine(t, lines, "open")
			localtest.Eventually(t, 20*time.Second, "bootstrap begins", func() (bool, error) {
				found, err := filepath.Glob(filepath.Join(dir, "live", "data.new"))
				return len(found) > 0, err
			})
		},
		"while the server starts": func(t *testing.T, dir string, lines *bufio.Scanner) {
			localtest.Eventually(t, 20*time.Second, "server starts", func() (bool, error) {
				text, err := os.ReadFile(filepath.Join(dir, "live.pid"))
				if os.IsNotExist(err) {
					err = nil
				}
				return strings.Contains(string(text), `"mariadb live"`), err
			})
		},
		"with a server that is ready": func(t *testing.T, _ string, lines *bufio.Scanner) { awaitLine(t, lines, "ready") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			owner := exec.Command(os.Args[0])
			owner.Env = append(os.Environ(), childMode+"=server", "STRATA_LOCAL_DIR="+dir)
			out, err := owner.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			stage(t, dir, bufio.NewScanner(out))
			if err := owner.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = owner.Wait() // killed: that is its error

			h := open(t, dir)
			localtest.Eventually(t, 10*time.Second, "no process of the folder lives", func() (bool, error) {
				return len(processesOf(t, dir+"/")) == 0, nil // a gate ends by itself
			})
			m := localtest.Start(t, h, local.MariaConfig{Name: "live", Domain: 1, Schemas: []string{"strata"}})
			localtest.Exec(t, localtest.DB(t, m.DSN("strata")), "CREATE TABLE again (id INT PRIMARY KEY)")
		})
	}
}

func TestMySQLAndKafkaOfAKilledOwnerAreCleared(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), childMode+"=others", "STRATA_LOCAL_DIR="+dir)
	out, err := owner.StdoutPipe()
	if err == nil {
		err = owner.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	awaitLine(t, bufio.NewScanner(out), "ready")
	left := processesOf(t, dir+"/")
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed: that is its error
	if len(left) == 0 {
		t.Skip("neither MySQL nor a JVM with Kafka is here: `make setup-test` fetches them where it can")
	}
	open(t, dir)
	if after := processesOf(t, dir+"/"); len(after) > 0 {
		t.Errorf("still running: %v", after)
	}
}

// awaitLine reads until a line starts with word.
func awaitLine(t *testing.T, lines *bufio.Scanner, word string) {
	t.Helper()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), word) {
			return
		}
	}
	t.Fatalf("the child ended before it said %q: %v", word, lines.Err())
}

func open(t *testing.T, dir string) *local.Home {
	t.Helper()
	h, err := local.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
