package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/index"
)

const (
	// maxFindings bounds what a report lists of one dataset; the rest is counted.
	maxFindings = 1000
	// maxSuspects bounds the keys that wait to be looked at again: they are in memory.
	maxSuspects = 4_000
	// maxReplans bounds how often a shard that moves is looked for anew.
	maxReplans = 5
	// maxLooks bounds how often a key that keeps changing is read again.
	maxLooks = 5
	// snapshotLimit is how long a snapshot may hold up DDL on its table.
	snapshotLimit = 5 * time.Second
	// defaultSample is one of how many rows Fast compares cell by cell.
	defaultSample = 100
)

// Mode is how rows are compared.
type Mode string

// The modes. Full: by every cell. Fast: by the stored hash of the row, and a sample by every cell.
const (
	Full Mode = "full"
	Fast Mode = "fast"
)

// ParseMode reads a mode's name. Errors: fault.Invalid.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Full, Fast:
		return m, nil
	}
	return "", fault.New(fault.Invalid, "read mode", "there is no mode %q", s).WithHint("the modes are fast and full")
}

// Part is the part of a dataset that is compared: From < key <= To in the order of the primary key, in each shard or in one;
// "" is open.
type Part struct {
	Shard    string
	From, To catalog.Key
}

// Letters says how many dead letters of a dataset are open, and the lowest version among them.
type Letters func(ctx context.Context, dataset string) (open int64, lowest index.Version, err error)

// Config says what is compared. Everything without a default is required.
type Config struct {
	Datasets []*catalog.Dataset
	// View says who owns what, from the stores themselves.
	View func(ctx context.Context, d *catalog.Dataset) (*catalog.View, error)
	// Stores are Readers, one for each store that owns a shard.
	Stores map[catalog.Store]*db.DB
	// Live is a Writer on live: heartbeats of the verifier's own are committed, and the index must reach them.
	Live  *db.DB
	Index index.Reader
	Now   func() time.Time
	// Wait is how long the index may need to reach a heartbeat. 0: 60 s.
	Wait time.Duration
	// MaskKey is the secret of keyed hashes, as capture has it; needed where a dataset has a mask of that kind.
	MaskKey []byte
	// Mode "": Full.
	Mode Mode
	// Sample: Fast compares one of so many rows cell by cell. 0: 100.
	Sample int
	// Turn says which rows these are: each turn has others, until after Sample turns every row was one.
	Turn int64
	// Part is only with one dataset.
	Part Part
	// Queue gives keys to the leader, which sends their rows anew (canal.Desk.Enqueue). nil: nothing is repaired.
	Queue func(ctx context.Context, keys []canal.RepairKey) error
	// Patience is how long keys in the queue may stay as they are before they are left to the leader. 0: 60 s.
	Patience time.Duration
	// Letters are the dead letters; nil: there are none.
	Letters Letters
	// At is asked at every crash point; nil: none.
	At func(point string) error
	// Progress is told rows done and the number expected; nil: none.
	Progress func(done, total int64)
}

// CrashPoints are the names that At is asked with, in the order of the writes.
func CrashPoints() []string {
	return []string{"verify.found", "verify.enqueue", "verify.enqueued", "verify.settle", "verify.settled", "verify.save", "verify.saved",
		"verify.sweep", "verify.swept", "verify.report", "verify.reported"}
}

// complete checks the configuration and fills in its defaults.
func (c *Config) complete() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "configure verify", "no %s", what))
		}
	}
	need(c.View != nil, "view")
	need(len(c.Stores) > 0, "stores")
	need(c.Live != nil, "writer on live")
	need(c.Index != nil, "index")
	need(c.Now != nil, "clock")
	if c.Mode == "" {
		c.Mode = Full
	}
	if _, err := ParseMode(string(c.Mode)); err != nil {
		errs = append(errs, err)
	}
	if c.Part != (Part{}) && len(c.Datasets) != 1 {
		errs = append(errs, fault.New(fault.Invalid, "configure verify", "a shard or keys of %d datasets", len(c.Datasets)).WithHint("name one dataset"))
	}
	if c.Wait <= 0 {
		c.Wait = time.Minute
	}
	if c.Patience <= 0 {
		c.Patience = time.Minute
	}
	if c.Sample <= 0 {
		c.Sample = defaultSample
	}
	if c.At == nil {
		c.At = func(string) error { return nil }
	}
	return errors.Join(errs...)
}

// Once compares the index with its sources and says what differs. An error means that the comparison could not be finished;
// differences are not errors. Errors: Invalid, NotFound (a shard that is not there), Unavailable, Timeout (the index doesn't
// get to the present), Proof (its watermark is frozen).
func Once(ctx context.Context, cfg Config) (Report, error) {
	out := Report{OK: true}
	if err := cfg.complete(); err != nil {
		return Report{}, err
	}
	p := progress{tell: cfg.Progress}
	if p.tell != nil {
		for _, d := range cfg.Datasets {
			n, err := about(ctx, cfg.Index, d, cfg.Part.Shard)
			if err != nil {
				return out, err
			}
			p.total += n
		}
	}
	for _, d := range cfg.Datasets {
		v, err := newVerifier(&cfg, d, &p)
		if err != nil {
			out.OK = false
			return out, err
		}
		err = v.run(ctx)
		r := v.finish()
		out.Datasets, out.OK = append(out.Datasets, r), out.OK && r.OK
		if err != nil {
			out.OK = false
			return out, fmt.Errorf("verify %s: %w", d.Name, err)
		}
	}
	return out, nil
}

// about is how many rows a dataset should have, or one shard of it: the documents that are there.
func about(ctx context.Context, x index.Reader, d *catalog.Dataset, shard string) (int64, error) {
	shards, err := x.Shards(ctx, d.Name)
	if err != nil {
		return 0, err
	}
	if shard != "" {
		shards = []string{shard}
	}
	return x.Count(ctx, index.Search{Dataset: d.Name, Shards: shards})
}

// progress counts over all datasets.
type progress struct {
	tell        func(done, total int64)
	done, total int64
}

func (p *progress) add(n int64) {
	if p.done += n; p.tell != nil {
		p.tell(p.done, max(p.total, p.done))
	}
}
