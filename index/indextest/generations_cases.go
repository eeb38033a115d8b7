package indextest

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

func unseen(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	p.put(p.here, 1, 3)
	if s := p.states(); len(s) != 1 || s[1] != index.Serving {
		t.Fatalf("without another generation: %v", s)
	}
	number, next := p.begin()
	p.put(next, 2, 9)
	for _, x := range []*index.Generations{p.here, p.there} {
		if n, c := p.count(x), p.claimed(x); n != 3 || c != 3 {
			t.Fatalf("%d documents, heartbeat %d: the generation that is built is seen", n, c)
		}
	}
	other, err := p.there.Open(p.ctx, p.d.Name, number)
	p.ok(err)
	if n := p.count(other); n != 9 {
		t.Fatalf("another process finds %d documents in what is built", n)
	}
	shards, err := other.Shards(p.ctx, p.d.Name)
	if err != nil || len(shards) != 1 || shards[0] != "entry_202611" {
		t.Fatalf("shards %v, %v", shards, err)
	}
	p.claimed(other)
	_, err = next.Search(p.ctx, index.Search{Dataset: "transfer", Limit: 1})
	p.is(err, fault.NotFound)
	if s := p.states(); s[number] != index.Building {
		t.Fatalf("states %v", s)
	}
}

func beginning(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	_, next := p.begin()
	marks, err := next.Watermarks(p.ctx, p.d.Name)
	p.ok(err)
	for _, m := range marks {
		if m.Offset != 70 || m.Number != 7 || m.Heartbeat != 0 {
			t.Fatalf("it begins at %+v", m)
		}
	}
	p.claim(next, 5)
	p.ok(next.Ensure(p.ctx, p.d)) // again, as after a restart
	if c := p.claimed(next); c != 5 {
		t.Fatalf("Ensure took a generation back to heartbeat %d", c)
	}
	_, err = p.here.Begin(p.ctx, p.d.Name, nil, 0, nil)
	p.is(err, fault.Invalid)
}

func switched(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	p.put(p.here, 1, 3)
	number, next := p.begin()
	p.put(next, 2, 4)
	p.claimed(p.there) // it knows the first
	p.is(p.here.Switch(p.ctx, p.d.Name, number), fault.Conflict)
	p.serve(number)
	p.ok(p.here.Switch(p.ctx, p.d.Name, number)) // again
	for _, x := range []*index.Generations{p.here, p.there} {
		if c, n := p.claimed(x), p.count(x); c != 4 || n != 4 {
			t.Fatalf("after the switch: heartbeat %d, %d documents", c, n)
		}
	}
	if s := p.states(); s[1] != index.Old || s[number] != index.Serving {
		t.Fatalf("states %v", s)
	}
	p.ok(p.here.Ensure(p.ctx, p.d))
	first, err := p.there.Open(p.ctx, p.d.Name, 1)
	p.ok(err)
	if n := p.count(first); n != 3 {
		t.Fatalf("the old generation has %d documents", n)
	}
	_, err = p.here.Handover(p.ctx, p.d.Name, 1, true)
	p.is(err, fault.Stale) // nobody has fed it since
	high, err := p.there.HighestTerm(p.ctx)
	if err != nil || high != 3 {
		t.Fatalf("highest term %d, %v", high, err)
	}
	next2, _ := p.begin() // a third beside the second
	p.serve(next2)
	if n := p.count(p.here); n != 0 {
		t.Fatalf("the third generation has %d documents", n)
	}
}

func reshaped(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	wider := Entries()
	wider.Columns = append(wider.Columns, catalog.Column{Name: "channel", Type: catalog.Type{Kind: catalog.Int, Size: 4}, Nullable: true})
	p.is(p.here.Ensure(p.ctx, wider), fault.Unsafe)
	p.is(p.here.Fits(p.ctx, wider), fault.Unavailable)
	p.ok(p.there.Fits(p.ctx, p.d))
	old := p.d
	p.d = wider
	number, next := p.begin()
	row := Entry(1, 1, 10, "2026-11-02", nil)
	row.AppendString("7")
	_, err := next.Apply(p.ctx, wider.Name, []index.Document{Doc(wider, "entry_202611", row, index.MakeVersion(3, 1000), false)})
	p.ok(err)
	p.claim(next, 1)
	p.serve(number)
	p.claimed(p.there)
	p.ok(p.there.Fits(p.ctx, wider))
	p.is(p.there.Fits(p.ctx, old), fault.Unavailable)
	p.ok(p.there.Ensure(p.ctx, wider))
	page, err := p.there.Search(p.ctx, index.Search{Dataset: wider.Name, Shards: []string{"entry_202611"}, Columns: []string{"channel"},
		Order: []index.Order{{Column: "account_id"}, {Column: "seq"}}, Limit: 5})
	if err != nil || len(page.Rows) != 1 || string(page.Rows[0].Cell(0)) != "7" {
		t.Fatalf("%+v, %v", page, err)
	}
	p.ok(p.there.Fits(p.ctx, &catalog.Dataset{Name: "never_made"}))
}

func dropped(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	p.put(p.here, 1, 3)
	number, next := p.begin()
	p.put(next, 2, 4)
	p.is(p.here.Drop(p.ctx, p.d.Name, 1), fault.Conflict)
	p.is(p.here.Drop(p.ctx, p.d.Name, 99), fault.NotFound)
	p.serve(number)
	p.is(p.there.Drop(p.ctx, p.d.Name, number), fault.Conflict)
	p.ok(p.here.Drop(p.ctx, p.d.Name, 1))
	p.ok(p.here.Drop(p.ctx, p.d.Name, 1)) // again, as after a crash
	_, err := p.here.Open(p.ctx, p.d.Name, 1)
	p.is(err, fault.Stale)
	if c, n := p.claimed(p.there), p.count(p.there); c != 4 || n != 4 {
		t.Fatalf("after the drop: heartbeat %d, %d documents", c, n)
	}
	// One that is built, while somebody feeds it: he does not make it anew.
	third, fed := p.begin()
	if third <= number {
		t.Fatalf("number %d was given twice", third)
	}
	p.ok(p.here.Drop(p.ctx, p.d.Name, third))
	p.is(fed.Ensure(p.ctx, p.d), fault.Stale)
	if _, err := p.shelf.Watermarks(p.ctx, index.StoredName(p.d.Name, third)); err == nil {
		t.Fatal("what was dropped is there again")
	}
	p.is(p.here.Update(p.ctx, p.d.Name, third, func(*index.Generation) error { return nil }), fault.Stale)
}

func begunTwice(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	marks, floor := p.start(1)
	var won, refused atomic.Int64
	var g sync.WaitGroup
	for _, x := range []*index.Generations{p.here, p.there, p.here, p.there} {
		g.Go(func() {
			_, err := x.Begin(p.ctx, p.d.Name, marks, floor, nil)
			switch {
			case err == nil:
				won.Add(1)
			case fault.Is(err, fault.Conflict):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	g.Wait()
	if won.Load() != 1 || refused.Load() != 3 {
		t.Fatalf("%d began, %d were refused", won.Load(), refused.Load())
	}
	p.ok(p.there.Update(p.ctx, p.d.Name, 2, func(g *index.Generation) error {
		g.Note, g.Tries, g.State, g.Floor = json.RawMessage(`"noted"`), 4, index.Old, 0
		return nil
	}))
	list, err := p.here.Generations(p.ctx, p.d.Name)
	p.ok(err)
	if g := list[1]; string(g.Note) != `"noted"` || g.Tries != 4 || g.State != index.Building || g.Floor != floor {
		t.Fatalf("%+v: only note and tries may be changed", g)
	}
}

// errDied is the error of a crash point.
var errDied = fault.New(fault.Internal, "crash", "died")

func crashed(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	p.put(p.here, 1, 3)
	number, next := p.begin()
	p.put(next, 2, 4)
	_, err := p.here.Handover(p.ctx, p.d.Name, number, true)
	p.ok(err)
	dies := generations(t, p.shelf, func(string) error { return errDied })
	if err := dies.Switch(p.ctx, p.d.Name, number); err != errDied { //nolint:errorlint // it is handed through
		t.Fatal(err)
	}
	if n := p.count(p.there); n != 3 && n != 4 {
		t.Fatalf("%d documents", n)
	}
	if c, n := p.claimed(p.there), p.count(p.there); c != 4 || n != 4 {
		t.Fatalf("heartbeat %d, %d documents", c, n)
	}
	p.ok(p.there.Switch(p.ctx, p.d.Name, number))
	if err := dies.Drop(p.ctx, p.d.Name, 1); err != errDied { //nolint:errorlint // it is handed through
		t.Fatal(err)
	}
	if s := p.states(); len(s) != 1 || s[number] != index.Serving {
		t.Fatalf("states %v", s)
	}
	p.ok(p.there.Drop(p.ctx, p.d.Name, 1))
	p.claimed(p.here) // it learns that the first is gone
	if _, err := p.shelf.Watermarks(p.ctx, p.d.Name); err == nil {
		t.Fatal("what was dropped is still there")
	}
}

func floors(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	number, next := p.begin() // its floor is 3/100
	doc := func(seq int, version uint64, deleted bool) index.Document {
		return Doc(p.d, "entry_202611", Entry(1, seq, int(version), "2026-11-02", nil), index.MakeVersion(3, version), deleted)
	}
	check := func(x index.Index) {
		t.Helper()
		out, err := x.Apply(p.ctx, p.d.Name, []index.Document{doc(1, 100, false), doc(2, 101, false), doc(3, 50, false), {Shard: "entry_202611", Key: "x"}, doc(4, 102, true)})
		p.ok(err)
		want := []index.Status{index.Newer, index.Applied, index.Newer, index.Refused, index.Applied}
		for i, o := range out {
			if o.Status != want[i] && !(x != next && want[i] == index.Applied && o.Status == index.Newer) {
				t.Fatalf("outcome %d is %+v, want %d", i, o, want[i])
			}
		}
		if out[0].StoredVersion.Term() != 3 {
			t.Fatalf("stored version %d", out[0].StoredVersion)
		}
		p.ok(x.Refresh(p.ctx, p.d.Name))
		if n := p.count(x); n != 1 {
			t.Fatalf("%d documents: an image of before the generation's start is in it", n)
		}
	}
	check(next)
	p.serve(number)
	check(p.here) // a dead letter is replayed into what answers
	list, err := p.here.Generations(p.ctx, p.d.Name)
	p.ok(err)
	if len(list) != 2 || list[1].Floor != index.MakeVersion(3, 100) {
		t.Fatalf("%+v", list)
	}
}

func handover(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	p.put(p.here, 1, 10)
	number, next := p.begin()
	p.put(next, 1, 4)
	if c := p.claimed(p.there); c != 10 {
		t.Fatalf("before: heartbeat %d", c)
	}
	before, err := p.here.Handover(p.ctx, p.d.Name, number, true)
	p.ok(err)
	if len(before) != int(p.d.Partitions) || before[0].Heartbeat != 10 {
		t.Fatalf("what was claimed before: %+v", before)
	}
	first, err := p.here.Open(p.ctx, p.d.Name, 1)
	p.ok(err)
	p.put(first, 1, 12) // the first goes on
	if c, n := p.claimed(p.there), p.count(p.there); c != 4 || n != 12 {
		t.Fatalf("in handover heartbeat %d is claimed, and %d documents are found", c, n)
	}
	p.put(next, 1, 11)
	if c := p.claimed(p.there); c != 11 {
		t.Fatalf("in handover heartbeat %d is claimed", c)
	}
	p.ok(p.here.Switch(p.ctx, p.d.Name, number))
	if n := p.count(p.there); n < 11 {
		t.Fatalf("%d documents after heartbeat 11 was claimed", n)
	}
	if c, n := p.claimed(p.there), p.count(p.there); c != 11 || n != 11 {
		t.Fatalf("heartbeat %d, %d documents", c, n)
	}
	third, _ := p.begin()
	_, err = p.here.Handover(p.ctx, p.d.Name, third, true)
	p.ok(err)
	if c := p.claimed(p.there); c != 0 {
		t.Fatalf("heartbeat %d is claimed of a generation that has nothing", c)
	}
	_, err = p.here.Handover(p.ctx, p.d.Name, third, false)
	p.ok(err)
	if c := p.claimed(p.there); c != 11 {
		t.Fatalf("after the handover was taken back: heartbeat %d", c)
	}
}

// readers has one process read while another one feeds two generations at different paces, and switches, again and again.
func readers(t *testing.T, open OpenShelves) {
	p := openPair(t, open)
	p.put(p.here, 1, 1)
	const rounds, perRound = 4, 8
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	var g sync.WaitGroup
	for range 3 {
		g.Go(func() {
			for ctx.Err() == nil {
				claimed := p.claimed(p.there)
				if n := p.count(p.there); n < int64(claimed) {
					t.Errorf("%d documents after heartbeat %d was claimed", n, claimed)
					return
				}
			}
		})
	}
	feed, at := index.Index(p.here), 1
	for range rounds {
		number, next := p.begin()
		for i := range perRound {
			at++
			p.put(feed, 1, at)
			if i == perRound/2 {
				p.put(next, 1, at-3) // far behind, and told to take over
				marks, err := p.here.Handover(p.ctx, p.d.Name, number, true)
				p.ok(err)
				if marks[0].Heartbeat != uint64(at) {
					t.Errorf("claimed before: %d, not %d", marks[0].Heartbeat, at)
				}
			}
		}
		p.put(next, 1, at-1)
		p.ok(p.here.Switch(p.ctx, p.d.Name, number))
		at--
		feed = next
	}
	cancel()
	g.Wait()
}
