package mysql

import (
	"os"
	"strconv"
	"testing"
	"time"

	"strata/core/load"
)

// TestLoadRate prints the rate of a load of STRATA_LOAD transfers over 18 months, and over 30 days: there every batch is full.
func TestLoadRate(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("STRATA_LOAD"))
	if n == 0 {
		t.Skip("STRATA_LOAD is not set")
	}
	to := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for name, from := range map[string]time.Time{"18 months": to.AddDate(0, -18, 0), "30 days": to.AddDate(0, 0, -30)} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			s.clock.Set(from)
			l := run(t, s)
			p := load.Plan{Seed: 1, Transfers: n, Accounts: 2000, From: from, To: to}
			began := time.Now()
			res, err := load.Past(t.Context(), load.Config{Plan: p, Ledger: l, Clock: s.clock})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			t.Logf("%d transfers in %s: %.0f/s; %+v %+v", n, took.Round(time.Millisecond), float64(n)/took.Seconds(), res, l.Stats())
		})
	}
}
