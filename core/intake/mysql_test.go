package intake

import (
	"context"
	"errors"
	"testing"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/core/mysql"
	"strata/db"
	"strata/local"
	"strata/local/localtest"
)

// server runs a ledger on a real database until the returned function is called.
func server(t *testing.T, dsn string, clock *core.Clock) (l *mysql.Ledger, d *db.DB, stop func()) {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if l, err = mysql.New(t.Context(), mysql.Config{DB: d, Now: clock.Now}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return l, d, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The same file into a real database, with crashes, gives what the model has.
func TestImport_into_a_database_goes_on_after_crashes(t *testing.T) {
	model, clock := pastLedger(t)
	file := past(1300) + poor
	cfg := of(Transfers, model, file)
	cfg.Clock = clock
	if _, err := Import(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	dsn := localtest.Schema(t, localtest.Shared(t))
	for turn, point := range []string{"intake.after_batch", "intake.after_rejects", "intake.before_day", "intake.after_mark", ""} {
		clock := &core.Clock{}
		clock.Set(time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC))
		l, d, stop := server(t, dsn, clock)
		open(t, l)
		kept, err := NewTableMarks(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		cfg := of(Transfers, l, file)
		cfg.Clock, cfg.Marks, cfg.OpenDay = clock, kept, time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
		cfg.At = local.NewTrap(point, 4).At
		res, err := Import(t.Context(), cfg)
		if point != "" && !errors.Is(err, local.ErrCrash) || point == "" && err != nil {
			t.Fatalf("turn %d: %+v, %v", turn, res, err)
		}
		if point == "" {
			if res.Mark != (Mark{Items: 1301, Applied: 1300, Refused: 1}) || res.Skipped == 0 {
				t.Errorf("%+v", res)
			}
			for id := int64(100); id < 110; id++ {
				have, want := balance(t, l, id), balance(t, model, id)
				if have.Balance != want.Balance || have.Entries != want.Entries {
					t.Errorf("account %d has %d after %d entries instead of %d after %d", id, have.Balance, have.Entries, want.Balance, want.Entries)
				}
			}
			if day, err := l.Day(t.Context()); err != nil || !day.Equal(cfg.OpenDay) {
				t.Errorf("%s, %v", day, err)
			}
		}
		stop()
	}
}
