package canal

import (
	"context"

	"strata/fault"
)

// purged gives up the place, which no server's binlog has any more. It is this server's history, so nothing that was sent is
// wrong; but what came since is unknown. Every dataset stops there until a person has it backfilled, and the stream goes on
// where the server is.
func (o *office) purged(ctx context.Context, cause error) error {
	t := o.t
	at, err := o.askPresent(ctx, nil)
	if err != nil {
		return err
	}
	if at == "" {
		return fault.New(fault.Proof, "go on without what was purged", "no table says where the server is: %w", cause).WithHint(historyHint)
	}
	o.abandon()
	for _, l := range t.live() {
		t.stop(l, fault.New(fault.Unsafe, "read binlog", "%w", cause).
			WithHint("raise binlog_expire_logs_seconds; strata canal backfill %s sends what the tables have, and what they have no longer", l.d.Name))
		t.care[l].fills = nil
	}
	t.pos, t.since, t.torn = Position{GTID: at}, at, false
	// Nothing was sent beyond the place that is stored for each dataset; a successor must know that they stopped.
	return t.checkpoint(ctx)
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
