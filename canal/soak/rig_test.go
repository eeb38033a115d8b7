package soak

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/IBM/sarama"

	"strata/local"
	"strata/local/localtest"
)

// proc is one serving process.
type proc struct {
	config string
	roles  string
	env    []string
	cmd    *exec.Cmd
	out    bytes.Buffer
	mu     sync.Mutex
	ended  chan struct{}
}

// Write is part of io.Writer.
func (p *proc) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.Len() > 1<<20 {
		p.out.Next(1 << 19)
	}
	return p.out.Write(b)
}

func (p *proc) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

func (p *proc) start() error {
	p.cmd = exec.Command(program, "serve", "-v", "-c", p.config, "--roles="+p.roles)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.Dir = os.TempDir()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STRATA_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(p.cmd.Env, p.env...)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.ended = ended
	cmd := p.cmd
	go func() {
		_ = cmd.Wait() // its state is asked for by whoever needs it
		close(ended)
	}()
	return nil
}

func (p *proc) kill() {
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-p.ended
}

// again starts a process that has ended by itself: one that met a server's absence at its start, for instance.
func (p *proc) again() error {
	select {
	case <-p.ended:
		return p.start()
	default:
		return nil
	}
}

// setup says what a rig is made of.
type setup struct {
	seed     uint64
	live     server
	dsn      string // of live
	kafka    broker // nil: one in this process, which is not killed
	tables   []string
	datasets string // lines of YAML; "": those of the load
	kafkaKey string // what stands under kafka: beside the brokers
	more     string // lines of YAML
	env      []string
	roles    []string // a process each
}

const loadDatasets = `  - {name: orders, partitions: %d}
  - {name: items, table: item, time: at, shards: month, partitions: %[1]d}
`

// newRig makes the servers of a round. kafka nil: one in this process, which is not killed.
func newRig(t *testing.T, seed uint64, live server, liveDSN string, kafka broker, roles ...string) *rig {
	t.Helper()
	return setup{seed: seed, live: live, dsn: liveDSN, kafka: kafka, tables: tables, roles: roles}.rig(t)
}

func (s setup) rig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, rnd: rand.New(rand.NewPCG(s.seed, 7)), live: s.live, liveDSN: s.dsn, kafka: s.kafka, db: localtest.DB(t, s.dsn), env: s.env}
	if s.kafka != nil {
		r.brokers = s.kafka.Brokers()
	} else {
		r.brokers = localtest.Kafka(t).Brokers()
	}
	for _, q := range s.tables {
		localtest.Exec(t, r.db, q)
	}
	r.load = &load{db: r.db, xa: true}
	archive := localtest.Shared(t)
	wire, err := local.NewProxy(s.live.Addr())
	r.fatal(err)
	t.Cleanup(func() { _ = wire.Close() })
	r.wire = wire
	if s.datasets == "" {
		s.datasets = fmt.Sprintf(loadDatasets, partitions)
	}
	r.data = t.TempDir()
	control := localtest.Schema(t, archive)
	r.control = localtest.DB(t, control)
	text := fmt.Sprintf(`data: %q
live: {dsn: %q}
offline: {dsn: %q}
archive: {dsn: %q}
control: {dsn: %q}
kafka: {brokers: [%q]%s}
http: "127.0.0.1:0"
heartbeat_ms: %d
%sdatasets:
%s`, r.data, s.dsn, strings.Replace(s.dsn, s.live.Addr(), wire.Addr(), 1), localtest.Schema(t, archive), control,
		strings.Join(r.brokers, `","`), s.kafkaKey, beat.Milliseconds(), s.more, s.datasets)
	r.config = filepath.Join(t.TempDir(), "strata.yaml")
	r.fatal(os.WriteFile(r.config, []byte(text), 0o600))
	t.Cleanup(func() { // before the servers go
		for _, p := range r.procs {
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
			p.kill()
			if t.Failed() {
				t.Logf("seed %d; a process said:\n%s", s.seed, p.tail())
			}
		}
		if t.Failed() {
			r.keepBinlog()
		}
	})
	for _, roles := range s.roles {
		r.begin(roles)
	}
	return r
}

// keepBinlog copies what live logged, which goes with the test otherwise.
func (r *rig) keepBinlog() {
	var index string
	if err := r.db.QueryRow("SELECT @@log_bin_index").Scan(&index); err != nil {
		r.t.Logf("keep the binlog: %v", err)
		return
	}
	files, _ := filepath.Glob(strings.TrimSuffix(index, "index") + "*")
	to, err := os.MkdirTemp("", "strata-soak-binlog-")
	if err == nil {
		err = exec.Command("cp", append(files, to)...).Run()
	}
	r.t.Logf("%d files of the live database's binlog are kept in %s: %v", len(files), to, err)
}

// begin starts one more process and waits for a leader.
func (r *rig) begin(roles string) *proc {
	r.t.Helper()
	p := &proc{config: r.config, roles: roles, env: r.env}
	r.procs = append(r.procs, p)
	r.fatal(p.start())
	r.led()
	return p
}

// led waits until one of the processes leads.
func (r *rig) led() {
	r.t.Helper()
	localtest.Eventually(r.t, limit, "a leader", func() (bool, error) { return r.leader() >= 0, r.alive() })
}

// configure changes the configuration, for processes that start from now on.
func (r *rig) configure(pattern, to string) {
	r.t.Helper()
	b, err := os.ReadFile(r.config)
	r.fatal(err)
	p := regexp.MustCompile(pattern)
	if !p.Match(b) {
		r.t.Fatalf("the configuration has no %s:\n%s", pattern, b)
	}
	r.fatal(os.WriteFile(r.config, p.ReplaceAll(b, []byte(to)), 0o600))
}

// try runs a command of the program under test, and returns its words and its exit code.
func (r *rig) try(args ...string) (string, int) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), program, append(args, "-c", r.config)...)
	cmd.Dir, cmd.Env = os.TempDir(), append(os.Environ(), r.env...)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		r.t.Fatalf("strata %s: %v", strings.Join(args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// strata runs one that must succeed.
func (r *rig) strata(args ...string) string {
	r.t.Helper()
	out, code := r.try(args...)
	if code != 0 {
		r.t.Fatalf("strata %s: exit %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// status waits until `canal status` has each of some words and the exit code.
func (r *rig) status(code int, words ...string) {
	r.t.Helper()
	var out string
	var got int
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("wanted exit %d and %q; canal status, exit %d, said:\n%s", code, words, got, out)
		}
	})
	localtest.Eventually(r.t, limit, fmt.Sprintf("canal status with exit %d and %q", code, words), func() (bool, error) {
		if err := r.alive(); err != nil {
			return false, err
		}
		out, got = r.try("canal", "status")
		for _, w := range words {
			if !strings.Contains(out, w) {
				return false, nil
			}
		}
		return got == code, nil
	})
}

// evidence waits until the evidence log has so many lines of a kind.
func (r *rig) evidence(what string, n int) {
	r.t.Helper()
	localtest.Eventually(r.t, limit, "evidence of "+what, func() (bool, error) {
		out, _ := r.try("canal", "evidence", "--json", "--limit", "10000")
		return strings.Count(out, `"what":"`+what+`"`)+strings.Count(out, `"what": "`+what+`"`) >= n, r.alive()
	})
}

// quit waits until a process has ended by itself, and returns its exit code.
func (r *rig) quit(p *proc) int {
	r.t.Helper()
	localtest.Eventually(r.t, limit, "the end of the process", func() (bool, error) {
		select {
		case <-p.ended:
			return true, nil
		default:
			return false, nil
		}
	})
	return p.cmd.ProcessState.ExitCode()
}

// client is a connection to Kafka that ends with the test.
func (r *rig) client() sarama.Client {
	r.t.Helper()
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_8_0_0
	if r.login.SASL != nil {
		_, err := r.login.Apply(cfg, r.brokers)
		r.fatal(err)
	}
	client, err := sarama.NewClient(r.brokers, cfg)
	r.fatal(err)
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}
