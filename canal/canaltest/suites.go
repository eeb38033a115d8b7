package canaltest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// Dataset is a small dataset for tests: key id, a text; its only table is its name.
func Dataset(name string, partitions int32) *catalog.Dataset {
	return &catalog.Dataset{Name: name, Table: name, Key: []string{"id"}, Partitions: partitions, Columns: []catalog.Column{
		{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 8}},
		{Name: "note", Type: catalog.Type{Kind: catalog.Text}, Nullable: true}}}
}

// Row is a row of Dataset.
func Row(id int, note string) catalog.Row {
	text := fmt.Sprint(id)
	return catalog.RowOf(&text, &note)
}

// ControlSuite checks a Control and Lease whose pipeline is new.
func ControlSuite(t *testing.T, c canal.Control, l canal.Lease) {
	ctx := t.Context()
	want := func(name string, ok bool, err error, expect bool) {
		t.Helper()
		if err != nil || ok != expect {
			t.Fatalf("%s: %v, %v; want %v", name, ok, err, expect)
		}
	}
	s, err := c.Load(ctx)
	if err != nil || s.Term != 0 || s.Checkpoint != nil {
		t.Fatalf("Load of a new pipeline: %+v, %v", s, err)
	}
	ok, err := c.Save(ctx, 1, &canal.Checkpoint{})
	want("Save of a term never taken", ok, err, false)
	ok, err = c.Take(ctx, 0, 3, "a")
	want("Take from 0", ok, err, true)
	ok, err = c.Take(ctx, 0, 4, "b")
	want("Take from an old term", ok, err, false)
	ok, err = c.Take(ctx, 3, 3, "b")
	want("Take that doesn't raise", ok, err, false)
	cp := &canal.Checkpoint{Term: 3, Seq: 17, Position: canal.Position{GTID: "0-1-5", Last: canal.Last{GTID: "0-1-5", Before: "0-1-4", Digest: catalog.Hash{1, 2}}, XA: []canal.OpenXA{{ID: "X'61',X'',1", GTID: "0-1-4", Before: "0-1-3"}}},
		Parts:   map[string][]canal.PartPosition{"entry": {{Offset: 4, Number: 2, Term: 3}, {}}},
		Stopped: map[string]canal.Stopped{"bad": {Kind: "unsafe", Reason: "a 'quoted' 理由", Hint: "h"}}}
	ok, err = c.Save(ctx, 3, cp)
	want("Save", ok, err, true)
	ok, err = c.Save(ctx, 3, cp)
	want("Save of an equal checkpoint", ok, err, true)
	if s, err = c.Load(ctx); err != nil || s.Term != 3 || s.Leader != "a" || !reflect.DeepEqual(s.Checkpoint, cp) {
		t.Fatalf("Load: %+v, %v; want %+v", s.Checkpoint, err, cp)
	}
	ok, err = c.Take(ctx, 3, 4, "b")
	want("Take by another", ok, err, true)
	ok, err = c.Save(ctx, 3, cp)
	want("Save of a term that is over", ok, err, false)

	ok, err = l.Acquire(ctx, "a", time.Hour)
	want("Acquire of a free lease", ok, err, true)
	ok, err = l.Acquire(ctx, "a", time.Hour)
	want("Acquire by its holder", ok, err, true)
	ok, err = l.Acquire(ctx, "b", time.Hour)
	want("Acquire of a held lease", ok, err, false)
	if err := l.Release(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	ok, err = l.Acquire(ctx, "b", time.Hour)
	want("Acquire after a Release by another", ok, err, false)
	if err := l.Release(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	ok, err = l.Acquire(ctx, "b", time.Millisecond)
	want("Acquire after Release", ok, err, true)
	deadline := time.Now().Add(10 * time.Second)
	for ok = false; !ok && time.Now().Before(deadline); {
		if ok, err = l.Acquire(ctx, "a", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	want("Acquire of an expired lease", ok, err, true)
}

// SinkSuite checks an empty Sink.
func SinkSuite(t *testing.T, s canal.Sink) {
	ctx := t.Context()
	d := Dataset("suite", 3)
	if err := s.Ensure(ctx, d, false); !fault.Is(err, fault.NotFound) {
		t.Fatalf("Ensure without create: %v", err)
	}
	for range 2 {
		if err := s.Ensure(ctx, d, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ensure(ctx, Dataset("suite", 4), true); !fault.Is(err, fault.Unsafe) {
		t.Fatalf("Ensure with another partition count: %v", err)
	}
	p, err := s.Producer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if off := p.Acked("suite", 0); off != -1 {
		t.Fatalf("Acked before a record: %d", off)
	}
	var sent []canal.Record
	for i := range 1000 {
		h := canal.Header{Term: 2, Seq: uint64(i + 1), Kind: canal.KindChange, Number: uint64(i + 1), Hash: catalog.Hash{byte(i)}, GTID: "0-1-9", Ordinal: uint32(i), Shard: "suite"}
		sent = append(sent, canal.Record{Dataset: "suite", Partition: 1, Key: []byte(fmt.Sprint(i)), Value: []byte(fmt.Sprint("v", i)), Header: h})
	}
	sent[10] = canal.Record{Dataset: "suite", Partition: 1, Header: canal.Header{Term: 2, Seq: 11, Kind: canal.KindOpen}, Value: []byte("{}")}
	sent[11] = canal.Record{Dataset: "suite", Partition: 1, Header: canal.Header{Term: 2, Seq: 12, Kind: canal.KindTombstone}, Key: []byte("k")}
	again := make([]canal.Record, 0, 100)
	for i := 0; i < len(sent); i += 100 { // the slice may be used again
		again = append(again[:0], sent[i:i+100]...)
		if err := p.Send(ctx, again); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if off := p.Acked("suite", 1); off != 1000 {
		t.Fatalf("Acked: %d", off)
	}
	first, next, err := s.Bounds(ctx, "suite", 1)
	if err != nil || first != 0 || next != 1000 {
		t.Fatalf("Bounds: %d, %d, %v", first, next, err)
	}
	readSuite(t, s, sent)
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Send(ctx, sent[:1]); err == nil {
		t.Fatal("a closed producer takes records")
	}
}

func readSuite(t *testing.T, s canal.Sink, sent []canal.Record) {
	ctx := context.WithoutCancel(t.Context())
	at := int64(5)
	err := s.Read(ctx, "suite", 1, 5, 995, func(r *canal.Record) error {
		want := sent[at]
		if r.Offset != at || !reflect.DeepEqual(r.Header, want.Header) || string(r.Key) != string(want.Key) || string(r.Value) != string(want.Value) || (r.Value == nil) != (want.Value == nil) {
			t.Fatalf("offset %d: %+v, want %+v", r.Offset, r, want)
		}
		at++
		return nil
	})
	if err != nil || at != 995 {
		t.Fatalf("Read up to %d: %v", at, err)
	}
	if err := s.Read(ctx, "suite", 0, 0, 0, func(*canal.Record) error { return errors.New("a record") }); err != nil {
		t.Fatalf("Read of nothing: %v", err)
	}
	stop := errors.New("stop")
	if err := s.Read(ctx, "suite", 1, 0, 1000, func(*canal.Record) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("Read with an error of the caller: %v", err)
	}
}

// SourceSuite checks a Source: commit makes the i-th transaction on it and returns its GTID; start is the place before.
func SourceSuite(t *testing.T, s canal.Source, start canal.Position, commit func(i int) string) {
	type one struct {
		gtid     string
		position canal.Position
		changes  int
	}
	const n = 6
	end := ""
	for i := range n {
		end = commit(i)
	}
	read := func(at canal.Position) (out []one) {
		t.Helper()
		st, err := s.Open(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		for {
			x, err := st.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, one{x.GTID, x.Position, len(x.Changes)})
			if x.GTID == end {
				break
			}
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := st.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Next beyond the end: %v", err)
		}
		for range 2 {
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	first := read(start)
	if len(first) < n {
		t.Fatalf("%d transactions of %d", len(first), n)
	}
	for i, x := range first {
		if again := read(x.position); !reflect.DeepEqual(again, first[i:]) {
			t.Fatalf("from %s: %v, not %v", x.gtid, again, first[i:])
		}
		if i > 0 && x.position.Last.Digest == first[i-1].position.Last.Digest {
			t.Fatalf("%s has the digest of the one before", x.gtid)
		}
	}
	st, err := s.Open(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	for range first {
		if _, err := st.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := st.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	end = commit(n)
	if x, err := st.Next(t.Context()); err != nil || x.GTID != end {
		t.Fatalf("Next after a ctx that ended: %v, %v", x, err)
	}
}
