package localtest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"strata/local/localtest"
)

const victim = "STRATA_LOCALTEST_VICTIM"

func TestServersEndWithATestBinaryThatWasKilled(t *testing.T) {
	if os.Getenv(victim) != "" {
		playVictim(t)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	var dirs []string
	for lines := bufio.NewScanner(out); len(pids) < 2 && lines.Scan(); {
		var pid int
		var socket string
		if n, _ := fmt.Sscanf(lines.Text(), "server %d %s", &pid, &socket); n == 2 {
			pids, dirs = append(pids, pid), append(dirs, filepath.Dir(filepath.Dir(filepath.Dir(socket))))
		}
	}
	if len(pids) < 2 {
		t.Fatalf("the child did not start its servers: %v", pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed: that is its error
	for i, pid := range pids {
		localtest.Eventually(t, 10*time.Second, "the server and its folder are gone", func() (bool, error) {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			gone := err != nil || !strings.Contains(string(text), "mariadbd")
			_, err = os.Stat(dirs[i])
			return gone && os.IsNotExist(err), nil
		})
	}
}

// playVictim starts servers as tests do and waits for its end. The collection must not take their guards' leashes.
func playVictim(t *testing.T) {
	one, shared := localtest.Maria(t), localtest.Shared(t)
	runtime.GC()
	runtime.GC()
	localtest.Schema(t, shared)
	fmt.Printf("\nserver %d %s\nserver %d %s\n", one.PID(), one.Socket, shared.PID(), shared.Socket)
	<-shared.Exited()
	panic("the shared server ended before its test binary")
}

func TestSharedIsOneServerWithSchemasOfTheirOwn(t *testing.T) {
	m := localtest.Shared(t)
	first, second := localtest.Schema(t, m), localtest.Schema(t, m)
	if first == second || localtest.Shared(t) != m {
		t.Errorf("%s and %s", first, second)
	}
	localtest.Exec(t, localtest.DB(t, first), "CREATE TABLE same (id INT PRIMARY KEY)")
	localtest.Exec(t, localtest.DB(t, second), "CREATE TABLE same (id INT PRIMARY KEY)")
	runtime.GC()
	runtime.GC()
	if err := syscall.Kill(m.PID(), 0); err != nil {
		t.Errorf("the server ended: %v", err)
	}
}
