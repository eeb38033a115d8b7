package canal

import (
	"context"
	"errors"
	"slices"

	"strata/fault"
)

// adopt takes the server as it is, where a person has ordered that: none of the places that are remembered is in its
// history. What was sent is kept; what the server lacks of it, or has otherwise, is mended by backfills.
func (o *office) adopt(ctx context.Context, cause error) error {
	list, err := o.cfg.Desk.Tasks(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(t Task) bool { return t.Kind == Adopt && t.Wish == Run })
	if i < 0 {
		return fault.New(fault.Proof, "fail over", "no place that is remembered is in the server's history: %w", cause).WithHint(historyHint)
	}
	task := list[i]
	task.State = Running // from now on it is done, or done again by a successor
	if _, ok, err := o.cfg.Desk.Advance(ctx, o.t.number.Load(), task); err != nil || !ok {
		return errors.Join(err, o.t.check(ctx))
	}
	if err := o.cfg.At("canal.adopt.after"); err != nil {
		return err
	}
	err = o.startOver(ctx, cause, "strata canal backfill %s --why … sends what the tables have, and what they have no longer")
	if err != nil {
		return err
	}
	o.close(o.newJob(task, nil), Done, nil)
	return o.t.checkpoint(ctx)
}

// purged gives up the place, which no server's binlog has any more. It is this server's history, so nothing that was sent is
// wrong; but what came since is unknown.
func (o *office) purged(ctx context.Context, cause error) error {
	err := o.startOver(ctx, cause, "raise binlog_expire_logs_seconds; strata canal backfill %s --why … sends what the tables have, and what they have no longer")
	if err != nil {
		return err
	}
	return o.t.checkpoint(ctx)
}

// startOver stops every dataset until a person has it backfilled, and has the stream go on where the server is. Nothing was
// sent beyond the place that is stored for each dataset; the caller makes a checkpoint, for a successor must know that they
// stopped.
func (o *office) startOver(ctx context.Context, cause error, hint string) error {
	t := o.t
	at, err := o.askPresent(ctx, nil)
	if err != nil {
		return err
	}
	if at == "" {
		return fault.New(fault.Proof, "start over", "no table says where the server is: %w", cause).WithHint(historyHint)
	}
	o.abandon()
	for _, l := range t.live() {
		t.stop(l, fault.New(fault.Unsafe, "read binlog", "%w", cause).WithHint(hint, l.d.Name))
		t.care[l].fills = nil
	}
	t.pos, t.since, t.torn = Position{GTID: at}, at, false
	return nil
}

// abandon ends what is under way beside the stream, which goes on at another place.
func (o *office) abandon() {
	for _, j := range o.jobs { // they start again from what is stored
		o.halt(j)
		delete(o.jobs, j.task.ID)
	}
	for _, r := range o.reads {
		o.postpone(r)
	}
	o.reads, o.beats, o.orphans = nil, nil, false
	o.past++
	clear(o.parts)
}
