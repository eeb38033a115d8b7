package canal

import (
	"context"
	"time"

	"strata/catalog"
	"strata/fault"
)

// reader reads a shard ahead of what is sent, chunk by chunk. One goroutine.
type reader struct {
	o         *office
	ctx       context.Context
	f         *fill // only to hand over
	turn      int
	d         *catalog.Dataset
	holding   catalog.Holding
	at, to    catalog.Key
	rows      int
	perSecond int
	since     uint64
}

func (r *reader) run() {
	if r.holding.Store != catalog.Live && !r.place() {
		return
	}
	keys := keyer{own: r.d.KeyIndexes()}
	for {
		if !r.roomFor() {
			return
		}
		began := time.Now()
		rows := r.rows
		if r.perSecond > 0 {
			rows = max(1, min(rows, r.perSecond))
		}
		got, err := r.o.cfg.Tables.Chunk(r.ctx, r.d, r.holding, r.at, r.to, rows, readBytes)
		if err == nil && !got.End && len(got.Rows) == 0 {
			err = fault.New(fault.Internal, "read chunk", "nothing after %s, and not the end", r.at)
		}
		if err != nil {
			r.fail(err)
			return
		}
		c := &chunk{Chunk: got, keys: make([]catalog.Key, len(got.Rows))}
		at := keys.place(got.Form)
		for i := range got.Rows {
			c.keys[i] = catalog.KeyOf(&got.Rows[i], at)
			c.bytes += int64(got.Rows[i].Size() + 24*len(r.d.Columns) + 100)
		}
		r.o.unsent.Add(c.bytes)
		if !r.o.post(r.ctx, func(context.Context) error {
			r.o.arrived(r.f, r.turn, c)
			return nil
		}) {
			r.o.unsent.Add(-c.bytes)
			return
		}
		if got.End {
			return
		}
		r.at = got.Last
		if r.perSecond > 0 {
			pause := time.Duration(len(got.Rows)) * time.Second / time.Duration(r.perSecond)
			if !r.o.rest(r.ctx, pause-time.Since(began)) {
				return
			}
		}
	}
}

// fail hands over an error, after a pause where trying again may help.
func (r *reader) fail(err error) {
	if r.ctx.Err() != nil {
		return
	}
	if (passing(err) || fault.Is(err, fault.Stale)) && !r.o.rest(r.ctx, r.o.every()) {
		return
	}
	r.o.post(r.ctx, func(context.Context) error {
		r.o.broke(r.f, r.turn, err)
		return nil
	})
}

// place learns which GTID set the stream must reach so that it has seen the shard leave live.
func (r *reader) place() bool {
	k, err := r.o.cfg.Tables.Locked(r.ctx, r.d, r.holding.Shard.Table, nil, false)
	if err != nil {
		r.fail(err)
		return false
	}
	return r.o.post(r.ctx, func(context.Context) error {
		if r.turn == r.f.turn {
			r.f.after = k.After
		}
		return nil
	})
}

// roomFor waits until another chunk may be held in memory.
func (r *reader) roomFor() bool {
	for r.o.unsent.Load() > maxUnsent-readBytes {
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-r.o.room:
		case <-timer.C:
		case <-r.ctx.Done():
		}
		timer.Stop()
		if r.ctx.Err() != nil {
			return false
		}
	}
	return true
}
