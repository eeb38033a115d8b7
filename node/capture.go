package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"strata/broker"
	"strata/canal"
	"strata/canal/binlog"
	"strata/canal/control"
	"strata/canal/ddlcheck"
	canalkafka "strata/canal/kafka"
	"strata/canal/tables"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// kafkaSlack is what a record has beside its value: key, headers, framing.
const kafkaSlack = 1 << 20

// newLeader wires the capture; what it returns beside the leader closes what is under it.
func (n *Node) newLeader(ctx context.Context) (*canal.Leader, func() error, error) {
	desk, err := n.Desk(ctx)
	if err != nil {
		return nil, nil, err
	}
	key, err := n.cfg.Capture.maskKey(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	source, err := n.newSource()
	if err != nil {
		return nil, nil, err
	}
	sink, err := openSink(&n.cfg, os.Getenv, n.log, "strata-canal")
	if err != nil {
		return nil, nil, errors.Join(err, source.Close())
	}
	rows, err := n.capturedTables(ctx, source)
	if err != nil {
		return nil, nil, errors.Join(err, sink.Close(), source.Close())
	}
	shut := func() error { return errors.Join(rows.Close(), sink.Close(), source.Close()) }
	envelope := canal.Plain
	if n.cfg.Capture.Envelope == "schema" {
		envelope = canal.WithSchema
	}
	host, _ := os.Hostname() // for people, but for a Place
	place := n.place
	if place == "" {
		place = strconv.Itoa(os.Getpid())
	}
	leader, err := canal.New(canal.Config{
		Name: pipeline, Holder: host + ":" + place, Datasets: n.datasets, Source: source, Sink: sink, Control: desk, Lease: desk,
		Log: n.log, Now: n.now, At: n.at, Witness: []func(context.Context) (uint32, error){n.index.HighestTerm}, Desk: desk, Tables: rows,
		Envelope: envelope, Boundaries: n.cfg.Capture.Boundaries, MaskKey: key, MaxRecordBytes: n.cfg.Capture.MaxRowBytes,
	})
	if err != nil {
		return nil, nil, errors.Join(err, shut())
	}
	n.mu.Lock()
	n.sink = sink
	n.mu.Unlock()
	return leader, shut, nil
}

// newSource is the binlog of the configured endpoints, in their order.
func (n *Node) newSource() (*binlog.Source, error) {
	var list []binlog.Endpoint
	for _, e := range n.cfg.Offline.Servers() {
		list = append(list, binlog.Endpoint{Name: e.Name, DSN: e.DSN, ServerID: n.cfg.Capture.ServerID})
	}
	return binlog.New(binlog.Config{Endpoints: list, Flavor: n.offline.Flavor(), Datasets: n.datasets, SpillDir: n.cfg.Capture.SpillDir, Log: n.log,
		MaxRowBytes: 2*n.cfg.Capture.MaxRowBytes + 16<<20, // a row's own limit is that of its record, which is longer
		Note:        func(text string) { n.log.Warn("source", "note", text) }})
}

// openSink connects to Kafka.
func openSink(c *Config, getenv func(string) string, log *slog.Logger, client string) (*canalkafka.Sink, error) {
	security, err := c.Kafka.security(getenv)
	if err != nil {
		return nil, err
	}
	return canalkafka.Open(canalkafka.Config{Brokers: c.Kafka.Brokers, ClientID: client, Security: security, Log: log,
		Replication: int16(c.Kafka.ReplicationFactor), Compression: canalkafka.Compression(c.Kafka.Compression),
		MaxMessageBytes: c.Capture.MaxRowBytes + kafkaSlack})
}

// security reads the password.
func (k *Kafka) security(getenv func(string) string) (broker.Security, error) {
	var s broker.Security
	if t := k.TLS; t != nil {
		s.TLS = &broker.TLS{CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key, ServerName: t.ServerName}
	}
	if l := k.SASL; l != nil {
		password, err := l.Password.Read("kafka: sasl.password", getenv)
		if err != nil {
			return s, err
		}
		s.SASL = &broker.SASL{Mechanism: l.Mechanism, User: l.User, Password: string(password)}
	}
	return s, nil
}

// Desk is what the control database knows of the capture, and where operators say what they want.
func (n *Node) Desk(ctx context.Context) (*control.Control, error) {
	cdb, err := n.control(ctx)
	if err != nil {
		return nil, err
	}
	return control.Open(ctx, cdb, pipeline)
}

// CaptureState is what the control database knows of the capture.
type CaptureState struct {
	Term    uint32                   `json:"term"`
	Leader  string                   `json:"leader"`
	GTID    string                   `json:"gtid"`    // position of the last checkpoint
	Rows    uint64                   `json:"rows"`    // row changes sent up to it, since the pipeline's beginning
	Stopped map[string]canal.Stopped `json:"stopped"` // by dataset
	Lowered map[string]canal.Lowered `json:"lowered"`
	Missing []string                 `json:"missing"` // datasets that are configured, and not captured by the leader
	// Report is what the leader last said of itself; nil before the first time.
	Report  *canal.Status     `json:"report"`
	Tasks   []canal.Task      `json:"tasks"`   // that are not finished
	Repairs []canal.RepairKey `json:"repairs"` // the first of those that wait
	Waiting int64             `json:"waiting"` // how many wait
}

// reportLimit bounds what a leader that ended says of it.
const reportLimit = 5 * time.Second

// Silent is after how long without a report a leader is taken to be away.
const Silent = 15 * time.Second

// shownRepairs is how many keys a state lists.
const shownRepairs = 10

// CaptureState reads the control database.
func (n *Node) CaptureState(ctx context.Context) (CaptureState, error) {
	out := CaptureState{Stopped: map[string]canal.Stopped{}, Lowered: map[string]canal.Lowered{}, Missing: []string{}, Tasks: []canal.Task{}, Repairs: []canal.RepairKey{}}
	desk, err := n.Desk(ctx)
	if err != nil {
		return out, err
	}
	st, err := desk.Load(ctx)
	if err != nil {
		return out, err
	}
	out.Term, out.Leader = st.Term, st.Leader
	if cp := st.Checkpoint; cp != nil {
		out.GTID, out.Rows = cp.Position.GTID, cp.Rows
		for name, why := range cp.Stopped {
			out.Stopped[name] = why
		}
		for name, why := range cp.Lowered {
			out.Lowered[name] = why
		}
	}
	report, ok, err := desk.Status(ctx)
	if err != nil {
		return out, err
	}
	if ok {
		fillLists(&report)
		out.Report = &report
		out.Missing = n.missing(&report)
	}
	tasks, err := desk.Tasks(ctx)
	if err != nil {
		return out, err
	}
	keys, err := desk.RepairQueue(ctx, shownRepairs)
	if err != nil {
		return out, err
	}
	out.Tasks, out.Repairs = append(out.Tasks, tasks...), append(out.Repairs, keys...)
	out.Waiting, err = desk.Left(ctx, 0)
	return out, err
}

// missing lists the configured datasets that a leader at work doesn't have.
func (n *Node) missing(r *canal.Status) []string {
	out := []string{}
	if r.Err != "" {
		return out
	}
	for _, s := range append(n.cfg.ledgerSpecs(), n.cfg.Datasets...) {
		_, stopped := r.Stopped[s.Name]
		if _, has := r.Numbers[s.Name]; !has && !stopped {
			out = append(out, s.Name)
		}
	}
	return out
}

// reportEnd lets `canal status` say why there is no leader, until the next one reports. A term that has a successor is
// nobody's concern.
func (n *Node) reportEnd(ctx context.Context, term uint32, cause error) {
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	desk, err := n.Desk(ctx)
	var s canal.Status
	if err == nil {
		s, _, err = desk.Status(ctx)
	}
	if err == nil {
		s.Term, s.Err, s.Hint = term, cause.Error(), fault.HintOf(cause)
		_, err = desk.Report(ctx, term, s)
	}
	if err != nil {
		n.log.Info("the end of a term can't be reported", "err", err)
	}
}

// fillLists makes empty lists and maps of those that the leader had nothing for: programs that read them as JSON need no null.
func fillLists(r *canal.Status) {
	if r.OpenXA == nil {
		r.OpenXA = []canal.OpenXA{}
	}
	if r.Numbers == nil {
		r.Numbers = map[string][]uint64{}
	}
	if r.Stopped == nil {
		r.Stopped = map[string]canal.Stopped{}
	}
	if r.Lowered == nil {
		r.Lowered = map[string]canal.Lowered{}
	}
	if r.Alarms == nil {
		r.Alarms = map[string]string{}
	}
}

// Whole says what keeps the topics from being the whole of the tables now: fault.Proof, or nil. Before the first report
// nothing is missing yet.
func (s *CaptureState) Whole(now time.Time) error {
	for name, why := range s.Stopped {
		e := fault.New(fault.Proof, "capture", "dataset %s is stopped: %s", name, why.Reason)
		if e.Hint = why.Hint; e.Hint == "" {
			e.Hint = fmt.Sprintf("strata canal rewind %s --why … repairs what it lacks and lets it go on", name)
		}
		return e
	}
	if r := s.Report; r != nil && r.Err != "" {
		return fault.New(fault.Proof, "capture", "nothing is captured now: %s", r.Err).WithHint("%s", r.Hint)
	}
	if r := s.Report; r != nil && now.Sub(r.At) > Silent {
		return fault.New(fault.Proof, "capture", "nobody leads now: the last report is %s old", now.Sub(r.At).Round(time.Second)).
			WithHint("strata serve --roles canal captures; where it runs, its log says what it waits for")
	}
	for _, name := range s.Missing {
		return fault.New(fault.Proof, "capture", "dataset %s is not captured", name).
			WithHint("strata check-config says what its tables lack; where nothing, restart strata serve, which knows the datasets from its start")
	}
	for name := range s.Lowered {
		return fault.New(fault.Proof, "capture", "dataset %s lacks changes that are being repaired", name).
			WithHint("strata canal tasks shows how far that is")
	}
	return nil
}

// Shards lists the dataset's physical tables with their owners and the servers' estimates of their rows.
func (n *Node) Shards(ctx context.Context, d *catalog.Dataset) ([]canal.TableShard, error) {
	here := func() *db.DB { return n.offline }
	t, err := n.tables(here, here, nil)
	if err != nil {
		return nil, err
	}
	list, err := t.Shards(ctx, d)
	return list, errors.Join(err, t.Close())
}

// tables reads rows of the captured server and of the archive for backfill and repair.
func (n *Node) tables(captured, locks, live func() *db.DB) (*tables.Tables, error) {
	return tables.New(tables.Config{Captured: captured, Locks: locks, Live: live, Archives: map[catalog.Store]*db.DB{catalog.Archive: n.archive}, View: n.View, Now: n.now})
}

// capturedTables is tables on the server that the source reads.
func (n *Node) capturedTables(ctx context.Context, source *binlog.Source) (*tables.Tables, error) {
	captured := func() *db.DB {
		if d := source.Current(); d != nil {
			return d
		}
		return n.offline
	}
	locks := func() *db.DB {
		e := source.CurrentEndpoint()
		if e.Name == "" {
			return n.offline // before the first stream; a Reader's locks are refused by the server
		}
		d, err := n.pool(ctx, "captured "+e.Name, e.DSN, catalog.Live, db.Writer)
		if err != nil {
			n.log.Warn("server for repairs is away", "source", e.Name, "err", err)
			return n.offline
		}
		return d
	}
	live := func() *db.DB {
		if source.CurrentEndpoint().DSN == n.cfg.Live.DSN {
			return nil
		}
		d, err := n.liveWriter(ctx)
		if err != nil {
			n.log.Warn("live is away, repairs read its replica", "err", err)
			return nil
		}
		return d
	}
	return n.tables(captured, locks, live)
}

// CheckDDL says what capture will make of a script that is about to be run on live.
func (n *Node) CheckDDL(ctx context.Context, script string) ([]ddlcheck.Finding, error) {
	return ddlcheck.Check(ctx, ddlcheck.Config{Schema: n.live.Schema(), Datasets: n.datasets,
		Describe: func(ctx context.Context, table string) ([]catalog.Column, []string, error) {
			return db.Describe(ctx, n.live, table)
		}}, script)
}

// CheckGTID refuses what is no GTID set of the captured server.
func (n *Node) CheckGTID(set string) error {
	if err := binlog.CheckGTIDSet(n.offline.Flavor(), set); err != nil {
		example := "0-1-4711"
		if n.offline.Flavor() == db.MySQL {
			example = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23"
		}
		return fault.New(fault.Invalid, "read GTID set", "%q is none of %s: %w", set, n.offline.Flavor(), err).WithHint("it looks like %s", example)
	}
	return nil
}
