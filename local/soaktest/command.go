package soaktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"strata/local/localtest"
)

// Try runs a command of the program under test, and returns its words and its exit code.
func (r *Rig) Try(args ...string) (string, int) {
	r.T.Helper()
	cmd := exec.CommandContext(r.T.Context(), r.program, append(args, "-c", r.Config)...)
	cmd.Dir, cmd.Env = os.TempDir(), append(os.Environ(), r.env...)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		r.T.Fatalf("strata %s: %v", strings.Join(args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Strata runs one that must succeed.
func (r *Rig) Strata(args ...string) string {
	r.T.Helper()
	out, code := r.Try(args...)
	if code != 0 {
		r.T.Fatalf("strata %s: exit %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// CanalStatus waits until `canal status` has each of some words and the exit code.
func (r *Rig) CanalStatus(code int, words ...string) {
	r.T.Helper()
	var out string
	var got int
	r.T.Cleanup(func() {
		if r.T.Failed() {
			r.T.Logf("wanted exit %d and %q; canal status, exit %d, said:\n%s", code, words, got, out)
		}
	})
	localtest.Eventually(r.T, Limit, fmt.Sprintf("canal status with exit %d and %q", code, words), func() (bool, error) {
		if err := r.Alive(); err != nil {
			return false, err
		}
		out, got = r.Try("canal", "status")
		for _, w := range words {
			if !strings.Contains(out, w) {
				return false, nil
			}
		}
		return got == code, nil
	})
}

// Evidence waits until the evidence log has so many lines of a kind.
func (r *Rig) Evidence(what string, n int) {
	r.T.Helper()
	localtest.Eventually(r.T, Limit, "evidence of "+what, func() (bool, error) {
		out, _ := r.Try("canal", "evidence", "--json", "--limit", "10000")
		return strings.Count(out, `"what":"`+what+`"`)+strings.Count(out, `"what": "`+what+`"`) >= n, r.Alive()
	})
}

// Leader is the index of the process that leads now, or -1.
func (r *Rig) Leader() int {
	cmd := exec.Command(r.program, "canal", "status", "--json", "-c", r.Config)
	out, _ := cmd.Output() // exit 1 says that something is stopped
	var s struct {
		Leader string `json:"leader"`
	}
	if json.Unmarshal(out, &s) != nil {
		return -1
	}
	for i, p := range r.Procs {
		if _, pid, ok := strings.Cut(s.Leader, ":"); ok && pid == strconv.Itoa(p.Cmd.Process.Pid) {
			return i
		}
	}
	return -1
}

// Led waits until one of the processes leads.
func (r *Rig) Led() {
	r.T.Helper()
	localtest.Eventually(r.T, Limit, "a leader", func() (bool, error) { return r.Leader() >= 0, r.Alive() })
}

// Configure changes the configuration, for processes that start from now on.
func (r *Rig) Configure(pattern, to string) {
	r.T.Helper()
	b, err := os.ReadFile(r.Config)
	r.Fatal(err)
	p := regexp.MustCompile(pattern)
	if !p.Match(b) {
		r.T.Fatalf("the configuration has no %s:\n%s", pattern, b)
	}
	r.Fatal(os.WriteFile(r.Config, p.ReplaceAll(b, []byte(to)), 0o600))
}
