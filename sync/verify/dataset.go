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
)

// keeper is told what a verifier does as it goes on, and may hold it up. A Runner's writes everything down.
type keeper interface {
	// ready is called before each span: the source and the index may be read.
	ready(ctx context.Context, v *verifier) error
	// found is called with differences before their keys are queued, settled with the same when it is known what became of them.
	found(ctx context.Context, list []*diff, queued bool) error
	settled(ctx context.Context, list []*diff) error
	// done is called after each span, with w the walk that goes on, or nil after the last span of a shard.
	done(ctx context.Context, v *verifier, w *walk) error
	// passed is called when a shard was gone through from its first document to its last, with the foreign documents that it has.
	passed(ctx context.Context, v *verifier, shard string, foreign map[catalog.Key]bool) error
}

// verifier compares one dataset.
type verifier struct {
	cfg      *Config
	d        *catalog.Dataset
	keys     []int
	sort     []catalog.Sort // by the key columns
	fast     bool
	progress *progress
	r        DatasetReport
	sums     *sums
	masker   *catalog.Masker // nil: no masks
	worked   time.Duration   // at reading and comparing, since the keeper looked
	masked   catalog.Row
	scratch  []byte
	upTo     *catalog.Row // the key cells of the part's end; nil: open
	spanRows int          // bounds a span; 0: no bound but its snapshot's age
	past     []string     // shards that are compared
	begun    *walk        // a shard that was begun by another process; nil: none
	deaf     bool         // keys were queued, and nobody repaired one: those after them are not waited for
	keeper   keeper       // nil: nobody
}

func newVerifier(cfg *Config, d *catalog.Dataset, p *progress) (*verifier, error) {
	masker, err := catalog.NewMasker(d, cfg.MaskKey)
	if err != nil {
		return nil, err
	}
	v := &verifier{cfg: cfg, d: d, keys: d.KeyIndexes(), fast: cfg.Mode == Fast, progress: p, sums: newSums(d), masker: masker,
		r: DatasetReport{Dataset: d.Name, Mode: cfg.Mode, SumsOf: OfBoth}}
	if v.fast {
		v.r.SumsOf = OfSource
	}
	for _, k := range v.keys {
		v.sort = append(v.sort, catalog.Sort{Index: k, Type: d.Columns[k].Type})
	}
	if cfg.Part.To != "" {
		if v.upTo, err = v.rowOf(cfg.Part.To); err != nil {
			return nil, err
		}
	}
	if cfg.Part.From != "" {
		if _, err := v.rowOf(cfg.Part.From); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// rowOf is a row with the cells of a key; the others are NULL. Errors: fault.Invalid.
func (v *verifier) rowOf(key catalog.Key) (*catalog.Row, error) {
	cells, err := key.Cells()
	if err != nil {
		return nil, err
	}
	if len(cells) != len(v.keys) {
		return nil, fault.New(fault.Invalid, "read key", "%q has %d cells, the key of %s has %d", string(key), len(cells), v.d.Name, len(v.keys))
	}
	row := new(catalog.Row)
	for i := range v.d.Columns {
		k := slices.Index(v.keys, i)
		if k < 0 {
			row.AppendNull()
			continue
		}
		if err := catalog.CheckCell(v.d.Columns[i].Type, cells[k]); err != nil {
			return nil, fault.New(fault.Invalid, "read key "+string(key), "column %s: %w", v.d.Columns[i].Name, err)
		}
		row.AppendString(cells[k])
	}
	return row, nil
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
	v.r.Sums = v.sums.report(v.r.SumsOf)
	v.r.conclude()
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
	if name := v.cfg.Part.Shard; name != "" && !slices.ContainsFunc(view.Holdings, func(h catalog.Holding) bool { return h.Shard.Table == name }) {
		return fault.New(fault.NotFound, "verify", "nobody owns a shard %q", name).WithHint("strata catalog show lists them")
	}
	for _, h := range view.Holdings {
		if name := v.cfg.Part.Shard; name != "" && h.Shard.Table != name || slices.Contains(v.past, h.Shard.Table) {
			continue
		}
		if err := v.shard(ctx, h); err != nil {
			return fmt.Errorf("shard %s: %w", h.Shard.Table, err)
		}
		v.r.Shards++
		v.past = append(v.past, h.Shard.Table)
		if v.keeper != nil {
			if err := v.keeper.done(ctx, v, nil); err != nil {
				return err
			}
		}
	}
	if v.cfg.Part == (Part{}) {
		if err := v.strays(ctx, view); err != nil {
			return err
		}
	}
	if v.cfg.Letters != nil {
		v.r.Letters, _, err = v.cfg.Letters(ctx, v.d.Name)
	}
	return err
}

// shard compares one shard, following it when it moves.
func (v *verifier) shard(ctx context.Context, h catalog.Holding) error {
	w := &walk{v: v, h: h, sums: newSums(v.d), byMerge: v.mergeable(), after: v.cfg.Part.From, foreign: map[catalog.Key]bool{}}
	whole := v.cfg.Part == (Part{Shard: v.cfg.Part.Shard})
	if b := v.begun; b != nil && b.h.Shard.Table == h.Shard.Table {
		b.h, w, whole = h, b, false
	}
	v.begun = nil
	for replans := 0; ; {
		if !w.byMerge && v.cfg.Part != (Part{Shard: v.cfg.Part.Shard}) {
			return fault.New(fault.Invalid, "verify", "the server orders its keys otherwise than strata, so there is no range of them").
				WithHint("verify the whole shard, without --from and --to")
		}
		err := w.run(ctx)
		switch {
		case err == nil:
			v.sums.add(w.sums)
			v.r.Rows, v.r.Documents = v.r.Rows+w.rows, v.r.Documents+w.docs
			if v.keeper == nil || !whole || len(w.foreign) >= maxSuspects {
				return nil
			}
			return v.keeper.passed(ctx, v, h.Shard.Table, w.foreign)
		case errors.Is(err, errOrder): // the server's order isn't ours: begin again, by lookups
			v.progress.add(-w.rows)
			w = &walk{v: v, h: w.h, sums: newSums(v.d), foreign: w.foreign}
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

// list adds differences to the report's findings, as far as there is room.
func (v *verifier) list(list []*diff) {
	for _, x := range list {
		if len(v.r.Findings) < maxFindings {
			v.r.Findings = append(v.r.Findings, x.Difference)
		}
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
