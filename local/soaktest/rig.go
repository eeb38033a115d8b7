package soaktest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"strata/local"
	"strata/local/localtest"
)

const (
	// Limit is that of one wait; a loaded machine needs minutes.
	Limit = 4 * time.Minute
	// Partitions of a dataset.
	Partitions = 3
	// Beat is the interval of heartbeats.
	Beat = 200 * time.Millisecond
)

// Server is a database that can be killed.
type Server interface {
	Addr() string
	Kill() error
	Restart(ctx context.Context) error
	Pause() error
	Resume() error
}

// Broker is a Kafka that can be killed; one that can't is only used.
type Broker interface {
	Brokers() []string
	Kill() error
	Restart(ctx context.Context) error
}

// Setup says what a Rig is made of.
type Setup struct {
	Program  string // that is under test
	Seed     uint64
	Live     Server
	DSN      string // of Live
	Kafka    Broker // nil: one in this process, which is not killed
	Tables   []string
	Datasets string // lines of YAML; "": those of the load
	KafkaKey string // what stands under kafka: beside the brokers
	More     string // lines of YAML
	Env      []string
	Roles    []string // a process each
}

// Rig is one round.
type Rig struct {
	T       *testing.T
	Rnd     *rand.Rand
	Live    Server
	LiveDSN string
	DB      *sql.DB // on Live
	Control *sql.DB
	Wire    *local.Proxy // between Live and capture
	Kafka   Broker       // nil: in this process, and not to be killed
	Brokers []string
	Data    string // folder
	Config  string // file
	Procs   []*Process
	Load    *Load
	// Login is what a client of the secure listener needs; nil: nothing.
	Login func(*sarama.Config) error

	program string
	env     []string
}

const loadDatasets = `  - {name: orders, partitions: %d}
  - {name: items, table: item, time: at, shards: month, partitions: %[1]d}
`

// New makes the tables, the configuration and the processes of a round.
func (s Setup) New(t *testing.T) *Rig {
	t.Helper()
	r := &Rig{T: t, Rnd: rand.New(rand.NewPCG(s.Seed, 7)), Live: s.Live, LiveDSN: s.DSN, Kafka: s.Kafka,
		DB: localtest.DB(t, s.DSN), program: s.Program, env: s.Env}
	if s.Kafka != nil {
		r.Brokers = s.Kafka.Brokers()
	} else {
		r.Brokers = localtest.Kafka(t).Brokers()
	}
	for _, q := range s.Tables {
		localtest.Exec(t, r.DB, q)
	}
	r.Load = &Load{db: r.DB, XA: true}
	archive := localtest.Shared(t)
	wire, err := local.NewProxy(s.Live.Addr())
	r.Fatal(err)
	t.Cleanup(func() { _ = wire.Close() })
	r.Wire = wire
	if s.Datasets == "" {
		s.Datasets = fmt.Sprintf(loadDatasets, Partitions)
	}
	r.Data = t.TempDir()
	control := localtest.Schema(t, archive)
	r.Control = localtest.DB(t, control)
	text := fmt.Sprintf(`data: %q
live: {dsn: %q}
offline: {dsn: %q}
archive: {dsn: %q}
control: {dsn: %q}
verify: {every: "off"} # what it would mend is what a soak looks for
kafka: {brokers: [%q]%s}
http: "127.0.0.1:0"
heartbeat_ms: %d
%sdatasets:
%s`, r.Data, s.DSN, strings.Replace(s.DSN, s.Live.Addr(), wire.Addr(), 1), localtest.Schema(t, archive), control,
		strings.Join(r.Brokers, `","`), s.KafkaKey, Beat.Milliseconds(), s.More, s.Datasets)
	r.Config = filepath.Join(t.TempDir(), "strata.yaml")
	r.Fatal(os.WriteFile(r.Config, []byte(text), 0o600))
	t.Cleanup(func() { // before the servers go
		for _, p := range r.Procs {
			_ = p.Cmd.Process.Signal(syscall.SIGCONT)
			p.Kill()
			if t.Failed() {
				t.Logf("seed %d; a process of %s said:\n%s", s.Seed, p.Roles, p.Tail())
			}
		}
		if t.Failed() {
			r.keepBinlog()
		}
	})
	for _, roles := range s.Roles {
		r.Begin(roles)
	}
	return r
}

// keepBinlog copies what live logged, which goes with the test otherwise.
func (r *Rig) keepBinlog() {
	var index string
	if err := r.DB.QueryRow("SELECT @@log_bin_index").Scan(&index); err != nil {
		r.T.Logf("keep the binlog: %v", err)
		return
	}
	files, _ := filepath.Glob(strings.TrimSuffix(index, "index") + "*")
	to, err := os.MkdirTemp("", "strata-soak-binlog-")
	if err == nil {
		err = exec.Command("cp", append(files, to)...).Run()
	}
	r.T.Logf("%d files of the live database's binlog are kept in %s: %v", len(files), to, err)
}

// Fatal ends the test where there is an error.
func (r *Rig) Fatal(err error) {
	r.T.Helper()
	if err != nil {
		r.T.Fatal(err)
	}
}

// Begin starts one more process; one with capture, and it waits for a leader.
func (r *Rig) Begin(roles string) *Process {
	r.T.Helper()
	p := &Process{program: r.program, config: r.Config, Roles: roles, env: r.env}
	r.Procs = append(r.Procs, p)
	r.Fatal(p.Start())
	if captures(p) {
		r.Led()
	}
	return p
}

func captures(p *Process) bool { return slices.Contains(strings.Split(p.Roles, ","), "canal") }

// Alive starts again what has ended by itself.
func (r *Rig) Alive() error {
	for _, p := range r.Procs {
		if err := p.Again(); err != nil {
			return err
		}
	}
	return nil
}

// Down has all processes killed while f runs.
func (r *Rig) Down(f func()) {
	r.T.Helper()
	r.without(syscall.SIGKILL, f)
}

// Off has all processes stop while f runs.
func (r *Rig) Off(f func()) {
	r.T.Helper()
	r.without(syscall.SIGTERM, f)
}

func (r *Rig) without(signal syscall.Signal, f func()) {
	r.T.Helper()
	for _, p := range r.Procs {
		_ = p.Cmd.Process.Signal(signal) // it may have ended
		<-p.Ended
	}
	f()
	for _, p := range r.Procs {
		r.Fatal(p.Start())
	}
}

// Quit waits until a process has ended by itself, and returns its exit code.
func (r *Rig) Quit(p *Process) int {
	r.T.Helper()
	localtest.Eventually(r.T, Limit, "the end of the process", func() (bool, error) {
		select {
		case <-p.Ended:
			return true, nil
		default:
			return false, nil
		}
	})
	return p.Cmd.ProcessState.ExitCode()
}

// Client is a connection to Kafka that ends with the test.
func (r *Rig) Client() sarama.Client {
	r.T.Helper()
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_8_0_0
	if r.Login != nil {
		r.Fatal(r.Login(cfg))
	}
	client, err := sarama.NewClient(r.Brokers, cfg)
	r.Fatal(err)
	r.T.Cleanup(func() { _ = client.Close() })
	return client
}
