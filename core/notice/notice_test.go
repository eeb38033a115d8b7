package notice

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
	"strata/local"
)

func TestNotice_is_delivered_once_signed_and_whole(t *testing.T) {
	r := newRig(t)
	m := newMerchant(t, ok)
	n := r.notifier(nil, to(m))
	r.feed.add("t1")
	if s := r.round(n); s.Taken != 1 || s.Delivered != 1 || s.Sent != 1 {
		t.Fatalf("%+v", s)
	}
	r.round(n)
	r.pass(1000 * time.Hour)
	r.round(n)
	all := m.requests()
	if len(all) != 1 || r.feed.left() != 0 {
		t.Fatalf("%d requests, %d events left", len(all), r.feed.left())
	}
	g := all[0]
	if g.path != "/hook" || g.header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v", g)
	}
	if err := Verify(g.header, []Key{keyA()}, g.body, start(), time.Minute); err != nil {
		t.Error(err)
	}
	var body struct {
		ID, Outcome    string
		AccountingDate string `json:"accounting_date"`
		PostedAt       string `json:"posted_at"`
		Transfer       json.RawMessage
	}
	if err := json.Unmarshal(g.body, &body); err != nil {
		t.Fatal(err)
	}
	x, err := core.ParseTransfer(body.Transfer)
	if err != nil {
		t.Fatal(err)
	}
	if body.ID != "t1" || body.Outcome != "applied" || body.AccountingDate != "2026-05-17" || body.PostedAt != "2026-05-17T10:00:00.000000Z" ||
		x.Order != "o-t1" || x.Memo != "午餐" || len(x.Legs) != 2 {
		t.Errorf("%s", g.body)
	}
	if x := r.want(n, "t1", Delivered, 1); x.LastStatus != 204 || x.LastError != "" || x.EndedAt.IsZero() || x.Target != "shop" || x.Tenant != "shop" {
		t.Errorf("%+v", x)
	}
}

func TestNotice_is_tried_by_the_schedule_then_given_up_then_sent_again(t *testing.T) {
	r := newRig(t)
	m := newMerchant(t, func(w http.ResponseWriter, req *http.Request, nth int) {
		if nth <= 9 {
			status(500)(w, req, nth)
		}
	})
	n := r.notifier(nil, to(m))
	r.feed.add("t1")
	r.round(n)
	for i, pause := range Schedule() {
		x := r.want(n, "t1", Pending, i+1)
		if want := r.clock.Now().Add(pause); !x.NextAt.Equal(want) || x.Sending {
			t.Fatalf("attempt %d: next at %s instead of %s", i+1, x.NextAt, want)
		}
		if x.LastStatus != 500 || x.LastError != "status 500: no [31m, Internal Server Error" {
			t.Fatalf("%+v", x)
		}
		r.pass(pause - time.Microsecond)
		r.round(n)
		r.want(n, "t1", Pending, i+1)
		r.pass(time.Microsecond)
		r.round(n)
	}
	x := r.want(n, "t1", GivenUp, 9)
	if !x.EndedAt.Equal(r.clock.Now()) || len(m.requests()) != 9 || n.Stats().GivenUp != 1 {
		t.Fatalf("%+v", x)
	}
	r.pass(1000 * time.Hour)
	r.round(n)
	if all, err := n.List(t.Context(), "", "", 10); err != nil || len(all) != 1 || all[0].State != GivenUp {
		t.Errorf("%+v %v", all, err)
	}
	if listed, err := n.List(t.Context(), GivenUp, "", 10); err != nil || len(listed) != 1 || listed[0].TransferID != "t1" || len(m.requests()) != 9 {
		t.Fatalf("%+v, %v", listed, err)
	}
	if err := n.Resend(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	r.round(n)
	if x := r.want(n, "t1", Delivered, 1); x.Resends != 1 {
		t.Fatalf("%+v", x)
	}
	if err := n.Resend(t.Context(), "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

func TestResendGivenUp_takes_those_since_and_of_the_target(t *testing.T) {
	r := newRig(t)
	bad := newMerchant(t, status(503))
	other := Target{Name: "other", URL: bad.URL, Keys: []Key{keyA()}, Kinds: []string{"withdraw"}}
	one := func(c *Config) { c.Schedule = []time.Duration{time.Minute} }
	n := r.notifier(one, other, to(bad))
	give := func() {
		r.round(n)
		r.pass(time.Minute)
		r.round(n)
	}
	r.feed.add("early")
	give()
	r.pass(time.Hour)
	since := r.clock.Now()
	r.feed.add("t1", "t2")
	r.feed.put(core.Transfer{ID: "w1", Kind: "withdraw"})
	give()
	if count, err := n.ResendGivenUp(t.Context(), since, "shop"); err != nil || count != 2 {
		t.Fatalf("%d, %v", count, err)
	}
	counts, err := n.Counts(t.Context())
	if want := []Count{{"other", GivenUp, 1}, {"shop", Pending, 2}, {"shop", GivenUp, 1}}; err != nil || !slices.Equal(counts, want) {
		t.Fatalf("%+v, %v", counts, err)
	}
	if count, err := n.ResendGivenUp(t.Context(), since, ""); err != nil || count != 1 {
		t.Fatalf("%d, %v", count, err)
	}
}

func TestNotice_survives_a_crash_at_every_point(t *testing.T) {
	for _, point := range CrashPoints() {
		if strings.HasSuffix(point, "_resend") {
			continue
		}
		t.Run(point, func(t *testing.T) {
			r := newRig(t)
			m := newMerchant(t, ok)
			r.feed.add(numbered(3)...)
			trap := local.NewTrap(point, 1)
			n := r.notifier(func(c *Config) { c.At = trap.At; c.Concurrency = 1 }, to(m))
			if _, err := n.Round(t.Context()); !errors.Is(err, local.ErrCrash) {
				t.Fatalf("%v", err)
			}
			n = r.notifier(nil, to(m))
			r.round(n)
			r.pass(n.cfg.Lease)
			r.round(n)
			for _, id := range numbered(3) {
				r.want(n, id, Delivered, 1)
			}
			want := 3
			if point == "notice.after_send" {
				want++ // the one whose record was lost
			}
			ids := m.ids()
			if len(ids) != want || r.feed.left() != 0 {
				t.Errorf("%v came, %d events left", ids, r.feed.left())
			}
			for i, g := range m.requests() {
				if err := Verify(g.header, []Key{keyA()}, g.body, r.clock.Now(), time.Hour); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
		})
	}
}

func TestNotice_lost_between_send_and_record_comes_again_with_its_id(t *testing.T) {
	r := newRig(t)
	m := newMerchant(t, ok)
	r.feed.add("t1")
	n := r.notifier(func(c *Config) { c.At = local.NewTrap("notice.after_send", 1).At }, to(m))
	if _, err := n.Round(t.Context()); !errors.Is(err, local.ErrCrash) {
		t.Fatal(err)
	}
	n = r.notifier(nil, to(m))
	if s := r.round(n); s.Sent != 0 {
		t.Fatalf("sent while it was leased: %+v", s)
	}
	if x := r.want(n, "t1", Pending, 0); !x.Sending || !x.NextAt.Equal(start().Add(n.cfg.Lease)) {
		t.Fatalf("%+v", x)
	}
	r.pass(n.cfg.Lease)
	r.round(n)
	r.want(n, "t1", Delivered, 1)
	all := m.requests()
	if ids := m.ids(); !slices.Equal(ids, []string{"t1", "t1"}) || string(all[0].body) != string(all[1].body) {
		t.Errorf("%v", ids)
	}
}

func TestNotice_slow_target_holds_up_nobody(t *testing.T) {
	r := newRig(t)
	free := make(chan struct{})
	slow := newMerchant(t, func(_ http.ResponseWriter, req *http.Request, _ int) {
		select {
		case <-free:
		case <-req.Context().Done():
		}
	})
	fast := newMerchant(t, ok)
	a := Target{Name: "slow", URL: slow.URL, Keys: []Key{keyA()}, Tenants: []string{"slow"}}
	n := r.notifier(func(c *Config) { c.Concurrency = 2; c.Timeout = time.Minute }, a, to(fast))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for _, id := range numbered(9) {
		r.feed.put(core.Transfer{ID: "slow-" + id, Kind: "payment", Tenant: "slow"})
	}
	r.feed.add("t1")
	n.Wake()
	<-slow.seen
	<-slow.seen // both of its senders hang
	<-fast.seen
	r.feed.add("t2")
	n.Wake()
	<-fast.seen
	if len(slow.seen) != 0 {
		t.Error("more than two at a time")
	}
	close(free)
	for range 7 {
		<-slow.seen // nobody calls Wake
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := n.Stats(); s.Senders != 0 || s.Sent != s.Delivered || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNotice_two_workers_send_each_once(t *testing.T) {
	r := newRig(t)
	m := newMerchant(t, ok)
	r.feed.add(numbered(60)...)
	second := r.open()
	a, b := r.notifier(nil, to(m)), r.notifier(func(c *Config) { c.DB = second }, to(m))
	var wg sync.WaitGroup
	for _, n := range []*Notifier{a, b} {
		wg.Go(func() {
			if _, err := n.Round(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r.round(a) // what the two left to one another
	ids := m.ids()
	slices.Sort(ids)
	if !slices.Equal(ids, numbered(60)) {
		t.Errorf("%d came: %v", len(ids), ids)
	}
	counts, err := a.Counts(t.Context())
	if err != nil || !slices.Equal(counts, []Count{{"shop", Delivered, 60}}) {
		t.Errorf("%+v, %v", counts, err)
	}
}

func TestNotice_what_fails_is_named(t *testing.T) {
	r := newRig(t)
	elsewhere := newMerchant(t, ok)
	redirect := newMerchant(t, func(w http.ResponseWriter, req *http.Request, _ int) {
		http.Redirect(w, req, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	gone := newMerchant(t, ok)
	gone.Close()
	long := newMerchant(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte(strings.Repeat("界\n", 100_000))) // the client may have hung up
	})
	hang := newMerchant(t, func(_ http.ResponseWriter, req *http.Request, _ int) { <-req.Context().Done() })
	for _, c := range []struct {
		name   string
		m      *merchant
		status int
		text   string
	}{
		{"a redirect is not followed", redirect, 307, "status 307"},
		{"a refused connection", gone, 0, "connection refused"},
		{"a long answer is cut", long, 502, "界 界"},
		{"a timeout", hang, 0, "deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := to(c.m)
			target.URL += "?token=of-the-merchant"
			id := "t" + strings.ReplaceAll(c.name, " ", "-")
			n := r.notifier(func(cfg *Config) {
				if c.m == hang {
					cfg.Timeout = 50 * time.Millisecond
				}
			}, target)
			r.feed.add(id)
			r.round(n)
			x := r.want(n, id, Pending, 1)
			if x.LastStatus != c.status || !strings.Contains(x.LastError, c.text) || strings.Contains(x.LastError, "token") ||
				strings.ContainsAny(x.LastError, "\n\x1b") || len([]rune(x.LastError)) > 200 {
				t.Errorf("%+v", x)
			}
		})
	}
	if len(elsewhere.requests()) != 0 {
		t.Error("the redirect was followed")
	}
}

func TestNotice_goes_to_the_first_target_that_wants_it(t *testing.T) {
	r := newRig(t)
	a, b := newMerchant(t, ok), newMerchant(t, ok)
	first := Target{Name: "a", URL: a.URL, Keys: []Key{keyA()}, Tenants: []string{"shop"}, Kinds: []string{"payment"}, Accounts: []int64{2}}
	second := Target{Name: "b", URL: b.URL, Keys: []Key{keyA(), keyB()}, Tenants: []string{"shop", "bank"}}
	n := r.notifier(nil, first, second)
	r.feed.add("pay")
	r.feed.put(core.Transfer{ID: "withdraw", Kind: "withdraw", Tenant: "shop"})
	r.feed.put(core.Transfer{ID: "foreign", Kind: "payment", Tenant: "x"})
	if s := r.round(n); s.Taken != 2 || s.Unwanted != 1 || r.feed.left() != 0 {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(a.ids(), []string{"pay"}) || !slices.Equal(b.ids(), []string{"withdraw"}) {
		t.Errorf("%v %v", a.ids(), b.ids())
	}
	var body struct {
		Transfer struct{ Legs []json.RawMessage }
	}
	if err := json.Unmarshal(a.requests()[0].body, &body); err != nil || len(body.Transfer.Legs) != 1 {
		t.Errorf("the target sees other accounts: %s, %v", a.requests()[0].body, err)
	}
	for _, k := range []Key{keyA(), keyB()} { // while they are rotated either is enough
		g := b.requests()[0]
		if err := Verify(g.header, []Key{k}, g.body, start(), time.Minute); err != nil {
			t.Error(err)
		}
	}
}

func TestNotice_of_a_target_that_left_the_configuration_stays_visible(t *testing.T) {
	r := newRig(t)
	bad, m := newMerchant(t, status(500)), newMerchant(t, ok)
	r.feed.add("t1")
	r.round(r.notifier(nil, to(bad)))
	n := r.notifier(nil)
	r.pass(time.Minute)
	r.round(n)
	if x := r.want(n, "t1", Pending, 2); !strings.Contains(x.LastError, "not configured") {
		t.Fatalf("%+v", x)
	}
	r.pass(time.Hour)
	n = r.notifier(nil, to(m))
	r.round(n)
	r.want(n, "t1", Delivered, 3)
}
