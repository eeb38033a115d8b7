package canaltest

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"sync"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// Tables is what a Source has committed, of datasets made by Dataset, whose tables are the shards that its transactions
// name. A shard that strata_part (Txn.Parts) says is released is an archive's. A snapshot may be as old as MaxAge
// transactions, and XA transactions may be missing in it although it has later ones.
type Tables struct {
	src *Source
	// MaxAge of a snapshot, in transactions.
	MaxAge int
	// XALate: transactions after an XA COMMIT that may be visible when it isn't yet.
	XALate int
	// Fail makes a call fail when it returns an error for the method and the shard ("" where there is none). nil: none.
	Fail func(method, shard string) error
	// Between is called between the steps of Locked, to commit something. nil: nothing.
	Between func()
	// Held reports whether somebody holds the row. nil: nobody.
	Held func(shard string, key catalog.Key) bool

	mu  sync.Mutex
	rnd *rand.Rand
}

// NewTables makes the tables of a Source; chance is seeded.
func NewTables(src *Source, seed uint64) *Tables {
	return &Tables{src: src, rnd: rand.New(rand.NewPCG(seed, 17))}
}

func (s *Tables) chance(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n + 1)
}

// At returns the rows of all shards after the first n transactions, by shard and id.
func (s *Source) At(n int) map[string]map[int]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(s.txns[:n], nil)
}

func (s *Source) state(txns []canal.Txn, skip map[int]bool) map[string]map[int]string {
	rows := map[string]map[int]string{}
	h := 0
	for i := range len(txns) + 1 {
		for ; h < len(s.hidden) && s.hidden[h].after <= i; h++ {
			s.hidden[h].do(rows)
		}
		if i == len(txns) || skip[i] {
			continue
		}
		apply(rows, &txns[i])
	}
	return rows
}

func apply(rows map[string]map[int]string, x *canal.Txn) {
	for k := range x.Changes {
		c := &x.Changes[k]
		if rows[c.Shard] == nil {
			rows[c.Shard] = map[int]string{}
		}
		if c.Op != canal.Insert {
			delete(rows[c.Shard], idOf(&c.Before))
		}
		if c.Op != canal.Delete {
			rows[c.Shard][idOf(&c.After)] = c.After.Text(1)
		}
	}
	for _, a := range x.Alarms {
		if a.Effect == canal.Gone {
			rows[a.Table] = map[int]string{}
		}
	}
}

func idOf(r *catalog.Row) int {
	id, _ := strconv.Atoi(r.Text(0))
	return id
}

// missing picks XA transactions that a snapshot of the first n transactions may lack: nothing after them touched their rows.
func (s *Tables) missing(txns []canal.Txn) map[int]bool {
	skip := map[int]bool{}
	touched := map[string]bool{}
	for i := len(txns) - 1; i >= 0 && i >= len(txns)-s.XALate; i-- {
		free := txns[i].XACommit
		var names []string
		for k := range txns[i].Changes {
			c := &txns[i].Changes[k]
			for _, r := range []*catalog.Row{&c.Before, &c.After} {
				if r.Len() > 0 {
					names = append(names, c.Shard+" "+r.Text(0))
				}
			}
		}
		for _, name := range names {
			free = free && !touched[name]
		}
		for _, name := range names {
			touched[name] = true
		}
		if free && s.chance(1) == 0 {
			skip[i] = true
		}
	}
	return skip
}

// parts is what strata_part says after some transactions.
func parts(txns []canal.Txn) map[string]catalog.Part {
	out := map[string]catalog.Part{}
	for i := range txns {
		for _, p := range txns[i].Parts {
			out[p.Shard] = p
		}
	}
	return out
}

func (s *Tables) fail(method, shard string) error {
	if s.Fail == nil {
		return nil
	}
	return s.Fail(method, shard)
}

// Shards is part of canal.Tables.
func (s *Tables) Shards(_ context.Context, d *catalog.Dataset) ([]canal.TableShard, error) {
	if err := s.fail("Shards", ""); err != nil {
		return nil, err
	}
	s.src.mu.Lock()
	defer s.src.mu.Unlock()
	said := parts(s.src.txns)
	names := map[string]bool{d.Table: true}
	for i := range s.src.txns {
		for k := range s.src.txns[i].Changes {
			if c := &s.src.txns[i].Changes[k]; c.Dataset == d {
				names[c.Shard] = true
			}
		}
	}
	var out []canal.TableShard
	rows := s.src.state(s.src.txns, nil)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		h := catalog.Holding{Shard: catalog.Shard{Dataset: d.Name, Table: name, Range: catalog.All()}, Store: catalog.Live, Epoch: said[name].Epoch}
		if said[name].State == catalog.Released {
			h.Store = catalog.Archive
		}
		out = append(out, canal.TableShard{Holding: h, Rows: int64(len(rows[name]))})
	}
	return out, nil
}

// Chunk is part of canal.Tables.
func (s *Tables) Chunk(_ context.Context, d *catalog.Dataset, h catalog.Holding, after, to catalog.Key, rows, bytes int) (canal.Chunk, error) {
	if err := s.fail("Chunk", h.Shard.Table); err != nil {
		return canal.Chunk{}, err
	}
	age := s.chance(s.MaxAge)
	s.src.mu.Lock()
	txns := s.src.txns
	if h.Store == catalog.Live {
		txns = txns[:max(0, len(txns)-age)]
	}
	part := parts(txns)[h.Shard.Table]
	if (part.State == catalog.Released) != (h.Store == catalog.Archive) || part.Epoch != h.Epoch {
		s.src.mu.Unlock()
		return canal.Chunk{}, fault.New(fault.Stale, "read chunk", "%s is not %s's at epoch %d", h.Shard.Table, h.Store, h.Epoch)
	}
	state := s.src.state(txns, s.missing(txns))[h.Shard.Table]
	s.src.mu.Unlock()
	c := canal.Chunk{End: true}
	if h.Store == catalog.Live {
		for i := range txns {
			if b := txns[i].Beat; b != nil {
				c.Beat = b.Seq
			}
		}
	}
	ids := slices.Sorted(maps.Keys(state))
	at := sort.SearchInts(ids, idOfKey(after)+1)
	if after == "" {
		at = 0
	}
	for size := 0; at < len(ids) && (to == "" || ids[at] <= idOfKey(to)); at++ {
		if len(c.Rows) == rows || size >= bytes {
			c.End = false
			break
		}
		r := Row(ids[at], state[ids[at]])
		size += r.Size()
		c.Last = catalog.KeyOf(&r, d.KeyIndexes())
		c.Rows = append(c.Rows, r)
	}
	return c, nil
}

func idOfKey(k catalog.Key) int {
	id, _ := strconv.Atoi(string(k))
	return id
}

// Locked is part of canal.Tables.
func (s *Tables) Locked(_ context.Context, d *catalog.Dataset, shard string, keys []catalog.Key, _ bool) (canal.Locked, error) {
	if err := s.fail("Locked", shard); err != nil {
		return canal.Locked{}, err
	}
	last := func() string {
		s.src.mu.Lock()
		defer s.src.mu.Unlock()
		if n := len(s.src.txns); n > 0 {
			return s.src.txns[n-1].GTID
		}
		return ""
	}
	between := func() {
		if s.Between != nil {
			s.Between()
		}
	}
	l := canal.Locked{Before: last()}
	between()
	s.src.mu.Lock()
	part := parts(s.src.txns)[shard]
	state := s.src.state(s.src.txns, nil)[shard]
	s.src.mu.Unlock()
	between()
	l.After = last()
	h := catalog.Holding{Shard: catalog.Shard{Dataset: d.Name, Table: shard, Range: catalog.All()}, Store: catalog.Live, Epoch: part.Epoch}
	if part.State == catalog.Released {
		h.Store = catalog.Archive
	}
	for _, k := range keys {
		f := canal.Found{Holding: h, Held: s.Held != nil && s.Held(shard, k)}
		if note, ok := state[idOfKey(k)]; ok && !f.Held {
			r := Row(idOfKey(k), note)
			f.Row = &r
		}
		l.Found = append(l.Found, f)
	}
	return l, nil
}
