package core_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"strata/core"
	"strata/core/coretest"
)

// replay derives everything that the engine has again.
func (e *engine) replay() core.ReplayReport {
	r := core.NewReplay()
	entries := slices.Clone(e.entries)
	rand.Shuffle(len(entries), func(i, k int) { entries[i], entries[k] = entries[k], entries[i] })
	for _, entry := range entries {
		r.AddEntry(entry)
	}
	for _, rows := range e.buffer {
		for _, row := range rows {
			r.AddBuffered(row)
		}
	}
	for _, a := range e.accounts {
		r.AddAccount(a)
	}
	for _, funds := range e.funds {
		for _, f := range funds {
			r.AddFund(f)
		}
	}
	for _, k := range e.reservations {
		res := e.reservation(k)
		r.AddReservation(&res)
	}
	return r.Report()
}

// story is a small ledger with everything in it.
func story(t *testing.T) *engine {
	clock := &core.Clock{}
	clock.Set(coretest.Start())
	e := openEngine(t, clock)
	strategy := core.Strategy{Name: "s", Default: "cash", Natures: []core.NatureRule{{Name: "bonus"}, {Name: "cash"}}}
	if _, err := e.PutSettings(t.Context(), 0, core.Settings{Strategies: []core.Strategy{strategy}}, "ops", ""); err != nil {
		t.Fatal(err)
	}
	accounts := []core.Account{{ID: 1, Unit: "CNY"}, {ID: 2, Unit: "CNY", Strategy: "s"}, {ID: 3, Unit: "CNY", Strategy: "s"}, {ID: 4, Unit: "CNY"}}
	if err := e.Open(t.Context(), accounts); err != nil {
		t.Fatal(err)
	}
	if err := e.SwitchMode(t.Context(), 4, core.Buffered, 0); err != nil {
		t.Fatal(err)
	}
	legs := func(pairs ...int64) (out []core.Leg) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, core.Leg{Account: pairs[i], Unit: "CNY", Amount: pairs[i+1]})
		}
		return out
	}
	first := legs(1, -70, 2, 50, 2, 20)
	first[1].Nature = "bonus"
	answers, err := e.Post(t.Context(), []core.Transfer{
		{ID: "a", Kind: "k", OrderTime: clock.Now(), Legs: first},
		{ID: "b", Kind: "k", OrderTime: clock.Now(), Legs: legs(2, -60, 3, 60)},
		{ID: "c", Kind: "k", OrderTime: clock.Now(), Action: core.Try, Legs: legs(3, -55, 2, 55)},
		{ID: "d", Kind: "k", OrderTime: clock.Now(), Legs: legs(1, -9, 4, 9)}})
	if err != nil || slices.ContainsFunc(answers, func(a core.Answer) bool { return a.Outcome != core.Applied }) {
		t.Fatalf("%+v, %v", answers, err)
	}
	return e
}

func TestReplay(t *testing.T) {
	if r := story(t).replay(); r.Problems != 0 || r.Accounts != 4 || r.Entries != 6 {
		t.Fatalf("%+v", r)
	}
	edit := func(e *engine, account, seq int64, do func(*core.Entry)) {
		i := slices.IndexFunc(e.entries, func(x core.Entry) bool { return x.Account == account && x.Seq == seq })
		do(&e.entries[i])
	}
	for name, c := range map[string]struct {
		change func(*engine)
		names  string
	}{
		"a cent in a balance":     {func(e *engine) { a := e.accounts[1]; a.Balance++; e.accounts[1] = a }, "account 1: balance is -78 instead of -79"},
		"a cent in debits":        {func(e *engine) { a := e.accounts[1]; a.Debits++; e.accounts[1] = a }, "account 1: debits is 80 instead of 79"},
		"a cent in credits":       {func(e *engine) { a := e.accounts[3]; a.Credits--; e.accounts[3] = a }, "account 3: credits is 59 instead of 60"},
		"a cent in an amount":     {func(e *engine) { edit(e, 2, 3, func(x *core.Entry) { x.Amount++ }) }, "account 2 entry 3"},
		"a cent before":           {func(e *engine) { edit(e, 2, 3, func(x *core.Entry) { x.Before++ }) }, "account 2 entry 3: balance_before is 71 instead of 70"},
		"a cent after":            {func(e *engine) { edit(e, 2, 1, func(x *core.Entry) { x.After-- }) }, "account 2 entry 1: balance_after is 49"},
		"a cent in a fund":        {func(e *engine) { f := e.funds[3]["cash"]; f.Balance++; e.funds[3]["cash"] = f }, "account 3 fund cash: balance is 11 instead of 10"},
		"a cent that is pending":  {func(e *engine) { f := e.funds[3]["cash"]; f.Pending++; e.funds[3]["cash"] = f }, "account 3 fund cash: pending is 6 of 10 instead of 5"},
		"a cent held":             {func(e *engine) { a := e.accounts[2]; a.PendingCredits--; e.accounts[2] = a }, "account 2: pending_credits is 54 instead of 55"},
		"a cent between natures":  {func(e *engine) { edit(e, 2, 3, func(x *core.Entry) { x.Parts[0].Amount++ }) }, "account 2 entry 3: its funds sum to -59 instead of -60"},
		"an entry that is gone":   {func(e *engine) { e.entries = e.entries[1:] }, "account 1 entry 2: number 1 is missing"},
		"an entry twice":          {func(e *engine) { e.entries = append(e.entries, e.entries[0]) }, "account 1 entry 1: number 2 is missing, or there twice"},
		"a leg twice":             {func(e *engine) { edit(e, 2, 3, func(x *core.Entry) { x.Leg = 1 }) }, "transfer b leg 0 is missing"},
		"a row of the buffer":     {func(e *engine) { delete(e.buffer, 4) }, "transfer d: its legs sum to -9 in CNY instead of 0"},
		"an account that is gone": {func(e *engine) { delete(e.accounts, 3) }, "account 3 has 1 entries, 2 funds and no row"},
		"another unit":            {func(e *engine) { edit(e, 2, 3, func(x *core.Entry) { x.Unit = "USD" }) }, "account 2 entry 3 is in USD instead of CNY"},
		"more than there was": {func(e *engine) {
			edit(e, 2, 3, func(x *core.Entry) { x.Parts = []core.Part{{Nature: "bonus", Amount: -60}} })
		}, "account 2 entry 3: -60 of bonus after 50"},
	} {
		t.Run(name, func(t *testing.T) {
			e := story(t)
			c.change(e)
			if r := e.replay(); r.Problems == 0 || !strings.Contains(strings.Join(r.Findings, "\n"), c.names) {
				t.Fatalf("%q is not named: %+v", c.names, r)
			}
		})
	}
}

// content is all that a batch holds, but for what is counted when a chain is refused.
func content(b *core.Batch) string {
	var s strings.Builder
	dump := func(m any) {
		v := reflect.ValueOf(m)
		rows := map[string]string{}
		for _, k := range v.MapKeys() {
			x := v.MapIndex(k)
			if x.Kind() == reflect.Pointer {
				x = x.Elem()
			}
			if r, ok := x.Interface().(core.Reservation); ok {
				r.LateTrys = 0
				x = reflect.ValueOf(r)
			}
			rows[fmt.Sprint(k)] = fmt.Sprintf("%+v", x)
		}
		fmt.Fprintln(&s, rows) // sorted by key
	}
	for _, m := range []any{b.Accounts, b.Funds, b.Uses, b.Reservations, b.Originals, b.Changes.Accounts, b.Changes.Funds, b.Changes.Uses, b.Changes.Reversed} {
		dump(m)
	}
	fmt.Fprintf(&s, "%+v %+v", b.Changes.Entries, b.Changes.Buffered)
	return s.String()
}
