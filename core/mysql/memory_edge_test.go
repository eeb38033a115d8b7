package mysql

import (
	"testing"
	"time"

	"strata/core"
	"strata/fault"
)

// TestL12_purge_keeps_what_ended_lately: a reservation that was tried long ago and ended lately is still known, so that a
// Cancel is not told that there was none; and what is pending is never forgotten.
func TestL12_purge_keeps_what_ended_lately(t *testing.T) {
	s := fresh(t)
	const horizon = 30 * 24 * time.Hour
	s.edit = func(c *Config) { c.Horizon = horizon }
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	now := s.clock.Now()
	wantApplied(t, l, act("confirmed", core.Try, "", now), act("pending", core.Try, "", now), act("old", core.Try, "", now), act("ends", core.Confirm, "old", now))
	purge := func(want int) {
		t.Helper()
		s.clock.Set(s.clock.Now().Add(horizon + core.Ahead + time.Hour))
		if n, err := l.PurgeIDs(t.Context(), 100); err != nil || n != want {
			t.Fatalf("%d ids were purged instead of %d, %v", n, want, err)
		}
	}
	s.clock.Set(now.Add(horizon))
	wantApplied(t, l, act("confirm", core.Confirm, "confirmed", s.clock.Now()))
	s.clock.Set(now.Add(2 * time.Hour)) // the purge looks when the confirm is younger than the horizon
	purge(2)
	for of, want := range map[string]core.Code{"confirmed": core.AlreadyEnded, "old": core.NullCancelled} {
		if a := one(t, l, act("cancel-"+of, core.Cancel, of, s.clock.Now())); a.Code != want {
			t.Errorf("%s: %+v", of, a)
		}
	}
	s.clock.Set(now.Add(horizon))
	purge(2) // confirmed, confirm; the cancels are younger
	s.clock.Set(now.Add(3 * horizon))
	wantApplied(t, l, act("at-last", core.Confirm, "pending", s.clock.Now()))
	if a, err := l.Balance(t.Context(), 1); err != nil || a.Balance != -3 || a.PendingDebits != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestAsked_for_what_is_no_id: a space at the end, which the server would not look at, other letters and other characters are
// other ids.
func TestAsked_for_what_is_no_id(t *testing.T) {
	s, l := started(t)
	x := payAt("id", s.clock.Now())
	x.Tenant, x.Order = "id", "id"
	wantApplied(t, l, x, act("try", core.Try, "", s.clock.Now()))
	feed := l.Feed(core.ForVouchers)
	for _, tail := range []string{" ", "\t", "\x00", "é", "支付", "\xff", "'", `\`} {
		if _, known, err := l.Answer(t.Context(), "id"+tail); err != nil || known {
			t.Errorf("%q is known: %v", "id"+tail, err)
		}
		if _, err := l.Reservation(t.Context(), "try"+tail); !fault.Is(err, fault.NotFound) {
			t.Errorf("reservation %q: %v", "try"+tail, err)
		}
		for _, c := range [][2]string{{"id" + tail, "id"}, {"id", "id" + tail}} {
			if ids, err := l.ByOrder(t.Context(), c[0], c[1]); err != nil || len(ids) != 0 {
				t.Errorf("order %q: %v, %v", c, ids, err)
			}
		}
		if err := feed.Done(t.Context(), []string{"id" + tail}); err != nil {
			t.Errorf("done %q: %v", tail, err)
		}
		if _, err := l.ListReservations(t.Context(), core.Pending, "é"+tail, 1); !fault.Is(err, fault.Invalid) {
			t.Errorf("after %q: %v", tail, err)
		}
	}
	for _, id := range []string{"ID", "Id", "iD"} {
		if a := one(t, l, payAt(id, s.clock.Now())); a.Outcome != core.Applied {
			t.Errorf("%s: %+v", id, a)
		}
	}
}

// TestL12_purge_looks_at_both_times: an id is forgotten only when it was posted and ordered beyond the horizon, so that it is too
// old when it comes again, whatever its order time is.
func TestL12_purge_looks_at_both_times(t *testing.T) {
	s := fresh(t)
	const horizon = 30 * 24 * time.Hour
	s.edit = func(c *Config) { c.Horizon = horizon }
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	now := s.clock.Now()
	ahead, late := payAt("ahead", now.Add(core.Ahead)), payAt("late", now.Add(-horizon))
	wantApplied(t, l, ahead, late)
	for _, c := range []struct {
		after  time.Duration
		purged int
		x      core.Transfer
		want   core.Outcome
	}{
		{core.Ahead + time.Microsecond, 0, late, core.Replayed},            // ordered long ago, posted yesterday
		{horizon + core.Ahead + time.Microsecond, 1, ahead, core.Replayed}, // posted long ago, ordered a day later
		{horizon + core.Ahead + time.Microsecond, 0, late, core.Refused},
		{horizon + 2*core.Ahead + time.Microsecond, 1, ahead, core.Refused},
	} {
		s.clock.Set(now.Add(c.after))
		if n, err := l.PurgeIDs(t.Context(), 100); err != nil || n != c.purged {
			t.Fatalf("after %s: %d were purged instead of %d, %v", c.after, n, c.purged, err)
		}
		if a := one(t, l, c.x); a.Outcome != c.want {
			t.Fatalf("%s after %s: %+v", c.x.ID, c.after, a)
		}
	}
	if a, err := l.Balance(t.Context(), 1); err != nil || a.Balance != -2 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestL12_every_consumer_gets_every_event until it has done it, whatever the other one has done.
func TestL12_every_consumer_gets_every_event(t *testing.T) {
	s := fresh(t)
	s.edit = func(c *Config) { c.Consumers = []string{core.ForVouchers, core.ForNotices} }
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	wantApplied(t, l, payAt("a", s.clock.Now()), payAt("b", s.clock.Now()))
	want := func(consumer string, ids ...string) {
		t.Helper()
		events, err := l.Feed(consumer).Next(t.Context(), 10)
		if err != nil || len(events) != len(ids) {
			t.Fatalf("%s: %+v, %v", consumer, events, err)
		}
		for i, id := range ids {
			if events[i].Transfer.ID != id || len(events[i].Balances) != 2 {
				t.Fatalf("%s: %+v", consumer, events[i])
			}
		}
	}
	want(core.ForVouchers, "a", "b")
	want(core.ForNotices, "a", "b")
	if err := l.Feed(core.ForNotices).Done(t.Context(), []string{"a"}); err != nil {
		t.Fatal(err)
	}
	want(core.ForVouchers, "a", "b")
	want(core.ForNotices, "b")
}
