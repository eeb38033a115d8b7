package mysql

import "strata/core"

// apply answers the fresh items of the batch in their order, chain by chain, and leaves in f what is to be written.
func (f *found) apply(b *batch) {
	ts := make([]*core.Transfer, 0, 1)
	for from, i := 0, 0; i < len(b.items); i++ {
		if b.items[i].linked {
			continue
		}
		chain := b.items[from : i+1]
		from = i + 1
		if !applicable(chain) {
			continue
		}
		ts = ts[:0]
		for _, it := range chain {
			ts = append(ts, it.t)
		}
		for j, a := range f.Apply(ts) {
			chain[j].answer = a
		}
	}
}

// applicable reports whether the chain can be applied. A chain of which an id was known before isn't applied again: what is
// fresh of it is refused.
func applicable(chain []*item) bool {
	fresh := 0
	for _, it := range chain {
		if it.fresh && it.same == nil && it.t.Nameable() {
			fresh++
		}
	}
	if fresh == len(chain) {
		return true
	}
	for _, it := range chain {
		if it.fresh && it.same == nil {
			it.answer = core.LinkedAnswer()
		}
	}
	return false
}
