package indextest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// Open returns a new, empty index; the suite closes it.
type Open func(t testing.TB) index.Index

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Run("Apply writes a document only if its version is greater than the stored one", func(t *testing.T) { versions(t, open) })
	t.Run("Apply refuses one document and writes the others", func(t *testing.T) { refusals(t, open) })
	t.Run("Apply takes an image with other columns only with the hash of its row", func(t *testing.T) { otherColumns(t, open) })
	t.Run("Applied documents outlive the index's process", func(t *testing.T) { tombstones(t, open) })
	t.Run("PutWatermark never goes back", func(t *testing.T) { watermarks(t, open) })
	t.Run("HighestTerm is the highest of any watermark or document", func(t *testing.T) { highestTerm(t, open) })
	t.Run("Ensure is idempotent and refuses other columns", func(t *testing.T) { ensure(t, open) })
	t.Run("Scan goes up by the key columns from the first key greater than after", func(t *testing.T) { scans(t, open) })
	t.Run("Digests is Scan without the rows", func(t *testing.T) { digests(t, open) })
	t.Run("TestL2_a_sweep_leaves_what_lives_or_is_at_the_bound", func(t *testing.T) { sweeps(t, open) })
	t.Run("Every cell comes back byte for byte", func(t *testing.T) { cells(t, open) })
	t.Run("Search refuses what it can't answer", func(t *testing.T) { invalid(t, open) })
	t.Run("Batches of several partitions may run in parallel", func(t *testing.T) { parallel(t, open) })
	t.Run("Match finds words and phrases of text columns", func(t *testing.T) { words(t, open) })
	t.Run("Search equals the model", func(t *testing.T) { searchModel(t, open) })
	t.Run("TestL2_an_older_image_never_replaces_a_newer_one", func(t *testing.T) { versionsModel(t, open) })
	t.Run("TestL2_the_words_of_an_older_image_are_never_found", func(t *testing.T) { wordsModel(t, open) })
	t.Run("TestL7_a_cancelled_search_is_an_error_and_no_page", func(t *testing.T) { cancelled(t, open) })
}

// Entries is a dataset like the ledger's entries: monthly shards, a key of two integers.
func Entries() *catalog.Dataset {
	col := func(name string, t catalog.Type) catalog.Column {
		c := catalog.Column{Name: name, Type: t}
		if t.Kind == catalog.Text {
			c.Collation = "utf8mb4_bin"
		}
		return c
	}
	big, text := catalog.Type{Kind: catalog.Int, Size: 8}, catalog.Type{Kind: catalog.Text}
	us := catalog.Type{Kind: catalog.DateTime, FSP: 6}
	memo := col("memo", text)
	memo.Nullable = true
	return &catalog.Dataset{Name: "entry", Table: "entry", Key: []string{"account_id", "seq"}, Time: "accounting_date",
		Scheme: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}, Account: "account_id", Partitions: 4,
		Columns: []catalog.Column{col("account_id", big), col("seq", big), col("transfer_id", text), col("amount", big),
			col("accounting_date", catalog.Type{Kind: catalog.Date}), col("order_time", us), memo}}
}

// Entry is a row of Entries.
func Entry(account, seq int, amount int, day string, memo *string) catalog.Row {
	s := func(format string, args ...any) *string { v := fmt.Sprintf(format, args...); return &v }
	return catalog.RowOf(s("%d", account), s("%d", seq), s("tr-%d-%d", account, seq), s("%d", amount), s("%s", day),
		s("%s 10:00:00.000000", day), memo)
}

// Doc makes a document of a row.
func Doc(d *catalog.Dataset, shard string, row catalog.Row, v index.Version, deleted bool) index.Document {
	h, _ := row.Hash(nil)
	return index.Document{Shard: shard, Key: catalog.KeyOf(&row, d.KeyIndexes()), Version: v, Hash: h, Deleted: deleted,
		After: catalog.AppendJSON(nil, d, &row)}
}

// suite is an open index with its dataset.
type suite struct {
	t   rapid.TB
	x   index.Index
	d   *catalog.Dataset
	ctx context.Context
}

func start(t testing.TB, open Open, d *catalog.Dataset) *suite {
	t.Helper()
	s := &suite{t: t, x: open(t), d: d, ctx: t.Context()}
	t.Cleanup(func() {
		if err := s.x.Close(); err != nil {
			t.Error(err)
		}
	})
	s.ok(s.x.Ensure(s.ctx, d))
	return s
}

// with is the same index for one case of a property: a new dataset for each would be a new index for each.
func (s *suite) with(t rapid.TB) *suite { return &suite{t: t, x: s.x, d: s.d, ctx: s.ctx} }

func (s *suite) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *suite) apply(docs ...index.Document) []index.Outcome {
	s.t.Helper()
	out, err := s.x.Apply(s.ctx, s.d.Name, docs)
	s.ok(err)
	if len(out) != len(docs) {
		s.t.Fatalf("%d outcomes for %d documents", len(out), len(docs))
	}
	s.ok(s.x.Refresh(s.ctx, s.d.Name))
	return out
}

func (s *suite) keyOrder() []index.Order {
	out := make([]index.Order, len(s.d.Key))
	for i, k := range s.d.Key {
		out[i].Column = k
	}
	return out
}

func (s *suite) search(shards ...string) []catalog.Row {
	s.t.Helper()
	p, err := s.x.Search(s.ctx, index.Search{Dataset: s.d.Name, Shards: shards, Order: s.keyOrder(), Limit: index.MaxLimit})
	s.ok(err)
	return p.Rows
}

func versions(t *testing.T, open Open) {
	s := start(t, open, Entries())
	v := func(term uint32, seq uint64) index.Version { return index.MakeVersion(term, seq) }
	row := func(amount int) catalog.Row { return Entry(1, 1, amount, "2026-11-02", nil) }
	doc := func(amount int, ver index.Version, gone bool) index.Document {
		return Doc(s.d, "entry_202611", row(amount), ver, gone)
	}
	expect := func(out []index.Outcome, want ...index.Outcome) {
		t.Helper()
		if !slices.Equal(out, want) {
			t.Fatalf("outcomes %v, want %v", out, want)
		}
	}
	expect(s.apply(doc(10, v(2, 5), false)), index.Outcome{})
	expect(s.apply(doc(11, v(2, 5), false)), index.Outcome{Status: index.Newer, StoredVersion: v(2, 5)})
	expect(s.apply(doc(12, v(1, 900), false)), index.Outcome{Status: index.Newer, StoredVersion: v(2, 5)})
	expect(s.apply(doc(13, v(3, 1), false), doc(14, v(3, 3), false), doc(15, v(3, 2), false)),
		index.Outcome{}, index.Outcome{}, index.Outcome{Status: index.Newer, StoredVersion: v(3, 3)})
	rows := s.search("entry_202611")
	if want := row(14); len(rows) != 1 || !rows[0].Equal(&want) {
		t.Fatalf("found %d rows, not the newest image alone", len(rows))
	}
}

func refusals(t *testing.T, open Open) {
	s := start(t, open, Entries())
	good := Doc(s.d, "entry_202611", Entry(1, 1, 10, "2026-11-02", nil), 1, false)
	broken, other, empty := good, good, good
	broken.After = []byte(`{"account_id":`)
	other.Key = "7,7"
	empty.After = nil
	out := s.apply(broken, good, other, empty)
	for i, want := range []index.Status{index.Refused, index.Applied, index.Refused, index.Refused} {
		if out[i].Status != want || want == index.Refused && out[i].Reason == "" {
			t.Errorf("document %d: %+v", i, out[i])
		}
	}
	if n := len(s.search("entry_202611")); n != 1 {
		t.Errorf("%d rows instead of the good one", n)
	}
}

// otherColumns has images of a time when the table had other columns, or of rows whose columns were masked.
func otherColumns(t *testing.T, open Open) {
	s := start(t, open, Entries())
	memo := "m"
	row := Entry(1, 1, 10, "2026-11-02", &memo)
	lacks := make([]int, row.Len())
	for i := range lacks {
		lacks[i] = i
	}
	at := s.d.Index("memo")
	lacks[at] = -1
	doc := Doc(s.d, "entry_202611", row, 1, false)
	doc.After = []byte(strings.Replace(string(doc.After), `"memo":`, `"added":{"a":[1]},"renamed":`, 1))
	forged := doc
	forged.After = []byte(strings.Replace(string(doc.After), `"amount":10`, `"amount":11`, 1))
	doc.Hash, _ = row.HashAt(lacks, nil)
	forged.Hash = doc.Hash
	stale := doc
	stale.Hash[0] ^= 1
	out := s.apply(forged, stale, doc)
	if out[0].Status != index.Refused || out[1].Status != index.Refused || out[2].Status != index.Applied {
		t.Fatalf("outcomes %+v", out)
	}
	rows := s.search("entry_202611")
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	if h, _ := rows[0].Hash(nil); h != doc.Hash || !rows[0].Null(at) {
		t.Errorf("another row was found: %q", rows[0].Text(at))
	}
}

func tombstones(t *testing.T, open Open) {
	s := start(t, open, Entries())
	row, bare := Entry(1, 1, 10, "2026-11-02", nil), Entry(1, 2, 10, "2026-11-02", nil)
	s.apply(Doc(s.d, "entry_202611", row, 1, false), Doc(s.d, "entry_202611", bare, 1, false))
	naked := Doc(s.d, "entry_202611", bare, 2, true)
	naked.After = nil
	s.apply(Doc(s.d, "entry_202611", row, 2, true), naked)
	if n := len(s.search("entry_202611")); n != 0 {
		t.Errorf("a search found %d tombstones", n)
	}
	n, err := s.x.Count(s.ctx, index.Search{Dataset: "entry", Shards: []string{"entry_202611"}})
	if err != nil || n != 0 {
		t.Errorf("Count says %d, %v", n, err)
	}
	got, err := s.x.Get(s.ctx, "entry", []string{"entry_202611/1,1", "entry_202611/1,2", "entry_202611/9,9", "nothing/1,1"})
	s.ok(err)
	if len(got) != 2 {
		t.Fatalf("Get found %d documents instead of 2", len(got))
	}
	for _, g := range got {
		if !g.Deleted || g.Version != 2 || g.Shard != "entry_202611" {
			t.Errorf("Get: %+v", g)
		}
		if want := g.Key == "1,1"; want != (g.Row.Len() > 0) {
			t.Errorf("Get: key %s has %d cells", g.Key, g.Row.Len())
		}
	}
	out := s.apply(Doc(s.d, "entry_202611", row, 1, false), Doc(s.d, "entry_202611", bare, 3, false))
	if out[0].Status != index.Newer || out[1].Status != index.Applied {
		t.Errorf("after tombstones: %v", out)
	}
	names, err := s.x.Shards(s.ctx, "entry")
	if err != nil || !slices.Equal(names, []string{"entry_202611"}) {
		t.Errorf("Shards: %v, %v", names, err)
	}
}

func watermarks(t *testing.T, open Open) {
	s := start(t, open, Entries())
	w := func(part int32, ver index.Version, hb uint64) index.Watermark {
		return index.Watermark{Dataset: "entry", Partition: part, Term: 3, Number: 1 << 40, Offset: 77, GTID: "0-1-2", Heartbeat: hb,
			At: 1_700_000_000_000_000, Frozen: "numbers 2 to 3 are missing", Version: ver}
	}
	for _, m := range []index.Watermark{w(1, 10, 100), w(0, 5, 50), w(1, 9, 999), w(1, 10, 998), w(1, 11, 101)} {
		s.ok(s.x.PutWatermark(s.ctx, m))
	}
	got, err := s.x.Watermarks(s.ctx, "entry")
	s.ok(err)
	if want := []index.Watermark{w(0, 5, 50), w(1, 11, 101)}; !slices.Equal(got, want) {
		t.Errorf("watermarks %+v, want %+v", got, want)
	}
}

func highestTerm(t *testing.T, open Open) {
	s := start(t, open, Entries())
	check := func(want uint32) {
		t.Helper()
		if got, err := s.x.HighestTerm(s.ctx); err != nil || got != want {
			t.Errorf("HighestTerm is %d, %v, want %d", got, err, want)
		}
	}
	check(0)
	s.apply(Doc(s.d, "entry_202611", Entry(1, 1, 1, "2026-11-02", nil), index.MakeVersion(4, 9), false))
	check(4)
	s.ok(s.x.PutWatermark(s.ctx, index.Watermark{Dataset: "entry", Term: 6, Version: index.MakeVersion(5, 1)}))
	check(6)
}

func ensure(t *testing.T, open Open) {
	s := start(t, open, Entries())
	s.ok(s.x.Ensure(s.ctx, s.d))
	other := Entries()
	other.Columns[3].Type = catalog.Type{Kind: catalog.Decimal, Scale: 2}
	if err := s.x.Ensure(s.ctx, other); !fault.Is(err, fault.Unsafe) {
		t.Errorf("other columns: %v", err)
	}
	if _, err := s.x.Count(s.ctx, index.Search{Dataset: "nobody"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown dataset: %v", err)
	}
}

func scans(t *testing.T, open Open) {
	s := start(t, open, Entries())
	var docs []index.Document
	for _, k := range [][2]int{{10, 1}, {9, 2}, {9, 10}, {-3, 1}, {100, 1}} {
		docs = append(docs, Doc(s.d, "entry_202611", Entry(k[0], k[1], 5, "2026-11-02", nil), 1, k[0] == 10))
	}
	docs = append(docs, Doc(s.d, "entry_202612", Entry(1, 1, 5, "2026-12-02", nil), 1, false))
	s.apply(docs...)
	keys := func(after catalog.Key) (out []catalog.Key) {
		s.ok(s.x.Scan(s.ctx, "entry", "entry_202611", after, func(d *index.Stored) error {
			out = append(out, d.Key)
			return nil
		}))
		return out
	}
	if got := keys(""); !slices.Equal(got, []catalog.Key{"-3,1", "9,2", "9,10", "10,1", "100,1"}) {
		t.Errorf("scan: %v", got)
	}
	if got := keys("9,2"); !slices.Equal(got, []catalog.Key{"9,10", "10,1", "100,1"}) {
		t.Errorf("scan after 9,2: %v", got)
	}
	if got := keys("50,1"); !slices.Equal(got, []catalog.Key{"100,1"}) {
		t.Errorf("scan after a key that isn't there: %v", got)
	}
	stop := errors.New("enough")
	if err := s.x.Scan(s.ctx, "entry", "entry_202611", "", func(*index.Stored) error { return stop }); err != stop { //nolint:errorlint // exactly f's error
		t.Errorf("Scan returned %v instead of f's error", err)
	}
	s.ok(s.x.Scan(s.ctx, "entry", "entry_209901", "", func(*index.Stored) error { return stop }))
}

func parallel(t *testing.T, open Open) {
	s := start(t, open, Entries())
	const workers, each = 6, 40
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				doc := Doc(s.d, "entry_202611", Entry(w, i, 1, "2026-11-02", nil), 1, false)
				shared := Doc(s.d, "entry_202611", Entry(99, 1, w, "2026-11-02", nil), index.Version(1+i*workers+w), false)
				out, err := s.x.Apply(s.ctx, "entry", []index.Document{doc, shared})
				if err == nil && out[0].Status != index.Applied {
					err = fmt.Errorf("outcome %+v", out[0])
				}
				errs[w] = errors.Join(errs[w], err, s.x.PutWatermark(s.ctx, index.Watermark{Dataset: "entry", Partition: int32(w), Version: index.Version(i + 1)}))
			}
		})
	}
	wg.Wait()
	s.ok(errors.Join(errs...))
	s.ok(s.x.Refresh(s.ctx, "entry"))
	if n := len(s.search("entry_202611")); n != workers*each+1 {
		t.Errorf("%d rows instead of %d", n, workers*each+1)
	}
	got, err := s.x.Get(s.ctx, "entry", []string{"entry_202611/99,1"})
	if err != nil || len(got) != 1 || got[0].Version != workers*each {
		t.Errorf("the shared document has %+v, %v", got, err)
	}
}

func invalid(t *testing.T, open Open) {
	s := start(t, open, Entries())
	key := s.keyOrder()
	one := "1"
	for name, q := range map[string]index.Search{
		"limit 0":           {Order: key},
		"limit too high":    {Order: key, Limit: index.MaxLimit + 1},
		"order not total":   {Order: key[:1], Limit: 1},
		"unknown order":     {Order: append([]index.Order{{Column: "nope"}}, key...), Limit: 1},
		"unknown column":    {Order: key, Limit: 1, Columns: []string{"nope"}},
		"unknown filter":    {Order: key, Limit: 1, Filter: catalog.Cmp("nope", catalog.Eq, "1")},
		"value of no type":  {Order: key, Limit: 1, Filter: catalog.Cmp("amount", catalog.Eq, "many")},
		"after of no order": {Order: key, Limit: 1, After: []*string{&one}},
	} {
		q.Dataset, q.Shards = "entry", []string{"entry_202611"}
		if _, err := s.x.Search(s.ctx, q); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := s.x.Search(s.ctx, index.Search{Dataset: "entry", Order: key, Limit: 1}); err != nil || len(p.Rows) != 0 || p.More {
		t.Errorf("no shards: %+v, %v", p, err)
	}
	if _, err := s.x.Search(s.ctx, index.Search{Dataset: "nobody", Order: key, Limit: 1}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown dataset: %v", err)
	}
}

func cancelled(t *testing.T, open Open) {
	s := start(t, open, Entries())
	s.apply(Doc(s.d, "entry_202611", Entry(1, 1, 10, "2026-11-02", nil), 1, false))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	p, err := s.x.Search(ctx, index.Search{Dataset: "entry", Shards: []string{"entry_202611"}, Order: s.keyOrder(), Limit: 5})
	if !fault.Is(err, fault.Interrupted) || p.Rows != nil {
		t.Errorf("a cancelled search gave %d rows and %v", len(p.Rows), err)
	}
	if _, err := s.x.Count(ctx, index.Search{Dataset: "entry", Shards: []string{"entry_202611"}}); !fault.Is(err, fault.Interrupted) {
		t.Errorf("a cancelled count: %v", err)
	}
	if n := len(s.search("entry_202611")); n != 1 {
		t.Errorf("%d rows after it", n)
	}
}
