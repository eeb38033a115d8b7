package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"strata/fault"
)

const (
	startLimit    = 2 * time.Minute  // crash recovery of a loaded server included
	termLimit     = 20 * time.Second // from SIGTERM to SIGKILL
	portAttempts  = 5                // ports taken between choosing and listening
	socketPathMax = 100              // sun_path holds 107 bytes
	logTailBytes  = 2000
	logMaxBytes   = 8 << 20 // a longer log starts afresh with the next start
)

// errExited is the cause when a server ends while it is waited for.
var errExited = errors.New("the process ended")

// Server is one child process with a folder, a port and a log: what every private server is. The exported fields stay the
// same over Restart. Methods are safe for concurrent use; Stop, Kill and Restart exclude one another.
type Server struct {
	Name string
	Host string // 127.0.0.1
	Port int

	home *Home
	kind string                   // what it is, for messages: mariadb
	dir  string                   // the server's folder
	temp string                   // a folder outside the Home that goes with the process, or ""
	argv func() ([]string, error) // the command line; it may write what that names
	// ready waits until p serves, asking no longer than ctx lives, and ends with errExited when p does.
	ready func(ctx context.Context, p *process) error
	more  map[string]*int // more ports, by the file in dir that remembers them
	mark  int64           // where the log ended before the last start; guarded by op

	op sync.Mutex // held by begin, Stop, Kill, Restart

	mu   sync.Mutex
	proc *process // the last one started
}

// newServer makes the folder of a server that is about to start. Errors: Busy (one of that name runs), Invalid (the name).
func (h *Home) newServer(kind, name string) (*Server, error) {
	dir, err := h.child(name)
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, Host: "127.0.0.1", home: h, kind: kind, dir: dir}
	if _, err := os.Stat(s.pidFile()); err == nil {
		return nil, fault.New(fault.Busy, "start "+kind, "%s is running", name)
	}
	return s, nil
}

// Addr is host:port.
func (s *Server) Addr() string { return fmt.Sprintf("%s:%d", s.Host, s.Port) }

// PID is the process number, 0 when the server isn't running.
func (s *Server) PID() int {
	if p := s.process(); p.running() {
		return p.pid
	}
	return 0
}

// Exited is closed when the process that runs now has ended, whoever ended it. Restart makes a new channel.
func (s *Server) Exited() <-chan struct{} { return s.process().exited }

// LogFile is the path of what the process prints, appended over restarts.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "log") }

// Stop ends the server: SIGTERM, and SIGKILL when it takes 20 s or ctx ends first (data is durable either way). It
// returns when the process is gone; a server that isn't running is no error.
func (s *Server) Stop(ctx context.Context) error {
	s.op.Lock()
	defer s.op.Unlock()
	p := s.process()
	// A paused server takes SIGTERM only after SIGCONT.
	if err := errors.Join(p.signal(syscall.SIGTERM), p.signal(syscall.SIGCONT)); err != nil {
		return err
	}
	timer := time.NewTimer(termLimit)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	s.home.log.Info("server did not stop in time, killing it", "server", s.Name, "pid", p.pid)
	return p.kill()
}

// Kill ends the server by SIGKILL and waits until it is gone.
func (s *Server) Kill() error {
	s.op.Lock()
	defer s.op.Unlock()
	return s.process().kill()
}

// Restart starts the server again on the same port, with the same data, and waits as its first start did; a replica whose
// primary is down doesn't wait for its threads. A server that runs is no error. Errors: Busy (somebody took the port).
func (s *Server) Restart(ctx context.Context) error {
	s.op.Lock()
	defer s.op.Unlock()
	if s.process().running() {
		return nil
	}
	return s.start(ctx)
}

// Pause stops the process with SIGSTOP: connections stay, nothing answers. It returns when every thread stands still.
func (s *Server) Pause() error {
	p := s.process()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := poll(context.Background(), killLimit, func(context.Context) (bool, error) {
		if !p.running() {
			return true, nil
		}
		return stoppedThreads(p.pid)
	})
	return fault.Wrap(fault.Unavailable, "pause server", err)
}

// Resume lets a paused process go on.
func (s *Server) Resume() error { return s.process().signal(syscall.SIGCONT) }

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) pidFile() string { return filepath.Join(s.home.dir, s.Name+".pid") }

// begin is the first start, on the remembered port or, where somebody took it meanwhile, another one. The caller holds op.
func (s *Server) begin(ctx context.Context) (err error) {
	if err := s.choosePorts(rememberedPort); err != nil {
		return err
	}
	for range portAttempts {
		if err = s.start(ctx); !fault.Is(err, fault.Busy) {
			break
		}
		if err := s.choosePorts(newPort); err != nil {
			return err
		}
	}
	return err
}

// choosePorts sets Port and those of more.
func (s *Server) choosePorts(choose func(path string) (int, error)) (err error) {
	if s.Port, err = choose(filepath.Join(s.dir, portFile)); err != nil {
		return err
	}
	for file, port := range s.more {
		if *port, err = choose(filepath.Join(s.dir, file)); err != nil {
			return err
		}
	}
	return nil
}

// start spawns the server on Port and waits until it is ready. Busy: the port is taken. The caller holds op.
func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.KindOf(err), "start "+s.kind, "%s: %w", s.Name, err)
	}
	if s.temp != "" {
		if err := os.Mkdir(s.temp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fault.Wrap(fault.Unavailable, "make socket folder", err)
		}
	}
	mark, err := markLog(s.LogFile())
	if err != nil {
		return err
	}
	s.mark = mark
	argv, err := s.argv()
	if err != nil {
		return err
	}
	began := time.Now()
	p, err := spawn(command{kind: s.kind + " " + s.Name, argv: argv, log: s.LogFile(), pidFile: s.pidFile(), temp: s.temp})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	if err := s.ready(ctx, p); err != nil {
		err = explainStart(err, s.kind, s.Name, s.LogFile(), mark)
		return errors.Join(err, p.kill())
	}
	s.home.log.Info("started server", "server", s.Name, "addr", s.Addr(), "pid", p.pid, "took", time.Since(began))
	return nil
}

// run spawns argv under the server's pid file, which no server has yet, and waits for its end: what makes its data.
func (s *Server) run(ctx context.Context, step string, limit time.Duration, c command) error {
	c.kind, c.log, c.pidFile = s.kind+" "+step+" "+s.Name, filepath.Join(s.dir, step+".log"), s.pidFile()
	mark, err := markLog(c.log)
	if err != nil {
		return err
	}
	p, err := spawn(c)
	if err != nil {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.exited:
		if p.err != nil {
			return explainStart(fmt.Errorf("%s: %w", step, p.err), s.kind, s.Name, c.log, mark)
		}
		return nil
	case <-ctx.Done():
		return errors.Join(fault.New(fault.KindOf(ctx.Err()), step+" "+s.kind, "%s: %w", s.Name, ctx.Err()), p.kill())
	case <-timer.C:
		return errors.Join(fault.New(fault.Timeout, step+" "+s.kind, "%s: not done in %s", s.Name, limit), p.kill())
	}
}

// build makes dir/data by fill, which gets the folder to fill. It is built beside it and put in place by a rename, so a
// crash leaves nothing half made; data that is there is kept.
func (s *Server) build(fill func(part string) error) error {
	data, part := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "data.new")
	if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Unavailable, "look at data", err)
	}
	err := os.RemoveAll(part)
	for _, dir := range []string{part, filepath.Join(s.dir, "tmp")} {
		err = errors.Join(err, os.MkdirAll(dir, 0o700))
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, "make data folder", err)
	}
	if err := fill(part); err != nil {
		return err
	}
	return fault.Wrap(fault.Unavailable, "place data", os.Rename(part, data))
}

// chooseSocket returns a path for the server's socket; where the folder's is too long, in a temp folder.
func (s *Server) chooseSocket() (path string, err error) {
	path = filepath.Join(s.dir, "sock")
	if len(path) <= socketPathMax {
		return path, nil
	}
	if s.temp, err = os.MkdirTemp("", "st"); err != nil {
		return "", fault.Wrap(fault.Unavailable, "make socket folder", err)
	}
	return filepath.Join(s.temp, "sock"), nil
}

// logged waits until the process has written text to its log since its start.
func (s *Server) logged(ctx context.Context, p *process, text string) error {
	return poll(ctx, startLimit, func(context.Context) (bool, error) {
		log, err := os.ReadFile(s.LogFile())
		if err != nil {
			return false, fault.Wrap(fault.Unavailable, "read log", err)
		}
		if bytes.Contains(log[min(s.mark, int64(len(log))):], []byte(text)) {
			return true, nil
		}
		if !p.running() {
			return false, errExited
		}
		return false, nil
	})
}

// markLog returns where the log ends now, in bytes, after dropping a log that has grown too long.
func markLog(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil && info.Size() > logMaxBytes {
		return 0, fault.Wrap(fault.Unavailable, "empty log", os.Truncate(path, 0))
	}
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, "look at log", err)
	}
	return info.Size(), nil
}

// explainStart adds what the server wrote to its log since mark. A taken port becomes Busy.
func explainStart(err error, what, name, logFile string, mark int64) error {
	text, _ := os.ReadFile(logFile) // only for the message
	text = text[min(mark, int64(len(text))):]
	kind := fault.Unavailable
	if k := fault.KindOf(err); k == fault.Interrupted || k == fault.Timeout {
		kind = k
	}
	if bytes.Contains(text, []byte("Address already in use")) {
		kind = fault.Busy
	}
	tail := strings.TrimSpace(string(text[max(0, len(text)-logTailBytes):]))
	if i := bytes.Index(text, []byte("ERROR")); i >= 0 && i < len(text)-logTailBytes { // the first one is the cause
		tail = string(text[i:i+logTailBytes/2]) + "\n...\n" + tail
	}
	return fault.New(kind, "start "+what, "%s: %w; its log: %s", name, err, tail).WithHint("the whole log is %s", logFile)
}
