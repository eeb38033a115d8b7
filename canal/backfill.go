package canal

import (
	"context"
	"encoding/json"
	"slices"

	"strata/catalog"
	"strata/fault"
)

const (
	maxUnsent = 48 << 20 // bytes of rows that were read and not sent, over all backfills
	chunkRows = 20_000   // read in one snapshot: 0.1 s of reading
	leastRows = 500
	readBytes = 4 << 20
	slackBeat = 8 // heartbeats whose changed keys are kept while no chunk is in hand
)

// fillPlace is what a backfill notes of itself: shards that are done, and the last key sent of the one in work.
type fillPlace struct {
	Done  []string    `json:"done,omitempty"`
	Shard string      `json:"shard,omitempty"`
	After catalog.Key `json:"after,omitempty"`
	// From is where the topic's partitions ended when a stopped dataset went on, or a table was rewritten; Swept: what was sent
	// before that, and not since, is in the repair queue.
	From  []int64 `json:"from,omitempty"`
	Swept bool    `json:"swept,omitempty"`
}

// fill is a backfill that is running. It belongs to the term's goroutine; a reader of its own reads ahead.
type fill struct {
	j       *job
	l       *lane
	place   fillPlace
	shard   *TableShard // in work; nil: to be listed
	since   uint64      // every change after this heartbeat is in touched; 0: the next heartbeat will tell
	touched map[rowName]uint64
	chunks  []*chunk
	rows    int    // of the next chunks
	lists   int    // how often shards were asked for
	turn    int    // of the reader: what an older one hands over is dropped
	reading bool   // there is a reader
	whole   bool   // the reader has read the shard to its end
	after   string // GTID set that the stream must reach before rows of an archive are sent; "": not known
	end     context.CancelFunc
}

// chunk is what a reader has read.
type chunk struct {
	Chunk
	keys  []catalog.Key
	at    int // rows before it are dealt with
	bytes int64
}

// backfill begins to send the rows of a task's shards; of a dataset that was stopped, from the beginning. Rows may be gone of
// such a dataset, and of a table that a statement rewrote (the backfills of strata's own): what the topic has of them is old.
func (o *office) backfill(j *job, stopped bool) {
	f := &fill{j: j, l: j.lanes[0], touched: make(map[rowName]uint64), rows: chunkRows}
	if j.task.Place != "" && json.Unmarshal([]byte(j.task.Place), &f.place) != nil {
		f.place = fillPlace{}
	}
	whole := len(j.task.Shards) == 0 && j.task.From == "" && j.task.To == ""
	whole = whole && holds(o.t.care[f.l].lowered, j.task.ID) // it was stopped, in a term that didn't note it
	if stopped || j.task.Place == "" && (whole || j.task.Who == self) {
		f.place = fillPlace{From: o.ends(f.l)}
		j.task.Place, o.t.dirty = detail(f.place), true
	}
	j.fill, j.owes = f, true
	c := o.t.care[f.l]
	c.fills = append(c.fills, f)
	o.list(f)
}

// list asks which shards there are, and goes on with the first that isn't done.
func (o *office) list(f *fill) {
	o.drop(f)
	f.shard = nil
	f.lists++
	ctx, nth := f.j.ctx, f.lists
	o.side.Go(func() error {
		shards, err := o.cfg.Tables.Shards(ctx, f.l.d)
		for err != nil && (passing(err) || fault.Is(err, fault.Stale)) && o.rest(ctx, o.every()) {
			shards, err = o.cfg.Tables.Shards(ctx, f.l.d)
		}
		o.postOf(f.j, func(context.Context) error {
			if nth != f.lists { // it is listed again
				return nil
			}
			if err != nil {
				o.close(f.j, Failed, fault.New(fault.KindOf(err), "list shards of dataset "+f.l.d.Name, "%w", err))
				return nil //nolint:nilerr // the task has it
			}
			o.listed(f, shards)
			return nil
		})
		return nil
	})
}

// listed picks the next shard. None is skipped: one that a task names and that isn't there fails it.
func (o *office) listed(f *fill, shards []TableShard) {
	task := &f.j.task
	named := func(name string) bool { return len(task.Shards) == 0 || slices.Contains(task.Shards, name) }
	has := func(name string) bool {
		return slices.ContainsFunc(shards, func(s TableShard) bool { return s.Holding.Shard.Table == name })
	}
	if name := f.place.Shard; name != "" && !has(name) {
		o.shardGone(f, name)
	}
	for _, name := range task.Shards {
		switch {
		case has(name) || slices.Contains(f.place.Done, name):
		case task.Who == self: // it was there when a statement changed it
			o.shardGone(f, name)
		default:
			o.close(f.j, Failed, fault.New(fault.NotFound, "backfill "+name, "no store has such a shard of dataset %s", f.l.d.Name))
			return
		}
	}
	task.Total = 0
	var next *TableShard
	for i := range shards {
		s := &shards[i]
		name := s.Holding.Shard.Table
		if !named(name) {
			continue
		}
		task.Total += s.Rows
		if next == nil && !slices.Contains(f.place.Done, name) && (f.place.Shard == "" || f.place.Shard == name) {
			next = s
		}
	}
	task.Total = max(task.Total, task.Done)
	if next == nil {
		task.Total = task.Done
		o.leftovers(f)
		return
	}
	f.shard = next
	if f.place.Shard == "" {
		f.place.Shard, f.place.After = next.Holding.Shard.Table, ""
		if task.From != "" {
			f.place.After = task.From
		}
	}
	f.after = ""
	o.resume(f)
}

// shardGone leaves out a shard that was there when the task began, or was made.
func (o *office) shardGone(f *fill, name string) {
	o.note(Evidence{What: "backfill", Who: self, Why: "the shard is gone", Detail: detail(map[string]any{"dataset": f.l.d.Name, "shard": name, "task": f.j.task.ID})})
	at, after := f.place.Shard, f.place.After
	f.done(name)
	if at != name {
		f.place.Shard, f.place.After = at, after
	}
}

// live reports whether the shard in work is the captured server's.
func (f *fill) live() bool { return f.shard.Holding.Store == catalog.Live }

// done notes that a shard is dealt with.
func (f *fill) done(name string) {
	f.place.Done = append(f.place.Done, name)
	f.place.Shard, f.place.After = "", ""
	f.j.task.Place = detail(f.place)
}

// again drops what was read and not sent: it is read anew in a snapshot that holds the next heartbeat.
func (o *office) again(f *fill, why string) {
	o.drop(f)
	f.since = 0
	clear(f.touched)
	o.cfg.Log.Debug("chunks are read again", "dataset", f.l.d.Name, "why", why)
}

// crowded makes room where too many keys have changed: those before the oldest snapshot in hand aren't needed, and if that
// isn't enough, less is read at a time.
func (o *office) crowded(f *fill) {
	o.prune(f, f.oldest())
	if len(f.touched) > maxTouched/2 {
		f.rows = max(leastRows, f.rows/2)
		o.again(f, "too many rows change meanwhile")
	}
}

// drop ends the reader and forgets what it has read.
func (o *office) drop(f *fill) {
	if f.end != nil {
		f.end()
		f.end = nil
	}
	for _, c := range f.chunks {
		o.unsent.Add(-c.bytes)
	}
	f.chunks, f.reading, f.whole = nil, false, false
	f.turn++
	signal(o.room)
}

// oldest is the oldest heartbeat of the chunks in hand; the largest number where there is none.
func (f *fill) oldest() uint64 {
	h := ^uint64(0)
	for _, c := range f.chunks {
		if c.Beat != 0 { // not of an archive
			h = min(h, c.Beat)
		}
	}
	return h
}

// prune forgets keys that changed before a heartbeat.
func (o *office) prune(f *fill, floor uint64) {
	floor = min(floor, o.lastBeat())
	if f.since == 0 || floor <= f.since {
		return
	}
	f.since = floor
	for name, beat := range f.touched {
		if beat < floor {
			delete(f.touched, name)
		}
	}
}

// beatFor is called when the stream has passed a heartbeat.
func (o *office) beatFor(f *fill, seq uint64) {
	switch {
	case f.since == 0:
		f.since = seq
	case len(f.chunks) > 0 && f.live() && f.chunks[0].Beat < seq && !o.xaKnown(f.l, f.chunks[0].Beat):
		o.drop(f)
	case f.shard != nil && !o.current(f.l, &f.shard.Holding):
		o.list(f)
	case len(f.touched) > 1000 && seq > slackBeat:
		o.prune(f, min(f.oldest(), seq-slackBeat))
	}
	o.resume(f)
}

// resume starts the reader, where there is something to read.
func (o *office) resume(f *fill) {
	if f.reading || f.whole || f.shard == nil || f.since == 0 || f.j.fill != f || f.live() && !o.xaKnown(f.l, o.lastBeat()) {
		return
	}
	ctx, end := context.WithCancel(f.j.ctx)
	f.end, f.reading = end, true
	r := &reader{o: o, ctx: ctx, f: f, turn: f.turn, d: f.l.d, holding: f.shard.Holding, to: f.j.task.To, at: f.place.After,
		rows: f.rows, perSecond: f.j.task.RowsPerSecond, since: f.since}
	o.side.Go(func() error {
		r.run()
		return nil
	})
}

// arrived takes a chunk from the reader.
func (o *office) arrived(f *fill, turn int, c *chunk) {
	if turn != f.turn || f.j.fill != f {
		o.unsent.Add(-c.bytes)
		signal(o.room)
		return
	}
	if f.live() && (f.since == 0 || c.Beat < f.since) {
		// Older than what is known of changes. The next heartbeat starts a reader anew.
		o.unsent.Add(-c.bytes)
		o.drop(f)
		return
	}
	f.chunks = append(f.chunks, c)
	f.whole = c.End
}

// broke is called when a reader can't go on.
func (o *office) broke(f *fill, turn int, err error) {
	if turn != f.turn || f.j.fill != f {
		return
	}
	switch {
	case fault.Is(err, fault.Stale):
		o.list(f)
	case passing(err):
		f.j.task.Err, o.t.dirty = err.Error(), true
		o.drop(f) // the next heartbeat starts a reader anew
	default:
		o.close(f.j, Failed, fault.New(fault.KindOf(err), "backfill "+f.place.Shard, "%w", err).WithHint("%s", fault.HintOf(err)))
	}
}
