package load_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/core/load"
	"strata/core/memory"
	"strata/fault"
)

func plan() load.Plan {
	return load.Plan{Seed: 3, Transfers: 20_000, Accounts: 400, From: time.Date(2025, 5, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
}

func config(t *testing.T) (load.Config, *memory.Ledger) {
	t.Helper()
	clock := &core.Clock{}
	l, err := memory.New(memory.Config{Now: clock.Now, FirstDay: plan().From})
	if err != nil {
		t.Fatal(err)
	}
	return load.Config{Plan: plan(), Ledger: l, Clock: clock}, l
}

var errStop = errors.New("stop")

// stopping is a ledger that stops at the nth call, before or after it was done.
type stopping struct {
	core.Ledger
	left  int
	after bool
}

func (s *stopping) Post(ctx context.Context, ts []core.Transfer) ([]core.Answer, error) {
	if s.left--; s.left == 0 && !s.after {
		return nil, errStop
	}
	a, err := s.Ledger.Post(ctx, ts)
	if s.left == 0 {
		return nil, errStop
	}
	return a, err
}

func TestLoad(t *testing.T) {
	cfg, whole := config(t)
	told := int64(0)
	cfg.Progress = func(done, total int64) { told = done }
	res, err := load.Past(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = load.Today(t.Context(), cfg, 500); err != nil {
		t.Fatal(err)
	}
	t.Run("is as large as planned and mostly applied", func(t *testing.T) {
		if res.Applied+res.Refused != 20_000 || res.Refused == 0 || res.Refused > 400 || told != 500 {
			t.Fatalf("%+v, told %d", res, told)
		}
	})
	t.Run("has all kinds, several units and late orders", func(t *testing.T) {
		kinds, late, hot := map[string]int{}, 0, map[int64]int{}
		for _, p := range whole.Transfers() {
			kinds[p.Transfer.Kind]++
			if p.Transfer.OrderTime.Format("200601") < p.Date.Format("200601") {
				late++
			}
			if p.Transfer.OrderTime.After(p.At) || p.Transfer.OrderTime.Before(plan().From) {
				t.Fatalf("ordered %s, posted %s", p.Transfer.OrderTime, p.At)
			}
			hot[p.Transfer.Legs[1].Account]++
		}
		for _, k := range []string{"funding", "payment", "split", "topup", "refund", "exchange", "payout", "transfer"} {
			if kinds[k] == 0 {
				t.Errorf("no %s", k)
			}
		}
		most := 0
		for _, n := range hot {
			most = max(most, n)
		}
		if late < 100 || most < 1000 {
			t.Fatalf("%d late, the hottest account has %d", late, most)
		}
	})
	t.Run("goes on after a stop anywhere, with the same rows", func(t *testing.T) {
		for _, c := range []struct {
			left  int
			after bool
		}{{1, false}, {1, true}, {77, false}, {300, true}, {549, true}, {550, false}, {555, true}} {
			cfg, l := config(t)
			cfg.Ledger = &stopping{Ledger: l, left: c.left, after: c.after}
			_, err := load.Past(t.Context(), cfg)
			if err == nil {
				_, err = load.Today(t.Context(), cfg, 500)
			}
			if !errors.Is(err, errStop) {
				t.Fatalf("%+v: %v", c, err)
			}
			cfg.Ledger = l
			if _, err := load.Past(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if _, err := load.Today(t.Context(), cfg, 500); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(l.Transfers(), whole.Transfers()) || !reflect.DeepEqual(l.Entries(), whole.Entries()) {
				t.Fatalf("stopped at %+v: other rows", c)
			}
		}
	})
	t.Run("another plan is refused", func(t *testing.T) {
		cfg.Plan.Transfers += 1000
		if _, err := load.Past(t.Context(), cfg); err == nil {
			t.Fatal("no error")
		}
	})
	t.Run("a bad plan is refused at once", func(t *testing.T) {
		err := load.Plan{Transfers: 1, To: time.Now()}.Validate()
		if !fault.Is(err, fault.Invalid) || strings.Count(err.Error(), "\n") < 2 {
			t.Fatalf("%v", err)
		}
	})
}
