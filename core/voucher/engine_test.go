package voucher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func yesterday() time.Time { return noon().AddDate(0, 0, -1) }

// mixture is events over two days: orders, deposits, some that no rule is about and some that fail.
func mixture(t testing.TB, doc *Document, n int) []core.Event {
	var out []core.Event
	for i := range n {
		date := noon().AddDate(0, 0, -(i % 2))
		switch id := fmt.Sprintf("t%04d", i); i % 5 {
		case 0, 1:
			out = append(out, order(t, doc, id, date, 1001+int64(i%7), 1+int64(i)*37))
		case 2:
			out = append(out, event(id, "deposit", date, 9000, 1001, int64(i)+1))
		case 3:
			out = append(out, event(id, "unheard_of", date, 1, 2, 5))
		case 4:
			out = append(out, event(id, "deposit", date, 77, 1001, 5)) // no subject declares account 77
		}
	}
	return out
}

// dump is all rows of all tables that hold money.
func dump(t testing.TB, dsn string) string {
	t.Helper()
	d := localtest.DB(t, dsn)
	var b strings.Builder
	for _, q := range []string{
		"SELECT CONCAT_WS('|', accounting_date, transfer_id, rule_version, state, line_count, code, reason, body) FROM voucher ORDER BY 1",
		"SELECT CONCAT_WS('|', accounting_date, transfer_id, LPAD(line, 5, '0'), subject, unit, debit, credit) FROM journal ORDER BY 1",
		"SELECT CONCAT_WS('|', accounting_date, subject, unit, debit, credit) FROM general_ledger ORDER BY 1",
		"SELECT CONCAT_WS('|', accounting_date, booked, none, failed) FROM voucher_day ORDER BY 1"} {
		rows, err := d.Query(q)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			b.WriteString(line + "\n")
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestEventsBecomeVouchers(t *testing.T) {
	s := openStore(t, openDB(t, schema(t)), nil)
	put(t, s, 0, shop(t), yesterday())
	doc := compiled(t, shop(t))
	q := &queue{}
	all := mixture(t, doc, 50)
	q.add(all...)
	e := engine(t, s, q)
	mustDrain(t, e)
	st := e.Stats()
	if st.Events != 50 || st.Booked != 30 || st.None != 10 || st.Failed != 10 || len(q.events) != 0 {
		t.Fatalf("%+v, %d waiting", st, len(q.events))
	}
	v, err := s.Voucher(t.Context(), "t0001")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := doc.Derive(&all[1])
	if v.State != Booked || v.Rules != 1 || !slices.Equal(v.Lines, want.Lines) || v.Event.Transfer.Memo != `naïve "memo"` {
		t.Fatalf("%+v", v)
	}
	status, err := s.Status(t.Context())
	if err != nil || status.Booked != 30 || status.None != 10 || status.Failed != 10 || status.Days != 2 || !status.LastDay.Equal(core.Date(noon())) {
		t.Fatalf("%+v %v", status, err)
	}
	// The same events again change nothing.
	q.add(all...)
	mustDrain(t, e)
	if st := e.Stats(); st.Repeated != 50 || st.Booked != 30 {
		t.Fatalf("%+v", st)
	}
	for _, f := range findings(t, s, Checking{}) {
		if f.Kind != VoucherFailed && (f.Kind != Disagrees || f.Subject != "2001") {
			t.Fatalf("%v", f)
		}
	}
	if _, err := s.Voucher(t.Context(), "nobody"); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
}

// TestL12_vouchers_are_made_once crashes the engine at each of its points, at the first hit, and the next engine at its second,
// and starts a third one: the tables are the same as without a crash.
func TestL12_vouchers_are_made_once(t *testing.T) {
	doc := compiled(t, shop(t))
	all := mixture(t, doc, 40)
	steps := func(d *db.DB, at func(string) error, q *queue) error { // small batches, so that points are hit more than once
		return drain(t.Context(), engine(t, openStore(t, d, at), smallSteps{q}))
	}
	fresh := func(t *testing.T) (string, *db.DB, *queue) {
		dsn := schema(t)
		d := openDB(t, dsn)
		put(t, openStore(t, d, nil), 0, shop(t), yesterday())
		q := &queue{}
		q.add(all...)
		return dsn, d, q
	}
	dsn, d, q := fresh(t)
	record := local.Record()
	if err := steps(d, record.At, q); err != nil {
		t.Fatal(err)
	}
	want := dump(t, dsn)
	for _, point := range CrashPoints() {
		if strings.HasSuffix(point, "_put") || strings.HasSuffix(point, "_retry") {
			continue
		}
		t.Run(point, func(t *testing.T) {
			dsn, d, q := fresh(t)
			for _, nth := range []int{1, 2} {
				if err := steps(d, local.NewTrap(point, nth).At, q); !errors.Is(err, local.ErrCrash) {
					t.Fatalf("no crash: %v", err)
				}
			}
			if err := steps(d, nil, q); err != nil {
				t.Fatal(err)
			}
			if got := dump(t, dsn); got != want {
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	for _, point := range CrashPoints() {
		if n := record.Hits()[point]; n == 0 && !strings.HasSuffix(point, "_put") && !strings.HasSuffix(point, "_retry") {
			t.Errorf("%s was never hit", point)
		}
	}
}

// smallSteps gives at most 15 events.
type smallSteps struct{ *queue }

func (q smallSteps) Next(ctx context.Context, limit int) ([]core.Event, error) {
	return q.queue.Next(ctx, min(limit, 15))
}

// TestTwoEnginesMakeOneVoucherEach: two engines on one feed, and rules that change meanwhile, make one voucher of each event.
func TestTwoEnginesMakeOneVoucherEach(t *testing.T) {
	dsn := schema(t)
	s := openStore(t, openDB(t, dsn), nil)
	put(t, s, 0, shop(t), yesterday())
	q := &queue{}
	all := mixture(t, compiled(t, shop(t)), 300)
	q.add(all...)
	var group errgroup.Group
	for range 2 {
		other := openStore(t, openDB(t, dsn), nil)
		e := engine(t, other, smallSteps{q})
		group.Go(func() error {
			for {
				err := drain(context.Background(), e)
				if err == nil || !transient(err) {
					return err
				}
			}
		})
	}
	group.Go(func() error {
		for i := range 5 {
			if _, err := s.Put(context.Background(), Draft{Base: int64(i + 1), Body: shop(t), Author: "bob", Reason: "again", ActiveFrom: yesterday()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	status, err := s.Status(t.Context())
	if err != nil || status.Booked != 180 || status.None != 60 || status.Failed != 60 {
		t.Fatalf("%+v %v", status, err)
	}
	for _, f := range findings(t, s, Checking{}) {
		if f.Kind != VoucherFailed && f.Kind != Disagrees {
			t.Fatalf("%v", f)
		}
	}
}

// TestL12_rules_in_force_at_the_commit: a voucher that is written after Put returned goes by the new version, even when it was
// made before.
func TestL12_rules_in_force_at_the_commit(t *testing.T) {
	dsn := schema(t)
	d := openDB(t, dsn)
	s := openStore(t, d, nil)
	put(t, s, 0, shop(t), yesterday())
	doc := compiled(t, shop(t))
	ev := order(t, doc, "o1", noon(), 1001, 5000)
	m, err := s.maker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made1, err := m.make(t.Context(), &ev, string(eventBody(&ev)), 1)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, shop(t), yesterday())
	if _, err := s.write(t.Context(), m.times.newest, []made{made1}); !errors.Is(err, errStale) {
		t.Fatalf("written by old rules: %v", err)
	}
	q := &queue{}
	q.add(ev)
	mustDrain(t, engine(t, s, q))
	if v, err := s.Voucher(t.Context(), "o1"); err != nil || v.Rules != 2 {
		t.Fatalf("%+v %v", v, err)
	}
}

// TestFailedVouchersAreRetried: with newer rules what failed is booked, whatever crashes in between.
func TestFailedVouchersAreRetried(t *testing.T) {
	fixed := []byte(strings.Replace(string(shop(t)), `accounts: ["9000"]`, `accounts: ["9000", "77"]`, 1))
	for _, point := range []string{"", "voucher.before_retry", "voucher.after_general_ledger", "voucher.after_retry"} {
		t.Run("crash at "+point, func(t *testing.T) {
			d := openDB(t, schema(t))
			s := openStore(t, d, nil)
			put(t, s, 0, shop(t), yesterday())
			q := &queue{}
			q.add(mixture(t, compiled(t, shop(t)), 25)...)
			mustDrain(t, engine(t, s, q))
			failed, err := s.Failed(t.Context(), time.Time{}, "", 100)
			if err != nil || len(failed) != 5 || failed[0].Code != NotComputable || !strings.Contains(failed[0].Reason, "legs lines[0].subject: no subject declares account 77") {
				t.Fatalf("%+v %v", failed, err)
			}
			if got, err := s.Retry(t.Context(), []string{failed[0].Transfer}); err != nil || got != (Retried{Tried: 1, Failed: 1}) {
				t.Fatalf("%+v %v", got, err)
			}
			put(t, s, 1, fixed, yesterday())
			if point != "" {
				if _, err := openStore(t, d, local.NewTrap(point, 1).At).Retry(t.Context(), nil); !errors.Is(err, local.ErrCrash) {
					t.Fatal(err)
				}
			}
			if _, err := s.Retry(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			wantClean(t, s, Checking{})
			v, err := s.Voucher(t.Context(), failed[0].Transfer)
			if err != nil || v.State != Booked || v.Rules != 2 || v.Attempts != 3 || v.Reason != "" || len(v.Lines) != 2 {
				t.Fatalf("%+v %v", v, err)
			}
		})
	}
}

func TestEventsWithoutRulesFailVisibly(t *testing.T) {
	s := openStore(t, openDB(t, schema(t)), nil)
	q := &queue{}
	odd := event("t2", "deposit", noon(), 9000, 1001, 5)
	odd.Transfer.Legs, odd.AccountingDate = nil, time.Time{}
	q.add(event("t1", "deposit", noon(), 9000, 1001, 5), odd)
	mustDrain(t, engine(t, s, q))
	put(t, s, 0, shop(t), noon())
	if got, err := s.Retry(t.Context(), nil); err != nil || got != (Retried{Tried: 2, Booked: 1, Failed: 1}) {
		t.Fatalf("%+v %v", got, err)
	}
	if v, err := s.Voucher(t.Context(), "t2"); err != nil || v.Code != BadEvent {
		t.Fatalf("%+v %v", v, err)
	}
}

// TestPoisonedEventFailsAlone: what the database does not take becomes a failed voucher, the rest of its batch is booked.
func TestPoisonedEventFailsAlone(t *testing.T) {
	dsn := schema(t)
	s := openStore(t, openDB(t, dsn), nil)
	put(t, s, 0, shop(t), yesterday())
	localtest.Exec(t, localtest.DB(t, dsn), "ALTER TABLE journal ADD CONSTRAINT poison CHECK (debit <> 666)")
	q := &queue{}
	for i, amount := range []int64{1, 2, 666, 4, 5} {
		q.add(event(fmt.Sprint("t", i), "deposit", noon(), 9000, 1001, amount))
	}
	mustDrain(t, engine(t, s, q))
	status, err := s.Status(t.Context())
	if err != nil || status.Booked != 4 || status.Failed != 1 {
		t.Fatalf("%+v %v", status, err)
	}
	if v, err := s.Voucher(t.Context(), "t2"); err != nil || v.Code != NotStorable || !strings.Contains(v.Reason, "poison") {
		t.Fatalf("%+v %v", v, err)
	}
}

// TestRunEndsOnRequest: Run takes what comes and stops when it is told to.
func TestRunEndsOnRequest(t *testing.T) {
	s := openStore(t, openDB(t, schema(t)), nil)
	put(t, s, 0, shop(t), yesterday())
	q := &queue{}
	e, err := NewEngine(EngineConfig{Store: s, Feed: q, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	q.add(event("t1", "deposit", noon(), 9000, 1001, 5))
	localtest.Eventually(t, 30*time.Second, "the voucher", func() (bool, error) { return e.Stats().Booked == 1, nil })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
