package rest

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"strata/core"
	"strata/fault"
)

// stub is a ledger with every section: canned answers with every field, or err, or what post says.
type stub struct {
	err  error
	post func(ctx context.Context, transfers []core.Transfer) ([]core.Answer, error)
	put  error // of PutSettings alone
	unsaid
	mu      sync.Mutex
	version core.Version
	looked  chan struct{} // told of every look at the settings; nil: nobody is
	posted  []core.Transfer
}

// unsaid are the methods that no handler calls.
type unsaid struct{ core.Full }

func ptr[T any](v T) *T { return &v }

func cannedAnswer(outcome core.Outcome) core.Answer {
	a := core.Answer{Outcome: outcome, Action: core.Try, Code: core.NullCancelled, Message: "say \"why\" ☕", Field: "legs[0].amount"}
	a.Balances = []core.Balance{{Account: 9_007_199_254_740_993, Seq: 2, Balance: -5, Amount: -5, Parts: []core.Part{{Nature: "cash", Amount: -5}, {Nature: "bonus"}}},
		{Account: 2, Balance: 5, Amount: 5}}
	return a
}

func cannedAccount(id int64) core.Account {
	return core.Account{ID: id, Name: "user", Tenant: "shop", Unit: "CNY", Side: core.DebitSide, MinBalance: ptr(int64(0)), MaxBalance: ptr(int64(9)),
		State: core.Frozen, Mode: core.Buffered, Strategy: "wallet", Metadata: `{"Level":"gold"}`, OpenedAt: newClock().now, Balance: 7, Debits: 1,
		Credits: 8, PendingDebits: 2, PendingCredits: 3, Entries: 4, Buffered: 5}
}

func cannedSettings() core.Settings {
	return core.Settings{
		Limits: []core.Limit{{Name: "daily", Scope: "account", Match: "7", Kinds: []string{"pay"}, Unit: "CNY", Per: "day", MaxAmount: ptr(int64(9_007_199_254_740_993)), MaxCount: ptr(int64(3))}},
		Rates:  []core.Rate{{Name: "r", Key: "client", PerSecond: 1e6, Burst: 1e6}}, Off: []core.Switch{{Operation: "*", Tenant: "shop", Account: 7}},
		Strategies: []core.Strategy{{Name: "wallet", Default: "cash", Natures: []core.NatureRule{{Name: "cash", Kinds: []string{"pay"}, Products: []string{"tea"}, RefundOnly: true}}}},
	}
}

func cannedTransfer() core.Transfer {
	at := newClock().now
	leg := core.Leg{Account: 1, Unit: "CNY", Amount: -5, Nature: "cash"}
	return core.Transfer{ID: "t", Kind: "pay", OrderTime: at, BusinessDate: core.Date(at), Memo: "m", Metadata: `{"A":{"b":[1.50]}}`, Tenant: "shop", Order: "4711",
		Product: "tea", Action: core.Try, Of: "o", Expires: at.Add(time.Hour), Linked: true, Legs: []core.Leg{leg, {Account: 2, Unit: "CNY", Amount: 5}}}
}

func (s *stub) Open(context.Context, []core.Account) error { return s.err }

func (s *stub) Post(ctx context.Context, transfers []core.Transfer) ([]core.Answer, error) {
	s.mu.Lock()
	s.posted = append(s.posted, transfers...)
	s.mu.Unlock()
	if s.post != nil {
		return s.post(ctx, transfers)
	}
	out := make([]core.Answer, len(transfers))
	for i := range out {
		out[i] = cannedAnswer(core.Applied)
	}
	return out, s.err
}

func (s *stub) Answer(_ context.Context, id string) (core.Answer, bool, error) {
	return cannedAnswer(core.Replayed), id != "none", s.err
}

func (s *stub) Day(context.Context) (time.Time, error)                  { return newClock().now, s.err }
func (s *stub) CutDay(context.Context, time.Time) error                 { return s.err }
func (s *stub) SetState(context.Context, int64, core.State) error       { return s.err }
func (s *stub) SetBounds(context.Context, int64, *int64, *int64) error  { return s.err }
func (s *stub) SwitchMode(context.Context, int64, core.Mode, int) error { return s.err }
func (s *stub) CountReservations(context.Context) (map[string]int64, error) {
	return map[string]int64{"hung": 1}, s.err
}
func (s *stub) CountNotices(context.Context) (map[string]int64, error) {
	return map[string]int64{"given_up": 1}, s.err
}
func (s *stub) ResendNotice(context.Context, string) error { return s.err }
func (s *stub) RollBack(_ context.Context, a, r string) (core.Version, error) {
	return s.canned(a, r), s.err
}
func (s *stub) VoucherStatus(context.Context) (VoucherStatus, error) {
	return VoucherStatus{3, newClock().now, 1, 2}, s.err
}
func (s *stub) SettingsHistory(context.Context, int) ([]core.Version, error) {
	return []core.Version{s.canned("a", "r")}, s.err
}
func (s *stub) Reservation(context.Context, string) (core.Reservation, error) {
	return cannedReservation("x"), s.err
}
func (s *stub) Vouchers(context.Context, string) ([]Voucher, error) {
	return []Voucher{{Number: "v", Rules: 3, Date: newClock().now, Lines: []Line{{"1001", "CNY", 5, 0}}}}, s.err
}

func (s *stub) ByOrder(_ context.Context, tenant, _ string) ([]string, error) {
	if tenant == "large" {
		return make([]string, maxPage+1), nil
	}
	return []string{"a", "none"}, s.err
}

func (s *stub) Standing(_ context.Context, id int64) (core.Standing, error) {
	return core.Standing{Account: cannedAccount(id), Funds: []core.Fund{{Account: id, Nature: "cash", Balance: 7, Pending: 1}},
		Uses: []core.Use{{Limit: "daily", Subject: "7", Period: "2026-11-22", Amount: 5, Count: 1}}, Day: newClock().now}, s.err
}

func (s *stub) List(_ context.Context, after int64, limit int) ([]core.Account, error) {
	var out []core.Account
	for id := after + 1; len(out) < limit && id <= 3; id++ {
		out = append(out, cannedAccount(id))
	}
	return out, s.err
}

func cannedReservation(id string) core.Reservation {
	return core.Reservation{ID: id, State: core.Confirmed, Transfer: cannedTransfer(), Parts: [][]core.Part{{{Nature: "cash", Amount: -5}}, nil}, Day: newClock().now,
		At: newClock().now, EndedBy: "c", EndedAt: newClock().now, LateTrys: 2}
}

func (s *stub) ListReservations(_ context.Context, _ core.ReservationState, _ string, limit int) ([]core.Reservation, error) {
	all := []core.Reservation{cannedReservation("x"), {ID: "y", State: core.Fenced}}
	return all[:min(limit, 2)], s.err
}

func (s *stub) canned(author, reason string) core.Version {
	return core.Version{Number: 7, Settings: cannedSettings(), Author: author, Reason: reason, At: newClock().now}
}

func (s *stub) Settings(context.Context) (core.Version, error) {
	s.mu.Lock()
	v, err, looked := s.version, s.err, s.looked
	s.mu.Unlock()
	if looked != nil {
		looked <- struct{}{}
	}
	if v.Number == 0 {
		v = s.canned("a", "r")
	}
	return v, err
}

func (s *stub) PutSettings(_ context.Context, base int64, next core.Settings, author, reason string) (core.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.put != nil {
		return core.Version{}, firstOf(s.err, s.put)
	}
	s.version = core.Version{Number: base + 1, Settings: next, Author: author, Reason: reason, At: newClock().now}
	return s.version, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stub) Transfer(_ context.Context, name, id string, params json.RawMessage) (core.Transfer, error) {
	if name == "none" {
		return core.Transfer{}, fault.New(fault.NotFound, "find case", "no such case")
	}
	t := cannedTransfer()
	t.ID, t.Metadata = id, string(params)
	return t, s.err
}

func (s *stub) ListNotices(_ context.Context, _, _ string, limit int) ([]Notice, error) {
	all := []Notice{{"1", "t", "shop", "given_up", 8, newClock().now, "status 500"}, {ID: "2"}}
	return all[:min(limit, 2)], s.err
}
