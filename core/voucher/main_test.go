package voucher

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/local/localtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func shop(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func schema(t testing.TB) string { return localtest.Schema(t, localtest.Shared(t)) }

func openDB(t testing.TB, dsn string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func openStore(t testing.TB, d *db.DB, at func(string) error) *Store {
	t.Helper()
	s, err := New(t.Context(), Config{DB: d, Now: noon, At: at})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Store, base int64, body []byte, from time.Time) Version {
	t.Helper()
	v, err := s.Put(t.Context(), Draft{Base: base, Body: body, Author: "ann", Reason: "test", ActiveFrom: from})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// queue is a core.Feed in memory. The zero value is empty.
type queue struct {
	mu     sync.Mutex
	events []core.Event
}

func (q *queue) add(events ...core.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, events...)
}

func (q *queue) Next(_ context.Context, limit int) ([]core.Event, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.events[:min(limit, len(q.events))]), nil
}

func (q *queue) Done(_ context.Context, ids []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	gone := map[string]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	q.events = slices.DeleteFunc(q.events, func(e core.Event) bool { return gone[e.Transfer.ID] })
	return nil
}

func (q *queue) Waiting(_ context.Context, ids []string) (out []string, _ error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.events {
		if slices.Contains(ids, e.Transfer.ID) {
			out = append(out, e.Transfer.ID)
		}
	}
	return out, nil
}

func engine(t testing.TB, s *Store, q core.Feed) *Engine {
	t.Helper()
	e, err := NewEngine(EngineConfig{Store: s, Feed: q})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// drain takes events until the feed is empty.
func drain(ctx context.Context, e *Engine) error {
	for {
		if n, err := e.Step(ctx); n == 0 || err != nil {
			return err
		}
	}
}

func mustDrain(t testing.TB, e *Engine) {
	t.Helper()
	if err := drain(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// event is a booked transfer of two legs in CNY.
func event(id, kind string, date time.Time, from, to, amount int64) core.Event {
	t := core.Transfer{ID: id, Kind: kind, OrderTime: date.Add(time.Hour), Legs: []core.Leg{{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}}
	return core.Event{Transfer: t, AccountingDate: core.Date(date), PostedAt: date.Add(2 * time.Hour),
		Balances: []core.Balance{{Account: from, Seq: 1, Balance: -amount, Amount: -amount}, {Account: to, Seq: 1, Balance: amount, Amount: amount}}}
}

// order is a shop order's event, by the case of a document.
func order(t testing.TB, doc *Document, id string, date time.Time, user, price int64) core.Event {
	t.Helper()
	tr, err := doc.Transfer("shop_order", core.Transfer{ID: id, OrderTime: date, Memo: "naïve \"memo\""}, map[string]string{
		"user": fmt.Sprint(user), "points": fmt.Sprint(user + 2000), "merchant": "2001", "price": fmt.Sprint(price)})
	if err != nil {
		t.Fatal(err)
	}
	return core.Event{Transfer: tr, AccountingDate: core.Date(date), PostedAt: date}
}

func compiled(t testing.TB, body []byte) *Document {
	t.Helper()
	d, err := Compile(body)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// findings is all of a check.
func findings(t testing.TB, s *Store, ask Checking) (out []Finding) {
	t.Helper()
	got, err := s.Check(t.Context(), ask, func(f Finding) { out = append(out, f) })
	if err != nil {
		t.Fatal(err)
	}
	if got.Findings != int64(len(out)) {
		t.Fatalf("%d findings counted, %d reported", got.Findings, len(out))
	}
	return out
}

func wantClean(t testing.TB, s *Store, ask Checking) {
	t.Helper()
	if out := findings(t, s, ask); len(out) > 0 {
		t.Fatalf("findings: %v", out)
	}
}
