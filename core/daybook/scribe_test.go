package daybook

import (
	"fmt"
	"testing"
	"time"

	"strata/core"
)

// scribe applies transfers in memory and writes all rows that a ledger would leave, those of features that need none of the
// ledger's speed among them.
type scribe struct {
	r        *rig
	b        *core.Batch
	reversed map[string]bool
	buffer   []core.Entry
	at       map[string]time.Time
}

func newScribe(t testing.TB, r *rig, settings core.Settings, accounts []core.Account) *scribe {
	t.Helper()
	rules, err := core.Compile(settings)
	if err != nil {
		t.Fatal(err)
	}
	body, err := settings.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &scribe{r: r, reversed: map[string]bool{}, at: map[string]time.Time{}, b: &core.Batch{Rules: rules, Day: day(0), Now: r.clock.Now(), Horizon: core.DefaultHorizon,
		Accounts: map[int64]*core.Account{}, Funds: map[core.FundKey]*core.Fund{}, Uses: map[core.UseKey]*core.Use{},
		Reservations: map[string]*core.Reservation{}, Originals: map[string]*core.Original{}}}
	r.exec(t, "INSERT INTO setting (version, body, author, reason, at) VALUES (1,?,'a','b',?)", string(body), micros(day(0)))
	r.exec(t, "UPDATE day SET settings=1, modes=1")
	for _, a := range accounts {
		s.b.Accounts[a.ID] = &a
	}
	if err := r.ledger.EnsureShards(t.Context(), day(-60), day(20)); err != nil {
		t.Fatal(err)
	}
	return s
}

func micros(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") }

// post applies one transfer a second later and writes its own rows.
func (s *scribe) post(t testing.TB, x core.Transfer, want core.Outcome) core.Answer {
	t.Helper()
	s.r.clock.Set(s.r.clock.Now().Add(time.Second))
	s.b.Now = s.r.clock.Now()
	if x.OrderTime.IsZero() {
		x.OrderTime = s.b.Now.Add(-time.Minute)
	}
	s.renew()
	s.b.Needs([]*core.Transfer{&x})
	a := s.b.Apply([]*core.Transfer{&x})[0]
	if a.Outcome != want {
		t.Fatalf("transfer %s: %+v", x.ID, a)
	}
	if o := core.OriginalOf(x.ID, a); o != nil {
		s.b.Originals[x.ID] = o
	}
	hash := x.Hash()
	now, ordered := micros(s.b.Now), micros(x.OrderTime)
	s.r.exec(t, "INSERT INTO transfer_id (id, body_hash, outcome, answer, order_time, posted_at) VALUES (?,?,?,?,?,?)", x.ID, hash[:], a.Outcome.String(), string(a.AppendJSON(nil)), ordered, now)
	if x.Order != "" {
		s.r.exec(t, "INSERT INTO merchant_order (tenant, merchant_order, transfer_id, posted_at) VALUES (?,?,?,?)", x.Tenant, x.Order, x.ID, micros(s.b.Now.Add(time.Microsecond)))
	}
	if want != core.Applied || x.Action == core.Try || x.Action == core.Cancel {
		return a
	}
	booked := s.b.Booked(&x, &a)
	unit, amount := booked.Total()
	shard := x.OrderTime.Format("transfer_200601")
	s.r.exec(t, "INSERT INTO "+shard+" (id, kind, order_time, accounting_date, posted_at, legs, unit, amount, memo, action, of_id, business_date, tenant, merchant_order, product, metadata) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		x.ID, x.Kind, ordered, dateOf(s.b.Day), now, len(booked.Legs), unit, amount, x.Memo, x.Action.String(), x.Of, dateOf(x.Day()), x.Tenant, x.Order, x.Product, x.Metadata)
	for _, e := range s.b.Changes.Entries {
		s.entry(t, e, dateOf(s.b.Day), ordered, now)
	}
	for _, e := range s.b.Changes.Buffered {
		s.buffer = append(s.buffer, e)
		s.at[e.Transfer] = s.b.Now
		s.r.exec(t, "INSERT INTO buffer (account_id, transfer_id, leg, unit, amount, funds, accounting_date, order_time, posted_at) VALUES (?,?,?,?,?,?,?,?,?)",
			e.Account, e.Transfer, e.Leg, e.Unit, e.Amount, string(core.AppendParts(nil, e.Parts)), dateOf(s.b.Day), ordered, now)
	}
	ev := core.Event{Transfer: booked, Balances: a.Balances, AccountingDate: s.b.Day, PostedAt: s.b.Now}
	s.r.exec(t, "INSERT INTO outbox (consumer, transfer_id, posted_at, body) VALUES ('voucher',?,?,?)", x.ID, now, string(core.AppendEvent(nil, &ev)))
	if x.Action == core.Reverse {
		s.reversed[x.Of] = true
	}
	return a
}

func (s *scribe) entry(t testing.TB, e core.Entry, date, ordered, posted string) {
	t.Helper()
	shard := "entry_" + date[:4] + date[5:7]
	s.r.exec(t, "INSERT INTO "+shard+" (account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at, funds) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
		e.Account, e.Seq, e.Transfer, e.Leg, e.Unit, e.Amount, e.Before, e.After, date, ordered, posted, string(core.AppendParts(nil, e.Parts)))
}

// renew begins a batch.
func (s *scribe) renew() {
	s.b = &core.Batch{Rules: s.b.Rules, Day: s.b.Day, Now: s.b.Now, Horizon: s.b.Horizon, Accounts: s.b.Accounts, Funds: s.b.Funds, Uses: s.b.Uses,
		Reservations: s.b.Reservations, Originals: s.b.Originals}
}

// merge books the first half of the buffer of account 2, at least one row, with the dates that the rows have.
func (s *scribe) merge(t testing.TB) {
	t.Helper()
	n := (len(s.buffer) + 1) / 2
	s.renew()
	if no := s.b.Merge(2, s.buffer[:n]); no != nil {
		t.Fatal(no)
	}
	for _, e := range s.b.Changes.Entries {
		where := " FROM buffer WHERE transfer_id=? AND leg=?"
		s.entry(t, e, s.r.text(t, "SELECT accounting_date"+where, e.Transfer, e.Leg), s.r.text(t, "SELECT order_time"+where, e.Transfer, e.Leg),
			s.r.text(t, "SELECT posted_at"+where, e.Transfer, e.Leg))
		s.r.exec(t, "DELETE"+where, e.Transfer, e.Leg)
	}
	s.buffer = s.buffer[n:]
	s.state(t)
}

// state writes the rows that are changed in place.
func (s *scribe) state(t testing.TB) {
	t.Helper()
	for _, table := range []string{"account", "account_mode", "fund", "limit_use", "reservation", "reversed"} {
		s.r.exec(t, "DELETE FROM "+table)
	}
	for _, a := range s.b.Accounts {
		s.r.exec(t, "INSERT INTO account (id, name, tenant, unit, side, state, mode, strategy, parent, balance, debits, credits, pending_debits, pending_credits, entries, opened_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
			a.ID, a.Name, a.Tenant, a.Unit, a.Side.String(), a.State.String(), a.Mode.String(), a.Strategy, a.Parent, a.Balance, a.Debits, a.Credits, a.PendingDebits, a.PendingCredits, a.Entries, micros(day(0)))
		if a.Mode != core.RealTime {
			s.r.exec(t, "INSERT INTO account_mode (account_id, mode, state) VALUES (?,?,?)", a.ID, a.Mode.String(), a.State.String())
		}
	}
	for _, f := range s.b.Funds {
		s.r.exec(t, "INSERT INTO fund (account_id, nature, balance, pending) VALUES (?,?,?,?)", f.Account, f.Nature, f.Balance, f.Pending)
	}
	for _, u := range s.b.Uses {
		s.r.exec(t, "INSERT INTO limit_use (name, subject, period, amount, count) VALUES (?,?,?,?,?)", u.Limit, u.Subject, u.Period, u.Amount, u.Count)
	}
	null := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return micros(at)
	}
	for _, v := range s.b.Reservations {
		body := ""
		if v.State != core.Fenced {
			body = string(core.AppendReservation(nil, v))
		}
		s.r.exec(t, "INSERT INTO reservation (id, state, body, day, at, expires, ended_by, ended_at, late_trys) VALUES (?,?,?,?,?,?,?,?,?)", v.ID, v.State.String(),
			body, dateOf(v.Day), micros(v.At), null(v.Transfer.Expires), v.EndedBy, null(v.EndedAt), v.LateTrys)
	}
	for id := range s.reversed {
		for i, n := range s.b.Originals[id].Reversed {
			s.r.exec(t, "INSERT INTO reversed (transfer_id, leg, amount) VALUES (?,?,?)", id, i, n)
		}
	}
}

func legs(unit string, pairs ...int64) (out []core.Leg) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, core.Leg{Account: pairs[i], Unit: unit, Amount: pairs[i+1]})
	}
	return out
}

// story is a ledger in which everything happened: posts of all forms, a buffered account with and without a merge, natures,
// reservations in every state, reversals in whole and in part, limits, order numbers, three frozen days and an open one.
func story(t testing.TB) (*rig, *scribe) {
	t.Helper()
	r := newRig(t, nil)
	most := int64(1_000_000_000)
	s := newScribe(t, r, core.Settings{
		Limits:     []core.Limit{{Name: "daily", Scope: "account", Unit: "CNY", Per: "day", MaxAmount: &most}, {Name: "monthly", Scope: "tenant", Unit: "CNY", Per: "month", MaxAmount: &most, Kinds: []string{"order"}}},
		Strategies: []core.Strategy{{Name: "wallet", Default: "cash", Natures: []core.NatureRule{{Name: "bonus", Kinds: []string{"order", "payment"}}, {Name: "cash"}}}},
	}, []core.Account{
		{ID: 1, Name: "bank", Unit: "CNY", Side: core.DebitSide}, {ID: 2, Name: "shop", Unit: "CNY", Mode: core.Buffered}, {ID: 3, Name: "wallet", Unit: "CNY", Strategy: "wallet"},
		{ID: 4, Name: "user", Unit: "CNY"}, {ID: 5, Name: "fees", Unit: "CNY"}, {ID: 6, Name: "points issued", Unit: "POINT"}, {ID: 7, Name: "points", Unit: "POINT"}, {ID: 8, Name: "wallet 2", Unit: "CNY", Strategy: "wallet"},
	})
	step := func(date int) {
		s.b.Day = day(date)
		s.r.clock.Set(day(date).Add(10 * time.Hour))
	}
	ok := core.Applied
	s.post(t, core.Transfer{ID: "open-3", Kind: "topup", Memo: "期初", Legs: legs("CNY", 1, -500_000, 3, 500_000)}, ok)
	s.post(t, core.Transfer{ID: "open-4", Kind: "topup", Legs: legs("CNY", 1, -800_000, 4, 800_000)}, ok)
	bonus := legs("CNY", 5, -7_000, 3, 7_000)
	bonus[1].Nature = "bonus"
	s.post(t, core.Transfer{ID: "bonus", Kind: "gift", Legs: bonus}, ok)
	step(1)
	s.post(t, core.Transfer{ID: "order-1", Kind: "order", Tenant: "acme", Order: "N1", Product: "book", Metadata: `{"a": 1}`, Memo: "a book", BusinessDate: day(0),
		Legs: append(legs("CNY", 3, -9_900, 2, 9_800, 5, 100), legs("POINT", 6, -99, 7, 99)...)}, ok)
	s.post(t, core.Transfer{ID: "order-2", Kind: "order", Tenant: "acme", Order: "N2", Legs: legs("CNY", 4, -20_000, 2, 19_000, 5, 1_000)}, ok)
	s.post(t, core.Transfer{ID: "late", Kind: "payment", OrderTime: day(0).Add(-40 * 24 * time.Hour), Legs: legs("CNY", 4, -11, 5, 11)}, ok)
	s.merge(t)
	step(2)
	s.post(t, core.Transfer{ID: "try-1", Kind: "order", Tenant: "acme", Order: "N3", Action: core.Try, Legs: legs("CNY", 3, -1_000, 4, 700, 5, 300)}, ok)
	s.post(t, core.Transfer{ID: "confirm-1", Kind: "order", Tenant: "acme", Action: core.Confirm, Of: "try-1"}, ok)
	s.post(t, core.Transfer{ID: "try-2", Kind: "order", Action: core.Try, Legs: legs("CNY", 4, -1_000, 8, 700, 5, 300)}, ok)
	s.post(t, core.Transfer{ID: "confirm-2", Kind: "order", Action: core.Confirm, Of: "try-2", Legs: legs("CNY", 4, -600, 8, 600, 5, 0)}, ok)
	s.post(t, core.Transfer{ID: "try-3", Kind: "order", Action: core.Try, Expires: day(9), Legs: legs("CNY", 3, -5_000, 4, 5_000)}, ok)
	s.post(t, core.Transfer{ID: "cancel-3", Kind: "order", Action: core.Cancel, Of: "try-3"}, ok)
	s.post(t, core.Transfer{ID: "cancel-x", Kind: "order", Action: core.Cancel, Of: "try-x"}, ok)
	s.post(t, core.Transfer{ID: "try-x", Kind: "order", Action: core.Try, Legs: legs("CNY", 3, -5_000, 4, 5_000)}, core.Refused)
	s.post(t, core.Transfer{ID: "poor", Kind: "order", Tenant: "acme", Order: "N4", Legs: legs("CNY", 3, -5_000_000, 4, 5_000_000)}, core.Refused)
	for i := range 20 {
		s.post(t, core.Transfer{ID: fmt.Sprint("p", i), Kind: "payment", Memo: fmt.Sprint("no. ", i), Legs: legs("CNY", 4, int64(-100-i), 3, int64(100+i))}, ok)
	}
	step(3)
	s.post(t, core.Transfer{ID: "rev-1", Kind: "refund", Action: core.Reverse, Of: "order-2", Legs: legs("CNY", 4, 5_000, 2, -5_000, 5, 0)}, ok)
	s.post(t, core.Transfer{ID: "rev-2", Kind: "refund", Action: core.Reverse, Of: "order-2", Memo: "the rest"}, ok)
	s.post(t, core.Transfer{ID: "rev-3", Kind: "refund", Action: core.Reverse, Of: "confirm-1"}, ok)
	s.post(t, core.Transfer{ID: "order-5", Kind: "order", Tenant: "acme", Order: "N5", Legs: legs("CNY", 3, -400, 2, 400)}, ok)
	s.post(t, core.Transfer{ID: "try-4", Kind: "order", Tenant: "acme", Action: core.Try, Expires: day(9), Legs: legs("CNY", 3, -8_000, 8, 8_000)}, ok)
	for len(s.buffer) > 1 {
		s.merge(t)
	}
	s.post(t, core.Transfer{ID: "order-6", Kind: "order", Tenant: "acme", Order: "N6", Legs: legs("CNY", 4, -900, 2, 900)}, ok)
	s.state(t)
	r.exec(t, "UPDATE day SET accounting_date='2026-05-03'")
	if _, err := r.book.EndOfDay(t.Context(), day(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.book.EndOfDay(t.Context(), day(2)); err != nil {
		t.Fatal(err)
	}
	return r, s
}
