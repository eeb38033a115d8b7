package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strata/core"
)

const (
	mergeRows     = 2_000 // of one merge: about 30 ms of locks
	mergeAccounts = 200   // of one merge
)

// Merge turns everything that is in the buffers of these accounts now into entries. What it could not merge stays, with an
// error.
func (l *Ledger) Merge(ctx context.Context, accounts []int64) error {
	var errs []error
	for _, id := range slices.Compact(slices.Sorted(slices.Values(accounts))) {
		for {
			n, err := l.mergeSome(ctx, []int64{id}, mergeRows)
			if err != nil {
				errs = append(errs, fmt.Errorf("merge buffer of account %d: %w", id, err))
			}
			if err != nil || n < mergeRows {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// MergeAll turns up to limit rows, of whatever accounts, into entries, and says how many. One account's trouble does not
// keep the others waiting.
func (l *Ledger) MergeAll(ctx context.Context, limit int) (int, error) {
	done := 0
	for done < limit {
		n, err := l.mergeSome(ctx, nil, min(limit-done, mergeRows))
		if err != nil {
			var crash *crashError
			if retryable(err) || errors.As(err, &crash) {
				return done, err
			}
			ids, e := l.waiting(ctx)
			return done, errors.Join(e, l.Merge(ctx, ids))
		}
		if done += n; n == 0 {
			break
		}
	}
	return done, nil
}

// waiting are accounts whose buffers are not empty.
func (l *Ledger) waiting(ctx context.Context) (ids []int64, err error) {
	err = l.read(ctx, func(x *tx) error {
		return x.each(ctx, "find buffers", fmt.Sprintf("SELECT DISTINCT account_id FROM buffer ORDER BY account_id LIMIT %d", maxList), func(cells row) error {
			ids = append(ids, cells.num(0))
			return nil
		})
	})
	return ids, err
}

// mergeSome merges up to limit rows of some accounts in one transaction; nil: of those whose rows are the oldest.
func (l *Ledger) mergeSome(ctx context.Context, ids []int64, limit int) (n int, err error) {
	if ids == nil {
		query := fmt.Sprintf("SELECT DISTINCT account_id FROM (SELECT account_id FROM buffer ORDER BY id LIMIT %d) b ORDER BY account_id LIMIT %d", limit, mergeAccounts)
		err = l.read(ctx, func(x *tx) error {
			return x.each(ctx, "find buffers", query, func(cells row) error { ids = append(ids, cells.num(0)); return nil })
		})
	} else {
		err = l.read(ctx, func(x *tx) error { // most have none: without a lock
			return x.each(ctx, "find buffers", fmt.Sprintf("SELECT 1 FROM buffer WHERE account_id=%d LIMIT 1", ids[0]), func(row) error { n++; return nil })
		})
		if n == 0 {
			return 0, err
		}
	}
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	err = l.changeOf(ctx, "merge", func(x *tx) (err error) {
		n, err = l.merge(ctx, x, ids, limit)
		return err
	})
	if err == nil {
		l.stats.merged.Add(int64(n))
	}
	return n, err
}

// merge is one merge: accounts, funds, rows, in this order of locks; then entries, deletes, balances, funds.
func (l *Ledger) merge(ctx context.Context, x *tx, ids []int64, limit int) (int, error) {
	f := newFound(core.Batch{Now: core.Micros(l.cfg.Now())})
	if err := lockAccounts(ctx, x, f, ids); err != nil {
		return 0, err
	}
	if err := lockFunds(ctx, x, f, ids); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if f.Accounts[id] == nil || limit == len(f.moded.merged) {
			continue
		}
		rows, err := lockBuffer(ctx, x, id, limit-len(f.moded.merged))
		if err != nil {
			return 0, err
		}
		if err := f.merge(id, rows); err != nil {
			return 0, err
		}
	}
	merged := f.moded.merged
	if len(merged) == 0 {
		return 0, nil
	}
	if err := checkFrozen(ctx, x, merged); err != nil {
		return 0, err
	}
	if err := l.writeMerged(ctx, x, merged); err != nil {
		return 0, err
	}
	if err := writeBalances(ctx, x, f); err != nil {
		return 0, err
	}
	return len(merged), writeFunds(ctx, x, f)
}

// BufferLag is how many credits wait in buffers, and since when the oldest does; zero where none waits.
func (l *Ledger) BufferLag(ctx context.Context) (rows int64, oldest time.Time, err error) {
	err = l.read(ctx, func(x *tx) error {
		return x.each(ctx, "read buffers", "SELECT COUNT(*), MIN(posted_at) FROM buffer", func(cells row) (err error) {
			rows = cells.num(0)
			oldest, err = cells.time(1)
			return err
		})
	})
	return rows, oldest, err
}

// keepMerging merges from time to time. The database being away is no end.
func (l *Ledger) keepMerging(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.MergeEvery)
	defer tick.Stop()
	for troubled := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := l.mergeTurn(context.WithoutCancel(ctx))
		var crash *crashError
		if errors.As(err, &crash) {
			return crash.err
		}
		if err != nil && !troubled {
			l.cfg.Log.Warn("buffers are not merged", "err", err)
		}
		troubled = err != nil
	}
}

// turnRows bounds a turn, so that a stop does not wait long.
const turnRows = 10 * mergeRows

func (l *Ledger) mergeTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, batchLimit)
	defer cancel()
	rows, oldest, err := l.BufferLag(ctx)
	if err != nil {
		return err
	}
	if rows > 0 {
		if _, err := l.MergeAll(ctx, turnRows); err != nil {
			return err
		}
		if rows, oldest, err = l.BufferLag(ctx); err != nil {
			return err
		}
	}
	l.stats.buffered.Store(rows)
	l.stats.bufferedSince.Store(0)
	if rows > 0 {
		l.stats.bufferedSince.Store(oldest.UnixMicro())
	}
	return nil
}
