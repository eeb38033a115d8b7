package control_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
	syncer "strata/sync"
	"strata/sync/control"
)

func reports(t *testing.T, dsn, index string) *control.Reports {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "control", Store: catalog.Live, Purpose: db.Writer, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	r, err := control.OpenReports(t.Context(), d, index)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReports(t *testing.T) {
	for name, server := range map[string]func(testing.TB) localtest.Database{
		"MariaDB": func(t testing.TB) localtest.Database { return localtest.Shared(t) },
		"MySQL":   func(t testing.TB) localtest.Database { return localtest.SharedMySQL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			dsn := localtest.Schema(t, server(t))
			a, b, other := reports(t, dsn, "elastic"), reports(t, dsn, "elastic"), reports(t, dsn, "sqlite:/x")
			acquire := func(r *control.Reports, holder string, ttl time.Duration, want bool) {
				t.Helper()
				got, err := r.Acquire(t.Context(), "entry", holder, ttl)
				if err != nil || got != want {
					t.Fatalf("%s: %t, %v", holder, got, err)
				}
			}
			ok := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			acquire(a, "a", time.Hour, true)
			acquire(b, "b", time.Hour, false)
			acquire(a, "a", time.Hour, true) // renewed
			acquire(other, "b", time.Hour, true)
			ok(b.Release(t.Context(), "entry", "b")) // not its own
			acquire(b, "b", time.Hour, false)
			acquire(b, "b", time.Second, true) // a lease of an hour was given by a clock that was ahead
			acquire(a, "a", time.Hour, false)
			ok(b.Release(t.Context(), "entry", "b"))
			acquire(a, "a", time.Microsecond, true)
			localtest.Eventually(t, 10*time.Second, "a lease runs out", func() (bool, error) { return b.Acquire(t.Context(), "entry", "b", time.Hour) })

			n, resumes, err := a.Report(t.Context(), "a", syncer.Stats{Datasets: []syncer.DatasetStats{{Dataset: "entry", State: syncer.Stopped, Err: "no"}}}, time.Minute)
			if err != nil || n != 1 || len(resumes) != 0 || resumes == nil {
				t.Fatalf("%d %v %v", n, resumes, err)
			}
			ok(b.Resume(t.Context(), "entry"))
			n, resumes, err = b.Report(t.Context(), "b", syncer.Stats{}, time.Minute)
			if err != nil || n != 2 || resumes["entry"] != 1 {
				t.Fatalf("%d %v %v", n, resumes, err)
			}
			list, err := b.Processes(t.Context())
			if err != nil || len(list) != 2 || list[1].Holder != "a" || list[1].Stats.Datasets[0].Err != "no" || list[1].Age < 0 {
				t.Fatalf("%+v %v", list, err)
			}
			holders, err := a.Holders(t.Context())
			if err != nil || len(holders) != 1 || holders["entry"] != "b" {
				t.Fatalf("%v %v", holders, err)
			}
			ok(a.Leave(t.Context(), "a"))
			if list, err := b.Processes(t.Context()); err != nil || len(list) != 1 {
				t.Fatalf("%+v %v", list, err)
			}
		})
	}
}

// TestReports_spread_the_datasets: of several processes each applies its share, and one takes over what another gives back.
func TestReports_spread_the_datasets(t *testing.T) {
	dsn := localtest.Schema(t, localtest.Shared(t))
	var sets []*catalog.Dataset
	for _, name := range []string{"a", "b", "c", "d"} {
		sets = append(sets, &catalog.Dataset{Name: name, Partitions: 1})
	}
	start := func(holder string) (*syncer.Sync, func()) {
		t.Helper()
		s, err := syncer.New(syncer.Config{Index: idle{}, Feed: idle{}, Datasets: sets, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Board: reports(t, dsn, "elastic"), Holder: holder, Beat: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return s, runSync(t, s)
	}
	has := func(want map[*syncer.Sync]int) {
		t.Helper()
		localtest.Eventually(t, 30*time.Second, "the datasets are spread", func() (bool, error) {
			names := map[string]int{}
			for s, n := range want {
				for _, d := range s.Stats().Datasets {
					if d.State != syncer.Waiting {
						names[d.Dataset]++
						n--
					}
				}
				if n != 0 {
					return false, nil
				}
			}
			return len(names) == len(sets), nil
		})
	}
	one, stopOne := start("one")
	has(map[*syncer.Sync]int{one: 4})
	two, stopTwo := start("two")
	has(map[*syncer.Sync]int{one: 2, two: 2})
	stopOne()
	has(map[*syncer.Sync]int{two: 4})
	stopTwo()
}
