package tables_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/tables"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

// L7: chunks are the whole range, each row once, in order.
func TestL7_chunks_are_the_whole_range(t *testing.T) {
	const n = 45_000 // more than two statements
	r := newRig(t, localtest.Shared(t), acct())
	r.fill(t, r.writer, n)
	h := r.holding(t)
	check := func(keys []catalog.Key, from, to int) {
		t.Helper()
		if len(keys) != to-from {
			t.Fatalf("%d keys instead of %d", len(keys), to-from)
		}
		for i, k := range keys {
			if string(k) != strconv.Itoa(from+i) {
				t.Fatalf("key %d is %s", from+i, k)
			}
		}
	}
	for _, rows := range []int{7_000, 20_000, 100_000} {
		keys, _ := r.all(t, h, "", "", rows, 1<<30)
		check(keys, 0, n)
	}
	keys, chunks := r.all(t, h, "100", "40100", 1000, 1<<30)
	check(keys, 101, 40_101)
	if chunks < 40 {
		t.Errorf("%d chunks", chunks)
	}
	keys, chunks = r.all(t, h, "44000", "", 1000, 100)
	check(keys, 44_001, n)
	if chunks < 40 {
		t.Errorf("%d chunks of 100 bytes", chunks)
	}
	keys, _ = r.all(t, h, "99999", "", 10, 100)
	check(keys, 0, 0)
	t.Run("of one snapshot see one state, and not beyond its time", func(t *testing.T) {
		first, err := r.tables.Chunk(t.Context(), r.d, h, "", "", 10, 1<<20)
		must(t, err)
		_, err = db.Beat(t.Context(), r.writer, 1)
		must(t, err)
		r.exec(t, r.writer, "UPDATE acct SET ver=2 WHERE id<100")
		second, err := r.tables.Chunk(t.Context(), r.d, h, first.Last, "", 10, 1<<20)
		must(t, err)
		if second.Beat != first.Beat || second.Rows[0].Text(1) != "1" {
			t.Errorf("beat %d after %d, version %s", second.Beat, first.Beat, second.Rows[0].Text(1))
		}
		r.clock.Add(int64(time.Minute))
		third, err := r.tables.Chunk(t.Context(), r.d, h, second.Last, "", 10, 1<<20)
		must(t, err)
		if third.Beat <= first.Beat || third.Rows[0].Text(1) != "2" || third.Rows[0].Text(0) != "20" {
			t.Errorf("beat %d after %d, version %s", third.Beat, first.Beat, third.Rows[0].Text(1))
		}
	})
	t.Run("that nobody goes on after let DDL pass", func(t *testing.T) {
		r := newRig(t, localtest.Shared(t), acct(), func(c *tables.Config) { c.SnapshotLimit = 100 * time.Millisecond })
		r.fill(t, r.writer, 1000)
		_, err := r.tables.Chunk(t.Context(), r.d, h, "", "", 10, 1<<20)
		must(t, err)
		localtest.Eventually(t, 30*time.Second, "an ALTER passes", func() (bool, error) {
			_, err := r.admin.SQL().ExecContext(t.Context(), "ALTER TABLE acct ADD COLUMN extra INT")
			if fault.Is(db.Classify("alter", err), fault.Busy) {
				return false, nil
			}
			return err == nil, err
		})
	})
	t.Run("cancelled is an error, and the next one works", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, err := r.tables.Chunk(ctx, r.d, h, "", "", 10, 1<<20)
		must(t, err)
		cancel()
		_, err = r.tables.Chunk(ctx, r.d, h, c.Last, "", 10, 1<<20)
		kind(t, err, fault.Interrupted)
		c, err = r.tables.Chunk(t.Context(), r.d, h, c.Last, "", 10, 1<<20)
		must(t, err)
		if c.Rows[0].Text(0) != "10" {
			t.Error(c.Rows[0].Text(0))
		}
	})
	t.Run("of bad keys are refused", func(t *testing.T) {
		for _, k := range []catalog.Key{"x", "1,2", "%zz"} {
			_, err := r.tables.Chunk(t.Context(), r.d, h, k, "", 10, 1<<20)
			kind(t, err, fault.Invalid)
		}
	})
}

// Keys of every order that a server has: each row once, whatever the chunk.
func TestChunk_of_composite_and_character_keys(t *testing.T) {
	text := catalog.Column{Name: "a", Type: catalog.Type{Kind: catalog.Text}, Collation: "utf8mb4_general_ci"}
	for _, c := range []struct {
		name, ddl string
		a         catalog.Column
		values    []string
	}{
		{"ci", "a VARCHAR(20) COLLATE utf8mb4_general_ci", text, []string{"a", "B", "c", "é", "Z", "", "a%,/ b"}},
		{"latin1", "a VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", text, []string{"a", "B", "é", "Z", "ä", ""}},
		{"decimal", "a DECIMAL(20,3)", catalog.Column{Name: "a", Type: catalog.Type{Kind: catalog.Decimal, Scale: 3}}, []string{"-10.500", "-9.000", "0.000", "2.000", "10.000"}},
		{"datetime", "a DATETIME(3)", catalog.Column{Name: "a", Type: catalog.Type{Kind: catalog.DateTime, FSP: 3}}, []string{"0000-00-00 00:00:00", "2026-01-01 00:00:00.001", "2026-01-01 00:00:00.010"}},
		{"enum", "a ENUM('z','b''b','a','\\\\x')", catalog.Column{Name: "a", Type: catalog.Type{Kind: catalog.Enum}}, []string{"z", "b'b", "a", `\x`}},
		{"set", "a SET('z','b','a')", catalog.Column{Name: "a", Type: catalog.Type{Kind: catalog.Set}}, []string{"", "z", "b", "a", "z,a", "b,a"}},
		{"binary", "a VARBINARY(20)", catalog.Column{Name: "a", Type: catalog.Type{Kind: catalog.Binary}}, []string{"", "\x01", "a", "\xff"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &catalog.Dataset{Name: "k", Table: "k", Key: []string{"a", "b"}, Columns: []catalog.Column{{Name: "b", Type: catalog.Type{Kind: catalog.Int, Size: 4}}, c.a}}
			r := newRig(t, localtest.Shared(t), d)
			r.exec(t, r.writer, "CREATE TABLE k (b INT, "+c.ddl+", PRIMARY KEY (a, b))")
			for _, v := range c.values {
				for b := -3; b < 3; b++ {
					_, err := r.writer.SQL().ExecContext(t.Context(), "INSERT INTO k (a, b) VALUES (?, ?)", v, b)
					must(t, err)
				}
			}
			h := r.holding(t)
			want, _ := r.all(t, h, "", "", 1000, 1<<20)
			if len(want) != 6*len(c.values) {
				t.Fatalf("%d rows", len(want))
			}
			r.clock.Store(0)
			for i, after := range want {
				r.clock.Add(int64(time.Hour)) // a new snapshot, so the key is compared by the server
				got, err := r.tables.Chunk(t.Context(), d, h, after, "", 5, 1<<20)
				must(t, err)
				for j := range got.Rows {
					if k := catalog.KeyOf(&got.Rows[j], d.KeyIndexes()); k != want[i+1+j] {
						t.Fatalf("after %q comes %q instead of %q", after, k, want[i+1+j])
					}
				}
				if len(got.Rows) != min(5, len(want)-i-1) {
					t.Fatalf("%d rows after %q", len(got.Rows), after)
				}
				till, _ := r.all(t, h, "", after, 1000, 1<<20)
				if !slices.Equal(till, want[:i+1]) {
					t.Fatalf("up to %q: %q", after, till)
				}
			}
			found, err := r.tables.Locked(t.Context(), d, "k", want, false)
			must(t, err)
			for i, f := range found.Found {
				if f.Row == nil || catalog.KeyOf(f.Row, d.KeyIndexes()) != want[i] {
					t.Fatalf("%q: %+v", want[i], f)
				}
			}
		})
	}
}

// The dataset has a column that the table lacks, and lacks one that the table has: what is read has the table's, as what
// comes from the stream.
func TestRows_have_the_columns_of_their_table(t *testing.T) {
	d := acct()
	d.Columns = slices.Insert(d.Columns, 1, catalog.Column{Name: "gone", Type: catalog.Type{Kind: catalog.Text}, Nullable: true})
	r := newRig(t, localtest.Shared(t), d)
	r.fill(t, r.writer, 10)
	r.fill(t, r.archiver, 10)
	for _, pool := range []*db.DB{r.writer, r.archiver} {
		r.exec(t, pool, "ALTER TABLE acct ADD COLUMN added VARCHAR(20) NOT NULL DEFAULT 'is new' FIRST")
	}
	check := func(form *canal.Form, row *catalog.Row) {
		t.Helper()
		if form == nil || row == nil || !slices.Equal(form.At, []int{1, -1, 2}) || len(form.Columns) != 3 || form.Columns[0].Name != "added" {
			t.Fatalf("%+v %+v", form, row)
		}
		if row.Text(0) != "is new" || row.Text(1) != "3" || row.Text(2) != "1" || row.Len() != 3 {
			t.Fatalf("%+v", row)
		}
	}
	for _, store := range []catalog.Store{catalog.Live, catalog.Archive} {
		if store == catalog.Archive {
			r.exec(t, r.writer, "INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('acct','acct',0,0,1,'released')")
			r.exec(t, r.archiver, "INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('acct','acct',0,0,1,'owned')")
		}
		c, err := r.tables.Chunk(t.Context(), d, r.holding(t), "2", "3", 10, 100)
		must(t, err)
		check(c.Form, &c.Rows[0])
		if c.Last != "3" {
			t.Fatal(c.Last)
		}
		l, err := r.tables.Locked(t.Context(), d, "acct", []catalog.Key{"3", "77"}, false)
		must(t, err)
		check(l.Form, l.Found[0].Row)
		if l.Found[1].Row != nil || l.Found[1].Held || l.Found[0].Holding.Store != store {
			t.Fatalf("%+v", l.Found)
		}
		if c.Form != l.Form {
			t.Error("the same columns are two forms")
		}
	}
	r.exec(t, r.archiver, "ALTER TABLE acct CHANGE id number BIGINT")
	_, err := r.tables.Chunk(t.Context(), d, r.holding(t), "5", "", 10, 100)
	kind(t, err, fault.Unsafe)
}

// L9: a chunk is bounded whatever the rows are.
func TestL9_a_chunk_is_bounded_in_bytes(t *testing.T) {
	d := acct()
	d.Columns = append(d.Columns, catalog.Column{Name: "big", Type: catalog.Type{Kind: catalog.Text}, Nullable: true})
	r := newRig(t, localtest.Shared(t), d)
	r.exec(t, r.writer, "CREATE TABLE acct (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL, big LONGTEXT)",
		"INSERT INTO acct SELECT seq, 1, REPEAT('x', 100000) FROM seq_1_to_200")
	h := r.holding(t)
	after, n := catalog.Key(""), 0
	for end := false; !end; {
		c, err := r.tables.Chunk(t.Context(), d, h, after, "", 1000, 1<<20)
		must(t, err)
		size := 0
		for i := range c.Rows {
			size += c.Rows[i].Size()
		}
		if size > 1<<20+200_000 {
			t.Fatalf("a chunk of %d bytes", size)
		}
		n, after, end = n+len(c.Rows), c.Last, c.End
	}
	if n != 200 {
		t.Errorf("%d rows", n)
	}
}
