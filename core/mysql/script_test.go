package mysql

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/core"
	"strata/core/memory"
	"strata/local"
)

// shown is all that a ledger shows, as text.
func shown(t testing.TB, l fed) string {
	t.Helper()
	var out []string
	show := func(name string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, name+": "+string(raw))
	}
	ctx := t.Context()
	list, err := l.List(ctx, 0, 1_000)
	show("list", list, err)
	for id := int64(1); id <= scriptAccounts; id++ {
		s, err := l.Standing(ctx, id)
		show(fmt.Sprint("account ", id), s, err)
	}
	for s := core.Pending; s <= core.Fenced; s++ {
		list, err := l.ListReservations(ctx, s, "", 1_000)
		show("reservations "+s.String(), len(list), err)
		for _, r := range list {
			slices.SortFunc(r.Counted, func(a, b core.Counted) int { return strings.Compare(a.Limit+a.Subject, b.Limit+b.Subject) })
			show("reservation", r, nil)
		}
	}
	count, err := l.CountReservations(ctx)
	show("reservations", count, err)
	for i := range 15 {
		ids, err := l.ByOrder(ctx, "shop", fmt.Sprint("order-", i))
		show(fmt.Sprint("order ", i), ids, err)
	}
	history, err := l.SettingsHistory(ctx, 10)
	show("settings", history, err)
	events, err := l.Feed(core.ForVouchers).Next(ctx, 10_000)
	slices.SortFunc(events, func(a, b core.Event) int { return strings.Compare(a.Transfer.ID, b.Transfer.ID) })
	for _, e := range events {
		show("event "+e.Transfer.ID, e, err)
	}
	return strings.Join(out, "\n")
}

// firstDifference names the first line that is not the same.
func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n-- model --\n" + y[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

func model(t testing.TB, clock *core.Clock) *memory.Ledger {
	t.Helper()
	m, err := memory.New(memory.Config{Now: clock.Now, FirstDay: clock.Now(), Consumers: []string{core.ForVouchers}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// consumed is a ledger that keeps events.
func consumed(c *Config) { c.Consumers = []string{core.ForVouchers} }

// TestL12_scripts_equal_the_model runs scripts with everything on the ledger and on the model in memory: each answer, and in
// the end all that is shown and booked, is equal.
func TestL12_scripts_equal_the_model(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := fresh(t)
			s.edit = consumed
			steps := script(seed, s.clock.Now(), 60)
			l, m := run(t, s), model(t, s.clock)
			outcomes := map[string]int{}
			for i, st := range steps {
				s.clock.Set(st.at)
				have, err := st.do(t.Context(), l)
				want, wantErr := st.do(t.Context(), m)
				if (err == nil) != (wantErr == nil) {
					t.Fatalf("step %d, %s: %v instead of %v", i, st.name, err, wantErr)
				}
				for k := range want {
					have[k].Message, want[k].Message = "", "" // the model has its own words
					if !reflect.DeepEqual(have[k], want[k]) {
						t.Fatalf("step %d, answer %d:\n%+v instead of\n%+v", i, k, have[k], want[k])
					}
					outcomes[fmt.Sprint(want[k].Action, " ", want[k].Outcome, " ", want[k].Code)]++
				}
			}
			if a, b := shown(t, l), shown(t, m); a != b {
				t.Fatal(firstDifference(a, b))
			}
			sameEntries(t, l, m)
			_, report := content(t, s.dsn)
			wantBalanced(t, report)
			t.Log(outcomes)
		})
	}
}

// sameEntries compares the booked rows with the model's.
func sameEntries(t *testing.T, l *running, m *memory.Ledger) {
	t.Helper()
	have := map[string]bool{}
	rows, err := l.db.SQL().QueryContext(t.Context(), `SELECT CONCAT_WS('|', account_id, seq, transfer_id, leg, amount, balance_before, balance_after, funds) FROM entry_202605`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		have[s] = true
	}
	for _, e := range m.Entries() {
		s := fmt.Sprintf("%d|%d|%s|%d|%d|%d|%d|%s", e.Account, e.Seq, e.Transfer, e.Leg, e.Amount, e.Before, e.After, core.AppendParts(nil, e.Parts))
		if !have[s] {
			t.Fatalf("entry %s is missing", s)
		}
		delete(have, s)
	}
	if len(have) > 0 {
		t.Fatalf("entries that the model lacks: %v", have)
	}
}

// crashes hands each point an error once, at its n-th hit.
type crashes struct {
	mu   sync.Mutex
	nth  map[string]int
	left int
}

func (c *crashes) at(point string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nth[point]--; c.nth[point] == 0 {
		c.left--
		return local.ErrCrash
	}
	return nil
}

// TestL12_more_crash_points_resume stops a ledger with everything once at each named point, starts it again and does the
// step again: all that is shown in the end is what the model shows, which was never stopped.
func TestL12_more_crash_points_resume(t *testing.T) {
	const seed, calls = 3, 40
	first := fresh(t)
	first.edit = consumed
	begin := first.clock.Now()
	record := local.Record()
	first.at = record.At
	play(t, first, script(seed, begin, calls))
	hits := record.Hits()
	mc := clockAt(begin)
	m := model(t, mc)
	for _, st := range script(seed, begin, calls) {
		mc.Set(st.at)
		if _, err := st.do(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	want := shown(t, m)
	for name, nth := range map[string]func(hits int) int{"first hit": func(int) int { return 1 }, "middle": func(hits int) int { return (hits + 1) / 2 },
		"late": func(hits int) int { return max(1, hits*4/5) }} {
		t.Run(name, func(t *testing.T) {
			c := &crashes{nth: map[string]int{}}
			for _, point := range slices.Concat(MoreCrashPoints(), CrashPoints()) {
				if strings.HasSuffix(point, "_purge") {
					continue
				}
				if hits[point] == 0 {
					t.Errorf("%s was never hit", point)
				}
				c.nth[point] = nth(hits[point])
				c.left++
			}
			s := fresh(t)
			s.edit = consumed
			s.at = c.at
			l := play(t, s, script(seed, begin, calls))
			if got := shown(t, l); got != want {
				t.Fatal(firstDifference(got, want))
			}
			if c.left != 0 {
				t.Fatalf("%d points were not hit: %v", c.left, c.nth)
			}
			_, report := content(t, s.dsn)
			wantBalanced(t, report)
		})
	}
}

func clockAt(at time.Time) *core.Clock {
	c := &core.Clock{}
	c.Set(at)
	return c
}

// play does the steps; where one fails, the ledger is started again and the step is done again.
func play(t *testing.T, s start, steps []step) *running {
	t.Helper()
	l := run(t, s)
	failed := 0
	for i := 0; i < len(steps); i++ {
		s.clock.Set(steps[i].at)
		_, err := steps[i].do(t.Context(), l)
		if err == nil {
			continue
		}
		if failed++; failed > 100 {
			t.Fatalf("step %d, %s: %v", i, steps[i].name, err)
		}
		l.stop()
		l = run(t, s)
		i--
	}
	return l
}
