package indextest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// OpenShelves returns a new, empty index, opened twice as two processes would; the suite closes both.
type OpenShelves func(t testing.TB) (here, there index.Shelf)

// RunGenerations runs the suite of index.Generations over a shelf.
func RunGenerations(t *testing.T, open OpenShelves) {
	t.Run("Nobody sees a generation that is built", func(t *testing.T) { unseen(t, open) })
	t.Run("A generation that is built begins at its start", func(t *testing.T) { beginning(t, open) })
	t.Run("A switch is seen by every process", func(t *testing.T) { switched(t, open) })
	t.Run("A generation has the columns that it was made with", func(t *testing.T) { reshaped(t, open) })
	t.Run("Drop deletes what doesn't answer, and nothing else", func(t *testing.T) { dropped(t, open) })
	t.Run("Of two who begin one does", func(t *testing.T) { begunTwice(t, open) })
	t.Run("A crash between the register and what follows it is mended by the next call", func(t *testing.T) { crashed(t, open) })
	t.Run("TestL2_what_is_older_than_a_generation_never_enters_it", func(t *testing.T) { floors(t, open) })
	t.Run("TestL4_a_handover_claims_what_both_generations_have", func(t *testing.T) { handover(t, open) })
	t.Run("TestL4_a_reader_finds_what_it_was_told_through_every_switch", func(t *testing.T) { readers(t, open) })
}

// pair is one index as two processes have it.
type pair struct {
	t           testing.TB
	ctx         context.Context
	d           *catalog.Dataset
	here, there *index.Generations
	shelf       index.Shelf // here's
}

func openPair(t testing.TB, open OpenShelves) *pair {
	t.Helper()
	a, b := open(t)
	p := &pair{t: t, ctx: t.Context(), d: Entries(), shelf: a, here: generations(t, a, nil), there: generations(t, b, nil)}
	t.Cleanup(func() {
		for _, x := range []*index.Generations{p.here, p.there} {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	p.ok(p.here.Ensure(p.ctx, p.d))
	return p
}

func generations(t testing.TB, shelf index.Shelf, at func(string) error) *index.Generations {
	t.Helper()
	x, err := index.NewGenerations(index.GenerationsConfig{Shelf: shelf, Now: time.Now, At: at})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (p *pair) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) is(err error, kind fault.Kind) {
	p.t.Helper()
	if !fault.Is(err, kind) {
		p.t.Fatalf("%v, want %v", err, kind)
	}
}

// start is a place in the topic at which term 3 had sent seq records.
func (p *pair) start(seq uint64) ([]index.Watermark, index.Version) {
	var marks []index.Watermark
	for i := range p.d.Partitions {
		marks = append(marks, index.Watermark{Dataset: p.d.Name, Partition: i, Term: 3, Number: 7, Offset: 70, Version: index.MakeVersion(3, 0)})
	}
	return marks, index.MakeVersion(3, seq)
}

// begin makes another generation and opens it in both processes.
func (p *pair) begin() (number int, here index.Index) {
	p.t.Helper()
	marks, floor := p.start(100)
	g, err := p.here.Begin(p.ctx, p.d.Name, marks, floor, json.RawMessage(`{"why":"test"}`))
	p.ok(err)
	here, err = p.here.Open(p.ctx, p.d.Name, g.Number)
	p.ok(err)
	p.ok(here.Ensure(p.ctx, p.d))
	return g.Number, here
}

// put applies the rows 1 to n of an account, and claims heartbeat n.
func (p *pair) put(x index.Index, account, n int) {
	p.t.Helper()
	docs := make([]index.Document, n)
	for i := range docs {
		docs[i] = Doc(p.d, "entry_202611", Entry(account, i+1, 10, "2026-11-02", nil), index.MakeVersion(3, uint64(1000+i)), false)
	}
	_, err := x.Apply(p.ctx, p.d.Name, docs)
	p.ok(err)
	p.claim(x, n)
}

func (p *pair) claim(x index.Index, heartbeat int) {
	p.t.Helper()
	p.ok(x.Refresh(p.ctx, p.d.Name))
	for i := range p.d.Partitions {
		p.ok(x.PutWatermark(p.ctx, index.Watermark{Dataset: p.d.Name, Partition: i, Term: 3, Number: 8, Offset: 80, Heartbeat: uint64(heartbeat),
			Version: index.MakeVersion(3, uint64(2000+heartbeat))}))
	}
}

func (p *pair) count(x index.Reader) int64 {
	p.t.Helper()
	n, err := x.Count(p.ctx, index.Search{Dataset: p.d.Name, Shards: []string{"entry_202611"}})
	p.ok(err)
	return n
}

// claimed is the lowest heartbeat that a reader is told.
func (p *pair) claimed(x index.Reader) uint64 {
	p.t.Helper()
	marks, err := x.Watermarks(p.ctx, p.d.Name)
	p.ok(err)
	if len(marks) != int(p.d.Partitions) {
		p.t.Fatalf("%d watermarks", len(marks))
	}
	low := marks[0].Heartbeat
	for _, m := range marks {
		if low = min(low, m.Heartbeat); m.Dataset != p.d.Name {
			p.t.Fatalf("a watermark of %q", m.Dataset)
		}
	}
	return low
}

func (p *pair) states() map[int]index.State {
	p.t.Helper()
	list, err := p.there.Generations(p.ctx, p.d.Name)
	p.ok(err)
	out := map[int]index.State{}
	for _, g := range list {
		out[g.Number] = g.State
	}
	return out
}

func (p *pair) serve(number int) {
	p.t.Helper()
	_, err := p.here.Handover(p.ctx, p.d.Name, number, true)
	p.ok(err)
	p.ok(p.here.Switch(p.ctx, p.d.Name, number))
}
