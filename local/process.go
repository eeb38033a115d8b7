package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"strata/fault"
)

// killLimit bounds the wait for a process after SIGKILL; only one stuck in the kernel takes longer.
const killLimit = 20 * time.Second

// leftover is the content of a pid file.
type leftover struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // start time in clock ticks since boot, /proc/PID/stat field 22
	Kind    string `json:"kind"`
	Argv0   string `json:"argv0"`
	Temp    string `json:"temp,omitempty"` // a folder outside the Home to remove with it
}

// process is a running child. exited is closed after it was reaped and its pid file removed; err is set before.
type process struct {
	pid    int
	handle *os.Process // signals through it never reach another process that got the number
	exited chan struct{}
	err    error
}

// command is what spawn starts.
type command struct {
	kind    string
	argv    []string
	stdin   io.Reader // nil: empty
	log     string    // file that gets stdout and stderr, appended
	pidFile string
	temp    string
}

// spawn starts c in a process group of its own, so that a terminal's ctrl-C reaches the parent alone. The child stands
// behind a gate, a shell that reads one line before it becomes the command: when the parent dies before the pid file
// is written, the shell sees the end of its input and exits.
func spawn(c command) (*process, error) {
	out, err := os.OpenFile(c.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open log", err)
	}
	defer out.Close() // the child has its own copy
	cmd := exec.Command("/bin/sh", append([]string{"-c", `read -r go && exec "$0" "$@"`}, c.argv...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	gate, err := cmd.StdinPipe()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open pipe", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "start "+c.kind, err)
	}
	p := &process{pid: cmd.Process.Pid, handle: cmd.Process, exited: make(chan struct{})}
	err = writePID(p.pid, c)
	if err == nil {
		_, err = io.WriteString(gate, "go\n")
	}
	if err == nil && c.stdin != nil {
		_, err = io.Copy(gate, c.stdin)
	}
	_ = gate.Close() // a child that ended early shows in its exit state
	go func() {
		p.err = cmd.Wait()
		if c.temp != "" {
			_ = os.RemoveAll(c.temp)
		}
		_ = os.Remove(c.pidFile) // what stays is recognised as gone by its start time
		close(p.exited)
	}()
	if err != nil && !errors.Is(err, syscall.EPIPE) { // EPIPE: it ended early
		return nil, errors.Join(fault.Wrap(fault.Unavailable, "start "+c.kind, err), p.kill())
	}
	return p, nil
}

// running reports whether the child has not been reaped; a nil process isn't running.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// signal sends sig; a process that is gone is no error.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := p.handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fault.New(fault.Unavailable, "signal process", "%d: %w", p.pid, err)
	}
	return nil
}

// kill sends SIGKILL and waits until the child is reaped.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	timer := time.NewTimer(killLimit)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		return fault.New(fault.Timeout, "kill process", "%d still there after %s", p.pid, killLimit)
	}
}

// writePID records a child that stands at its gate.
func writePID(pid int, c command) error {
	started, _, err := processStart(pid)
	if err != nil {
		return err
	}
	text, err := json.Marshal(leftover{PID: pid, Started: started, Kind: c.kind, Argv0: c.argv[0], Temp: c.temp})
	if err != nil {
		return err
	}
	return writeFile(c.pidFile, string(text)+"\n")
}

// processStart reads from /proc the start time of pid in clock ticks since boot, and whether it is a zombie. The error
// is fs.ErrNotExist, or ESRCH, when there is no such process.
func processStart(pid int) (ticks uint64, zombie bool, err error) {
	fields, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	ticks, err = strconv.ParseUint(fields[19], 10, 64)
	return ticks, fields[0] == "Z" || fields[0] == "X", err
}

// stoppedThreads reports whether every thread of pid is stopped; SIGSTOP reaches them one by one.
func stoppedThreads(pid int) (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	for _, file := range files {
		fields, err := readStat(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil || fields[0] != "T" {
			return false, err
		}
	}
	return true, nil
}

// readStat returns the fields of a stat file from the third, the state, on: at least 20.
func readStat(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := string(text)
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:]) // field 2, the name, may hold anything
	if len(fields) < 20 {
		return nil, fmt.Errorf("read %s: %q", path, s)
	}
	return fields, nil
}

// alive reports whether the process of l still runs, and not another one with its number.
func (l leftover) alive() (bool, error) {
	started, zombie, err := processStart(l.PID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false, nil
	}
	return err == nil && !zombie && started == l.Started, err
}

// clearLeftovers kills the children that an earlier owner of dir left running, waits until they are gone and removes
// their pid files. The caller holds the lock, so no child has another owner.
func clearLeftovers(ctx context.Context, dir string, log *slog.Logger) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.pid"))
	if err != nil {
		return fault.Wrap(fault.Internal, "list pid files", err)
	}
	for _, file := range files {
		if err := clearLeftover(ctx, file, log); err != nil {
			return err
		}
	}
	return nil
}

// clearLeftover does so for one pid file.
func clearLeftover(ctx context.Context, file string, log *slog.Logger) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "read pid file", err)
	}
	var l leftover
	if err := json.Unmarshal(text, &l); err != nil || l.PID <= 1 {
		return fault.New(fault.Invalid, "read pid file", "%s: %q", file, text).
			WithHint("stop the server it stands for, then remove the file")
	}
	alive, err := l.alive()
	if err != nil {
		return fault.Wrap(fault.Unavailable, "look at process", err)
	}
	if alive {
		log.Info("killing leftover server", "kind", l.Kind, "pid", l.PID, "file", filepath.Base(file))
		if err := syscall.Kill(l.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fault.New(fault.Unavailable, "kill leftover", "%s %d: %w", l.Kind, l.PID, err)
		}
		err := poll(ctx, killLimit, func(context.Context) (bool, error) {
			alive, err := l.alive()
			return !alive, err
		})
		if err != nil {
			return fault.New(fault.Unavailable, "kill leftover", "%s %d: %w", l.Kind, l.PID, err)
		}
	}
	if l.Temp != "" {
		if err := os.RemoveAll(l.Temp); err != nil {
			return fault.Wrap(fault.Unavailable, "remove socket folder", err)
		}
	}
	return fault.Wrap(fault.Unavailable, "remove pid file", os.Remove(file))
}

// poll asks cond until it is true or fails, first every 2 ms, then every 50 ms; at most for limit or until ctx ends. It
// is for what no signal announces.
func poll(ctx context.Context, limit time.Duration, cond func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	step := 2 * time.Millisecond
	for {
		done, err := cond(ctx)
		if done || err != nil {
			return err
		}
		timer := time.NewTimer(step)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		step = min(step*3/2, 50*time.Millisecond)
	}
}
