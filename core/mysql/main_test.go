package mysql

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"strata/catalog"
	"strata/core"
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

// start is a running ledger's test configuration.
type start struct {
	dsn   string
	clock *core.Clock
	at    func(string) error
	edit  func(*Config)
}

// running is a ledger with its lane.
type running struct {
	*Ledger
	db     *db.DB
	cancel func()
	done   chan error
}

// run opens a ledger and runs its lane until stop or the test's end.
func run(t testing.TB, s start) *running {
	t.Helper()
	d := open(t, s.dsn, db.Writer)
	cfg := Config{DB: d, Now: s.clock.Now, At: s.at}
	if s.edit != nil {
		s.edit(&cfg)
	}
	l, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Ledger: l, db: d, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- l.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends the lane and waits for it.
func (r *running) stop() {
	r.cancel()
	<-r.ended
}

func open(t testing.TB, dsn string, purpose db.Purpose) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "live", Store: catalog.Live, Purpose: purpose})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func fresh(t testing.TB) start {
	t.Helper()
	clock := &core.Clock{}
	clock.Set(time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC))
	return start{dsn: localtest.Schema(t, localtest.Shared(t)), clock: clock}
}
