package canal

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/fault"
)

const (
	maxBatch    = 1000 // records handed to the producer at once: enough to make a call cheap
	reopenFirst = 250 * time.Millisecond
	reopenLast  = 10 * time.Second
	awayLong    = time.Second // a source that is away is reported when pauses have grown beyond it
)

// stream handles transactions until ctx ends or the term does. A source that is away is opened again.
func (t *term) stream(ctx context.Context) (err error) {
	if t.office != nil {
		end := t.office.begin(ctx)
		defer end()
	}
	pause := reopenFirst
	t.saved = t.cfg.Now()
	for {
		before := t.pos.GTID
		err := t.follow(ctx)
		if other := errors.Is(err, ErrLost) || errors.Is(err, errHistory); other && !errors.Is(err, errSink) && t.office != nil {
			if err = t.failover(ctx, err); err == nil {
				continue
			}
		}
		if !fault.Is(err, fault.Unavailable) || errors.Is(err, errSink) {
			return err
		}
		if t.pos.GTID != before {
			pause = reopenFirst
		}
		t.cfg.Log.Info("source is away, opening it again", "pipeline", t.cfg.Name, "pos", t.pos.GTID, "err", err)
		t.l.note(func(s *Stats) { s.Reopened++ })
		if t.office != nil {
			tell := t.office.busy
			if pause > awayLong {
				tell = t.office.halted
			}
			if err := tell(ctx, err); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, reopenLast)
		}
	}
}

// errHistory is inside the error of a source whose history is not the one that was read before.
var errHistory = errors.New("the server has another history")

const historyHint = "the server was restored, its binlog was reset, or it is another one: give capture the right one; where this one is right, strata canal adopt"

// errSink marks an error of the producer or of control, so that it is never taken for one of the source.
var errSink = errors.New("the term can't go on")

type sinkError struct{ err error }

func (e sinkError) Error() string { return e.err.Error() }

func (e sinkError) Unwrap() []error { return []error{e.err, errSink} }

func ofSink(err error) error {
	if err == nil {
		return nil
	}
	return sinkError{err}
}

// delivery is what a pump got from its stream.
type delivery struct {
	x   *Txn
	err error
}

// pump waits for transactions beside the term's goroutine, one at a time: the next one is asked for when the last is done.
type pump struct {
	got  chan delivery
	done chan struct{}
}

func (p *pump) run(ctx context.Context, s Stream) {
	for {
		x, err := s.Next(ctx)
		p.got <- delivery{x, err} // there is room
		if err != nil {
			return
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return
		}
	}
}

// follow opens the source at the position and handles what comes.
func (t *term) follow(ctx context.Context) error {
	s, err := t.cfg.Source.Open(ctx, t.pos)
	if err != nil {
		return err
	}
	t.spill, _ = s.(spiller)
	defer func() { t.spill = nil }()
	t.l.note(func(st *Stats) { st.Source = t.endpoint() })
	inner, end := context.WithCancel(ctx)
	p := &pump{got: make(chan delivery, 1), done: make(chan struct{}, 1)}
	var g errgroup.Group
	g.Go(func() error {
		p.run(inner, s)
		return nil
	})
	err = t.consume(ctx, p)
	end()
	_ = g.Wait()
	_ = s.Close() // nothing is written through it
	return err
}

// spiller is a Stream that keeps parts of transactions on disk. Any goroutine may ask.
type spiller interface{ Spilled() int64 }

// spilled is how many bytes of the main stream are on disk.
func (t *term) spilled() int64 {
	if t.spill == nil {
		return 0
	}
	return t.spill.Spilled()
}

// sourceReader is a Source that reads one of several servers, and says which.
type sourceReader interface{ Reads() string }

// endpoint is the name of the server that the main stream reads.
func (t *term) endpoint() string {
	if s, ok := t.cfg.Source.(sourceReader); ok {
		return s.Reads()
	}
	return ""
}

// consume handles what the pump delivers, and between two transactions what there is to do beside the stream; nothing of
// that before the server has shown that its history is the one that was read.
func (t *term) consume(ctx context.Context, p *pump) error {
	every := time.NewTicker(max(t.cfg.CheckpointEvery, time.Millisecond))
	defer every.Stop()
	last := t.pos.Last
	turn := newTurn()
	defer turn.grace.Stop()
	for {
		turn.sure = last.GTID == ""
		if err := t.events(ctx, turn); err != nil {
			return ofSink(err)
		}
		d, what, err := t.turn(ctx, p, turn, every.C)
		if err != nil {
			return err
		}
		if what == arrived {
			if d.err != nil {
				return d.err
			}
			if err := t.received(ctx, d.x, &last); err != nil {
				return err
			}
			p.done <- struct{}{} // there is room
		}
		if t.dirty && (what == ticked || t.due()) {
			if err := t.checkpoint(ctx); err != nil {
				return ofSink(err)
			}
		} else if what == ticked && t.office != nil {
			if err := t.office.idle(ctx); err != nil {
				return ofSink(err)
			}
		}
	}
}

// received handles one transaction, unless it is the last one handled before, delivered again.
func (t *term) received(ctx context.Context, x *Txn, last *Last) error {
	if last.GTID != "" {
		known, err := t.recognise(x, last)
		if err != nil || known {
			return err
		}
	}
	return ofSink(t.handle(ctx, x))
}

// due reports whether a checkpoint should be made; a clock that was set back makes one too many, never one too few.
func (t *term) due() bool {
	since := t.cfg.Now().Sub(t.saved)
	return t.hurry || since < 0 || since >= t.cfg.CheckpointEvery
}

// recognise looks for the last group handled, which a stream delivers again. It reports whether x is it; another group of
// its domain in its place, or another content, means another history.
func (t *term) recognise(x *Txn, last *Last) (bool, error) {
	if x.GTID != last.GTID {
		if domainOf(x.GTID) != domainOf(last.GTID) {
			return false, nil
		}
		return false, fault.New(fault.Proof, "compare history", "%s came where %s was read before: %w", x.GTID, last.GTID, errHistory).
			WithHint(historyHint)
	}
	if x.Position.Last.Digest != last.Digest {
		return false, fault.New(fault.Proof, "compare history", "%s has another content than when it was read before: %w", x.GTID, errHistory).
			WithHint(historyHint)
	}
	last.GTID = ""
	return true, nil
}

// domainOf is the part of a GTID within which groups are ordered: MariaDB's domain; all of a MySQL server.
func domainOf(gtid string) string {
	if strings.Contains(gtid, ":") {
		return ""
	}
	domain, _, _ := strings.Cut(gtid, "-")
	return domain
}

// handle sends a transaction's records and moves the position behind it.
func (t *term) handle(ctx context.Context, x *Txn) error {
	if err := t.awake(ctx); err != nil {
		return err
	}
	t.torn = true
	if err := t.cfg.At("canal.send.before"); err != nil {
		return err
	}
	for _, p := range x.Poison {
		if l := t.byData[p.Dataset]; l != nil {
			t.stop(l, p.Err)
		}
	}
	for i := range x.Alarms {
		if err := t.alarm(ctx, x, &x.Alarms[i]); err != nil {
			return err
		}
	}
	if t.office != nil {
		if err := t.office.before(ctx, x); err != nil {
			return err
		}
	}
	if err := t.changes(ctx, x); err != nil {
		return err
	}
	if err := t.cfg.At("canal.send.after"); err != nil {
		return err
	}
	if x.Beat != nil {
		if err := t.mark(ctx, x); err != nil {
			return err
		}
	}
	t.pos, t.dirty, t.torn = x.Position, true, false
	if t.office != nil {
		if err := t.office.after(ctx, x); err != nil {
			return err
		}
	}
	t.l.note(func(s *Stats) {
		s.Txns++
		s.Seq, s.GTID, s.OpenXA, s.Spilled = t.seq, t.pos.GTID, t.pos.XA, t.spilled()
		if x.Beat != nil {
			s.Beat = *x.Beat
		}
	})
	if len(x.Poison) > 0 && len(t.live()) == 0 && t.office == nil {
		if err := t.checkpoint(ctx); err != nil {
			return err
		}
		return t.nothingLeft()
	}
	return nil
}

// mark sends the heartbeat to every partition.
func (t *term) mark(ctx context.Context, x *Txn) error {
	if err := t.cfg.At("canal.mark.before"); err != nil {
		return err
	}
	m := Mark{GTID: x.Position.GTID, Heartbeat: x.Beat.Seq, At: x.Beat.At}
	value := t.control(m)
	for _, l := range t.live() {
		c := t.care[l]
		if c.lowered != nil {
			for p := range l.parts {
				l.parts[p].tail.takeMark(x.GTID)
			}
			continue
		}
		c.mark = m
		for p := range l.parts {
			pt := &l.parts[p]
			if pt.tail.takeMark(x.GTID) {
				continue
			}
			if err := pt.tail.whole(l.d.Name, int32(p), x.GTID); err != nil {
				t.stop(l, err)
				break
			}
			t.queueMark(l, p, value, x.GTID)
		}
	}
	if err := t.send(ctx); err != nil {
		return err
	}
	return t.cfg.At("canal.mark.after")
}

func (t *term) queueMark(l *lane, p int, value []byte, gtid string) {
	pt := &l.parts[p]
	pt.number++
	t.queue(Record{Dataset: l.d.Name, Partition: int32(p), Value: value, Header: Header{Kind: KindMark, Number: pt.number, GTID: gtid}})
}

// queueResume says that a partition goes on from here; repaired: whatever was missing in it before is there by now.
func (t *term) queueResume(l *lane, p int, repaired bool) {
	n := l.parts[p].number
	value := t.control(Resume{GTID: t.pos.GTID, LastNumber: n, Repaired: repaired})
	t.queue(Record{Dataset: l.d.Name, Partition: int32(p), Value: value, Header: Header{Kind: KindResume, Number: n}})
}

// alarm notes what a statement did to a captured table, and has mended what it did to rows.
func (t *term) alarm(ctx context.Context, x *Txn, a *Alarm) error {
	t.cfg.Log.Warn("captured table was changed by a statement", "dataset", a.Dataset, "table", a.Table, "what", a.What, "pos", x.GTID)
	t.l.note(func(s *Stats) { s.Alarms[a.What]++; s.LastAlarm[a.Table] = a.What + " at " + x.GTID })
	if t.office == nil {
		return nil
	}
	return t.office.alarm(ctx, x, a)
}

// queue gives a record its version and puts it into the batch.
func (t *term) queue(r Record) {
	t.seq++
	r.Header.Term, r.Header.Seq = t.number.Load(), t.seq
	t.batch = append(t.batch, r)
}

// send hands the batch to the producer.
func (t *term) send(ctx context.Context) error {
	if t.seq > maxSeq {
		return fault.New(fault.Unsafe, "send records", "sequence numbers of term %d are used up", t.number.Load())
	}
	if len(t.batch) == 0 {
		return nil
	}
	if err := t.producer.Send(ctx, t.batch); err != nil {
		return err
	}
	t.l.note(func(s *Stats) { s.Records += uint64(len(t.batch)) })
	t.batch = t.batch[:0]
	return nil
}
