package canal

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/fault"
)

const (
	defaultLease      = 5 * time.Second
	defaultCheckpoint = time.Second
	defaultMaxRecord  = 8 << 20
	maxTerm           = 1<<20 - 1 // 20 bits in a version
	maxSeq            = 1<<43 - 1
	stopLimit         = 5 * time.Second // for the last flush, checkpoint and release of a requested stop
	pauseLimit        = 2 * time.Second // not having heard of control for that long, ask before sending
)

// Config is what a Leader needs.
type Config struct {
	Name     string // the pipeline's name, in messages and in the envelope's source
	Holder   string // this process, in the lease and in `open`: host and pid
	Datasets []*catalog.Dataset
	Source   Source
	Sink     Sink
	Control  Control
	Lease    Lease
	Log      *slog.Logger
	Now      func() time.Time
	// Start is the GTID set after which the first term begins, where there is no checkpoint; "": the binlog's beginning.
	Start string
	// Witness are others who may know a higher term than control, such as the index.
	Witness []func(ctx context.Context) (uint32, error)
	// LeaseTimeout after the last renewal another leader may take over. 0: 5 s.
	LeaseTimeout time.Duration
	// CheckpointEvery is the time between checkpoints. 0: 1 s.
	CheckpointEvery time.Duration
	// Desk keeps tasks, keys to repair and the evidence log; Tables reads rows for them. nil: there are none, and what would
	// need them stops with a hint.
	Desk   Desk
	Tables Tables
	// Envelope is how values are written: plain, or with Kafka Connect's schema in every record.
	Envelope EnvelopeForm
	// Boundaries: begins and ends of transactions go to a topic of their own.
	Boundaries bool
	// MaskKey is the secret of keyed hashes; needed where a dataset has a mask of that kind.
	MaskKey []byte
	// MaxRecordBytes is the largest value; a row beyond it becomes a dead letter. 0: 8 MiB.
	MaxRecordBytes int
	// At is called at each crash point; an error ends the term there, as a crash would. nil: none.
	At func(point string) error
}

// CrashPoints lists the points that At is called with.
func CrashPoints() []string {
	return []string{"canal.term.before", "canal.term.after", "canal.open.before", "canal.open.after", "canal.tail.after",
		"canal.resume.before", "canal.resume.after", "canal.send.before", "canal.send.after", "canal.mark.before",
		"canal.mark.after", "canal.ack.before", "canal.ack.after", "canal.checkpoint.before", "canal.checkpoint.after"}
}

// DeskCrashPoints lists the points that At is called with where there is a Desk.
func DeskCrashPoints() []string {
	return []string{"canal.task.before", "canal.task.after", "canal.restore.before", "canal.restore.after", "canal.backfill.before",
		"canal.backfill.after", "canal.repair.before", "canal.repair.after", "canal.lift.before", "canal.lift.after",
		"canal.advance.before", "canal.advance.after", "canal.settle.before", "canal.settle.after", "canal.adopt.after"}
}

// Stats is how a Leader stands.
type Stats struct {
	Leading    bool
	Term       uint32
	Seq        uint64
	GTID       string // position of the last transaction handled
	Txns       uint64 // handled by this process
	Records    uint64 // sent by this process
	Known      uint64 // changes found in tails, not sent again
	Beat       Beat   // last heartbeat in the stream
	Checkpoint time.Time
	OpenXA     []OpenXA
	Reopened   uint64             // times the source was opened again inside a term
	Alarms     map[string]uint64  // by what: drop, truncate, …
	LastAlarm  map[string]string  // by table
	Stopped    map[string]Stopped // by dataset
	Lowered    map[string]Lowered // by dataset
	Letters    uint64             // rows that were too large, by this process
	Backfilled uint64             // rows that backfills have sent in this process
	Repaired   uint64             // keys that were repaired in this process
	Source     string             // the endpoint that is read, where the Source says it
	Spilled    int64              // bytes on disk of the transaction in hand
	ToRepair   int64              // keys in the repair queue, as last counted
	Err        string             // why the last term ended
}

// Leader captures one source. Run may be called again after it returned.
type Leader struct {
	cfg Config

	mu    sync.Mutex
	stats Stats
}

// New checks the configuration.
func New(cfg Config) (*Leader, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "configure canal", "%s is missing", what))
		}
	}
	need(cfg.Name != "", "Name")
	need(cfg.Holder != "", "Holder")
	need(len(cfg.Datasets) > 0, "Datasets")
	need(cfg.Source != nil, "Source")
	need(cfg.Sink != nil, "Sink")
	need(cfg.Control != nil, "Control")
	need(cfg.Lease != nil, "Lease")
	need(cfg.Log != nil, "Log")
	need(cfg.Now != nil, "Now")
	seen := map[string]bool{}
	for _, d := range cfg.Datasets {
		need(d.Partitions > 0, "Partitions of dataset "+d.Name)
		need(len(d.Key) > 0, "Key of dataset "+d.Name)
		need(!seen[d.Name], "a name of its own for each dataset: "+d.Name)
		if _, err := catalog.NewMasker(d, cfg.MaskKey); err != nil {
			errs = append(errs, err)
		}
		seen[d.Name] = true
	}
	need(cfg.Desk == nil || cfg.Tables != nil, "Tables, which a Desk needs,")
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, "configure canal", err)
	}
	if cfg.LeaseTimeout <= 0 {
		cfg.LeaseTimeout = defaultLease
	}
	if cfg.CheckpointEvery <= 0 {
		cfg.CheckpointEvery = defaultCheckpoint
	}
	if cfg.MaxRecordBytes <= 0 {
		cfg.MaxRecordBytes = defaultMaxRecord
	}
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	return &Leader{cfg: cfg, stats: Stats{Alarms: map[string]uint64{}, LastAlarm: map[string]string{}, Stopped: map[string]Stopped{}}}, nil
}

// Stats returns a copy.
func (l *Leader) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Alarms, s.LastAlarm, s.Stopped = maps.Clone(s.Alarms), maps.Clone(s.LastAlarm), maps.Clone(s.Stopped)
	return s
}

func (l *Leader) note(f func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.stats)
}

// Run waits for the lease, then leads for one term, until ctx ends (nil) or the term does (why). After an error the
// caller backs off, at least a second, and calls Run again.
func (l *Leader) Run(ctx context.Context) error {
	err := l.wait(ctx)
	if err == nil {
		err = l.lead(ctx)
	}
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || fault.Is(err, fault.Interrupted)) {
		err = nil
	}
	l.note(func(s *Stats) {
		s.Leading, s.Err = false, ""
		if err != nil {
			s.Err = err.Error()
		}
	})
	return err
}

// wait blocks until this holder has the lease.
func (l *Leader) wait(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.LeaseTimeout / 8)
	defer tick.Stop()
	for {
		ok, err := l.cfg.Lease.Acquire(ctx, l.cfg.Holder, l.cfg.LeaseTimeout)
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// lead runs one term beside the watch over lease and control.
func (l *Leader) lead(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	inner, end := context.WithCancel(inner)
	t := newTerm(l, ctx)
	g.Go(func() error {
		defer end()
		return t.run(inner)
	})
	g.Go(func() error { return l.watch(inner, t) })
	err := g.Wait()
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if errors.Is(err, errTaken) {
		return err // the lease is somebody else's
	}
	if e := l.cfg.Lease.Release(clean, l.cfg.Holder); e != nil {
		l.cfg.Log.Info("lease not released, it expires by itself", "pipeline", l.cfg.Name, "err", e)
	}
	return err
}

// errTaken is inside the error of a leader that was replaced.
var errTaken = errors.New("another leader has taken over")

// watch renews the lease and looks for a higher term until ctx ends. A control that is away changes nothing: the next
// checkpoint or a long pause asks again.
func (l *Leader) watch(ctx context.Context, t *term) error {
	tick := time.NewTicker(min(l.cfg.LeaseTimeout/8, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		held, err := l.cfg.Lease.Acquire(ctx, l.cfg.Holder, l.cfg.LeaseTimeout)
		if err == nil && !held {
			return fault.New(fault.Conflict, "renew lease", "%w", errTaken)
		}
		if err == nil {
			err = t.check(ctx)
		}
		if errors.Is(err, errTaken) {
			return err
		}
	}
}
