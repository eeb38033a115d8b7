package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"strata/local/localtest"
)

func TestDemo_once(t *testing.T) {
	t.Parallel()
	dir := demoFolder(t)
	first := strata(t, append([]string{"demo", "--once", "--json", "--data", dir}, size()...)...)
	first.want(t, 0)
	s := summary(t, first)
	t.Run("the last line has every key", func(t *testing.T) { checkKeys(t, first) })
	t.Run("every number holds", func(t *testing.T) { checkNumbers(t, s) })
	t.Run("nothing runs afterwards", func(t *testing.T) {
		mustHaveNoServers(t, dir)
		if _, err := os.Stat(filepath.Join(dir, addressFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("addresses of servers that are gone: %v", err)
		}
	})
	t.Run("equal seeds give equal ledgers", func(t *testing.T) {
		if other := served(t).sum; other.Digest != s.Digest || other.StatementRows != s.StatementRows {
			t.Errorf("%s, in another folder %s", s.Digest, other.Digest)
		}
	})
	t.Run("another seed gives another ledger", func(t *testing.T) {
		other := prove(t, demoFolder(t), append(size(), "--seed=2", "--transfers=100")...)
		same := prove(t, demoFolder(t), append(size(), "--seed=3", "--transfers=100")...)
		if other.Digest == same.Digest {
			t.Error("two seeds, one digest")
		}
	})
	t.Run("a second start goes on and proves the same", func(t *testing.T) {
		again := prove(t, dir, size()...)
		checkNumbers(t, again)
		if again.Digest != s.Digest || again.ArchivedRows != s.ArchivedRows || again.Transfers != s.Transfers || again.Entries != s.Entries {
			t.Errorf("first %+v\nagain %+v", s, again)
		}
	})
	t.Run("without --as-of it goes on with the folder's day", func(t *testing.T) {
		flags := slices.DeleteFunc(size(), func(f string) bool { return strings.HasPrefix(f, "--as-of") })
		if again := prove(t, dir, flags...); again.AsOf != s.AsOf || again.Digest != s.Digest {
			t.Errorf("%+v", again)
		}
	})
	t.Run("other flags are refused", func(t *testing.T) {
		strata(t, append([]string{"demo", "--once", "--data", dir}, append(size(), "--seed=9")...)...).want(t, 2, `"seed":1`, "hint:")
		mustHaveNoServers(t, dir)
	})
	t.Run("verify starts the servers of a stopped folder and finds what was changed", func(t *testing.T) { verifyStopped(t, dir) })
}

func checkKeys(t *testing.T, r result) {
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var have map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &have); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"ok", "transfers", "entries", "captured_rows", "indexed_documents", "archived_rows", "queries_during_archive",
		"query_errors", "rows_missed", "rows_twice", "statement_rows", "statement_balanced", "verify.ok", "verify.rows_compared",
		"verify.differences", "money_sums_equal", "commit_to_searchable_ms.p50", "commit_to_searchable_ms.p99", "peak_pss_mib",
		"seconds.start", "seconds.load", "seconds.index", "seconds.archive", "seconds.search", "seconds.statement", "seconds.verify",
		"seconds.total", "digest"} {
		at := any(have)
		for key := range strings.SplitSeq(path, ".") {
			m, _ := at.(map[string]any)
			if at = m[key]; at == nil {
				t.Errorf("%s is missing in %s", path, lines[len(lines)-1])
				break
			}
		}
	}
}

func checkNumbers(t *testing.T, s Summary) {
	t.Helper()
	for what, ok := range map[string]bool{
		"ok":                     s.OK && len(s.Failed) == 0,
		"transfers":              s.Transfers == 350,
		"entries":                s.Entries > 600,
		"captured_rows":          s.CapturedRows >= s.Entries+300,
		"indexed_documents":      s.IndexedDocuments == s.Verify.RowsCompared,
		"archived_rows":          s.ArchivedRows > 300,
		"queries_during_archive": s.QueriesDuringArchive >= probeCycle,
		"query_errors":           s.QueryErrors == 0,
		"rows_missed":            s.RowsMissed == 0,
		"rows_twice":             s.RowsTwice == 0,
		"statement":              s.StatementRows > 0 && s.StatementBalanced && len(s.StatementSHA256) == 64,
		"verify":                 s.Verify.OK && s.Verify.RowsCompared > s.Entries && s.Verify.Differences == 0,
		"money_sums_equal":       s.MoneySumsEqual,
		"trial_balance":          s.TrialBalance,
		"lag":                    s.Lag.P50 > 0 && s.Lag.P99 >= s.Lag.P50,
		"peak_pss_mib":           s.PeakPSSMiB > 50 && s.PeakPSSMiB < 1200,
		"search":                 len(s.Search.Sources) > 0,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, s)
		}
	}
}

// Each signal that ends a terminal's or a supervisor's program ends the demo and its servers.
func TestDemo_stops_cleanly(t *testing.T) {
	t.Parallel()
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup the programs that these tests start stay, as they should
		signals = append(signals, syscall.SIGHUP)
	}
	t.Run("while it loads", func(t *testing.T) {
		for _, sig := range signals {
			dir := demoFolder(t)
			p := startDemo(t, dir, size()...)
			localtest.Eventually(t, runLimit, "its servers", func() (bool, error) {
				_, err := readAddresses(dir)
				return err == nil, p.endedEarly()
			})
			p.stopBy(t, sig).want(t, 130)
			mustHaveNoServers(t, dir)
		}
	})
	t.Run("while it serves, with the exit code of the proof", func(t *testing.T) {
		dir := demoFolder(t)
		flags := append(size(), "--transfers=60", "--today=0")
		prove(t, dir, flags...)
		for _, sig := range signals {
			p := startDemo(t, dir, flags...)
			localtest.Eventually(t, runLimit, "its address", func() (bool, error) {
				book, err := readAddresses(dir)
				return err == nil && book.HTTP != "", p.endedEarly()
			})
			p.stopBy(t, sig).want(t, 0, "proven", "mariadb -h", "curl")
			mustHaveNoServers(t, dir)
		}
	})
	t.Run("its own temporary folder goes with it", func(t *testing.T) {
		temp := t.TempDir()
		strataEnv(t, []string{"TMPDIR=" + temp}, "demo", "--once", "--transfers=60", "--accounts=80", "--today=0").want(t, 0)
		left, err := os.ReadDir(temp)
		if err != nil || len(left) > 0 {
			t.Errorf("left: %v %v", left, err)
		}
	})
}

// startDemo starts a demo that serves on a free port.
func startDemo(t testing.TB, dir string, flags ...string) *process {
	t.Helper()
	p, err := begin(t.Context(), nil, append([]string{"demo", "--http=127.0.0.1:0", "--data", dir}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) endedEarly() error {
	select {
	case <-p.ended:
		return errors.New("it has ended: " + p.endedResult.String())
	default:
		return nil
	}
}

// stopBy sends the signal and returns how the process ended; it has half a minute.
func (p *process) stopBy(t testing.TB, sig syscall.Signal) result {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(45 * time.Second):
		_ = p.cmd.Process.Kill()
		t.Fatalf("%s does not end it: %s", sig, p.end())
	}
	return p.endedResult
}

func TestDemo_for_another_user(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("this test's own user is not root: the other tests prove it")
		return
	}
	t.Parallel()
	const nobody = 65534
	dir := demoFolder(t)
	home := filepath.Join(filepath.Dir(dir), "home")
	err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.RemoveAll(dir))
	for _, d := range []string{dir, home} {
		err = errors.Join(err, os.Mkdir(d, 0o700), os.Chown(d, nobody, nobody))
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := beginAs(t.Context(), &syscall.Credential{Uid: nobody, Gid: nobody}, []string{"HOME=" + home, "TMPDIR=" + home},
		append([]string{"demo", "--once", "--json", "--data", dir}, size()...)...)
	if err != nil {
		t.Fatal(err)
	}
	r := p.end()
	r.want(t, 0)
	s := summary(t, r)
	if want := served(t).sum; !s.OK || !reflect.DeepEqual([]any{s.Digest, s.Entries}, []any{want.Digest, want.Entries}) {
		t.Errorf("%s", r)
	}
	mustHaveNoServers(t, dir)
}
