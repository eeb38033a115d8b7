package catalog

import (
	"cmp"
	"slices"
	"strings"

	"strata/fault"
)

// Store names a place that can own rows: live or an archive.
type Store string

// The stores of this version.
const (
	Live    Store = "live"
	Archive Store = "archive"
)

// State is what a store's own row in strata_part says of a shard.
type State string

// The states. Copying: being written by a move, not readable. Owned: readable here. Released: was here, is elsewhere.
const (
	Copying  State = "copying"
	Owned    State = "owned"
	Released State = "released"
)

// Part is one row of a store's strata_part: what this store says of one shard.
type Part struct {
	Dataset string
	Shard   string // physical table name
	Range   Range
	Epoch   uint64 // rises with every change of the range
	Token   string // of the mover that holds the segment; "" for none
	State   State
}

// Holding is a shard with its owner, as one View saw it.
type Holding struct {
	Shard Shard
	Store Store
	Epoch uint64
}

// View is who owns what of one dataset, from one look at every store. It is a hint: each read checks its part again in
// the snapshot that it reads from.
type View struct {
	Dataset  string
	Holdings []Holding // ascending by Range.From, late shards last
}

// Says is what one store said: its parts, and for live also the physical tables that it has.
type Says struct {
	Store  Store
	Parts  []Part
	Tables []string // live only; physical names, of which those that are shards of the dataset count
}

// MergeView merges what the stores said about one dataset. Errors: fault.Proof where two stores own a shard at the same
// epoch, or where a shard that was released has no owner: an operator must look.
func MergeView(d *Dataset, says []Says) (*View, error) {
	type best struct {
		h        Holding
		owned    bool
		released bool
		twice    Store
	}
	found := map[string]*best{}
	at := func(s Shard) *best {
		b := found[s.Table]
		if b == nil {
			b = &best{h: Holding{Shard: s}}
			found[s.Table] = b
		}
		return b
	}
	claim := func(b *best, store Store, epoch uint64) {
		switch {
		case !b.owned || epoch > b.h.Epoch:
			b.owned, b.h.Store, b.h.Epoch, b.twice = true, store, epoch, ""
		case epoch == b.h.Epoch && store != b.h.Store:
			b.twice = store
		}
	}
	for _, s := range says {
		stated := map[string]bool{}
		for _, p := range s.Parts {
			if p.Dataset != d.Name {
				continue
			}
			stated[p.Shard] = true
			sh, ok := d.ShardOf(p.Shard)
			if !ok {
				sh = Shard{Dataset: d.Name, Table: p.Shard, Range: p.Range}
			}
			b := at(sh)
			switch p.State {
			case Owned:
				claim(b, s.Store, p.Epoch)
			case Released:
				b.released = true
			}
		}
		for _, t := range s.Tables {
			if sh, ok := d.ShardOf(t); ok && s.Store == Live && !stated[t] {
				claim(at(sh), Live, 0)
			}
		}
	}
	v := &View{Dataset: d.Name}
	for name, b := range found {
		switch {
		case b.twice != "":
			return nil, fault.New(fault.Proof, "merge view of "+d.Name, "shard %s is owned by %s and %s at epoch %d", name, b.h.Store, b.twice, b.h.Epoch).
				WithHint("look at strata_part of both servers; `strata archive status` shows the segment")
		case !b.owned && b.released:
			return nil, fault.New(fault.Proof, "merge view of "+d.Name, "shard %s was released and nobody owns it", name).
				WithHint("look at strata_part of the archive; was it restored from an old backup?")
		case b.owned:
			v.Holdings = append(v.Holdings, b.h)
		}
	}
	slices.SortFunc(v.Holdings, compareHoldings)
	return v, nil
}

// compareHoldings orders by the start of the range, late shards last.
func compareHoldings(a, b Holding) int {
	if a.Shard.Late != b.Shard.Late {
		if a.Shard.Late {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Shard.Range.From, b.Shard.Range.From), strings.Compare(a.Shard.Table, b.Shard.Table))
}
