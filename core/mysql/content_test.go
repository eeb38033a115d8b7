package mysql

import (
	"context"
	"slices"
	"strings"
	"testing"

	"strata/catalog"
	"strata/core"
	"strata/db"
)

// content reads all rows of a ledger, late shards too: its digest with the ids, and its trial balance.
func content(t testing.TB, dsn string) (string, core.TrialReport) {
	t.Helper()
	d := open(t, dsn, db.Reader)
	specs := core.Datasets(nil, nil)
	var sets []*catalog.Dataset
	for _, s := range append(specs, catalog.Spec{Name: "transfer_id"}.WithDefaults()) {
		ds, err := db.Resolve(t.Context(), d, s)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, ds)
	}
	trial, err := core.NewTrial(sets[0], sets[1], sets[2])
	if err != nil {
		t.Fatal(err)
	}
	var digest core.Digest
	for _, ds := range sets {
		for _, table := range tables(t, d, ds) {
			each(t, d, ds, table, func(row *catalog.Row) {
				digest.Add(ds.Name, row)
				if ds.Name == "transfer_id" {
					return
				}
				if err := trial.Add(ds.Name, row); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	return digest.String(), trial.Report()
}

func tables(t testing.TB, d *db.DB, ds *catalog.Dataset) []string {
	t.Helper()
	all, err := db.Tables(t.Context(), d, ds.Table)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(n string) bool { _, ok := ds.ShardOf(n); return !ok })
}

func each(t testing.TB, d *db.DB, ds *catalog.Dataset, table string, f func(*catalog.Row)) {
	t.Helper()
	rows, err := d.Query(context.Background(), ds, nil, "SELECT "+db.SelectList(ds, nil, "")+" FROM "+db.Quote(table))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var row catalog.Row
	for {
		ok, err := rows.Next(&row)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		f(&row)
	}
}

// wantBalanced fails the test unless the trial balance is proven.
func wantBalanced(t testing.TB, r core.TrialReport) {
	t.Helper()
	if r.Problems != 0 || r.Entries == 0 {
		t.Fatalf("%d problems in %d entries:\n%s", r.Problems, r.Entries, strings.Join(r.Findings, "\n"))
	}
}

// count is one number from the database.
func count(t testing.TB, d *db.DB, query string) (n int64) {
	t.Helper()
	if err := d.SQL().QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
