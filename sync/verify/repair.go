package verify

import (
	"context"
	"slices"
	"time"

	"strata/canal"
	"strata/fault"
)

// Between two looks at keys that are being repaired: a leader takes keys within half a second, and each look commits a
// heartbeat.
const (
	firstLook = 200 * time.Millisecond
	lastLook  = 2 * time.Second
)

// repair gives the keys of differences to the leader and looks again until they are equal, or until none became equal for
// cfg.Patience. Where that was so once, nobody repairs: later keys are queued all the same, and not waited for.
func (l *looker) repair(ctx context.Context, list []*diff) error {
	if len(list) == 0 {
		return nil
	}
	v := l.v
	queued := v.cfg.Queue != nil
	if v.keeper != nil {
		if err := v.keeper.found(ctx, list, queued); err != nil {
			return err
		}
	}
	if !queued {
		return nil
	}
	keys := make([]canal.RepairKey, len(list))
	for i, x := range list {
		keys[i] = canal.RepairKey{Dataset: x.Dataset, Shard: x.Shard, Key: x.key, Why: "verifier: " + x.What}
	}
	if err := v.at("verify.enqueue"); err != nil {
		return err
	}
	if err := v.cfg.Queue(ctx, keys); err != nil {
		return &bookError{err}
	}
	if err := v.at("verify.enqueued"); err != nil {
		return err
	}
	if err := l.await(ctx, list); err != nil {
		return err
	}
	if v.keeper != nil {
		return v.keeper.settled(ctx, list)
	}
	return nil
}

// await looks at queued keys until they are equal.
func (l *looker) await(ctx context.Context, list []*diff) error {
	left := slices.Clone(list)
	moved, pause := l.v.cfg.Now(), firstLook
	for len(left) > 0 && !l.v.deaf {
		if l.v.cfg.Now().Sub(moved) > l.v.cfg.Patience {
			l.v.deaf = len(left) == len(list) && !slices.ContainsFunc(left, func(x *diff) bool { return x.resent })
			break
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fault.Wrap(fault.KindOf(ctx.Err()), "wait for repairs", ctx.Err())
		}
		n := len(left)
		var err error
		if left, err = l.again(ctx, left); err != nil {
			return err
		}
		if pause = min(2*pause, lastLook); len(left) < n {
			moved = l.v.cfg.Now()
		}
	}
	for _, x := range left {
		if x.resent {
			x.Hint = "the leader sent it anew, and it differs still: it was read on the captured replica, which has another row than its owner, because " +
				"live was away or the replica too far behind it; the next pass tries again. Was the row changed with sql_log_bin=0? mend the replica"
			continue
		}
		x.Hint = "its repair is queued, and was not seen within " + l.v.cfg.Patience.String() + ": `strata canal status` shows who leads and what waits"
	}
	return nil
}

// again looks at differences once more, marks as repaired those that are equal, and returns the others.
func (l *looker) again(ctx context.Context, list []*diff) ([]*diff, error) {
	looks := make([]look, len(list))
	for i, x := range list {
		looks[i].key = x.key
		if err := l.read(ctx, &looks[i]); err != nil {
			return nil, err
		}
	}
	if err := l.v.present(ctx); err != nil {
		return nil, err
	}
	left := list[:0:0]
	for from := 0; from < len(looks); from += lookupRows {
		to := min(from+lookupRows, len(looks))
		docs, err := l.documents(ctx, looks[from:to])
		if err != nil {
			return nil, err
		}
		for i := from; i < to; i++ {
			x, p := list[i], &looks[i]
			doc := docs[p.key]
			if doc != nil {
				x.resent = doc.Version > x.version
			}
			if doc != nil && doc.Deleted {
				doc = nil
			}
			if x.look = *p; !l.v.agree(p, doc) {
				x.keep(doc)
				left = append(left, x)
				continue
			}
			x.keep(doc)
			x.State = Repaired
		}
	}
	return left, nil
}

// at is asked at a crash point.
func (v *verifier) at(point string) error {
	if err := v.cfg.At(point); err != nil {
		return &crash{err}
	}
	return nil
}

// crash is an error of a crash point: it ends everything, as the process's death would.
type crash struct{ err error }

func (c *crash) Error() string { return c.err.Error() }
func (c *crash) Unwrap() error { return c.err }

// bookError is an error of the control database, which is no dataset's.
type bookError struct{ err error }

func (e *bookError) Error() string { return e.err.Error() }
func (e *bookError) Unwrap() error { return e.err }
