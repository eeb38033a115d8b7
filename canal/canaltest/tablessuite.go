package canaltest

import (
	"context"
	"fmt"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// TablesCase is a Tables with one dataset like Dataset's, whose only table is empty, on a captured server of its own.
type TablesCase struct {
	Tables  canal.Tables
	Dataset *catalog.Dataset
	// Write makes row id have the note, or be absent where note is "", in a transaction of its own.
	Write func(ctx context.Context, id int, note string) error
	// Beat commits a heartbeat and returns its number.
	Beat func(ctx context.Context) (uint64, error)
	// Reached is the Source's.
	Reached func(at, want string) (bool, error)
}

// TablesSuite checks a Tables.
func TablesSuite(t *testing.T, c TablesCase) {
	ctx, d := t.Context(), c.Dataset
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Beat(ctx)
	must(err)
	shards, err := c.Tables.Shards(ctx, d)
	if err != nil || len(shards) != 1 || shards[0].Holding.Shard.Table != d.Table || shards[0].Holding.Store != catalog.Live {
		t.Fatalf("Shards: %+v, %v", shards, err)
	}
	h := shards[0].Holding
	if e, err := c.Tables.Chunk(ctx, d, h, "", "", 10, 1<<20); err != nil || len(e.Rows) != 0 || !e.End {
		t.Fatalf("Chunk of an empty table: %+v, %v", e, err)
	}
	for id := 1; id <= 12; id++ { // 10 comes after 9
		must(c.Write(ctx, id, fmt.Sprint("v", id)))
	}
	beat, err := c.Beat(ctx)
	must(err)
	read := func(after, to catalog.Key, rows, bytes int) (ids []string) {
		t.Helper()
		for {
			k, err := c.Tables.Chunk(ctx, d, h, after, to, rows, bytes)
			must(err)
			if k.Beat < beat || len(k.Rows) > rows || !k.End && len(k.Rows) == 0 {
				t.Fatalf("Chunk: heartbeat %d of %d, %d rows of %d", k.Beat, beat, len(k.Rows), rows)
			}
			for i := range k.Rows {
				if k.Rows[i].Text(1) != "v"+k.Rows[i].Text(0) {
					t.Fatalf("row %s has %s", k.Rows[i].Text(0), k.Rows[i].Text(1))
				}
				ids = append(ids, k.Rows[i].Text(0))
			}
			if n := len(k.Rows); n > 0 && k.Last != catalog.KeyOf(&k.Rows[n-1], d.KeyIndexes()) {
				t.Fatalf("Last is %s", k.Last)
			}
			if k.End {
				return ids
			}
			after = k.Last
		}
	}
	want := func(got []string, ids string) {
		t.Helper()
		if fmt.Sprint(got) != ids {
			t.Fatalf("read %v, want %s", got, ids)
		}
	}
	all := "[1 2 3 4 5 6 7 8 9 10 11 12]"
	want(read("", "", 5, 1<<20), all)
	want(read("", "", 12, 1<<20), all)
	want(read("", "", 100, 1), all)
	want(read("9", "11", 1, 1<<20), "[10 11]")
	want(read("12", "", 5, 1<<20), "[]")

	other := h
	other.Epoch += 5
	if _, err := c.Tables.Chunk(ctx, d, other, "", "", 5, 1<<20); !fault.Is(err, fault.Stale) {
		t.Fatalf("Chunk of an epoch that is not the shard's: %v", err)
	}
	k, err := c.Tables.Locked(ctx, d, d.Table, []catalog.Key{"3", "77", "12"}, false)
	if err != nil || len(k.Found) != 3 || k.Found[0].Row == nil || k.Found[0].Row.Text(1) != "v3" || k.Found[1].Row != nil || k.Found[1].Held ||
		k.Found[2].Row == nil || k.Found[2].Row.Text(0) != "12" || k.Found[0].Holding != h {
		t.Fatalf("Locked: %+v, %v", k, err)
	}
	before, err := c.Tables.Locked(ctx, d, d.Table, nil, false) // without keys: only where the server is
	if err != nil || len(before.Found) != 0 || before.After == "" {
		t.Fatalf("Locked without keys: %+v, %v", before, err)
	}
	must(c.Write(ctx, 3, ""))
	k, err = c.Tables.Locked(ctx, d, d.Table, []catalog.Key{"3"}, true)
	if err != nil || k.Found[0].Row != nil || k.Found[0].Held {
		t.Fatalf("Locked after a delete: %+v, %v", k, err)
	}
	for _, pair := range [][2]string{{before.After, before.Before}, {k.Before, before.After}, {k.After, k.Before}} {
		if ok, err := c.Reached(pair[0], pair[1]); !ok || err != nil {
			t.Fatalf("position %s came after %s: %v", pair[0], pair[1], err)
		}
	}
	if ok, err := c.Reached(before.After, k.After); ok || err != nil {
		t.Fatalf("position %s after a write is not beyond %s: %v", k.After, before.After, err)
	}
}
