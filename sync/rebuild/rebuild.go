package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// Phase is the step that a rebuild is at.
type Phase string

// The phases, in their order.
const (
	Filling   Phase = "filling"
	Verifying Phase = "verifying"
	Switching Phase = "switching"
	Done      Phase = "done"
)

// Rebuild is how a rebuild stands: the note of its generation.
type Rebuild struct {
	Dataset    string `json:"dataset"`
	Generation int    `json:"generation"`
	Phase      Phase  `json:"phase"`
	Paused     bool   `json:"paused,omitempty"`
	// Err halts it until it is resumed; Hint is what to do. Waits is why the step is tried again.
	Err   string `json:"err,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Waits string `json:"waits,omitempty"`
	// Task is the backfill's; 0: not ordered yet. Orders counts those that were given up before it.
	Task   int64 `json:"task,omitempty"`
	Orders int   `json:"orders,omitempty"`
	// Rows and Total are how far the phase is: rows sent, or compared, of about how many.
	Rows      int64     `json:"rows"`
	Total     int64     `json:"total"`
	Compared  int64     `json:"compared,omitempty"` // rows, of which none differed
	Who       string    `json:"who"`
	Why       string    `json:"why"`
	StartedAt time.Time `json:"started_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Halted reports whether it needs somebody.
func (r *Rebuild) Halted() bool { return r.Err != "" }

// Desk is what a rebuild needs of canal's control.
type Desk interface {
	Load(ctx context.Context) (canal.State, error)
	Order(ctx context.Context, t canal.Task) (canal.Task, error)
	AllTasks(ctx context.Context, limit int) ([]canal.Task, error)
	TaskByID(ctx context.Context, id int64) (canal.Task, error)
	SetWish(ctx context.Context, id int64, wish canal.Wish, who string) (canal.Task, error)
	Record(ctx context.Context, e canal.Evidence) error
}

// Verdict is what a comparison of a whole generation found.
type Verdict struct {
	Rows        int64  // compared
	Differences int64  // and rows of which nothing could be said
	First       string // a difference, for people
}

// Config of Rebuilds. Everything without a default is required.
type Config struct {
	Index    *index.Generations
	Desk     Desk
	Datasets []*catalog.Dataset
	// Verify compares one generation of a dataset with the stores, as of a heartbeat that it commits. Only Run needs it.
	Verify func(ctx context.Context, d *catalog.Dataset, x index.Reader, progress func(done, total int64)) (Verdict, error)
	// Lock makes this process the only one that works on a dataset's rebuild until release is called; ok is false where another
	// one is. nil: there is no other.
	Lock func(ctx context.Context, dataset string) (release func(), ok bool, err error)
	// Stopped says why this process's sync has stopped feeding a generation; nil: it has not, or nobody asks.
	Stopped func(dataset string, generation int) error
	Now     func() time.Time
	Log     *slog.Logger
	// At is asked at every crash point; nil: none.
	At func(point string) error
	// Every is how often Run looks; 0: a second.
	Every time.Duration
}

// CrashPoints are the names that Config.At is asked with, in the order of the steps.
func CrashPoints() []string {
	return []string{"rebuild.begin", "rebuild.begun", "rebuild.order", "rebuild.ordered", "rebuild.note", "rebuild.noted", "rebuild.handover",
		"rebuild.handed", "rebuild.switch", "rebuild.switched", "rebuild.drop", "rebuild.dropped"}
}

// Rebuilds begins, runs and drops generations.
type Rebuilds struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Rebuilds, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "configure rebuild", "no %s", what))
		}
	}
	need(cfg.Index != nil, "index")
	need(cfg.Desk != nil, "desk")
	need(cfg.Now != nil, "clock")
	need(cfg.Log != nil, "logger")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Lock == nil {
		cfg.Lock = func(context.Context, string) (func(), bool, error) { return func() {}, true, nil }
	}
	if cfg.Stopped == nil {
		cfg.Stopped = func(string, int) error { return nil }
	}
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	return &Rebuilds{cfg}, nil
}

func (b *Rebuilds) dataset(name string) (*catalog.Dataset, error) {
	i := slices.IndexFunc(b.cfg.Datasets, func(d *catalog.Dataset) bool { return d.Name == name })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "rebuild index", "there is no dataset %q", name).WithHint("strata catalog show lists them")
	}
	return b.cfg.Datasets[i], nil
}

// Start begins a rebuild. Errors: fault.Conflict where one is under way, fault.Unavailable where the dataset is not captured
// now, fault.NotFound.
func (b *Rebuilds) Start(ctx context.Context, dataset, who, why string) (Rebuild, error) {
	d, err := b.dataset(dataset)
	if err != nil {
		return Rebuild{}, err
	}
	if who == "" {
		return Rebuild{}, fault.New(fault.Invalid, "rebuild index of "+dataset, "it does not say who wants it")
	}
	if r, _, err := b.underWay(ctx, dataset); err != nil || r != nil {
		if err == nil {
			err = fault.New(fault.Conflict, "rebuild index of "+dataset, "generation %d is being built", r.Generation).
				WithHint("strata sync rebuild --list shows how far it is; --abort drops it")
		}
		return Rebuild{}, err
	}
	start, floor, err := b.start(ctx, d)
	if err != nil {
		return Rebuild{}, err
	}
	now := b.cfg.Now().UTC()
	r := Rebuild{Dataset: dataset, Phase: Filling, Who: who, Why: why, StartedAt: now, UpdatedAt: now}
	if err := b.record(ctx, "begin", &r, who, why); err != nil {
		return r, err
	}
	if err := b.cfg.At("rebuild.begin"); err != nil {
		return r, err
	}
	note, err := json.Marshal(r)
	if err != nil {
		return r, fault.Wrap(fault.Internal, "encode rebuild", err)
	}
	g, err := b.cfg.Index.Begin(ctx, dataset, start, floor, note)
	if err != nil {
		return r, err
	}
	r.Generation = g.Number
	return r, b.cfg.At("rebuild.begun")
}

// start is where a generation begins: the last checkpoint of capture.
func (b *Rebuilds) start(ctx context.Context, d *catalog.Dataset) ([]index.Watermark, index.Version, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Unavailable, "rebuild index of "+d.Name, format, args...).
			WithHint("a rebuild needs a dataset that is captured: see `strata canal status`")
	}
	st, err := b.cfg.Desk.Load(ctx)
	if err != nil {
		return nil, 0, err
	}
	cp := st.Checkpoint
	if cp == nil {
		return nil, 0, bad("nothing was captured yet")
	}
	if s, stopped := cp.Stopped[d.Name]; stopped {
		return nil, 0, bad("its capture has stopped: %s", s.Reason)
	}
	parts := cp.Parts[d.Name]
	if len(parts) != int(d.Partitions) {
		return nil, 0, bad("the last checkpoint has %d of its %d partitions", len(parts), d.Partitions)
	}
	floor := index.MakeVersion(cp.Term, cp.Seq)
	marks := make([]index.Watermark, len(parts))
	for i, p := range parts {
		if p.Term != cp.Term || p.Term == 0 || p.Offset < 0 {
			return nil, 0, bad("partition %d was opened in term %d, the last checkpoint is of term %d", i, p.Term, cp.Term)
		}
		marks[i] = index.Watermark{Dataset: d.Name, Partition: int32(i), Term: p.Term, Number: p.Number, Offset: p.Offset, Version: floor}
	}
	return marks, floor, nil
}

// record writes a line of evidence.
func (b *Rebuilds) record(ctx context.Context, what string, r *Rebuild, who, why string) error {
	detail, err := json.Marshal(map[string]any{"step": what, "dataset": r.Dataset, "generation": r.Generation})
	if err != nil {
		return fault.Wrap(fault.Internal, "encode evidence", err)
	}
	return b.cfg.Desk.Record(ctx, canal.Evidence{What: "rebuild", Who: who, Why: why, Detail: string(detail)})
}

// read parses the note of a generation.
func read(dataset string, g *index.Generation) (*Rebuild, error) {
	r := new(Rebuild)
	if err := json.Unmarshal(g.Note, r); err != nil {
		return nil, fault.New(fault.Unsafe, "read rebuild of "+dataset, "the note of generation %d: %w", g.Number, err).
			WithHint("drop it: strata sync rebuild %s --drop %d", dataset, g.Number)
	}
	r.Dataset, r.Generation = dataset, g.Number
	return r, nil
}

// underWay is the rebuild that is not over; nil: there is none.
func (b *Rebuilds) underWay(ctx context.Context, dataset string) (*Rebuild, *index.Generation, error) {
	list, err := b.cfg.Index.Generations(ctx, dataset)
	if err != nil {
		return nil, nil, err
	}
	for i := range list {
		g := &list[i]
		if len(g.Note) == 0 || g.State == index.Old {
			continue
		}
		if r, err := read(dataset, g); err != nil || r.Phase != Done {
			return r, g, err
		}
	}
	return nil, nil, nil
}

// keep changes the note of a rebuild; errGone where its generation was dropped.
func (b *Rebuilds) keep(ctx context.Context, r *Rebuild, f func(r *Rebuild)) error {
	return b.cfg.Index.Update(ctx, r.Dataset, r.Generation, func(g *index.Generation) error {
		now, err := read(r.Dataset, g)
		if err != nil {
			return err
		}
		was := *now
		if f(now); was == *now {
			*r = *now
			return nil
		}
		now.UpdatedAt = b.cfg.Now().UTC()
		if g.Note, err = json.Marshal(now); err != nil {
			return fault.Wrap(fault.Internal, "encode rebuild", err)
		}
		*r = *now
		return nil
	})
}

// orderText is what a backfill says of itself; it is found again by it.
func (r *Rebuild) orderText() string {
	return fmt.Sprintf("rebuild of %s, generation %d, order %d: %s", r.Dataset, r.Generation, r.Orders+1, r.Why)
}
