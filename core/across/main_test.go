package across

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/core/memory"
	"strata/db"
	"strata/local"
	"strata/local/localtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		_ = f.Value.Set("60") // each check works on a real server
	}
	os.Exit(m.Run())
}

func begun() time.Time { return time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC) }

func open(t testing.TB, dsn string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "across", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// world is some ledgers, each with accounts 1 to 3 that hold 1000 CNY each and may not go below zero, account 9 without
// bounds, and transit accounts 90 (CNY) and 91 (POINT).
type world struct {
	t       testing.TB
	db      *db.DB
	clock   *core.Clock
	names   []string
	wires   map[string]*shaky
	ledgers map[string]Ledger
}

func zero() *int64 { return new(int64) }

func worldOf(t testing.TB, d *db.DB, clock *core.Clock, parts map[string]Participant) *world {
	t.Helper()
	tables := store{db: d}
	if err := tables.makeTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	localtest.Exec(t, d.SQL(), "UPDATE across_gate SET closing = NULL, cut = '1970-01-01' WHERE id = 1") // another world's
	w := &world{t: t, db: d, clock: clock, wires: map[string]*shaky{}, ledgers: map[string]Ledger{}}
	for _, name := range []string{"a", "b", "c"} {
		p := parts[name]
		if p == nil {
			continue
		}
		w.names = append(w.names, name)
		w.wires[name] = &shaky{Participant: p}
		w.ledgers[name] = Ledger{Participant: w.wires[name], Transit: map[string]int64{"CNY": 90, "POINT": 91}}
		accounts := []core.Account{{ID: 9, Name: "world", Unit: "CNY"}, {ID: 19, Name: "points", Unit: "POINT"}}
		fill := core.Transfer{ID: "fill", Kind: "fill", OrderTime: begun(), Legs: []core.Leg{{Account: 9, Unit: "CNY", Amount: -3000}}}
		for id := int64(1); id <= 3; id++ {
			accounts = append(accounts, core.Account{ID: id, Name: fmt.Sprint("user ", id), Unit: "CNY", MinBalance: zero()})
			fill.Legs = append(fill.Legs, core.Leg{Account: id, Unit: "CNY", Amount: 1000})
		}
		if err := p.Open(t.Context(), accounts); err != nil {
			t.Fatal(err)
		}
		if as, err := p.Post(t.Context(), []core.Transfer{fill}); err != nil || as[0].Outcome != core.Applied {
			t.Fatalf("fill: %+v, %v", as, err)
		}
	}
	return w
}

// inMemory is a world of ledgers in memory. The coordinator's schema may be another world's, too.
func inMemory(t testing.TB, d *db.DB, names ...string) *world {
	t.Helper()
	clock := &core.Clock{}
	clock.Set(begun())
	parts := map[string]Participant{}
	for _, name := range names {
		l, err := memory.New(memory.Config{Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		parts[name] = l
	}
	return worldOf(t, d, clock, parts)
}

func (w *world) coordinator(at func(string) error) *Coordinator {
	w.t.Helper()
	c, err := New(context.Background(), Config{DB: w.db, Ledgers: w.ledgers, Now: w.clock.Now, Held: 50 * time.Millisecond, At: at})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Prepare(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func schema(t testing.TB) *db.DB { return open(t, localtest.Schema(t, localtest.Shared(t))) }

// pay moves amount from account 1 of the first ledger to account 2 of the second.
func pay(id string, amount int64) Transfer {
	return Transfer{ID: id, Kind: "pay", OrderTime: begun(), Memo: "午餐", Order: "o-" + id, Legs: []Leg{
		{Ledger: "a", Account: 1, Unit: "CNY", Amount: -amount}, {Ledger: "b", Account: 2, Unit: "CNY", Amount: amount}}}
}

func (w *world) balance(ledger string, id int64) int64 {
	w.t.Helper()
	a, err := w.ledgers[ledger].Balance(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Balance
}

// heal ends all trouble and recovers until nothing is in flight.
func (w *world) heal(c *Coordinator) {
	w.t.Helper()
	for _, s := range w.wires {
		s.set(nil)
	}
	for range 20 {
		w.clock.Set(w.clock.Now().Add(2 * time.Minute))
		if _, err := c.Recover(context.Background()); err != nil {
			w.t.Fatal(err)
		}
		counts, err := c.Count(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(counts) == 0 {
			return
		}
	}
	left, err := c.List(context.Background(), "", 10)
	w.t.Fatalf("still in flight: %+v, %v", left, err)
}

// whole fails the test unless transit nets to zero and nothing is reserved anywhere.
func (w *world) whole() {
	w.t.Helper()
	nets, err := TransitNet(context.Background(), w.ledgers)
	if err != nil {
		w.t.Fatal(err)
	}
	if found := differing(nets); len(found) > 0 {
		w.t.Fatal(found[0].Message)
	}
	for _, name := range w.names {
		counts, err := w.ledgers[name].CountReservations(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		if n := counts[core.Pending.String()]; n != 0 {
			w.t.Fatalf("ledger %s has %d pending reservations", name, n)
		}
		for _, id := range []int64{1, 2, 3, 9, 90} {
			a, err := w.ledgers[name].Balance(context.Background(), id)
			if err != nil {
				w.t.Fatal(err)
			}
			if a.PendingDebits != 0 || a.PendingCredits != 0 || a.MinBalance != nil && a.Balance < *a.MinBalance {
				w.t.Fatalf("ledger %s: %+v", name, a)
			}
		}
	}
}

func (w *world) must(c *Coordinator, x Transfer, outcome core.Outcome, code core.Code) Answer {
	w.t.Helper()
	a, err := c.Post(context.Background(), x)
	if err != nil {
		w.t.Fatal(err)
	}
	if a.Outcome != outcome || a.Code != code {
		w.t.Fatalf("%s: %+v instead of %s %q", x.ID, a, outcome, code)
	}
	return a
}

func trapAt(point string, nth int) func(string) error { return local.NewTrap(point, nth).At }
