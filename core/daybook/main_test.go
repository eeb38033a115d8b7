package daybook

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/core/mysql"
	"strata/db"
	"strata/local/localtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		_ = f.Value.Set("12") // each check posts to a real server
	}
	os.Exit(m.Run())
}

// rig is a ledger with its day book on a schema of its own.
type rig struct {
	dsn    string
	db     *db.DB
	reader *db.DB
	sql    *sql.DB
	clock  *core.Clock
	ledger *mysql.Ledger
	book   *Book
	source *LiveSource
}

func day(n int) time.Time { return time.Date(2026, 5, n, 0, 0, 0, 0, time.UTC) }

// newRig makes a ledger whose first day is 30 April 2026.
func newRig(t testing.TB, edit func(*Config)) *rig {
	t.Helper()
	r := &rig{dsn: localtest.Schema(t, localtest.Shared(t)), clock: &core.Clock{}}
	r.clock.Set(day(0).Add(9 * time.Hour))
	r.db, r.reader = openDB(t, r.dsn, db.Writer), openDB(t, r.dsn, db.Reader)
	r.sql = localtest.DB(t, r.dsn)
	var err error
	if r.ledger, err = mysql.New(t.Context(), mysql.Config{DB: r.db, Now: r.clock.Now, FirstDay: day(0), Consumers: []string{core.ForVouchers}}); err != nil {
		t.Fatal(err)
	}
	r.book = r.newBook(t, edit)
	return r
}

func (r *rig) newBook(t testing.TB, edit func(*Config)) *Book {
	t.Helper()
	cfg := Config{DB: r.db, Reader: r.reader, Now: r.clock.Now}
	if edit != nil {
		edit(&cfg)
	}
	b, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openDB(t testing.TB, dsn string, purpose db.Purpose) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "live", Store: catalog.Live, Purpose: purpose})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// run runs the ledger's lane until the test's end.
func (r *rig) run(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.ledger.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// open opens accounts 1 to n in CNY.
func (r *rig) open(t testing.TB, n int) {
	t.Helper()
	var all []core.Account
	for i := range n {
		all = append(all, core.Account{ID: int64(i + 1), Name: fmt.Sprint("account ", i+1), Unit: "CNY"})
	}
	if err := r.ledger.Open(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func pay(id string, at time.Time, from, to, amount int64) core.Transfer {
	return core.Transfer{ID: id, Kind: "payment", OrderTime: at, Legs: []core.Leg{{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}}
}

func (r *rig) post(t testing.TB, ts ...core.Transfer) {
	t.Helper()
	answers, err := r.ledger.Post(t.Context(), ts)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a.Outcome != core.Applied {
			t.Fatalf("transfer %d: %+v", i, a)
		}
	}
}

func (r *rig) cut(t testing.TB, to time.Time) {
	t.Helper()
	if err := r.ledger.CutDay(t.Context(), to); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) check(t testing.TB) ([]Finding, CheckReport) {
	t.Helper()
	return check(t, r)
}

// check checks the ledger and returns all findings.
func check(t testing.TB, r *rig) ([]Finding, CheckReport) {
	t.Helper()
	var all []Finding
	if r.source == nil {
		var err error
		if r.source, err = NewLiveSource(t.Context(), r.reader, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Check(t.Context(), CheckConfig{Source: r.source, Dir: t.TempDir()}, func(f Finding) { all = append(all, f) })
	if err != nil {
		t.Fatal(err)
	}
	if report.OK != (len(all) == 0) || report.Findings < int64(len(all)) {
		t.Fatalf("%d findings were told, the report says %+v", len(all), report)
	}
	return all, report
}

// wantClean fails the test unless the check finds nothing.
func (r *rig) wantClean(t testing.TB) CheckReport {
	t.Helper()
	all, report := r.check(t)
	for i, f := range all {
		if t.Errorf("%s: %s", f.Section, f); i == 20 {
			break
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return report
}

func (r *rig) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	localtest.Exec(t, r.sql, query, args...)
}

func (r *rig) text(t testing.TB, query string, args ...any) string {
	t.Helper()
	var s sql.NullString
	if err := r.sql.QueryRowContext(t.Context(), query, args...).Scan(&s); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return s.String
}
