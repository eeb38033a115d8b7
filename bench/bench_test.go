package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"strata/fault"
	"strata/index"
)

// fakeBench has two sides and two rounds at least.
func fakeBench(saw *Session) Benchmark {
	return Benchmark{Name: "fake", Help: "a test's", Run: func(_ context.Context, s *Session) error {
		*saw = *s
		s.report.Machine.MariaDB = "10.11"
		s.set("sync_binlog", 1)
		err := s.InTurn(
			func(round int) error {
				s.note(Run{"part", "ours", round, map[string]float64{"rows_per_s": float64(1000 * round)}})
				return nil
			},
			func(round int) error {
				s.note(Run{"part", "baseline", round, map[string]float64{"rows_per_s": 2000}})
				return nil
			})
		if err != nil {
			return err
		}
		return s.ratio("ours_vs_baseline", "part", "ours", "baseline", "rows_per_s", quotient)
	}}
}

func runMain(t *testing.T, args ...string) (code int, stdout, stderr string, s Session) {
	t.Helper()
	var out, errs bytes.Buffer
	m := &Main{Args: args, Stdout: &out, Stderr: &errs, Benchmarks: []Benchmark{fakeBench(&s),
		{Name: "broken", Run: func(context.Context, *Session) error { return fault.New(fault.Unavailable, "start", "no server") }}}}
	code = m.Run(t.Context())
	return code, out.String(), errs.String(), s
}

func TestMain_arguments(t *testing.T) {
	t.Run("no name lists the benchmarks", func(t *testing.T) {
		code, out, _, _ := runMain(t)
		if code != 0 || !strings.Contains(out, "fake") || !strings.Contains(out, "broken") {
			t.Fatalf("%d %q", code, out)
		}
	})
	t.Run("an unknown name is exit code 2 with the list", func(t *testing.T) {
		code, out, errs, _ := runMain(t, "nope")
		if code != 2 || out != "" || !strings.Contains(errs, `"nope"`) || !strings.Contains(errs, "fake") {
			t.Fatalf("%d %q %q", code, out, errs)
		}
	})
	t.Run("an unknown flag is exit code 2", func(t *testing.T) {
		if code, _, errs, _ := runMain(t, "fake", "--fast"); code != 2 || !strings.Contains(errs, "--fast") {
			t.Fatalf("%d %q", code, errs)
		}
	})
	t.Run("help is exit code 0", func(t *testing.T) {
		if code, out, _, _ := runMain(t, "--help"); code != 0 || !strings.Contains(out, "--quick") {
			t.Fatalf("%d %q", code, out)
		}
	})
	t.Run("a benchmark's error gives its kind's exit code", func(t *testing.T) {
		if code, out, errs, _ := runMain(t, "broken", "--json"); code != 3 || out != "" || !strings.Contains(errs, "no server") {
			t.Fatalf("%d %q %q", code, out, errs)
		}
	})
	t.Run("quick has 2 rounds, else 3", func(t *testing.T) {
		_, _, _, full := runMain(t, "fake")
		_, _, _, quick := runMain(t, "fake", "--quick", "--seed", "7")
		if full.Rounds != 3 || full.Quick || full.Seed != 1 || quick.Rounds != 2 || !quick.Quick || quick.Seed != 7 {
			t.Fatalf("%+v %+v", full, quick)
		}
	})
	t.Run("the folder is removed", func(t *testing.T) {
		_, _, _, s := runMain(t, "fake")
		if _, err := os.Stat(s.dir); s.dir == "" || !os.IsNotExist(err) {
			t.Fatalf("%q: %v", s.dir, err)
		}
	})
}

func TestJSON_is_the_last_line_with_every_run(t *testing.T) {
	code, out, _, _ := runMain(t, "fake", "--json")
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	var got map[string]json.RawMessage
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); code != 0 || err != nil {
		t.Fatalf("%d %v in %q", code, err, out)
	}
	if len(got) != 5 {
		t.Fatalf("keys of %v", got)
	}
	var name string
	var ratios map[string]float64
	var raw []Run
	var machine, settings map[string]any
	for key, into := range map[string]any{"bench": &name, "ratios": &ratios, "raw": &raw, "machine": &machine, "settings": &settings} {
		if err := json.Unmarshal(got[key], into); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	if name != "fake" || len(ratios) != 1 || ratios["ours_vs_baseline"] != 1 { // 0.5, 1, 1.5
		t.Errorf("%s %v", name, ratios)
	}
	var order []string
	for _, r := range raw {
		order = append(order, r.Side)
	}
	if want := []string{"ours", "baseline", "ours", "baseline", "ours", "baseline"}; !slices.Equal(order, want) {
		t.Errorf("the sides ran as %v", order)
	}
	for _, k := range []string{"cores", "cpu", "memory_mib", "kernel", "go", "mariadb", "load_before", "fsync_ms"} {
		if machine[k] == nil {
			t.Errorf("machine lacks %s: %v", k, machine)
		}
	}
	if settings["seed"] != "1" || settings["rounds"] != "3" || settings["sync_binlog"] != "1" {
		t.Errorf("settings %v", settings)
	}
}

func TestTable_has_every_run_and_every_figure(t *testing.T) {
	_, out, _, _ := runMain(t, "fake")
	for _, want := range []string{"rows_per_s", "3000", "2000", "machine", "kernel", "settings", "sync_binlog", "ours_vs_baseline  1"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "baseline  "); n != 3+1 { // 3 rounds, and the ratio's name
		t.Errorf("%d lines of the baseline in\n%s", n, out)
	}
}

func TestStats(t *testing.T) {
	t.Run("median of an odd number is the middle", func(t *testing.T) {
		if m := median([]float64{9, 1, 5}); m != 5 {
			t.Fatal(m)
		}
	})
	t.Run("median of an even number is the mean of the middle two", func(t *testing.T) {
		if m := median([]float64{10, 1, 4, 2}); m != 3 {
			t.Fatal(m)
		}
	})
	t.Run("nothing has no median and no percentile", func(t *testing.T) {
		if !math.IsNaN(median(nil)) || !math.IsNaN(percentile(nil, 50)) {
			t.Fatal("a number")
		}
	})
	t.Run("percentile is the nearest rank", func(t *testing.T) {
		var v []float64
		for i := range 200 {
			v = append(v, float64(200-i))
		}
		for percent, want := range map[int]float64{1: 2, 50: 100, 99: 198, 100: 200} {
			if got := percentile(v, percent); got != want {
				t.Errorf("p%d is %v, not %v", percent, got, want)
			}
		}
		if percentile([]float64{3}, 1) != 3 {
			t.Error("of one value")
		}
	})
	t.Run("the values are left as they were", func(t *testing.T) {
		v := []float64{3, 1, 2}
		median(v)
		percentile(v, 50)
		if !slices.Equal(v, []float64{3, 1, 2}) {
			t.Fatal(v)
		}
	})
}

func TestRatio_is_made_per_round(t *testing.T) {
	s := newSession("x", false, 1)
	for i, ab := range [][2]float64{{10, 1}, {20, 10}, {300, 100}} {
		s.note(Run{"p", "a", i + 1, map[string]float64{"f": ab[0]}})
		s.note(Run{"p", "b", i + 1, map[string]float64{"f": ab[1]}})
	}
	if err := s.ratio("q", "p", "a", "b", "f", quotient); err != nil || s.report.Ratios["q"] != 3 {
		t.Fatalf("%v %v", s.report.Ratios, err)
	}
	if err := s.ratio("d", "p", "a", "b", "f", difference); err != nil || s.report.Ratios["d"] != 10 {
		t.Fatalf("%v %v", s.report.Ratios, err)
	}
	s.note(Run{"p", "a", 4, map[string]float64{"f": 1}})
	if err := s.ratio("q", "p", "a", "b", "f", quotient); err == nil {
		t.Fatal("rounds of one side only make no ratio")
	}
}

func TestPayments_are_seeded_and_inserted_once(t *testing.T) {
	rows, parts := newPaymentMaker(5, 3000).next(3000), newPaymentMaker(5, 3000)
	if !slices.Equal(rows, append(parts.next(1000), parts.next(2000)...)) || slices.Equal(rows, newPaymentMaker(6, 3000).next(3000)) {
		t.Fatal("not by the seed")
	}
	seen := map[[2]int64]bool{}
	for _, p := range rows {
		if seen[[2]int64{p.account, p.seq}] || !slices.Contains(paymentTables(), p.shard()) || p.after != p.before+p.amount {
			t.Fatalf("%+v", p)
		}
		seen[[2]int64{p.account, p.seq}] = true
	}
	values := 0
	for _, text := range inserts(rows, 70) {
		n := strings.Count(text.sql, "(")
		if n > 70 || n != text.rows || !strings.HasPrefix(text.sql, "INSERT INTO payment_20260") {
			t.Fatalf("%d rows in %.60s", n, text.sql)
		}
		values += n
	}
	if values != len(rows) {
		t.Fatalf("%d of %d rows", values, len(rows))
	}
}

func TestReached(t *testing.T) {
	until := []index.Watermark{{Partition: 0, Number: 5}, {Partition: 1, Number: 7}}
	for _, c := range []struct {
		name  string
		marks []index.Watermark
		want  bool
	}{
		{"nothing", nil, false},
		{"one partition behind", []index.Watermark{{Partition: 0, Number: 5}, {Partition: 1, Number: 6}}, false},
		{"a partition without a mark", []index.Watermark{{Partition: 1, Number: 9}}, false},
		{"equal", until, true},
		{"beyond", []index.Watermark{{Partition: 0, Number: 6}, {Partition: 1, Number: 7}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if reached(c.marks, until) != c.want {
				t.Fatal(!c.want)
			}
		})
	}
}

func TestBareSQLite_loads_every_row_and_refuses_older_versions(t *testing.T) {
	rows := newPaymentMaker(1, bareBatch+100).next(bareBatch + 100)
	db, err := openBare(t.Context(), t.TempDir()+"/bare.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := loadBare(t.Context(), db, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE doc SET version = version + 1"); err != nil {
		t.Fatal(err)
	}
	rows[0].amount = -7
	if err := loadBare(t.Context(), db, rows); err != nil {
		t.Fatal(err)
	}
	var n, changed int
	if err := db.QueryRow("SELECT COUNT(*), SUM(amount = -7) FROM doc").Scan(&n, &changed); err != nil || n != len(rows) || changed != 0 {
		t.Fatal(n, changed, err)
	}
}
