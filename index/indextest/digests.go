package indextest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// digestsAreScan holds Digests to Scan from the start, from some of its keys, and from one that is not there.
func (s *suite) digestsAreScan(shard string) []index.Digest {
	s.t.Helper()
	var want []index.Digest
	s.ok(s.x.Scan(s.ctx, s.d.Name, shard, "", func(d *index.Stored) error {
		want = append(want, index.Digest{Key: d.Key, Version: d.Version, Hash: d.Hash, Deleted: d.Deleted})
		return nil
	}))
	from := []int{-1}
	for i := 0; i < len(want); i += len(want)/4 + 1 {
		from = append(from, i)
	}
	for _, i := range from {
		after := catalog.Key("")
		if i >= 0 {
			after = want[i].Key
		}
		var got []index.Digest
		s.ok(s.x.Digests(s.ctx, s.d.Name, shard, after, func(d *index.Digest) error {
			got = append(got, *d)
			return nil
		}))
		if !slices.Equal(got, want[i+1:]) {
			s.t.Fatalf("after %q: %d digests, Scan has %d documents; they differ", after, len(got), len(want)-i-1)
		}
	}
	return want
}

// manyKeys is a dataset whose key has every kind of column that a document can be found by.
func manyKeys() *catalog.Dataset {
	d := typed()
	d.Name, d.Table = "keyed", "keyed"
	d.Key = []string{"u", "txt", "dec", "dt", "i", "y", "bin", "id"}
	for i, c := range d.Columns {
		d.Columns[i].Nullable = !slices.Contains(d.Key, c.Name)
	}
	return d
}

func digests(t *testing.T, open Open) {
	s := start(t, open, Entries())
	var docs []index.Document
	for _, k := range [][2]int{{10, 1}, {9, 2}, {9, 10}, {-3, 1}, {100, 1}} {
		docs = append(docs, Doc(s.d, "entry_202611", Entry(k[0], k[1], 5, "2026-11-02", nil), index.MakeVersion(1, uint64(1000+k[1])), k[0] == 10))
	}
	bare := Doc(s.d, "entry_202611", Entry(50, 1, 5, "2026-11-02", nil), 9, true)
	bare.After = nil
	s.apply(append(docs, bare, Doc(s.d, "entry_202612", Entry(1, 1, 5, "2026-12-02", nil), 1, false))...)
	got := s.digestsAreScan("entry_202611")
	if len(got) != 6 || got[0].Key != "-3,1" || got[0].Hash != docs[3].Hash || got[0].Version != docs[3].Version || got[0].Deleted ||
		!got[3].Deleted || got[4] != (index.Digest{Key: "50,1", Version: 9, Hash: bare.Hash, Deleted: true}) {
		t.Errorf("%+v", got)
	}
	n := 0
	count := func(*index.Digest) error { n++; return nil }
	s.ok(s.x.Digests(s.ctx, "entry", "entry_202611", "50,0", count))
	if n != 2 {
		t.Errorf("%d digests after a key that isn't there", n)
	}
	stop := errors.New("enough")
	end := func(*index.Digest) error { return stop }
	if err := s.x.Digests(s.ctx, "entry", "entry_202611", "", end); err != stop { //nolint:errorlint // exactly f's error
		t.Errorf("Digests returned %v instead of f's error", err)
	}
	s.ok(s.x.Digests(s.ctx, "entry", "entry_209901", "", end))
	if err := s.x.Digests(s.ctx, "nobody", "entry_202611", "", end); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown dataset: %v", err)
	}
	if err := s.x.Digests(s.ctx, "entry", "entry_202611", "1", end); !fault.Is(err, fault.Invalid) {
		t.Errorf("a key of one cell: %v", err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	err := s.x.Digests(ctx, "entry", "entry_202611", "", func(*index.Digest) error { cancel(); return ctx.Err() })
	if err == nil {
		t.Error("a cancelled walk ended as if it were whole")
	}
	t.Run("by keys of every type", func(t *testing.T) { digestKeys(t, open) })
	t.Run("over several pages", func(t *testing.T) {
		var docs []index.Document
		for i := range 12_500 {
			docs = append(docs, Doc(s.d, "entry_202701", Entry(i*7919%977, i, i, "2027-01-02", nil), index.Version(i+1), i%5 == 0))
		}
		for part := range slices.Chunk(docs, 2500) {
			s.apply(part...)
		}
		if got := s.digestsAreScan("entry_202701"); len(got) != len(docs) {
			t.Errorf("%d digests of %d documents", len(got), len(docs))
		}
	})
	t.Run("over several pages of one value, and of texts", func(t *testing.T) { digestTexts(t, open) })
}

// digestTexts has more documents than a page under one first value of their keys, and others before and behind it.
func digestTexts(t *testing.T, open Open) {
	text, big := catalog.Type{Kind: catalog.Text}, catalog.Type{Kind: catalog.Int, Size: 8}
	s := start(t, open, &catalog.Dataset{Name: "named", Table: "named", Key: []string{"name", "n"}, Partitions: 1, Columns: []catalog.Column{
		{Name: "name", Type: text, Collation: "utf8mb4_bin"}, {Name: "n", Type: big}}})
	var docs []index.Document
	for i := range 16_000 {
		name, n := "m", fmt.Sprint(i*7919%1_000_003)
		if i%8 == 1 {
			name = fmt.Sprintf("%c-%06d", 'a'+rune(i%26), i)
		}
		docs = append(docs, Doc(s.d, "named", catalog.RowOf(&name, &n), index.Version(i+1), i%5 == 0))
	}
	for part := range slices.Chunk(docs, 4000) {
		s.apply(part...)
	}
	if got := s.digestsAreScan("named"); len(got) != len(docs) {
		t.Errorf("%d digests of %d documents", len(got), len(docs))
	}
}

func digestKeys(t *testing.T, open Open) {
	s := start(t, open, manyKeys())
	var docs []index.Document
	for n := range 60 {
		var row catalog.Row
		for i, c := range s.d.Columns {
			of := slices.DeleteFunc(slices.Clone(samples(c.Name)), func(v string) bool { return strings.HasPrefix(v, "0000-") })
			row.AppendString(of[n*(i+3)/2%len(of)])
		}
		docs = append(docs, Doc(s.d, "keyed", row, index.Version(n+1), n%3 == 0))
	}
	s.apply(docs...)
	got := s.digestsAreScan("keyed")
	if len(got) < 30 {
		t.Errorf("%d digests", len(got))
	}
	hashes := map[catalog.Key]catalog.Hash{}
	for _, d := range docs {
		hashes[d.Key] = d.Hash
	}
	for _, g := range got {
		if hashes[g.Key] != g.Hash {
			t.Errorf("key %s has hash %s, want %s", g.Key, g.Hash, hashes[g.Key])
		}
	}
}

// sweeps writes random documents, living and dead, some of which come back to life, and sweeps up to random bounds.
func sweeps(t *testing.T, open Open) {
	s := start(t, open, Entries())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 3))
	shards := []string{"entry_202611", "entry_202612"}
	bound := uint64(0) // it rises, as what was swept once must not come again
	for account := range 12 {
		for range 1 + dice.IntN(3) {
			var docs []index.Document
			for range 20 {
				v := index.Version(bound + 1 + dice.Uint64N(20))
				d := Doc(s.d, shards[dice.IntN(2)], Entry(account, dice.IntN(12), 1, "2026-11-02", nil), v, dice.IntN(2) == 0)
				if d.Deleted && dice.IntN(2) == 0 {
					d.After = nil
				}
				docs = append(docs, d)
			}
			s.apply(docs...)
		}
		was := s.allDigests(shards)
		below := index.Version(bound + dice.Uint64N(23))
		n, err := s.x.Sweep(s.ctx, s.d.Name, below)
		s.ok(err)
		s.ok(s.x.Refresh(s.ctx, s.d.Name))
		is := s.allDigests(shards)
		for id, d := range was {
			_, there := is[id]
			if want := !d.Deleted || d.Version >= below; there != want {
				t.Fatalf("%s (deleted %t, version %d) is there %t after a sweep below %d", id, d.Deleted, d.Version, there, below)
			}
		}
		if int(n) != len(was)-len(is) {
			t.Fatalf("Sweep says %d, %d are gone", n, len(was)-len(is))
		}
		bound = uint64(below) + 30
	}
	if _, err := s.x.Sweep(s.ctx, "nobody", 5); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown dataset: %v", err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.x.Sweep(ctx, s.d.Name, 5); !fault.Is(err, fault.Interrupted) {
		t.Errorf("a cancelled sweep: %v", err)
	}
	sweepMany(t, s)
	sweepRevived(t, s)
}

func (s *suite) allDigests(shards []string) map[string]index.Digest {
	s.t.Helper()
	out := map[string]index.Digest{}
	for _, shard := range shards {
		s.ok(s.x.Digests(s.ctx, s.d.Name, shard, "", func(d *index.Digest) error {
			out[shard+"/"+string(d.Key)] = *d
			return nil
		}))
	}
	return out
}

// sweepMany has more tombstones than one request or transaction takes.
func sweepMany(t *testing.T, s *suite) {
	const many = 6100
	var docs []index.Document
	for i := range many {
		d := Doc(s.d, "entry_202613", Entry(1_000_000, i, 1, "2026-12-02", nil), index.MakeVersion(9, uint64(i+1)), i != 7)
		docs = append(docs, d)
	}
	for part := range slices.Chunk(docs, 2000) {
		s.apply(part...)
	}
	gone, err := s.x.Sweep(s.ctx, s.d.Name, index.MakeVersion(9, many))
	s.ok(err)
	s.ok(s.x.Refresh(s.ctx, s.d.Name))
	left := map[catalog.Key]bool{}
	s.ok(s.x.Digests(s.ctx, s.d.Name, "entry_202613", "", func(d *index.Digest) error {
		left[d.Key] = true
		return nil
	}))
	if gone < many-2 || len(left) != 2 || !left["1000000,7"] || !left[catalog.Key(fmt.Sprintf("1000000,%d", many-1))] {
		t.Errorf("swept %d of %d, left %v", gone, many-2, left)
	}
}

// sweepRevived has tombstones that came back to life, or died again, after the last refresh.
func sweepRevived(t *testing.T, s *suite) {
	doc := func(seq, amount int, n uint64, gone bool) index.Document {
		return Doc(s.d, "entry_202614", Entry(5, seq, amount, "2026-12-02", nil), index.MakeVersion(10, n), gone)
	}
	s.apply(doc(1, 1, 1, true), doc(2, 1, 1, true), doc(3, 1, 1, true))
	if _, err := s.x.Apply(s.ctx, s.d.Name, []index.Document{doc(1, 2, 10, false), doc(2, 2, 11, true)}); err != nil {
		t.Fatal(err)
	}
	below := index.MakeVersion(10, 11)
	for range 2 {
		if _, err := s.x.Sweep(s.ctx, s.d.Name, below); err != nil {
			t.Fatal(err)
		}
		got, err := s.x.Get(s.ctx, s.d.Name, []string{"entry_202614/5,1", "entry_202614/5,2", "entry_202614/5,3"})
		s.ok(err)
		slices.SortFunc(got, func(a, b index.Stored) int { return strings.Compare(string(a.Key), string(b.Key)) })
		if len(got) != 2 || got[0].Deleted || got[0].Version.Seq() != 10 || !got[1].Deleted || got[1].Version.Seq() != 11 {
			t.Fatalf("after a sweep below %d: %+v", below, got)
		}
		s.ok(s.x.Refresh(s.ctx, s.d.Name))
	}
}
