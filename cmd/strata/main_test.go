package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to damage the embedded index by hand

	"strata/local"
	"strata/local/localtest"
)

// runLimit bounds one process of a test; a loaded machine needs minutes.
const runLimit = 4 * time.Minute

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "st")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755) // another user runs it too
	}
	binary = filepath.Join(dir, "strata")
	if err == nil {
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build strata:", err)
		return 1
	}
	defer background.stop()
	return m.Run()
}

// size is the load of the tests: small, so that moving months is most of the work.
func size() []string {
	return []string{"--transfers=300", "--accounts=80", "--today=50", "--as-of=2026-03-15"}
}

// result is how a process ended.
type result struct {
	code           int // -1: by a signal
	killed         bool
	stdout, stderr string
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("exit %d, killed %v, after %s\nstdout: %s\nstderr: %s", r.code, r.killed, r.took, r.stdout, r.stderr)
}

// want fails the test unless the process ended with the code.
func (r result) want(t testing.TB, code int, says ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d was expected: %s", code, r)
	}
	for _, s := range says {
		if !strings.Contains(r.stdout+r.stderr, s) {
			t.Errorf("%q is not in: %s", s, r)
		}
	}
}

// process is a strata that runs.
type process struct {
	cmd         *exec.Cmd
	out, err    buffer
	began       time.Time
	ended       chan struct{}
	endedResult result
}

// buffer may be read while the process writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// begin starts strata. It gets SIGTERM when the test binary dies.
func begin(ctx context.Context, env []string, args ...string) (*process, error) {
	return beginAs(ctx, nil, env, args...)
}

// beginAs is begin for another user; nil: this one.
func beginAs(ctx context.Context, who *syscall.Credential, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, binary, args...), began: time.Now(), ended: make(chan struct{})}
	p.cmd.Env = append(environment(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true, Credential: who}
	p.cmd.WaitDelay = 10 * time.Second
	p.cmd.Dir = os.TempDir() // where no strata.yaml is
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	_ = p.cmd.Wait() // its state says it
	s := p.cmd.ProcessState
	status, _ := s.Sys().(syscall.WaitStatus)
	p.endedResult = result{code: s.ExitCode(), killed: status.Signaled() && status.Signal() == syscall.SIGKILL,
		stdout: p.out.String(), stderr: p.err.String(), took: time.Since(p.began)}
	close(p.ended)
}

// end waits for the end.
func (p *process) end() result {
	<-p.ended
	return p.endedResult
}

// environment is this process's, without what would point strata elsewhere.
func environment() []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STRATA_") {
			out = append(out, v)
		}
	}
	return out
}

// strata runs the program to its end.
func strata(t testing.TB, args ...string) result {
	t.Helper()
	return strataEnv(t, nil, args...)
}

func strataEnv(t testing.TB, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	p, err := begin(ctx, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	r := p.end()
	if ctx.Err() != nil {
		t.Fatalf("strata %s did not end within %s: %s", strings.Join(args, " "), runLimit, r)
	}
	return r
}

// demoFolder is an empty data folder whose servers go with the test, or with the test binary.
func demoFolder(t testing.TB) string {
	t.Helper()
	h := localtest.Home(t)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := killServers(h.Dir()); err != nil {
			t.Error(err)
		}
	})
	return h.Dir()
}

// servers are the process numbers in a folder's pid files.
func servers(dir string) ([]int, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.pid"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, f := range files {
		var l struct{ PID int }
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		if err == nil {
			err = json.Unmarshal(b, &l)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", l.PID)); err == nil && strings.Contains(string(cmdline), dir) {
			pids = append(pids, l.PID)
		}
	}
	return pids, nil
}

func killServers(dir string) error {
	pids, err := servers(dir)
	for _, pid := range pids {
		if kerr := syscall.Kill(pid, syscall.SIGKILL); kerr != nil && !errors.Is(kerr, syscall.ESRCH) {
			err = errors.Join(err, kerr)
		}
	}
	return err
}

// mustHaveNoServers fails the test if servers of the folder run.
func mustHaveNoServers(t testing.TB, dir string) {
	t.Helper()
	if files, _ := filepath.Glob(filepath.Join(dir, "*.pid")); len(files) > 0 {
		t.Errorf("left behind: %s", files)
	}
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "mariadbd") && strings.Contains(string(b), dir) {
			t.Errorf("still runs: %s %s", f, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
}

// summary is the last line of a `demo --json`.
func summary(t testing.TB, r result) Summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var s Summary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		t.Fatalf("the last line is no summary: %v: %s", err, r)
	}
	return s
}

// prove runs a demo to its end, which must hold, and returns its summary.
func prove(t testing.TB, dir string, flags ...string) Summary {
	t.Helper()
	r := strata(t, append([]string{"demo", "--once", "--json", "--data", dir}, flags...)...)
	r.want(t, 0)
	s := summary(t, r)
	if !s.OK || s.Digest == "" {
		t.Fatalf("not proven: %s", r)
	}
	return s
}

// shared is the demo that serves in the background while tests ask it, and what it proved before.
type shared struct {
	dir  string
	book addressBook
	sum  Summary
}

// background starts the shared demo at first use. It ends with the test binary.
var background sharedDemo

// verifying keeps tests that damage the shared demo and tests that verify it apart.
var verifying sync.Mutex

type sharedDemo struct {
	once    sync.Once
	shared  shared
	process *process
	err     error
	end     func()
}

// served returns the shared demo. What a test changes in it, it must restore.
func served(t testing.TB) shared {
	t.Helper()
	background.once.Do(background.start)
	if background.err != nil {
		t.Fatal(background.err)
	}
	return background.shared
}

func (b *sharedDemo) start() {
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		b.err = err
		return
	}
	b.end = func() { _ = os.RemoveAll(dir) }
	b.shared.dir = dir
	b.process, b.err = begin(context.Background(), nil, append([]string{"demo", "--json", "--http=127.0.0.1:0", "--data", dir}, size()...)...)
	if b.err != nil {
		return
	}
	deadline := time.NewTimer(runLimit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-b.process.ended:
			b.err = fmt.Errorf("the shared demo ended: %s", b.process.end())
			return
		case <-deadline.C:
			b.err = errors.New("the shared demo does not serve")
			return
		case <-tick.C:
		}
		// The summary was printed before the address was there, but may come a moment later by its pipe.
		book, err := readAddresses(dir)
		if sum := b.process.out.String(); err == nil && book.HTTP != "" && strings.HasSuffix(sum, "\n") {
			b.shared.book = book
			b.err = json.Unmarshal([]byte(sum), &b.shared.sum)
			return
		}
	}
}

// stop ends the shared demo as ctrl-C does.
func (b *sharedDemo) stop() {
	if b.process != nil {
		_ = b.process.cmd.Process.Signal(os.Interrupt)
		b.process.end()
		_ = killServers(b.shared.dir)
	}
	if b.end != nil {
		b.end()
	}
}

// open is a connection to one of the demo's databases.
func open(t testing.TB, e local.Endpoint) *sql.DB {
	t.Helper()
	return localtest.DB(t, e.DSN)
}

// text asks for one value.
func text(t testing.TB, db *sql.DB, q string, args ...any) string {
	t.Helper()
	var s string
	if err := db.QueryRowContext(t.Context(), q, args...).Scan(&s); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return s
}
