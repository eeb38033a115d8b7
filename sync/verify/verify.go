package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
)

// Config says what Verify compares. Everything without a default is required.
type Config struct {
	Datasets []*catalog.Dataset
	// View says who owns what, from the stores themselves.
	View func(ctx context.Context, d *catalog.Dataset) (*catalog.View, error)
	// Stores are Readers, one for each store that owns a shard.
	Stores map[catalog.Store]*db.DB
	// Live is a Writer on live: Verify commits heartbeats of its own and waits for the index to reach them.
	Live  *db.DB
	Index index.Reader
	Now   func() time.Time
	// Wait is how long the index may need to reach a heartbeat. 0: 60 s.
	Wait time.Duration
	// MaskKey is the secret of keyed hashes, as capture has it; needed where a dataset has a mask of that kind.
	MaskKey []byte
	// Progress is told rows done and the number expected; nil: none.
	Progress func(done, total int64)
}

// Report is what Verify found.
type Report struct {
	OK       bool            `json:"ok"` // nothing differs, and every row was compared
	Datasets []DatasetReport `json:"datasets"`
}

// DatasetReport is one dataset's part.
type DatasetReport struct {
	Dataset string `json:"dataset"`
	OK      bool   `json:"ok"`
	// Position is the lowest heartbeat that the index had reached for a comparison: every row committed on live before it
	// was compared.
	Position    uint64       `json:"position"`
	Shards      int          `json:"shards"`
	Rows        int64        `json:"rows"`        // of the sources, each compared with its document
	Documents   int64        `json:"documents"`   // of the index, without tombstones
	Rechecked   int64        `json:"rechecked"`   // keys that differed at first sight and were read again
	Differences int64        `json:"differences"` // all of them; Findings lists the first 1,000
	Unsettled   int64        `json:"unsettled"`   // rows that changed at every look, so nothing can be said of them
	Findings    []Difference `json:"findings,omitempty"`
	Sums        []UnitSum    `json:"sums,omitempty"`
}

// Difference is one key where index and source disagree.
type Difference struct {
	Dataset string `json:"dataset"`
	Shard   string `json:"shard"`
	Key     string `json:"key"`
	What    string `json:"what"`
	Source  string `json:"source,omitempty"`
	Index   string `json:"index,omitempty"`
}

// UnitSum is the sum of a money column in one unit, in minor units, from both sides.
type UnitSum struct {
	Column string `json:"column"`
	Unit   string `json:"unit"`
	Source string `json:"source"`
	Index  string `json:"index"`
	OK     bool   `json:"ok"`
}

// Verify compares the index with its sources, row by row, and says what differs. An error means that the comparison
// could not be finished; differences are not errors. Errors: Invalid, Unavailable, Timeout (the index doesn't get to the
// present), Proof (its watermark is frozen).
func Verify(ctx context.Context, cfg Config) (Report, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "configure verify", "no %s", what))
		}
	}
	need(cfg.View != nil, "view")
	need(len(cfg.Stores) > 0, "stores")
	need(cfg.Live != nil, "writer on live")
	need(cfg.Index != nil, "index")
	need(cfg.Now != nil, "clock")
	if err := errors.Join(errs...); err != nil {
		return Report{}, err
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 60 * time.Second
	}
	out := Report{OK: true}
	p := progress{tell: cfg.Progress}
	if p.tell != nil {
		for _, d := range cfg.Datasets {
			shards, err := cfg.Index.Shards(ctx, d.Name)
			if err != nil {
				return out, err
			}
			n, err := cfg.Index.Count(ctx, index.Search{Dataset: d.Name, Shards: shards})
			if err != nil {
				return out, err
			}
			p.total += n
		}
	}
	for _, d := range cfg.Datasets {
		v, err := newVerifier(cfg, d, &p)
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

// verifier compares one dataset.
type verifier struct {
	cfg      Config
	d        *catalog.Dataset
	keys     []int
	sort     []catalog.Sort // by the key columns
	progress *progress
	r        DatasetReport
	sums     *sums
	scratch  []byte
	masker   *catalog.Masker // nil: no masks
	masked   catalog.Row
}

func newVerifier(cfg Config, d *catalog.Dataset, p *progress) (*verifier, error) {
	masker, err := catalog.NewMasker(d, cfg.MaskKey)
	if err != nil {
		return nil, err
	}
	v := &verifier{cfg: cfg, d: d, keys: d.KeyIndexes(), progress: p, r: DatasetReport{Dataset: d.Name}, sums: newSums(d), masker: masker}
	for _, k := range v.keys {
		v.sort = append(v.sort, catalog.Sort{Index: k, Type: d.Columns[k].Type})
	}
	return v, nil
}

// mask puts the row that the index must have in the place of the source's.
func (v *verifier) mask(row *catalog.Row) {
	if v.masker == nil {
		return
	}
	v.masker.Apply(row, &v.masked)
	*row, v.masked = v.masked, *row
}

func (v *verifier) finish() DatasetReport {
	v.r.Sums = v.sums.report()
	v.r.OK = v.r.Differences == 0 && v.r.Unsettled == 0 && !slices.ContainsFunc(v.r.Sums, func(s UnitSum) bool { return !s.OK })
	return v.r
}

func (v *verifier) run(ctx context.Context) error {
	for _, c := range v.sort {
		switch c.Type.Kind {
		case catalog.Enum, catalog.Set, catalog.JSON, catalog.Bit, catalog.Spatial:
			return fault.New(fault.Invalid, "verify", "key column %s is of type %s, by which the server can't be read in pieces",
				v.d.Columns[c.Index].Name, c.Type.Kind)
		}
	}
	view, err := v.cfg.View(ctx, v.d)
	if err != nil {
		return err
	}
	for _, h := range view.Holdings {
		if err := v.shard(ctx, h); err != nil {
			return fmt.Errorf("shard %s: %w", h.Shard.Table, err)
		}
		v.r.Shards++
	}
	return v.strays(ctx, view)
}

// shard compares one shard, following it when it moves.
func (v *verifier) shard(ctx context.Context, h catalog.Holding) error {
	w := &walk{v: v, h: h, sums: newSums(v.d), byMerge: v.mergeable()}
	for replans := 0; ; {
		err := w.run(ctx)
		switch {
		case err == nil:
			w.tell()
			v.sums.add(w.sums)
			v.r.Rows, v.r.Documents = v.r.Rows+w.rows, v.r.Documents+w.docs
			return nil
		case errors.Is(err, errOrder): // the server's order isn't ours: begin again, by lookups
			v.progress.add(-w.told)
			w = &walk{v: v, h: w.h, sums: newSums(v.d)}
			continue
		case !fault.Is(err, fault.Stale) || replans == maxReplans:
			return err
		}
		replans++
		view, err := v.cfg.View(ctx, v.d)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(view.Holdings, func(n catalog.Holding) bool { return n.Shard.Table == h.Shard.Table })
		if i < 0 {
			return fault.New(fault.Stale, "verify", "nobody owns it any more")
		}
		w.h = view.Holdings[i]
	}
}

// mergeable reports whether the server should order keys as catalog.Compare does.
func (v *verifier) mergeable() bool {
	for _, s := range v.sort {
		if c := v.d.Columns[s.Index]; !c.Sortable() {
			return false
		}
	}
	return true
}

// strays finds documents of shards that nobody owns.
func (v *verifier) strays(ctx context.Context, view *catalog.View) error {
	shards, err := v.cfg.Index.Shards(ctx, v.d.Name)
	if err != nil {
		return err
	}
	for _, name := range shards {
		if slices.ContainsFunc(view.Holdings, func(h catalog.Holding) bool { return h.Shard.Table == name }) {
			continue
		}
		err := v.cfg.Index.Scan(ctx, v.d.Name, name, "", func(s *index.Stored) error {
			if s.Deleted {
				return nil
			}
			v.r.Documents++
			v.find(name, s.Key, "extra in the index: nobody owns its shard", "", "there")
			return v.sums.count(&s.Row, false)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) find(shard string, key catalog.Key, what, source, idx string) {
	if v.r.Differences++; v.r.Differences <= maxFindings {
		v.r.Findings = append(v.r.Findings, Difference{v.d.Name, shard, string(key), what, source, idx})
	}
}

// present commits a heartbeat and waits until the index has reached it: it then has everything that a read begun before
// the call saw.
func (v *verifier) present(ctx context.Context) error {
	beat, err := db.Beat(ctx, v.cfg.Live, catalog.At(v.cfg.Now()))
	if err != nil {
		return err
	}
	if err := awaitIndex(ctx, v.cfg.Index, v.d, beat.Seq, v.cfg.Wait); err != nil {
		return err
	}
	if v.r.Position == 0 || beat.Seq < v.r.Position {
		v.r.Position = beat.Seq
	}
	return nil
}

// awaitIndex asks for the watermarks until all partitions are at the heartbeat.
func awaitIndex(ctx context.Context, x index.Reader, d *catalog.Dataset, beat uint64, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		marks, err := x.Watermarks(ctx, d.Name)
		if err != nil {
			return err
		}
		behind := int(d.Partitions) - len(marks)
		for _, m := range marks {
			if m.Heartbeat >= beat {
				continue
			}
			if behind++; m.Frozen != "" {
				return frozen(m)
			}
		}
		if behind <= 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.New(fault.KindOf(ctx.Err()), "wait for index of "+d.Name, "%d partitions are behind heartbeat %d: %w", behind, beat, ctx.Err()).
				WithHint("are canal and sync running? `strata sync status` shows how far the index is")
		}
	}
}

// frozen is what a frozen watermark means to who waits for it.
func frozen(m index.Watermark) error {
	return fault.New(fault.Proof, "wait for index of "+m.Dataset, "partition %d is frozen at heartbeat %d: %s", m.Partition, m.Heartbeat, m.Frozen).
		WithHint("changes are missing, which are repaired from the source: `strata canal tasks` shows how far that is; where there is none, "+
			"`strata canal rewind %s --why …` begins it", m.Dataset)
}
