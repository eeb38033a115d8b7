package mysql

import (
	"maps"

	"strata/core"
)

// maxKnown bounds the account states that a lane keeps: about 100 bytes each.
const maxKnown = 200_000

// guess applies the batch to copies of the states that this lane left last, and answers the items; nil where it does not
// know an account.
func (l *Ledger) guess(b *batch) *found {
	g := &found{book: core.Book{}}
	for _, it := range b.items {
		if it.same == nil && it.t.Nameable() {
			g.fresh = append(g.fresh, it)
		}
	}
	g.order = wanted(g.fresh)
	for _, id := range g.order {
		a := l.lane.known[id]
		if a == nil {
			return nil
		}
		copied := *a
		g.book[id] = &copied
	}
	l.apply(g, b.now)
	return g
}

// agrees reports whether what was locked is what the guess started from.
func (l *lane) agrees(f *found) bool {
	for _, id := range f.order {
		a, b := f.book[id], l.known[id]
		if a == nil || b == nil || a.Unit != b.Unit || a.Balance != b.Balance || a.Entries != b.Entries {
			return false
		}
		if (a.MinBalance == nil) != (b.MinBalance == nil) || a.MinBalance != nil && *a.MinBalance != *b.MinBalance {
			return false
		}
	}
	return true
}

// remember keeps the states that a committed batch left.
func (l *lane) remember(f *found) {
	if len(l.known)+len(f.book) > maxKnown {
		l.known = core.Book{}
	}
	maps.Copy(l.known, f.book)
}
