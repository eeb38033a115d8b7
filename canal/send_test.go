package canal

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/fault"
)

// keeper is a Sink that keeps what it gets.
type keeper struct {
	void
	records []Record
	batch   int // the largest
	bytes   int // the largest batch's values
}

func (k *keeper) Producer(context.Context) (Producer, error) { return k, nil }

func (k *keeper) Send(_ context.Context, records []Record) error {
	n := 0
	for _, r := range records {
		n += len(r.Value)
	}
	k.batch, k.bytes = max(k.batch, len(records)), max(k.bytes, n)
	k.records = append(k.records, records...)
	return nil
}

// of returns the records of a topic.
func (k *keeper) of(dataset string) []Record {
	return slices.DeleteFunc(slices.Clone(k.records), func(r Record) bool { return r.Dataset != dataset })
}

func keeping(tb testing.TB, cfg Config) (*term, *keeper) {
	k := &keeper{}
	cfg.Sink = k
	return testTerm(tb, cfg), k
}

func send(tb rapid.TB, t *term, x *Txn) {
	tb.Helper()
	if err := t.changes(context.Background(), x); err != nil {
		tb.Fatal(err)
	}
}

func cells(texts ...string) catalog.Row {
	var r catalog.Row
	for _, c := range texts {
		if c == "NULL" {
			r.AppendNull()
		} else {
			r.AppendString(c)
		}
	}
	return r
}

// customers is the table of Debezium's documents.
func customers() *catalog.Dataset {
	text := catalog.Type{Kind: catalog.Text}
	return &catalog.Dataset{Name: "customers", Table: "customers", Key: []string{"id"}, Partitions: 4, Columns: []catalog.Column{
		{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 4}}, {Name: "first_name", Type: text}, {Name: "email", Type: text, Nullable: true}}}
}

// story is a transaction with each kind of change.
func story(d *catalog.Dataset) *Txn {
	return &Txn{GTID: "0-1-9", ServerID: 223344, Time: 1_465_491_411, Changes: []Change{
		{Dataset: d, Shard: "customers", Op: Insert, Ordinal: 3, After: cells("1004", "Anne", "annek@noanswer.org")},
		{Dataset: d, Shard: "customers", Op: Update, Ordinal: 4, Before: cells("1004", "Anne", "a\"b"), After: cells("1004", "Anne Marie", "NULL")},
		{Dataset: d, Shard: "customers", Op: Update, Ordinal: 6, Before: cells("1004", "x", "NULL"), After: cells("1005", "x", "NULL")}}}
}

func TestEnvelopes_are_as_Debezium_documents_them(t *testing.T) {
	d := customers()
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}})
	send(t, tm, story(d))
	l := tm.lanes[0]
	row := cells("7", "Read", "NULL")
	if err := tm.sendRow(l, "customers", nil, &row, 1_700_000_000_456); err != nil {
		t.Fatal(err)
	}
	if err := tm.sendAbsent(l, "customers", "8", 1_700_000_000_456); err != nil {
		t.Fatal(err)
	}
	if err := tm.send(context.Background()); err != nil {
		t.Fatal(err)
	}
	source := `"source":{"version":"1","connector":"mariadb","name":"test","db":"shop","table":"customers","snapshot":`
	change := func(row int, op string, order int) string {
		return source + fmt.Sprintf(`"false","ts_ms":1465491411000,"server_id":223344,"gtid":"0-1-9","row":%d},"op":"%s","ts_ms":1700000000123,`+
			`"transaction":{"id":"0-1-9","total_order":%d,"data_collection_order":%d}}`, row, op, order, order)
	}
	read := source + `"incremental","ts_ms":1700000000456,"server_id":0,"gtid":null,"row":0},"op":"%s","ts_ms":1700000000456,"transaction":null}`
	want := []struct{ key, value string }{
		{`{"id":1004}`, `{"before":null,"after":{"id":1004,"first_name":"Anne","email":"annek@noanswer.org"},` + change(3, "c", 1)},
		{`{"id":1004}`, `{"before":{"id":1004,"first_name":"Anne","email":"a\"b"},"after":{"id":1004,"first_name":"Anne Marie","email":null},` + change(5, "u", 2)},
		{`{"id":1004}`, `{"before":{"id":1004,"first_name":"x","email":null},"after":null,` + change(6, "d", 3)},
		{`{"id":1004}`, ""},
		{`{"id":1005}`, `{"before":null,"after":{"id":1005,"first_name":"x","email":null},` + change(7, "c", 4)},
		{`{"id":7}`, `{"before":null,"after":{"id":7,"first_name":"Read","email":null},` + fmt.Sprintf(read, "r")},
		{`{"id":8}`, `{"before":null,"after":null,` + fmt.Sprintf(read, "d")},
		{`{"id":8}`, ""},
	}
	if len(k.records) != len(want) {
		t.Fatalf("%d records", len(k.records))
	}
	numbers := make([]uint64, d.Partitions)
	for i, w := range want {
		r := k.records[i]
		h := r.Header
		if string(r.Key) != w.key || string(r.Value) != w.value || (r.Value == nil) != (w.value == "") {
			t.Errorf("record %d:\n%s %s\n%s %s", i, r.Key, r.Value, w.key, w.value)
		}
		if r.Partition != PartitionOf(r.Key, d.Partitions) {
			t.Errorf("record %d is in partition %d", i, r.Partition)
		}
		if r.Value == nil {
			if h.Kind != KindTombstone || h.Number != 0 {
				t.Errorf("record %d: %+v", i, h)
			}
			continue
		}
		if numbers[r.Partition]++; h.Number != numbers[r.Partition] || h.Shard != "customers" || h.Seq != uint64(i+1) {
			t.Errorf("record %d: %+v", i, h)
		}
		if backfill := i > 4; backfill != (h.Kind == KindBackfill) || backfill != (h.GTID == "") {
			t.Errorf("record %d: %+v", i, h)
		}
		if !json.Valid(r.Value) {
			t.Errorf("record %d is no JSON", i)
		}
	}
	if h, _ := row.Hash(nil); k.records[5].Header.Hash != h || k.records[6].Header.Hash != (catalog.Hash{}) {
		t.Error("hashes of rows that were read")
	}
}

func TestSendAbsent_refuses_a_key_of_another_table(t *testing.T) {
	d := customers()
	tm, _ := keeping(t, Config{Datasets: []*catalog.Dataset{d}})
	for _, key := range []catalog.Key{"1,2", "%", "%zz"} {
		if err := tm.sendAbsent(tm.lanes[0], "customers", key, 1); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", key, err)
		}
	}
	composite := payments()
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{composite}})
	row := payment(3)
	key := catalog.KeyOf(&row, composite.KeyIndexes())
	if err := tm.sendAbsent(tm.lanes[0], "payment", key, 1); err != nil {
		t.Fatal(err)
	}
	if err := tm.send(context.Background()); err != nil {
		t.Fatal(err)
	}
	if want := RecordKey(composite, &row, composite.KeyIndexes()); string(k.records[0].Key) != string(want) {
		t.Errorf("key %s instead of %s", k.records[0].Key, want)
	}
}

func TestBoundaries_frame_transactions_that_have_events(t *testing.T) {
	d, other := customers(), customers()
	other.Name, other.Table = "orders", "orders"
	for _, form := range []EnvelopeForm{Plain, WithSchema} {
		tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d, other}, Boundaries: true, Envelope: form})
		x := story(d)
		x.Changes = append(x.Changes, Change{Dataset: other, Shard: "orders", Op: Insert, Ordinal: 8, After: cells("1", "a", "b")})
		send(t, tm, x)
		send(t, tm, &Txn{GTID: "0-1-10"})
		all := k.of(Boundaries)
		if len(all) != 2 || k.records[0].Header.Kind != KindBoundary || k.records[len(k.records)-1].Header.Kind != KindBoundary {
			t.Fatalf("%d boundaries", len(all))
		}
		for i, want := range []string{`{"status":"BEGIN","id":"0-1-9","ts_ms":1465491411000,"event_count":null,"data_collections":null}`,
			`{"status":"END","id":"0-1-9","ts_ms":1465491411000,"event_count":5,"data_collections":[{"data_collection":"shop.customers","event_count":4},` +
				`{"data_collection":"shop.orders","event_count":1}]}`} {
			r := all[i]
			if got := string(Payload(r.Value)); got != want || string(Payload(r.Key)) != `{"id":"0-1-9"}` || r.Partition != 0 || r.Header.Number != 0 {
				t.Errorf("%s\n%s", got, want)
			}
			if form == WithSchema {
				connectReads(t, r.Key)
				connectReads(t, r.Value)
			}
		}
	}
}

func TestL11_a_row_beyond_the_limit_becomes_a_letter_and_its_dataset_goes_on(t *testing.T) {
	d := customers()
	note := strings.Repeat("x", 500)
	one := &Txn{GTID: "0-1-1", Changes: []Change{{Dataset: d, Shard: "customers", Op: Insert, After: cells("1", note, "NULL")}}}
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}})
	send(t, tm, one)
	limit := len(k.records[0].Value)
	for _, c := range []struct {
		limit, records, letters int
	}{{limit, 1, 0}, {limit - 1, 0, 1}} {
		tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}, MaxRecordBytes: c.limit, Boundaries: true})
		send(t, tm, one)
		row := cells("1", note+strings.Repeat("x", 300), "NULL")
		if err := tm.sendRow(tm.lanes[0], "customers", nil, &row, 5); err != nil {
			t.Fatal(err)
		}
		send(t, tm, &Txn{GTID: "0-1-2", Changes: []Change{{Dataset: d, Shard: "customers", Op: Insert, After: cells("2", "small", "NULL")}}})
		letters := k.of(DeadLetters(d.Name))
		if len(k.of(d.Name)) != c.records+1 || len(letters) != c.letters+1 || tm.l.Stats().Letters != uint64(len(letters)) || tm.lanes[0].stopped != nil {
			t.Fatalf("limit %d: %d records, %d letters", c.limit, len(k.of(d.Name)), len(letters))
		}
		if n := len(k.of(Boundaries)); n != 2*(c.records+1) {
			t.Errorf("%d boundaries", n)
		}
		if c.letters == 0 {
			continue
		}
		var v Letter
		if err := json.Unmarshal(letters[0].Value, &v); err != nil {
			t.Fatal(err)
		}
		want := Letter{Key: json.RawMessage(`{"id":1}`), Shard: "customers", Op: "c", GTID: "0-1-1", Bytes: limit, TsMs: 1_700_000_000_123,
			Reason: fmt.Sprintf("the value has %d bytes, the limit is %d", limit, c.limit)}
		if !reflect.DeepEqual(v, want) || letters[0].Header.Kind != KindLetter || string(letters[0].Key) != `{"id":1}` {
			t.Errorf("%+v\n%+v", v, want)
		}
		if r := k.of(d.Name)[0]; r.Header.Number != 1 && r.Partition == PartitionOf([]byte(`{"id":1}`), d.Partitions) {
			t.Errorf("a letter has used a number: %+v", r.Header)
		}
	}
}

func TestRows_that_fit_only_without_the_row_before_are_sent_without_it(t *testing.T) {
	d := customers()
	note := strings.Repeat("x", 2000)
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}, MaxRecordBytes: 3000})
	send(t, tm, &Txn{GTID: "0-1-1", Changes: []Change{
		{Dataset: d, Shard: "customers", Op: Update, Before: cells("1", note, "a"), After: cells("1", note, "b")},
		{Dataset: d, Shard: "customers", Op: Update, Ordinal: 2, Before: cells("1", note+note, "a"), After: cells("2", note+note, "b")}}})
	var ops []string
	for _, r := range k.records {
		var e Envelope
		if r.Value == nil {
			continue
		}
		if err := json.Unmarshal(r.Value, &e); err != nil {
			t.Fatal(err)
		}
		ops = append(ops, fmt.Sprintf("%s %s %t %t", r.Dataset, e.Op, string(e.Before) == "null", len(e.After) > 2000))
	}
	want := []string{"customers u true true", "customers d true false", "customers.dlq c false false"}
	if !slices.Equal(ops, want) {
		t.Errorf("%q", ops)
	}
}

// paper is a Spill in memory that gives every change in the same memory.
type paper []Change

func (p paper) Each(f func(*Change) error) error {
	var c Change
	for i := range p {
		before, after := c.Before, c.After
		c = p[i]
		copyRow(&before, &p[i].Before)
		copyRow(&after, &p[i].After)
		c.Before, c.After = before, after
		if err := f(&c); err != nil {
			return err
		}
	}
	return nil
}

func (p paper) Bytes() int64 { return int64(len(p)) }

func copyRow(into, from *catalog.Row) {
	into.Reset()
	for i := range from.Len() {
		into.Append(from.Cell(i))
	}
}

func TestSpilled_transactions_are_sent_as_those_in_memory_and_in_bounded_batches(t *testing.T) {
	d := payments()
	x := &Txn{GTID: "0-1-5", Time: 1}
	for i := range 5000 {
		c := Change{Dataset: d, Shard: "payment", Op: []Op{Insert, Update, Delete}[i%3], Ordinal: uint32(2 * i)}
		if c.Op != Insert {
			c.Before = payment(i)
		}
		if c.Op != Delete {
			c.After = payment(i + i%2)
		}
		if i%100 == 0 && c.Op == Insert {
			c.After = cells("1", fmt.Sprint(i), strings.Repeat("y", 300_000), "1", "NULL", "EUR", "posted", "2026-11-22", "2026-11-22 09:47:48.657066", "NULL", "NULL", "5")
		}
		x.Changes = append(x.Changes, c)
	}
	cfg := Config{Datasets: []*catalog.Dataset{d}, Boundaries: true}
	tm, whole := keeping(t, cfg)
	send(t, tm, x)
	tm, spilled := keeping(t, cfg)
	y := *x
	y.Changes, y.Spill = x.Changes[:7], paper(x.Changes[7:])
	send(t, tm, &y)
	if len(whole.records) < 6000 || !reflect.DeepEqual(whole.records, spilled.records) {
		t.Errorf("%d records in memory, %d spilled, or others", len(whole.records), len(spilled.records))
	}
	if spilled.batch > maxBatch+2 || spilled.bytes > batchBytes+300_000+2000 {
		t.Errorf("a batch of %d records, one of %d bytes", spilled.batch, spilled.bytes)
	}
}

func TestArena_never_moves_or_shares_what_it_kept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var a arena
		var kept [][]byte
		var want []string
		for i := range rapid.IntRange(1, 60).Draw(rt, "texts") {
			b := a.room(rapid.SampledFrom([]int{0, 10, 1000, chunkBytes / 4, chunkBytes/4 + 1}).Draw(rt, "room"))
			s := strings.Repeat(string(rune('a'+i%26)), rapid.SampledFrom([]int{0, 1, 9, 10, 11, 5000, chunkBytes / 3, chunkBytes + 1}).Draw(rt, "size"))
			b = append(b, s...)
			if rapid.Bool().Draw(rt, "keep") {
				kept, want = append(kept, a.keep(b)), append(want, s)
			}
		}
		for i := range kept {
			_ = append(kept[i], '!') // what a reader appends is nobody else's
		}
		for i := range kept {
			if string(kept[i]) != want[i] {
				rt.Fatalf("text %d is another", i)
			}
		}
	})
}
