package canal

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"strata/catalog"
	"strata/fault"
)

// term is one reign.
type term struct {
	l        *Leader
	cfg      *Config
	asked    context.Context // ends when a stop was asked for
	number   atomic.Uint32   // 0 until taken
	heard    atomic.Int64    // when control was last heard of, ns by the wall clock
	seq      uint64
	rows     uint64
	pos      Position
	lanes    []*lane
	byData   map[*catalog.Dataset]*lane
	producer Producer
	env      envelope
	arena    arena
	batch    []Record
	hash     []byte
	dirty    bool   // something moved since the last checkpoint
	torn     bool   // part of a transaction may be sent, and pos is still before it: not to be saved
	since    string // GTID set of the checkpoint that the tails begin at
	hurry    bool   // a checkpoint is wanted soon
	saved    time.Time
	doubt    []RepairKey     // rows of XA COMMITs before this term
	xaTime   catalog.Instant // of the heartbeat after the last XA COMMIT; MaxInstant: there was none after it yet
	spill    spiller         // the main stream, where it says what it has on disk; nil: it doesn't
	care     map[*lane]*care
	office   *office // nil without a Desk
}

func newTerm(l *Leader, asked context.Context) *term {
	t := &term{l: l, cfg: &l.cfg, asked: asked, byData: make(map[*catalog.Dataset]*lane), care: make(map[*lane]*care)}
	t.env = newEnvelope(&l.cfg)
	for _, d := range l.cfg.Datasets {
		lane := newLane(d)
		t.lanes = append(t.lanes, lane)
		t.byData[d] = lane
		t.care[lane] = newCare(d)
	}
	if t.cfg.Desk != nil {
		t.office = newOffice(t)
	}
	return t
}

// run is the whole term; doc.go has the order.
func (t *term) run(ctx context.Context) (err error) {
	if err := t.take(ctx); err != nil {
		return err
	}
	if t.producer, err = t.cfg.Sink.Producer(ctx); err != nil {
		return err
	}
	defer func() {
		if e := t.producer.Close(); err == nil {
			err = e
		}
	}()
	if err := t.open(ctx); err != nil {
		return err
	}
	t.since = t.pos.GTID
	if t.office != nil {
		if err := t.office.mend(ctx); err != nil {
			return err
		}
	}
	if len(t.live()) == 0 && t.office == nil {
		return t.nothingLeft()
	}
	t.cfg.Log.Info("leading", "pipeline", t.cfg.Name, "term", t.number.Load(), "pos", t.pos.GTID)
	t.l.note(func(s *Stats) { s.Leading, s.GTID = true, t.pos.GTID })
	err = t.stream(ctx)
	if t.asked.Err() == nil {
		return err
	}
	// A stop that was asked for: save what was sent, so that the next leader has no tail to read.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if errors.Is(err, t.asked.Err()) {
		err = nil
	}
	if err == nil && t.dirty && !t.torn {
		err = t.checkpoint(clean)
	}
	return err
}

// take reads what is known of terms, takes the next one in control, and loads the checkpoint that holds from then on.
func (t *term) take(ctx context.Context) error {
	state, err := t.cfg.Control.Load(ctx)
	if err != nil {
		return err
	}
	t.restore(state.Checkpoint)
	if len(t.live()) == 0 && t.office == nil {
		return t.nothingLeft()
	}
	looked := t.live()
	highest, err := t.highestOpen(ctx)
	if err != nil {
		return err
	}
	highest = max(highest, state.Term)
	for _, ask := range t.cfg.Witness {
		term, err := ask(ctx)
		if err != nil {
			return err
		}
		highest = max(highest, term)
	}
	if highest >= maxTerm {
		return fault.New(fault.Unsafe, "take term", "term %d is the last one", highest).WithHint("rebuild index and topics under new names")
	}
	if err := t.cfg.At("canal.term.before"); err != nil {
		return err
	}
	ok, err := t.cfg.Control.Take(ctx, state.Term, highest+1, t.cfg.Holder)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Conflict, "take term", "%w", errTaken)
	}
	t.number.Store(highest + 1)
	t.heard.Store(t.cfg.Now().UnixNano())
	t.l.note(func(s *Stats) { s.Term, s.Seq = highest+1, 0 })
	if err := t.cfg.At("canal.term.after"); err != nil {
		return err
	}
	// Only now can nobody older save a checkpoint any more.
	if state, err = t.cfg.Control.Load(ctx); err != nil {
		return err
	}
	if state.Term != highest+1 {
		return fault.New(fault.Conflict, "take term", "%w", errTaken)
	}
	var stops []*lane
	for _, l := range looked {
		if l.stopped != nil {
			stops = append(stops, &lane{d: l.d, stopped: l.stopped}) // only these two are read again
		}
	}
	t.restore(state.Checkpoint)
	for _, s := range stops { // what looking at the topics has found holds
		if l := t.byData[s.d]; l.stopped == nil {
			s.stopped.Position = t.pos
			t.keepStopped(l, s.stopped)
			t.dirty = true
		}
	}
	return nil
}

// restore sets the lanes and the position to a checkpoint; nil is the first start.
func (t *term) restore(c *Checkpoint) {
	first := c == nil
	if first {
		c = &Checkpoint{Position: Position{GTID: t.cfg.Start}}
	}
	t.pos, t.rows, t.xaTime, t.doubt = c.Position, c.Rows, c.XATime, c.Doubt
	for _, l := range t.lanes {
		l.stopped, l.key, t.care[l].lowered = nil, c.Keys[l.d.Name], nil
		t.l.note(func(s *Stats) { delete(s.Stopped, l.d.Name) })
		if low, ok := c.Lowered[l.d.Name]; ok {
			t.care[l].lowered = &Lowered{Mark: low.Mark, Tasks: slices.Clone(low.Tasks)}
		}
		for p := range l.parts {
			l.parts[p] = part{}
		}
		parts, ok := c.Parts[l.d.Name]
		if s, stopped := c.Stopped[l.d.Name]; stopped {
			t.keepStopped(l, &s)
			for p := range parts[:min(len(parts), len(l.parts))] {
				l.parts[p].from = parts[p]
			}
			continue
		}
		switch {
		case ok && len(parts) == len(l.parts):
			for p := range parts {
				l.parts[p].from = parts[p]
			}
		case ok:
			t.stop(l, fault.New(fault.Unsafe, "open dataset "+l.d.Name, "the checkpoint has %d partitions, the dataset %d",
				len(parts), l.d.Partitions).WithHint("a topic's partition count is fixed for its life: set partitions back to %d", len(parts)))
		case !first:
			t.stop(l, fault.New(fault.Unsafe, "open dataset "+l.d.Name, "it is new, and the pipeline is already at %s", t.pos.GTID).
				WithHint("a dataset that is added later needs a backfill"))
			l.stopped.Position = Position{} // nothing of it was ever sent
			t.keepStopped(l, l.stopped)
			t.care[l].mend = Backfill
		}
		if err := l.rekeyed(); err != nil {
			t.stop(l, err)
		}
	}
}

// keepStopped marks a lane as stopped.
func (t *term) keepStopped(l *lane, s *Stopped) {
	l.stopped = s
	t.l.note(func(st *Stats) { st.Stopped[l.d.Name] = *s })
}

// stop quarantines a dataset: it gets nothing more, and the checkpoint will say from where on it lacks changes.
func (t *term) stop(l *lane, err error) {
	if l.stopped != nil {
		return
	}
	t.keepStopped(l, stopFor(t.pos, err))
	t.dirty = true
	if t.office != nil {
		t.office.note(Evidence{What: "stop", Who: "strata", Why: err.Error(), Detail: detail(map[string]any{"dataset": l.d.Name, "gtid": t.pos.GTID})})
	}
	t.cfg.Log.Error("dataset stopped, the others go on", "dataset", l.d.Name, "pos", t.pos.GTID, "err", err, "hint", l.stopped.Hint)
}

// live returns the lanes that are not stopped.
func (t *term) live() []*lane {
	return slices.DeleteFunc(slices.Clone(t.lanes), func(l *lane) bool { return l.stopped != nil })
}

func (t *term) nothingLeft() error {
	for _, l := range t.lanes {
		return fault.New(fault.Unsafe, "capture "+t.cfg.Name, "every dataset is stopped; %s: %s", l.d.Name, l.stopped.Reason).
			WithHint("%s", l.stopped.Hint)
	}
	return nil
}

// highestOpen makes sure of the topics and returns the highest term of an open beyond the checkpoint.
func (t *term) highestOpen(ctx context.Context) (uint32, error) {
	highest := uint32(0)
	for _, l := range t.live() {
		fresh := !slices.ContainsFunc(l.parts, func(p part) bool { return p.from != PartPosition{} })
		err := t.cfg.Sink.Ensure(ctx, l.d, fresh)
		for p := range l.parts {
			if err != nil {
				break
			}
			var first, next int64
			if first, next, err = t.cfg.Sink.Bounds(ctx, l.d.Name, int32(p)); err != nil {
				break
			}
			if err = checkBounds(l.d.Name, int32(p), l.parts[p].from, first, next); err != nil {
				break
			}
			highest = max(highest, l.parts[p].from.Term)
			err = t.cfg.Sink.Read(ctx, l.d.Name, int32(p), l.parts[p].from.Offset, next, func(r *Record) error {
				if r.Header.Kind == KindOpen {
					highest = max(highest, r.Header.Term)
				}
				return nil
			})
		}
		if err != nil && !ofDataset(err) {
			return 0, err
		}
		if err != nil {
			t.stop(l, err)
			t.care[l].mend = mendFor(err)
		}
	}
	return highest, nil
}

// open claims every partition, reads its tail and resumes it.
func (t *term) open(ctx context.Context) error {
	if err := t.sideTopics(ctx); err != nil {
		return err
	}
	if err := t.cfg.At("canal.open.before"); err != nil {
		return err
	}
	for _, l := range t.live() {
		if err := t.openTopic(ctx, l); err != nil {
			return err
		}
	}
	if err := t.producer.Flush(ctx); err != nil {
		return err
	}
	if err := t.cfg.At("canal.open.after"); err != nil {
		return err
	}
	room := maxTail
	for _, l := range t.live() {
		if err := t.tails(ctx, l, &room); err != nil && !ofDataset(err) {
			return err
		} else if err != nil {
			t.stop(l, err)
			t.care[l].mend = mendFor(err)
		}
	}
	for _, point := range []string{"canal.tail.after", "canal.resume.before"} {
		if err := t.cfg.At(point); err != nil {
			return err
		}
	}
	for _, l := range t.live() {
		for p := range l.parts {
			t.queueResume(l, p, false)
		}
		if err := t.send(ctx); err != nil {
			return err
		}
	}
	return t.cfg.At("canal.resume.after")
}

func (t *term) openTopic(ctx context.Context, l *lane) error {
	for p := range l.parts {
		value := t.control(Open{Term: t.number.Load(), Leader: t.cfg.Holder})
		t.queue(Record{Dataset: l.d.Name, Partition: int32(p), Value: value, Header: Header{Kind: KindOpen}})
	}
	return t.send(ctx)
}

// tails reads the tail of every partition of a lane up to this term's open. What a lane took is given back if it fails.
func (t *term) tails(ctx context.Context, l *lane, room *int) (err error) {
	before := *room
	defer func() {
		if err != nil {
			*room = before
			for p := range l.parts {
				l.parts[p].tail = tail{}
			}
		}
	}()
	for p := range l.parts {
		pt := &l.parts[p]
		first, next, err := t.cfg.Sink.Bounds(ctx, l.d.Name, int32(p))
		if err != nil {
			return err
		}
		if err := checkBounds(l.d.Name, int32(p), pt.from, first, next); err != nil {
			return err
		}
		open := t.producer.Acked(l.d.Name, int32(p)) - 1
		if pt.tail, err = readTail(ctx, t.cfg.Sink, l.d.Name, int32(p), pt.from, open, room); err != nil {
			return err
		}
		if pt.tail.highest >= t.number.Load() {
			return fault.New(fault.Conflict, "read tail", "partition %d of dataset %s was opened by term %d: %w", p, l.d.Name, pt.tail.highest, errTaken)
		}
		pt.number = pt.tail.number
	}
	return nil
}
