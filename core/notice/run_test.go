package notice

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestNotice_late_outcomes(t *testing.T) {
	t.Run("a failure after the lease does not undo another's delivery", func(t *testing.T) {
		r := newRig(t)
		n, c, lease := r.leased()
		r.pass(n.cfg.Lease)
		r.round(n)
		if _, err := n.failed(t.Context(), c, lease, 500, "late", r.clock.Now()); err != nil {
			t.Fatal(err)
		}
		r.want(n, "t1", Delivered, 1)
	})
	t.Run("a delivery after the lease counts", func(t *testing.T) {
		r := newRig(t)
		n, c, _ := r.leased()
		r.pass(n.cfg.Lease)
		if err := n.delivered(t.Context(), c, 200, r.clock.Now()); err != nil {
			t.Fatal(err)
		}
		if s := r.round(n); s.Sent != 0 {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("a delivery before a resend by hand does not end the resend", func(t *testing.T) {
		r := newRig(t)
		n, c, _ := r.leased()
		if err := n.Resend(t.Context(), "t1"); err != nil {
			t.Fatal(err)
		}
		if err := n.delivered(t.Context(), c, 200, r.clock.Now()); err != nil {
			t.Fatal(err)
		}
		if s := r.round(n); s.Delivered != 1 {
			t.Fatalf("%+v", s)
		}
	})
}

// leased is a notice t1 that somebody is sending, who isn't seen again.
func (r *rig) leased() (*Notifier, claimed, string) {
	r.Helper()
	n := r.notifier(nil, to(newMerchant(r.T, ok)))
	r.feed.add("t1")
	if _, err := newPass(n).take(r.Context()); err != nil {
		r.Fatal(err)
	}
	lease, batch, err := n.claim(r.Context(), "shop", r.clock.Now(), r.clock.Now())
	if err != nil || len(batch) != 1 {
		r.Fatalf("%+v, %v", batch, err)
	}
	return n, batch[0], lease
}

func TestRun_by_the_databases_clock_goes_on_after_a_feed_that_was_away(t *testing.T) {
	r := newRig(t)
	m := newMerchant(t, ok)
	r.feed.err = fault.New(fault.Unavailable, "read events", "away")
	n := r.notifier(func(c *Config) { c.Now = nil }, to(m))
	r.feed.add("t1")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	localtest.Eventually(t, time.Minute, "the feed's error", func() (bool, error) { return n.Stats().Errors == 1, nil })
	n.Wake()
	<-m.seen
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.want(n, "t1", Delivered, 1)
}

func TestRun_ends_on_an_error_that_nothing_cures(t *testing.T) {
	r := newRig(t)
	m := newMerchant(t, ok)
	r.feed.add("t1")
	n := r.notifier(func(c *Config) { c.At = local.NewTrap("notice.before_send", 1).At }, to(m))
	if err := n.Run(t.Context()); !errors.Is(err, local.ErrCrash) {
		t.Fatal(err)
	}
}

func TestPurge_deletes_delivered_ones_only(t *testing.T) {
	r := newRig(t)
	m := newMerchant(t, func(w http.ResponseWriter, req *http.Request, nth int) {
		if req.Header.Get(HeaderID) == "bad" {
			status(500)(w, req, nth)
		}
	})
	n := r.notifier(nil, to(m))
	r.feed.add("t1", "t2", "bad")
	r.round(n)
	r.pass(time.Second)
	if count, err := n.Purge(t.Context(), start(), 10); err != nil || count != 0 {
		t.Fatalf("%d, %v", count, err)
	}
	if count, err := n.Purge(t.Context(), r.clock.Now(), 10); err != nil || count != 2 {
		t.Fatalf("%d, %v", count, err)
	}
	r.want(n, "bad", Pending, 1)
}

func TestRun_stops_after_what_is_being_sent_and_gives_back_the_rest(t *testing.T) {
	r := newRig(t)
	free := make(chan struct{})
	m := newMerchant(t, func(http.ResponseWriter, *http.Request, int) { <-free })
	r.feed.add(numbered(3)...)
	n := r.notifier(func(c *Config) { c.Concurrency = 1 }, to(m))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	first := <-m.seen
	cancel()
	close(free)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.want(n, first, Delivered, 1)
	left, err := n.List(t.Context(), Pending, "", 10)
	if err != nil || len(left) != 2 {
		t.Fatalf("%+v, %v", left, err)
	}
	for _, x := range left {
		if x.Sending || x.NextAt.After(r.clock.Now()) {
			t.Errorf("%+v", x)
		}
	}
}

// What comes due while all senders are on their way out is not left until the next poll.
func TestRun_is_woken_by_who_leaves_while_more_was_wanted(t *testing.T) {
	r := newRig(t)
	n := r.notifier(nil, to(newMerchant(t, ok)))
	var d *desk
	for range n.cfg.Concurrency {
		d = n.enter("shop")
	}
	r.feed.add("t1")
	p := newPass(n)
	if _, err := p.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.Stats().Senders != int64(n.cfg.Concurrency) || len(n.wake) != 0 {
		t.Fatalf("%+v", n.Stats())
	}
	n.leave("shop", d)
	if len(n.wake) != 1 {
		t.Error("nobody is woken")
	}
}
