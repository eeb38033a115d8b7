package canal

import (
	"context"
	"maps"
	"slices"

	"strata/fault"
)

// check asks control whether this term is still the highest.
func (t *term) check(ctx context.Context) error {
	mine := t.number.Load()
	if mine == 0 {
		return nil
	}
	state, err := t.cfg.Control.Load(ctx)
	if err != nil {
		return err
	}
	if state.Term != mine {
		return fault.New(fault.Conflict, "lead term", "%d: control has term %d of %s: %w", mine, state.Term, state.Leader, errTaken)
	}
	t.heard.Store(t.cfg.Now().UnixNano())
	return nil
}

// awake asks control before something is sent, where it was not heard of for a while: we were suspended, or control is slow,
// and another leader may have taken over meanwhile.
func (t *term) awake(ctx context.Context) error {
	if away := t.cfg.Now().UnixNano() - t.heard.Load(); away >= 0 && away <= int64(pauseLimit) {
		return nil
	}
	return t.check(ctx)
}

// checkpoint saves the position, if it may be saved now.
func (t *term) checkpoint(ctx context.Context) error {
	if !t.settled() {
		return nil // a later reader of the tail must find what is still unmatched, under this checkpoint's old offset
	}
	if err := t.cfg.At("canal.ack.before"); err != nil {
		return err
	}
	if err := t.producer.Flush(ctx); err != nil {
		return err
	}
	if err := t.cfg.At("canal.ack.after"); err != nil {
		return err
	}
	c := t.snapshot()
	if err := t.cfg.At("canal.checkpoint.before"); err != nil {
		return err
	}
	ok, err := t.cfg.Control.Save(ctx, c.Term, c)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Conflict, "save checkpoint", "term %d: %w", c.Term, errTaken)
	}
	for _, l := range t.lanes {
		for p := range l.parts {
			l.parts[p].from = c.Parts[l.d.Name][p]
		}
	}
	t.saved, t.dirty, t.hurry = t.cfg.Now(), false, false
	t.heard.Store(t.saved.UnixNano())
	t.l.note(func(s *Stats) {
		s.Checkpoint, s.Stopped, s.Lowered = t.saved, maps.Clone(c.Stopped), maps.Clone(c.Lowered)
	})
	if err := t.cfg.At("canal.checkpoint.after"); err != nil || t.office == nil {
		return err
	}
	return t.office.saved(ctx, c)
}

// snapshot is the checkpoint of this moment; everything sent is acknowledged.
func (t *term) snapshot() *Checkpoint {
	c := &Checkpoint{Term: t.number.Load(), Seq: t.seq, Rows: t.rows, Position: t.pos, XATime: t.xaTime, Parts: map[string][]PartPosition{},
		Keys: map[string][]string{}, Stopped: map[string]Stopped{}, Lowered: map[string]Lowered{}}
	for _, l := range t.lanes {
		at := make([]PartPosition, len(l.parts))
		for p := range l.parts {
			at[p] = l.parts[p].from
			if l.stopped == nil {
				at[p] = PartPosition{Offset: t.producer.Acked(l.d.Name, int32(p)), Number: l.parts[p].number, Term: c.Term}
			}
		}
		c.Parts[l.d.Name] = at
		if l.stopped != nil {
			c.Stopped[l.d.Name] = *l.stopped
		} else {
			l.key = l.d.Key
		}
		if l.key != nil {
			c.Keys[l.d.Name] = l.key
		}
		if low := t.care[l].lowered; low != nil {
			c.Lowered[l.d.Name] = Lowered{Mark: low.Mark, Tasks: slices.Clone(low.Tasks)}
		}
	}
	if t.office != nil {
		c.Doubt = t.office.recent()
	}
	return c
}

// settled reports whether nothing of any tail is unmatched: what is in the topics is what the stream has passed.
func (t *term) settled() bool {
	for _, l := range t.live() {
		for p := range l.parts {
			if l.parts[p].tail.left > 0 {
				return false
			}
		}
	}
	return true
}
