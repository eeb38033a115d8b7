package archive

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"strata/catalog"
	"strata/fault"
)

// minKeyBytes is what a signing key must have: below that it can be guessed.
const minKeyBytes = 16

// Config is what a Mover needs.
type Config struct {
	Site     Site
	Control  Control
	Datasets []*catalog.Dataset
	Policies []Policy
	// Key signs manifests, at least 16 bytes.
	Key []byte
	Now func() time.Time
	Log *slog.Logger
	// At is called at each crash point of the mover itself; nil for none.
	At func(point string) error
}

// Mover plans and runs moves. It is for one goroutine.
type Mover struct {
	cfg   Config
	stats Stats
}

// Stats counts what the Mover did since New.
type Stats struct {
	Moved   int64 // segments sealed
	Rows    int64 // rows of those
	Failed  int64 // moves that ended with an error
	Aborted int64
}

// Result is what a Run did.
type Result struct {
	Segments []Segment     `json:"segments"` // one for each move of the plan that was begun
	Moved    int           `json:"moved"`
	Rows     int64         `json:"rows"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// New checks the configuration. Errors: Invalid, everything at once.
func New(cfg Config) (*Mover, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(cfg.Site != nil && cfg.Control != nil, "no site or no control")
	need(cfg.Now != nil && cfg.Log != nil, "no clock or no logger")
	need(len(cfg.Key) >= minKeyBytes, fmt.Sprintf("the signing key has %d bytes, fewer than %d", len(cfg.Key), minKeyBytes))
	seen := map[string]bool{}
	for _, p := range cfg.Policies {
		i := slices.IndexFunc(cfg.Datasets, func(d *catalog.Dataset) bool { return d.Name == p.Dataset })
		need(i >= 0, "policy of "+p.Dataset+": no such dataset")
		need(i < 0 || cfg.Datasets[i].Sharded(), "policy of "+p.Dataset+": the dataset has no shards, so none can move")
		need(p.Age >= 0, "policy of "+p.Dataset+": a negative age")
		need(!seen[p.Dataset], "policy of "+p.Dataset+": there are two")
		seen[p.Dataset] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, "check archive", err)
	}
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	return &Mover{cfg: cfg}, nil
}

// Stats is what was done so far.
func (m *Mover) Stats() Stats { return m.stats }

// Plan says what Run would do at the time now, dataset by dataset in the order of the policies, oldest shards first. It
// only reads.
func (m *Mover) Plan(ctx context.Context, now time.Time) (*Plan, error) {
	p := &Plan{At: now.UTC(), Moves: []Move{}, Unmovable: []Refusal{}}
	for _, policy := range m.cfg.Policies {
		ds := m.dataset(policy.Dataset)
		all, err := m.cfg.Site.Survey(ctx, ds)
		if err != nil {
			return nil, fmt.Errorf("survey %s: %w", ds.Name, err)
		}
		until := catalog.At(now.Add(-policy.Age))
		for _, st := range all {
			if err := m.plan(ctx, p, ds, st, until); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// plan adds one table to the plan.
func (m *Mover) plan(ctx context.Context, p *Plan, ds *catalog.Dataset, st Standing, until catalog.Instant) error {
	stay := func(reason string) {
		p.Unmovable = append(p.Unmovable, Refusal{Dataset: ds.Name, Shard: st.Shard.Table, Reason: reason})
	}
	mv := Move{Dataset: ds.Name, Shard: st.Shard.Table, From: st.Shard.Range.From.String(), To: st.Shard.Range.To.String(),
		Segment: st.Segment(), Stage: st.Stage().String(), Action: Resume, Rows: st.Rows, Bytes: st.Bytes}
	switch stage := st.Stage(); {
	case st.Shard.Late: // always live, by design, so not worth a line
	case stage == Sealed:
		p.Archived++
	case stage == Broken:
		stay("the parts of live and archive contradict each other: look at strata_part of both")
	case stage == Idle && st.Shard.Range.To > until:
		p.Young++
	case stage != Idle && stage != Copying:
		p.Moves = append(p.Moves, mv)
	case !st.Table:
		stay("live has no such table")
	default:
		reasons, err := m.cfg.Site.Obstacles(ctx, ds, st.Shard)
		if err != nil {
			return fmt.Errorf("look for obstacles of %s: %w", st.Shard.Table, err)
		}
		switch {
		case len(reasons) > 0 && stage == Idle:
			for _, r := range reasons {
				stay(r)
			}
			return nil
		case len(reasons) > 0:
			mv.Action, mv.Reason = Abort, reasons[0]
		case stage == Idle:
			mv.Action = Begin
		}
		p.Moves = append(p.Moves, mv)
	}
	return nil
}

// Run does what the plan lists, in its order. A failed move ends its dataset's moves, not those of others; the error joins
// all. A cancelled context ends the run with Interrupted; what was begun is resumed by the next run.
func (m *Mover) Run(ctx context.Context, p *Plan) (Result, error) {
	began := m.cfg.Now()
	res := Result{Segments: []Segment{}}
	failed := map[string]bool{}
	var errs []error
	for _, mv := range p.Moves {
		if failed[mv.Dataset] {
			continue
		}
		seg, err := m.move(ctx, mv)
		if seg.ID != "" {
			res.Segments = append(res.Segments, seg)
		}
		if err != nil {
			m.stats.Failed++
			failed[mv.Dataset] = true
			errs = append(errs, fmt.Errorf("move %s: %w", mv.Shard, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		if seg.State == StateSealed {
			res.Moved++
			res.Rows += seg.Rows
			m.stats.Moved++
			m.stats.Rows += seg.Rows
		}
	}
	res.Elapsed = m.cfg.Now().Sub(began)
	return res, errors.Join(errs...)
}

// Status is every segment that the control database knows.
func (m *Mover) Status(ctx context.Context) ([]Segment, error) { return m.cfg.Control.Segments(ctx) }

func (m *Mover) dataset(name string) *catalog.Dataset {
	for _, d := range m.cfg.Datasets {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// newToken names one mover's hold of one table.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
