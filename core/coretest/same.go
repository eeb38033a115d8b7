package coretest

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"strata/core"
)

// finish ends what lapses, and compares all that the round left.
func (w *world) finish() {
	w.clock.Set(w.clock.Now().Add(time.Hour))
	w.expire()
	for id := w.base + 1; id < w.base+unknown; id++ {
		w.sameStanding(id)
	}
	for _, id := range w.ids {
		w.sameID(id)
	}
	for _, order := range []string{"o1", "o2"} {
		for _, tenant := range []string{"", "a", "b"} {
			tenant, order := w.tenant(tenant), fmt.Sprintf("%s-%d", order, w.round)
			real, err := w.real.ByOrder(w.ctx, tenant, order)
			w.ok(err)
			model, _ := w.model.ByOrder(w.ctx, tenant, order)
			if fmt.Sprint(set(real)) != fmt.Sprint(set(model)) || len(real) != len(model) {
				w.rt.Fatalf("order %s of %q: %v instead of %v", order, tenant, real, model)
			}
		}
	}
	counts, err := w.real.CountReservations(w.ctx)
	w.ok(err)
	model, _ := w.model.CountReservations(w.ctx)
	for name, n := range model {
		if counts[name]-w.counts[name] != n {
			w.rt.Fatalf("%d reservations more are %s instead of %d", counts[name]-w.counts[name], name, n)
		}
	}
	w.sameEvents()
}

func set(ids []string) map[string]bool {
	m := map[string]bool{}
	for _, id := range ids {
		m[id] = true
	}
	return m
}

func (w *world) sameStanding(id int64) {
	real, err := w.real.Standing(w.ctx, id)
	w.ok(err)
	model, err := w.model.Standing(w.ctx, id)
	w.ok(err)
	if !real.Account.OpenedAt.Equal(model.Account.OpenedAt) || !real.Day.Equal(model.Day) {
		w.rt.Fatalf("%+v instead of %+v", real, model)
	}
	real.Account.OpenedAt, real.Day = model.Account.OpenedAt, model.Day
	if w.shifted[id] {
		real.Account.Entries, real.Account.Buffered, real.Account.Debits, real.Account.Credits = model.Account.Entries, 0, model.Account.Debits, model.Account.Credits
	}
	if !reflect.DeepEqual(real, model) {
		w.rt.Fatalf("account %d:\nledger: %+v\nmodel:  %+v", id, real, model)
	}
}

func (w *world) sameID(id string) {
	real, known, err := w.real.Answer(w.ctx, id)
	w.ok(err)
	model, knownHere, _ := w.model.Answer(w.ctx, id)
	if why := w.differs(real, model); known != knownHere || why != "" {
		w.rt.Fatalf("%s: %+v, %v instead of %+v, %v", id, real, known, model, knownHere)
	}
	r, err := w.real.Reservation(w.ctx, id)
	m, missing := w.model.Reservation(w.ctx, id)
	if (err == nil) != (missing == nil) {
		w.rt.Fatalf("reservation %s: %v instead of %v", id, err, missing)
	}
	same := r.ID == m.ID && r.State == m.State && r.Transfer.Hash() == m.Transfer.Hash() && r.Day.Equal(m.Day) && r.At.Equal(m.At) &&
		r.EndedBy == m.EndedBy && r.EndedAt.Equal(m.EndedAt) && r.LateTrys == m.LateTrys && reflect.DeepEqual(r.Parts, m.Parts) && len(r.Counted) == len(m.Counted)
	if err == nil && !same {
		w.rt.Fatalf("reservation %s:\nledger: %+v\nmodel:  %+v", id, r, m)
	}
}

// sameEvents compares what the feeds have, and empties them.
func (w *world) sameEvents() {
	type fed interface {
		Feed(consumer string) core.Feed
	}
	var events [2]map[string]core.Event
	for i, l := range []core.Full{w.real, w.model} {
		f, ok := l.(fed)
		if !ok {
			return
		}
		all, err := f.Feed(core.ForVouchers).Next(w.ctx, math.MaxInt32)
		w.ok(err)
		events[i] = map[string]core.Event{}
		var ids []string
		for _, e := range all {
			if strings.HasPrefix(e.Transfer.ID, fmt.Sprintf("r%d-", w.round)) {
				events[i][e.Transfer.ID] = e
			}
			ids = append(ids, e.Transfer.ID)
		}
		w.ok(f.Feed(core.ForVouchers).Done(w.ctx, ids))
	}
	if len(events[0]) != len(events[1]) {
		w.rt.Fatalf("%d events instead of %d", len(events[0]), len(events[1]))
	}
	for id, e := range events[0] {
		m := events[1][id]
		why := w.differs(core.Answer{Balances: e.Balances}, core.Answer{Balances: m.Balances})
		if e.Transfer.Hash() != m.Transfer.Hash() || why != "" || !e.AccountingDate.Equal(m.AccountingDate) || !e.PostedAt.Equal(m.PostedAt) {
			w.rt.Fatalf("event %s:\nledger: %+v\nmodel:  %+v", id, e, m)
		}
	}
}
