package verify

import (
	"context"
	"errors"
	"slices"
	"strings"

	"strata/catalog"
	"strata/index"
)

// statementRows bounds one statement of a walk: between two of them the snapshot's age is looked at.
const statementRows = 20_000

// lookupRows is how many keys one lookup in the other side takes.
const lookupRows = 500

// maxSample bounds the rows of one span that wait to be compared cell by cell: they are in memory.
const maxSample = 10_000

// errOrder: the server gave keys in another order than catalog.Compare's.
var errOrder = errors.New("keys are not in catalog order")

// errEnough ends a scan of the index early: the rest is of the next span.
var errEnough = errors.New("enough")

// errBeyond ends a scan of the index at the end of the part that is compared.
var errBeyond = errors.New("beyond the part")

// walk goes through one shard on both sides, span by span. A span counts when it is done; after an error it is done again.
type walk struct {
	v       *verifier
	h       catalog.Holding
	byMerge bool
	after   catalog.Key // last key handled
	scanned catalog.Key // by lookups: last document looked up in the source
	sourced bool        // by lookups: every row of the source was looked up in the index
	sums    *sums
	rows    int64
	docs    int64
	foreign map[catalog.Key]bool // what was out of place, the first of it
}

// span is what one snapshot gave.
type span struct {
	*walk
	after    []byte // as the walk's
	rows     int64
	docs     int64
	sampled  int64
	sums     *sums
	suspects []catalog.Key
	foreign  map[catalog.Key]bool // that outOfPlace was called with; the walk has those of the spans before
	twice    bool                 // a suspect may be there twice
	aliens   []*diff              // documents with ids of their own
	sample   []sampled
	scanned  catalog.Key
	sourced  bool
	docKey   catalog.Row // cells of the document's key in hand
	hasKey   bool
}

// sampled is a row that is compared cell by cell though the mode is fast.
type sampled struct {
	key catalog.Key
	row catalog.Row
}

func (w *walk) run(ctx context.Context) error {
	l, err := w.v.looker(w.h)
	if err != nil {
		return err
	}
	for {
		if k := w.v.keeper; k != nil {
			if err := k.ready(ctx, w.v); err != nil {
				return err
			}
		}
		s := &span{walk: w, after: []byte(w.after), sums: newSums(w.v.d), scanned: w.scanned, sourced: w.sourced}
		done, err := s.run(ctx, l)
		if err != nil {
			return err
		}
		if err := s.close(ctx, l); err != nil {
			return err
		}
		if done {
			return nil
		}
		if k := w.v.keeper; k != nil {
			if err := k.done(ctx, w.v, w); err != nil {
				return err
			}
		}
	}
}

// run compares as much as one snapshot may, and reports whether the shard is finished.
func (s *span) run(ctx context.Context, l *looker) (done bool, err error) {
	snap, err := l.store.Snapshot(ctx, s.v.d, []catalog.Holding{s.h})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	if err := s.v.present(ctx); err != nil { // after the snapshot: the index then has all that the snapshot sees
		return false, err
	}
	began := s.v.cfg.Now()
	src := newSource(ctx, s, snap)
	defer func() {
		err = errors.Join(err, src.close())
		s.v.worked += s.v.cfg.Now().Sub(began)
	}()
	if !s.byMerge {
		return s.lookups(ctx, src)
	}
	if done, err = s.merge(ctx, src); err != nil {
		return false, err
	}
	return done, s.compareSample(ctx)
}

// close judges the span's suspects, has them repaired, and counts the span.
func (s *span) close(ctx context.Context, l *looker) error {
	w, v := s.walk, s.v
	if s.twice {
		slices.Sort(s.suspects)
		s.suspects = slices.Compact(s.suspects)
	}
	if err := s.closeForeign(ctx); err != nil {
		return err
	}
	differ, unsettled, err := l.judge(ctx, s.suspects, func(p *look, doc *index.Stored) error {
		var row *catalog.Row
		if doc != nil {
			row = &doc.Row
		}
		return s.settle(p, row)
	})
	if err != nil {
		return err
	}
	if err := l.repair(ctx, differ); err != nil {
		return err
	}
	for _, x := range differ {
		if x.State == Repaired {
			v.r.Repaired++
		} else {
			v.r.Open++
		}
		if err := s.settle(&x.look, x.doc); err != nil {
			return err
		}
	}
	v.list(differ)
	v.r.Differences += int64(len(differ))
	v.r.Unsettled += unsettled
	v.r.Rechecked += int64(len(s.suspects))
	v.r.Sampled += s.sampled
	w.sums.add(s.sums)
	w.rows, w.docs = w.rows+s.rows, w.docs+s.docs
	w.after, w.scanned, w.sourced = catalog.Key(s.after), s.scanned, s.sourced
	v.progress.add(s.rows)
	return nil
}

// settle adds what each side has to its sums.
func (s *span) settle(p *look, doc *catalog.Row) error {
	if p.there {
		if err := s.sums.count(&p.row, true); err != nil {
			return err
		}
	}
	if doc != nil {
		return s.sums.count(doc, false)
	}
	return nil
}

// doubt notes a key; its text may be of memory that is used again.
func (s *span) doubt(key catalog.Key) {
	s.suspects = append(s.suspects, catalog.Key(strings.Clone(string(key))))
}

// full reports whether the span must end before the walk goes on.
func (s *span) full() bool {
	return len(s.suspects)+len(s.aliens) >= maxSuspects || len(s.sample) >= maxSample
}
