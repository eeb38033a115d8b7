package canal

import (
	"context"
	"errors"
	"strings"
	"time"

	"strata/fault"
)

const (
	maxBatch    = 1000 // records handed to the producer at once: enough to make a call cheap
	reopenFirst = 250 * time.Millisecond
	reopenLast  = 10 * time.Second
)

// stream handles transactions until ctx ends or the term does. A source that is away is opened again.
func (t *term) stream(ctx context.Context) error {
	pause := reopenFirst
	t.saved = t.cfg.Now()
	for {
		before := t.pos.GTID
		err := t.follow(ctx)
		if !fault.Is(err, fault.Unavailable) || errors.Is(err, errSink) {
			return err
		}
		if t.pos.GTID != before {
			pause = reopenFirst
		}
		t.cfg.Log.Info("source is away, opening it again", "pipeline", t.cfg.Name, "pos", t.pos.GTID, "err", err)
		t.l.note(func(s *Stats) { s.Reopened++ })
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, reopenLast)
		}
	}
}

// errSink marks an error of the producer or of control, so that it is never taken for one of the source.
var errSink = errors.New("the term can't go on")

type sinkError struct{ err error }

func (e sinkError) Error() string   { return e.err.Error() }
func (e sinkError) Unwrap() []error { return []error{e.err, errSink} }
func ofSink(err error) error {
	if err == nil {
		return nil
	}
	return sinkError{err}
}

// follow opens the source at the position and handles what comes.
func (t *term) follow(ctx context.Context) error {
	s, err := t.cfg.Source.Open(ctx, t.pos)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // nothing is written through it
	last := t.pos.Last
	for {
		x, err := t.next(ctx, s)
		if err != nil {
			return err
		}
		if x != nil && last.GTID != "" {
			known, err := t.recognise(x, &last)
			if err != nil {
				return err
			}
			if known {
				continue
			}
		}
		if x != nil {
			if err := t.handle(ctx, x); err != nil {
				return ofSink(err)
			}
		}
		if t.dirty && t.cfg.Now().Sub(t.saved) >= t.cfg.CheckpointEvery {
			if err := t.checkpoint(ctx); err != nil {
				return ofSink(err)
			}
		}
	}
}

// next waits for a transaction, but not longer than until the next checkpoint is due: then it returns nil.
func (t *term) next(ctx context.Context, s Stream) (*Txn, error) {
	if !t.dirty {
		return s.Next(ctx)
	}
	short, cancel := context.WithTimeout(ctx, t.cfg.CheckpointEvery)
	defer cancel()
	x, err := s.Next(short)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		t.saved = t.saved.Add(-t.cfg.CheckpointEvery) // due now
		return nil, nil
	}
	return x, err
}

// recognise looks for the last group handled, which a stream delivers again. It reports whether x is it; another group of
// its domain in its place, or another content, means another history.
func (t *term) recognise(x *Txn, last *Last) (bool, error) {
	if x.GTID != last.GTID {
		if domainOf(x.GTID) != domainOf(last.GTID) {
			return false, nil
		}
		return false, fault.New(fault.Proof, "compare history", "%s came where %s was read before", x.GTID, last.GTID).
			WithHint("the server was restored or is another one; this version can't fail over, so load its datasets anew")
	}
	if x.Position.Last.Digest != last.Digest {
		return false, fault.New(fault.Proof, "compare history", "%s has another content than when it was read before", x.GTID).
			WithHint("the server was restored or is another one; this version can't fail over, so load its datasets anew")
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
	if now := t.cfg.Now().UnixNano(); now-t.heard.Load() > int64(pauseLimit) {
		// We were suspended, or control is slow: another leader may have taken over meanwhile.
		if err := t.check(ctx); err != nil {
			return err
		}
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
	for _, a := range x.Alarms {
		t.cfg.Log.Warn("captured table was changed by a statement", "dataset", a.Dataset, "table", a.Table, "what", a.What, "pos", x.GTID)
		t.l.note(func(s *Stats) { s.Alarms[a.What]++; s.LastAlarm[a.Table] = a.What + " at " + x.GTID })
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
	t.l.note(func(s *Stats) {
		s.Txns++
		s.Seq, s.GTID, s.OpenXA = t.seq, t.pos.GTID, t.pos.XA
		if x.Beat != nil {
			s.Beat = *x.Beat
		}
	})
	if len(x.Poison) > 0 && len(t.live()) == 0 {
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
	value := jsonValue(Mark{GTID: x.Position.GTID, Heartbeat: x.Beat.Seq, At: x.Beat.At})
	for _, l := range t.live() {
		for p := range l.parts {
			pt := &l.parts[p]
			if pt.tail.takeMark(x.GTID) {
				continue
			}
			if err := pt.tail.whole(l.d.Name, int32(p), x.GTID); err != nil {
				t.stop(l, err)
				break
			}
			pt.number++
			t.queue(Record{Dataset: l.d.Name, Partition: int32(p), Value: value, Header: Header{Kind: KindMark, Number: pt.number, GTID: x.GTID}})
		}
	}
	if err := t.send(ctx); err != nil {
		return err
	}
	return t.cfg.At("canal.mark.after")
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
