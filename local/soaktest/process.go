package soaktest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// Process is one serving process of the program under test.
type Process struct {
	Roles string
	Cmd   *exec.Cmd     // of the last start
	Ended chan struct{} // closed when that process has ended

	program, config string
	env             []string
	out             bytes.Buffer
	mu              sync.Mutex
}

// Write takes what the process prints. It is part of io.Writer.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.Len() > 1<<20 {
		p.out.Next(1 << 19)
	}
	return p.out.Write(b)
}

// Said is what the process printed last, over its starts: at least half a MiB, where there is so much.
func (p *Process) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Tail is the last lines of it.
func (p *Process) Tail() string {
	lines := strings.Split(strings.TrimSpace(p.Said()), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// Start starts the process, which does not run.
func (p *Process) Start() error {
	cmd := exec.Command(p.program, "serve", "-v", "-c", p.config, "--roles="+p.Roles)
	cmd.Stdout, cmd.Stderr = p, p
	cmd.Dir = os.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STRATA_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, p.env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.Cmd, p.Ended = cmd, ended
	go func() {
		_ = cmd.Wait() // its state is asked for by whoever needs it
		close(ended)
	}()
	return nil
}

// Kill ends it by SIGKILL. It may have ended, and its number be another process's.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Ended
}

// Again starts it again where it has ended by itself: one that met a server's absence at its start, for instance.
func (p *Process) Again() error {
	select {
	case <-p.Ended:
		return p.Start()
	default:
		return nil
	}
}
