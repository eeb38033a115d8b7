package mysql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"strata/core"
	"strata/fault"
)

// fed is a ledger with everything, its events too.
type fed interface {
	core.Full
	Feed(consumer string) core.Feed
}

// step is one thing that is done to a ledger. Done again after a crash it leaves the same.
type step struct {
	name string
	at   time.Time
	do   func(ctx context.Context, l fed) ([]core.Answer, error)
}

const scriptAccounts = 12

// scriptOpens: 1 to 3 without a minimum, 4 to 8 with, 9 to 12 split by natures.
func scriptOpens() []core.Account {
	zero, most := int64(0), int64(5_000)
	var out []core.Account
	for id := int64(1); id <= scriptAccounts; id++ {
		a := core.Account{ID: id, Name: "账户", Unit: "CNY", Tenant: "shop", Metadata: `{"a":"'\\\""}`}
		if id >= 4 {
			a.MinBalance = &zero
		}
		if id == 8 {
			a.MaxBalance = &most
		}
		if id >= 9 {
			a.Strategy = "wallet"
		}
		out = append(out, a)
	}
	return out
}

func scriptSettings(perDay int64) core.Settings {
	return core.Settings{
		Limits: []core.Limit{
			{Name: "own", Scope: "account", Kinds: []string{"pay"}, Unit: "CNY", Per: "day", MaxAmount: &perDay},
			{Name: "all", Scope: "ledger", Unit: "CNY", Per: "month", MaxAmount: ptr(int64(2_000_000))},
			{Name: "pays", Scope: "operation", Match: "pay", Unit: "CNY", Per: "day", MaxCount: ptr(int64(4_000))},
		},
		Strategies: []core.Strategy{{Name: "wallet", Default: "cash", Natures: []core.NatureRule{
			{Name: "bonus", Kinds: []string{"pay"}}, {Name: "cash"}, {Name: "card", RefundOnly: true}}}},
	}
}

func ptr[T any](v T) *T { return &v }

// script draws steps: posts of every action, chains, repeated ids, changed bodies, and control in between.
func script(seed uint64, start time.Time, calls int) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &scripter{r: r, at: start}
	s.add("settings 1", func(ctx context.Context, l fed) ([]core.Answer, error) {
		return nil, put(ctx, l, 0, scriptSettings(4_000))
	})
	s.add("open", func(ctx context.Context, l fed) ([]core.Answer, error) { return nil, l.Open(ctx, scriptOpens()) })
	s.post(s.funding())
	for c := range calls {
		s.at = s.at.Add(7 * time.Second)
		switch {
		case c == calls/3:
			s.add("settings 2", func(ctx context.Context, l fed) ([]core.Answer, error) {
				return nil, put(ctx, l, 1, scriptSettings(2_500))
			})
		case c == calls/2:
			day := core.Date(start).AddDate(0, 0, 1)
			s.add("cut", func(ctx context.Context, l fed) ([]core.Answer, error) { return nil, l.CutDay(ctx, day) })
		case c%9 == 4:
			s.add("expire", func(ctx context.Context, l fed) ([]core.Answer, error) {
				_, err := l.ExpireReservations(ctx, 1_000)
				return nil, err
			})
		case c%9 == 7:
			id, state := 1+r.Int64N(scriptAccounts), []core.State{core.Frozen, core.Open, core.Open}[r.IntN(3)]
			s.add("state", func(ctx context.Context, l fed) ([]core.Answer, error) { return nil, l.SetState(ctx, id, state) })
		case c%9 == 8:
			id, low := 1+r.Int64N(8), -r.Int64N(500)
			s.add("bounds", func(ctx context.Context, l fed) ([]core.Answer, error) {
				return nil, l.SetBounds(ctx, id, &low, nil)
			})
		case c%9 == 3:
			s.add("done", func(ctx context.Context, l fed) ([]core.Answer, error) {
				return nil, l.Feed(core.ForVouchers).Done(ctx, []string{fmt.Sprint("s", c), fmt.Sprint("s", c+1), "nobody"})
			})
		}
		var ts []core.Transfer
		for range 1 + r.IntN(12) {
			ts = append(ts, s.transfer())
		}
		s.post(ts)
	}
	return s.steps
}

func put(ctx context.Context, l fed, base int64, settings core.Settings) error {
	_, err := l.PutSettings(ctx, base, settings, "ops", "test")
	if v, e := l.Settings(ctx); fault.Is(err, fault.Conflict) && e == nil && v.Number == base+1 {
		return nil // before the crash
	}
	return err
}

type scripter struct {
	r     *rand.Rand
	at    time.Time
	n     int
	trys  []core.Transfer
	posts []core.Transfer
	steps []step
}

func (s *scripter) add(name string, do func(context.Context, fed) ([]core.Answer, error)) {
	s.steps = append(s.steps, step{name, s.at, do})
}

func (s *scripter) post(ts []core.Transfer) {
	s.add("post", func(ctx context.Context, l fed) ([]core.Answer, error) { return l.Post(ctx, slices.Clone(ts)) })
}

func (s *scripter) funding() (ts []core.Transfer) {
	for id := int64(4); id <= scriptAccounts; id++ {
		t := s.plain()
		t.Kind = "fund"
		t.Legs = []core.Leg{{Account: 1, Unit: "CNY", Amount: -3_000}, {Account: id, Unit: "CNY", Amount: 3_000}}
		if id >= 9 {
			t.Legs[1].Amount = 1_000
			t.Legs = append(t.Legs, core.Leg{Account: id, Unit: "CNY", Amount: 1_000, Nature: "bonus"}, core.Leg{Account: id, Unit: "CNY", Amount: 1_000, Nature: "card"})
		}
		ts = append(ts, t)
	}
	return ts
}

func (s *scripter) plain() core.Transfer {
	s.n++
	return core.Transfer{ID: fmt.Sprint("s", s.n), Kind: "pay", OrderTime: s.at.Add(-time.Minute), Memo: "it's"}
}

// transfer draws one.
func (s *scripter) transfer() core.Transfer {
	r := s.r
	if s.n > 20 && r.IntN(10) == 0 { // an id that was used
		t := s.posts[r.IntN(len(s.posts))]
		if r.IntN(2) == 0 {
			t.Memo = "another body"
		}
		return t
	}
	t := s.plain()
	t.Linked = r.IntN(6) == 0
	if r.IntN(4) == 0 {
		t.Tenant, t.Order, t.Product, t.Metadata = "shop", fmt.Sprint("order-", r.IntN(15)), "book", `{"k":"v"}`
	}
	if r.IntN(5) == 0 {
		t.Kind = "withdraw"
	}
	if r.IntN(8) == 0 {
		t.BusinessDate = core.Date(s.at).AddDate(0, 0, -1)
	}
	switch n := r.IntN(12); {
	case n < 5:
		t.Legs = s.legs()
	case n < 8:
		t.Action, t.Legs = core.Try, s.legs()
		if r.IntN(2) == 0 {
			t.Expires = s.at.Add(time.Duration(r.IntN(60)) * time.Second)
		}
		if r.IntN(6) == 0 { // its cancel comes first
			c := t
			c.ID, c.Action, c.Of, c.Legs, c.Expires, c.Linked = t.ID+"-c", core.Cancel, t.ID, nil, time.Time{}, false
			s.trys = append(s.trys, t)
			return s.keep(c)
		}
		s.trys = append(s.trys, t)
	case n < 11 && len(s.trys) > 0:
		i := r.IntN(len(s.trys))
		of := s.trys[i]
		if strings.HasPrefix(of.ID, "s") && r.IntN(9) == 0 {
			return of // a late try, or a replay
		}
		t.Of, t.Action = of.ID, core.Confirm
		if n == 8 {
			t.Action = core.Cancel
		} else if r.IntN(3) == 0 {
			t.Legs = s.part(of.Legs, 1)
		}
	default:
		if len(s.posts) == 0 {
			t.Legs = s.legs()
			break
		}
		of := s.posts[r.IntN(len(s.posts))]
		t.Action, t.Of = core.Reverse, of.ID
		if r.IntN(2) == 0 {
			t.Legs = s.part(of.Legs, -1)
		}
	}
	return s.keep(t)
}

func (s *scripter) keep(t core.Transfer) core.Transfer {
	s.posts = append(s.posts, t)
	return t
}

func (s *scripter) legs() []core.Leg {
	r := s.r
	amount := 1 + r.Int64N(600)
	from, to := 1+r.Int64N(scriptAccounts+1), 1+r.Int64N(scriptAccounts) // the last one does not exist
	legs := []core.Leg{{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}
	if r.IntN(3) == 0 && amount > 1 {
		legs[1].Amount -= amount / 2
		legs = append(legs, core.Leg{Account: 1 + r.Int64N(scriptAccounts), Unit: "CNY", Amount: amount / 2})
	}
	if to >= 9 && r.IntN(4) == 0 {
		legs[1].Nature = []string{"cash", "bonus", "card", "gold"}[r.IntN(4)]
	}
	return legs
}

// part is half of each leg, where that is still balanced.
func (s *scripter) part(legs []core.Leg, sign int64) (out []core.Leg) {
	var sum int64
	for _, l := range legs {
		l.Amount, l.Nature = sign*(l.Amount/2), ""
		sum += l.Amount
		out = append(out, l)
	}
	if len(out) > 0 {
		out[0].Amount -= sum
	}
	return out
}
