package canal

import (
	"context"
	"slices"

	"strata/catalog"
)

// maxDoubt bounds the rows of a checkpoint that may have to be read again after a crash of the server: far more than its
// sessions can be committing at one time.
const maxDoubt = 5000

// doubtBeats heartbeats after an XA COMMIT it is done, if the server is still up.
const doubtBeats = 10

// A MariaDB that goes down between writing an XA COMMIT or ROLLBACK to its binlog and doing it finds that transaction prepared
// again, and whoever recovers it may decide otherwise: seen with 10 of 13,645 under kill -9. So the rows of XA transactions
// that ended shortly before a start of the server are read from it once more. A row that is still held waits in the queue
// until somebody has decided.

// doubt queues the rows of XA transactions that ended lately, once the server was started; where the desk is away, before one of the
// next transactions.
func (o *office) doubt(ctx context.Context, x *Txn) error {
	o.started = o.started || x.Started
	if !o.started {
		return nil
	}
	keys := slices.Concat(o.t.doubt, o.inDoubt(catalog.MinInstant, 0))
	for i := range keys {
		keys[i].Why = "the server was started again shortly after an XA transaction with this row had ended"
	}
	if len(keys) > 0 {
		if err := o.t.cfg.Desk.Enqueue(ctx, keys); err != nil {
			return o.away(err)
		}
	}
	o.t.doubt, o.started = nil, false
	return nil
}

// inDoubt lists the rows that XA COMMITs changed since a time by the heartbeats, up to limit; 0: all that is known.
func (o *office) inDoubt(since catalog.Instant, limit int) []RepairKey {
	var keys []RepairKey
	for l, c := range o.t.care {
		for name, touch := range c.xa {
			if touch.at < since {
				continue
			}
			if keys = append(keys, RepairKey{Dataset: l.d.Name, Shard: name.shard, Key: name.key}); len(keys) == limit {
				return keys
			}
		}
	}
	return keys
}

// recent are the rows that a checkpoint keeps in doubt: those of XA COMMITs after the doubtBeats-th heartbeat before now.
func (o *office) recent() []RepairKey {
	since := catalog.MinInstant
	if n := len(o.beats); n > doubtBeats {
		since = o.beats[n-1-doubtBeats].At
		if !o.started {
			o.t.doubt = nil
		}
	}
	keys := o.inDoubt(since, maxDoubt)
	return append(keys, o.t.doubt[:min(len(o.t.doubt), maxDoubt-len(keys))]...)
}
