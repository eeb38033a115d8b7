package router

import "time"

// Limits are the bounds of one router, each with its reason. Zero fields take the defaults.
type Limits struct {
	Page       int           // rows of one page; 10,000: what a client can show or hold
	In         int           // values of one IN; 1,000: what an optimizer still turns into ranges
	Nodes      int           // conditions of a filter; 500: keeps statements small
	Depth      int           // nesting of a filter; 32: recursion
	Bytes      int           // all values of a filter; 256 KiB: a statement repeats them per shard
	Columns    int           // wanted columns; 1,024
	Sorts      int           // sort columns with the key; 16: what an index can have
	Parts      int           // shards that one query may ask; 2,000: metadata locks and statements
	Groups     int           // groups of an aggregation; 100,000: they are held in memory
	Queries    int           // open results; 64: each holds connections
	Timeout    time.Duration // of a page or an aggregation; 30 s
	Stream     time.Duration // of a stream without Limit; 1 h
	MaxTimeout time.Duration // what a query may ask for; 24 h
	CursorLife time.Duration // 1 h
}

// maxPlans bounds plans in a row without a row emitted: a range moves once, a failed store is left out once; more means
// that something keeps failing.
const maxPlans = 5

// maxCursor bounds the text of a cursor: 16 sort cells of the longest possible key.
const maxCursor = 64 << 10

func (l Limits) withDefaults() Limits {
	ints := []struct {
		p *int
		d int
	}{{&l.Page, 10_000}, {&l.In, 1_000}, {&l.Nodes, 500}, {&l.Depth, 32}, {&l.Bytes, 256 << 10}, {&l.Columns, 1024},
		{&l.Sorts, 16}, {&l.Parts, 2_000}, {&l.Groups, 100_000}, {&l.Queries, 64}}
	for _, v := range ints {
		if *v.p <= 0 {
			*v.p = v.d
		}
	}
	times := []struct {
		p *time.Duration
		d time.Duration
	}{{&l.Timeout, 30 * time.Second}, {&l.Stream, time.Hour}, {&l.MaxTimeout, 24 * time.Hour}, {&l.CursorLife, time.Hour}}
	for _, v := range times {
		if *v.p <= 0 {
			*v.p = v.d
		}
	}
	return l
}
