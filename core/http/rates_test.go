package rest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"strata/core"
)

func onAccounts(ids ...int64) core.Transfer {
	t := core.Transfer{Kind: "pay", Tenant: "shop"}
	for _, id := range ids {
		t.Legs = append(t.Legs, core.Leg{Account: id})
	}
	return t
}

func TestRates(t *testing.T) {
	at := newClock().now
	take := func(r *rates, now time.Time, client string, transfers ...core.Transfer) bool {
		return r.take(now, client, transfers) == nil
	}
	t.Run("nothing is bound without rates", func(t *testing.T) {
		if r := newRates(8); !take(r, at, "a", onAccounts(1, 2)) {
			t.Error("refused")
		}
	})
	t.Run("each key counts its own values", func(t *testing.T) {
		for key, other := range map[string]core.Transfer{
			"account":   onAccounts(3),
			"tenant":    {Tenant: "b", Kind: "pay", Legs: onAccounts(1).Legs},
			"operation": {Tenant: "shop", Kind: "b", Legs: onAccounts(1).Legs},
		} {
			r := newRates(8)
			r.set(1, []core.Rate{{Name: "r", Key: key, PerSecond: 1, Burst: 2}})
			if !take(r, at, "a", onAccounts(1, 2)) || !take(r, at, "b", onAccounts(1, 1)) || take(r, at, "c", onAccounts(1)) {
				t.Errorf("%s: two pass at once, not three, and an account counts once in a transfer", key)
			}
			if !take(r, at, "a", other) || !take(r, at, "a") {
				t.Errorf("%s: another value and a request without transfers pass", key)
			}
			if !take(r, at.Add(time.Second), "c", onAccounts(1)) {
				t.Errorf("%s: a second later one more passes", key)
			}
		}
	})
	t.Run("a client counts requests and transfers", func(t *testing.T) {
		r := newRates(8)
		r.set(1, []core.Rate{{Name: "r", Key: "client", PerSecond: 1, Burst: 3}})
		if !take(r, at, "a") || !take(r, at, "a", onAccounts(1), onAccounts(1)) || !take(r, at, "a") || !take(r, at, "a", onAccounts(1)) {
			t.Error("a request with two transfers and one with one have three tokens")
		}
		if take(r, at, "a") || take(r, at, "a", onAccounts(1), onAccounts(1)) || !take(r, at, "b") {
			t.Error("a has used all of its own, b none")
		}
	})
	t.Run("a batch takes from all or from none", func(t *testing.T) {
		r := newRates(8)
		r.set(1, []core.Rate{{Name: "wide", Key: "tenant", PerSecond: 1, Burst: 3}, {Name: "narrow", Key: "account", PerSecond: 1, Burst: 1}})
		if !take(r, at, "a", onAccounts(1)) || take(r, at, "a", onAccounts(2), onAccounts(1)) {
			t.Error("account 1 is used up")
		}
		if !take(r, at, "a", onAccounts(3), onAccounts(4)) {
			t.Error("the refused batch took from the tenant")
		}
	})
	t.Run("more than a burst never passes and is told so", func(t *testing.T) {
		r := newRates(8)
		for _, key := range []string{"tenant", "client"} {
			r.set(r.version()+1, []core.Rate{{Name: "r", Key: key, PerSecond: 1, Burst: 1}})
			if p, _ := r.take(at, "a", []core.Transfer{onAccounts(1), onAccounts(1)}).(*problem); p == nil || p.code != "over_burst" || p.wait != 0 {
				t.Errorf("%s: %v", key, p)
			}
		}
	})
	t.Run("the longest wait is told", func(t *testing.T) {
		r := newRates(8)
		r.set(1, []core.Rate{{Name: "a", Key: "tenant", PerSecond: 2, Burst: 1}, {Name: "b", Key: "account", PerSecond: 0.25, Burst: 1}, {Name: "c", Key: "client", PerSecond: 1, Burst: 1}})
		take(r, at, "a", onAccounts(1))
		take(r, at, "a")
		if p, _ := r.take(at, "a", []core.Transfer{onAccounts(1)}).(*problem); p == nil || p.code != "rate_limited" || p.wait != 4*time.Second {
			t.Errorf("%+v", p)
		}
	})
	t.Run("a change goes on with the tokens that are there", func(t *testing.T) {
		r := newRates(8)
		r.set(1, []core.Rate{{Name: "r", Key: "client", PerSecond: 1, Burst: 2}})
		take(r, at, "a")
		r.set(2, []core.Rate{{Name: "r", Key: "client", PerSecond: 1, Burst: 1}})
		if !take(r, at, "a") || take(r, at, "a") {
			t.Error("one of two tokens was left, and fits the new burst")
		}
		r.set(1, nil)
		if r.version() != 2 || take(r, at, "a") {
			t.Error("an older version came into force")
		}
		r.set(3, nil)
		if !take(r, at, "a") {
			t.Error("no rates are in force")
		}
	})
	t.Run("keys are bounded and the least used is forgotten", func(t *testing.T) {
		r := newRates(8)
		r.set(1, []core.Rate{{Name: "r", Key: "client", PerSecond: 1, Burst: 1}})
		for i := range 1000 {
			take(r, at, fmt.Sprint("c", i))
			if i%3 == 0 && take(r, at, "steady") != (i == 0) {
				t.Fatalf("%d: the bucket that is asked for all the time was forgotten", i)
			}
			if n := len(r.all[0].young) + len(r.all[0].old); n > 8 {
				t.Fatalf("%d keys", n)
			}
		}
	})
}

func TestRates_over_HTTP(t *testing.T) {
	r := newRig(t)
	r.stub.version = core.Version{Number: 1, Settings: core.Settings{Rates: []core.Rate{{Name: "r", Key: "client", PerSecond: 0.5, Burst: 2}}}}
	if err := r.server.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.do(http.MethodGet, "/v1/day", "")
	r.do(http.MethodPost, "/v1/transfers", payment("t1", ""))
	a := r.problem(429, "rate_limited", "", http.MethodPost, "/v1/transfers", payment("t2", ""))
	if a.header.Get("Retry-After") != "2" || len(r.stub.posted) != 1 || r.server.Stats().RateLimited != 1 {
		t.Errorf("%v %s", a.header, a.raw)
	}
	for _, path := range []string{"/v1/settings", "/v1/settings/history", "/v1/openapi.json"} {
		if a := r.do(http.MethodGet, path, ""); a.status != 200 {
			t.Errorf("an operator is locked out of %s", path)
		}
	}
	r.clock.add(2 * time.Second)
	if a := r.do(http.MethodPost, "/v1/transfers", payment("t2", "")); a.status != 201 {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := r.do(http.MethodPut, "/v1/settings", `{"settings":{}}`, header("If-Match", `"1"`)); a.status != 200 || a.header.Get("ETag") != `"2"` {
		t.Errorf("%d %s", a.status, a.raw)
	}
	for range 10 {
		if a := r.do(http.MethodPost, "/v1/transfers", payment("t3", "")); a.status != 201 {
			t.Errorf("the settings that this process put are not in force: %s", a.raw)
		}
	}
}
