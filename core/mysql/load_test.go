package mysql

import (
	"os"
	"strconv"
	"testing"
	"time"

	"strata/core/load"
	"strata/local/localtest"
	"strings"
)

// TestLoadRate prints the rate of the demo's load; STRATA_LOAD is its size.
func TestLoadRate(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("STRATA_LOAD"))
	if n == 0 {
		t.Skip("STRATA_LOAD is not set")
	}
	s := fresh(t)
	if o := os.Getenv("OPTS"); o != "" {
		s.dsn = localtest.Schema(t, localtest.Maria(t, strings.Fields(o)...))
	}
	p := load.Plan{Seed: 1, Transfers: n, Accounts: 2000, From: time.Date(2025, 5, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	s.clock.Set(p.From)
	l := run(t, s)
	began := time.Now()
	res, err := load.Past(t.Context(), load.Config{Plan: p, Ledger: l, Clock: s.clock})
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d transfers in %s: %.0f/s; %+v %+v", n, took.Round(time.Millisecond), float64(n)/took.Seconds(), res, l.Stats())
}
