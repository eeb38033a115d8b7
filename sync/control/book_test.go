package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/index"
	"strata/local/localtest"
	"strata/sync/control"
	"strata/sync/verify"
)

// servers runs f with a book on a schema of each server that there is.
func servers(t *testing.T, f func(t *testing.T, d *db.DB, b *control.Book)) {
	for name, dsn := range map[string]func(*testing.T) string{
		"MariaDB": func(t *testing.T) string { return localtest.Schema(t, localtest.Shared(t)) },
		"MySQL":   func(t *testing.T) string { return localtest.Schema(t, localtest.SharedMySQL(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := db.Open(t.Context(), db.Config{DSN: dsn(t), Name: "control", Store: catalog.Archive, Purpose: db.Writer})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			for _, name := range []string{"one", "other"} { // rows don't touch each other
				b, err := control.OpenBook(t.Context(), d, name)
				if err != nil {
					t.Fatal(err)
				}
				f(t, d, b)
			}
		})
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err, fault.HintOf(err))
		}
		return v
	}
}

func TestBook_lease_and_progress(t *testing.T) {
	servers(t, func(t *testing.T, d *db.DB, b *control.Book) {
		ctx, ok := t.Context(), must[bool](t)
		if p := must[verify.Progress](t)(b.Load(ctx)); !reflect.DeepEqual(p, verify.Progress{}) {
			t.Errorf("at first %+v", p)
		}
		if ok(b.Save(ctx, "a", &verify.Progress{Pass: 9})) {
			t.Error("saved without a lease")
		}
		if !ok(b.Acquire(ctx, "a", time.Minute)) || ok(b.Acquire(ctx, "b", time.Minute)) || !ok(b.Acquire(ctx, "a", time.Minute)) {
			t.Error("the lease is not one holder's")
		}
		p := verify.Progress{Pass: 3, Mode: verify.Fast, BeganAt: time.Unix(1e9, 0).UTC(), Done: []string{"x"},
			Places: map[string]*verify.Place{"y": {Shard: "y_1", After: "7,付", Rows: 5, Sums: []verify.UnitSum{{Column: "amount", Unit: "EUR", Source: "-5"}}}},
			Bounds: map[string][]verify.Bound{"x": {{At: time.Unix(1e9, 0).UTC(), Version: index.MakeVersion(3, 4)}}}}
		if !ok(b.Save(ctx, "a", &p)) || ok(b.Save(ctx, "b", &verify.Progress{})) {
			t.Error("who saves")
		}
		got := must[verify.Progress](t)(b.Load(ctx))
		if got.Holder != "a" || time.Since(got.SavedAt).Abs() > time.Hour {
			t.Errorf("saved by %q at %s", got.Holder, got.SavedAt)
		}
		got.Holder, got.SavedAt = "", time.Time{}
		if a, c := text(t, got), text(t, p); a != c {
			t.Errorf("%s\nwant\n%s", a, c)
		}
		if err := b.Release(ctx, "b"); err != nil || ok(b.Acquire(ctx, "b", time.Minute)) {
			t.Error("another's lease is given back", err)
		}
		if err := b.Release(ctx, "a"); err != nil || !ok(b.Acquire(ctx, "b", time.Microsecond)) {
			t.Error("not free after it was given back", err)
		}
		localtest.Eventually(t, time.Minute, "the lease has run out", func() (bool, error) { return b.Acquire(ctx, "a", time.Minute) })
		if ok(b.Save(ctx, "b", &verify.Progress{})) {
			t.Error("the one before saves")
		}
		if _, err := d.SQL().Exec("UPDATE sync_verifier SET progress='{'"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Load(ctx); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" {
			t.Errorf("a broken progress: %v", err)
		}
	})
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBook_findings(t *testing.T) {
	servers(t, func(t *testing.T, d *db.DB, b *control.Book) {
		ctx := t.Context()
		list := func(dataset string, state verify.State) []verify.Finding {
			t.Helper()
			return must[[]verify.Finding](t)(b.Findings(ctx, dataset, state, 0, 5000))
		}
		if got := list("", ""); got == nil || len(got) > 0 {
			t.Errorf("at first %+v", got)
		}
		var many []verify.Finding
		for i := range 1200 {
			many = append(many, verify.Finding{Pass: 1, Queued: i%2 == 0, Difference: verify.Difference{Dataset: "x", Shard: "x_1",
				Key: fmt.Sprintf("k%d%s", i, strings.Repeat("长", 300)), What: "amount", Source: "1", Index: "2", State: verify.Open}})
		}
		other := many[0]
		other.Dataset, other.What = "y", strings.Repeat("w", 100_000)+"\xff"
		found := func(list ...verify.Finding) {
			t.Helper()
			if err := b.Found(ctx, list); err != nil {
				t.Fatal(err)
			}
		}
		found(append(many, other)...)
		found(many[:3]...) // again: a crash came between
		if n := len(list("x", "")); n != 1200 || len(list("y", verify.Open)) != 1 || len(list("", verify.Repaired)) != 0 {
			t.Errorf("%d findings", n)
		}
		first := list("x", "")[0]
		if first.Key != many[0].Key || !first.Queued || first.FoundAt.IsZero() || !first.SettledAt.IsZero() || first.Pass != 1 {
			t.Errorf("%+v", first)
		}
		page := must[[]verify.Finding](t)(b.Findings(ctx, "x", verify.Open, first.ID, 2))
		if len(page) != 2 || page[0].Key != many[1].Key {
			t.Errorf("%+v", page)
		}
		settle := func(state verify.State, hint string, list ...verify.Finding) {
			t.Helper()
			for i := range list {
				list[i].State, list[i].Hint = state, hint
			}
			if err := b.Settle(ctx, list); err != nil {
				t.Fatal(err)
			}
		}
		settle(verify.Repaired, "", many[:700]...)
		settle(verify.Gone, "", many[699:701]...) // the first of them is settled already
		settle(verify.Open, "mend it", many[701])
		want := verify.Counts{Found: 1200, Repaired: 700, Gone: 1, Open: 499}
		if got := must[map[string]verify.Counts](t)(b.Counts(ctx, time.Now().Add(-time.Hour))); got["x"] != want || got["y"].Open != 1 {
			t.Errorf("%+v", got)
		}
		if got := must[map[string]verify.Counts](t)(b.Counts(ctx, time.Now().Add(time.Hour))); got["x"] != (verify.Counts{Open: 499}) {
			t.Errorf("later %+v", got)
		}
		if f := list("x", verify.Open)[0]; f.Hint != "mend it" || !f.SettledAt.IsZero() {
			t.Errorf("%+v", f)
		}
		again := many[0]
		again.Pass, again.Queued = 2, false
		found(again, many[701])
		if f := list("x", verify.Open)[0]; f.Key != again.Key || f.Pass != 2 || f.Queued || !f.SettledAt.IsZero() || f.FoundAt.Before(first.FoundAt) {
			t.Errorf("found anew %+v", f)
		}
		old(t, d, b)
	})
}

// old checks that settled findings are forgotten in the end, and open ones never.
func old(t *testing.T, d *db.DB, b *control.Book) {
	t.Helper()
	if _, err := d.SQL().Exec("UPDATE sync_finding SET settled_at=settled_at-INTERVAL 91 DAY, found_at=found_at-INTERVAL 91 DAY"); err != nil {
		t.Fatal(err)
	}
	before := len(must[[]verify.Finding](t)(b.Findings(t.Context(), "", verify.Open, 0, 5000)))
	if err := b.PutReport(t.Context(), "2026-01-01", []byte("{}"), "s"); err != nil {
		t.Fatal(err)
	}
	if n := len(must[[]verify.Finding](t)(b.Findings(t.Context(), "", "", 0, 5000))); n != before || n != 501 {
		t.Errorf("%d of %d are left", n, before)
	}
}

func TestBook_reports(t *testing.T) {
	servers(t, func(t *testing.T, _ *db.DB, b *control.Book) {
		report := func(date, want string) {
			t.Helper()
			body, signature, ok, err := b.Report(context.Background(), date)
			if err != nil || ok != (want != "") || ok && string(body)+signature != want {
				t.Errorf("%s: %s %s %v %v", date, body, signature, ok, err)
			}
		}
		report("", "")
		for _, r := range [][3]string{{"2026-02-01", `{"a":"付"}`, "s1"}, {"2026-01-31", "{}", "s2"}, {"2026-01-31", "{ }", "s3"}} {
			if err := b.PutReport(t.Context(), r[0], []byte(r[1]), r[2]); err != nil {
				t.Fatal(err)
			}
		}
		report("", `{"a":"付"}s1`)
		report("2026-01-31", "{ }s3")
		report("2026-01-30", "")
	})
}

func TestOpenBook_refuses(t *testing.T) {
	for _, name := range []string{"", strings.Repeat("x", 256)} {
		if _, err := control.OpenBook(t.Context(), nil, name); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
