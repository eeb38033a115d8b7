package router

import (
	"slices"
	"strings"
)

// note adds a leg's share to Served.
func (x *Result) note(l *leg) {
	sources := &x.served.Sources
	name := l.src.Name()
	i := slices.IndexFunc(*sources, func(s ServedSource) bool { return s.Source == name })
	if i < 0 {
		i = len(*sources)
		*sources = append(*sources, ServedSource{Source: name, Shards: []ServedShard{}, Heartbeat: l.opened.Heartbeat})
	}
	s := &(*sources)[i]
	s.Rows += l.count
	s.Heartbeat = min(s.Heartbeat, l.opened.Heartbeat)
	s.Why = strings.Join(l.why, "; ")
	if l.opened.At != 0 {
		s.LagMs = max(0, x.r.cfg.Now().Sub(l.opened.At.Time()).Milliseconds())
	}
	for _, h := range l.fetch.Holdings {
		sh := ServedShard{Shard: h.Shard.Table, Epoch: h.Epoch}
		if !slices.Contains(s.Shards, sh) {
			s.Shards = append(s.Shards, sh)
		}
	}
	if l.mutable && (!x.served.positioned || l.opened.Heartbeat < x.served.Position) {
		x.served.Position, x.served.positioned = l.opened.Heartbeat, true
	}
}

// Served is the proof part; final once Next has returned an error or io.EOF.
func (x *Result) Served() Served {
	s := x.served
	if len(x.legs) > 0 {
		y := *x
		y.served.Sources = slices.Clone(y.served.Sources)
		for i := range y.served.Sources {
			y.served.Sources[i].Shards = slices.Clone(y.served.Sources[i].Shards)
		}
		for _, l := range x.legs {
			y.note(l)
		}
		s = y.served
	}
	return s
}

// Cursor goes on after the row that Next returned last. It is "" before the first row, for an aggregation, and, once Next
// has returned io.EOF, if nothing follows.
func (x *Result) Cursor() string {
	if x.groups != nil || x.last.Len() == 0 || !x.more {
		return ""
	}
	return x.r.writeCursor(x.p, &x.last, x.position())
}

// position is the first page's: the cursor's, or the lowest of the mutable sources so far.
func (x *Result) position() uint64 {
	if x.p.position > 0 {
		return x.p.position
	}
	lowest, known := x.served.Position, x.served.positioned
	for _, l := range x.legs {
		if l.mutable && (!known || l.opened.Heartbeat < lowest) {
			lowest, known = l.opened.Heartbeat, true
		}
	}
	return lowest
}
