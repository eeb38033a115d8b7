package mysql

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/core"
	"strata/fault"
)

// again is why an attempt has to be made again.
type again string

// Error is the reason.
func (a again) Error() string { return string(a) }

const (
	// errWrongGuess: the guessed answers are not what was found under lock.
	errWrongGuess again = "the guess was wrong"
	// errRaced: a row was there that was absent when it was read under lock.
	errRaced again = "another process made the same row"
	// errWanted: more has to be locked; the batch knows what.
	errWanted again = "more of an account has to be read"
)

// missingShard is a table that has to be made before the batch can be done.
type missingShard struct {
	of    *catalog.Dataset
	table string
}

func (e *missingShard) Error() string { return "table " + e.table + " is missing" }

// attempt does the batch in one transaction, as doc.go says. guess is what the accounts may be, or nil.
func (n *lane) attempt(ctx context.Context, b *batch, guess *found) error {
	x, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer n.end()
	if err := n.l.at("core.before_ids"); err != nil {
		return err
	}
	fresh, err := n.claim(ctx, x, b, guess != nil)
	if err != nil {
		return err
	}
	if err := n.l.at("core.after_ids"); err != nil {
		return err
	}
	if len(fresh) == 0 { // nothing was written: an end without a commit keeps nothing back
		settle(b)
		return nil
	}
	f := guess
	if guess != nil {
		err = n.verify(ctx, x, guess)
	} else {
		f, err = n.l.lock(ctx, x, fresh, b)
	}
	if err != nil {
		return err
	}
	if guess == nil {
		f.apply(b)
		if err := b.wants(f); err != nil {
			return err
		}
	}
	settle(b)
	if err := n.write(ctx, x, b, f, guess == nil); err != nil {
		return err
	}
	if err := n.l.at("core.before_commit"); err != nil {
		return err
	}
	if err := x.commit(ctx); err != nil {
		return err
	}
	n.l.known.keep(f)
	n.l.stats.merged.Add(int64(len(f.moded.merged)))
	return n.l.at("core.after_commit")
}

// lockWaitSeconds is how long a lane waits for a row that somebody else has locked before the batch is done again: the
// server's 50 s would be what one idle transaction of an operator costs everybody behind the lane.
const lockWaitSeconds = 3

// begin gives the lane's transaction. Its sessions don't commit by themselves: a transaction begins with its first
// statement, which spares a round trip.
func (n *lane) begin(ctx context.Context) (*tx, error) {
	if n.x == nil {
		x, err := connect(ctx, n.l.cfg.DB, "SET SESSION autocommit=0, innodb_lock_wait_timeout="+strconv.Itoa(lockWaitSeconds))
		if err != nil {
			return nil, err
		}
		x.kept = true
		n.x = x
	}
	n.x.open = true
	return n.x, nil
}

// end rolls back what was not committed.
func (n *lane) end() {
	if n.x.end(); !n.x.kept {
		n.x = nil
	}
}

// claim inserts the ids and gives those that were there their answer. With a guess, ids are inserted with the answers that
// the items have already, and all must be new.
func (n *lane) claim(ctx context.Context, x *tx, b *batch, guessed bool) ([]*item, error) {
	ids := make([]*item, 0, len(b.items))
	for _, it := range b.items {
		switch {
		case !it.t.Nameable():
			it.answer = *it.t.Refusal()
		case it.same == nil:
			ids = append(ids, it)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	byID := slices.Clone(ids)
	slices.SortFunc(byID, func(a, b *item) int { return strings.Compare(a.t.ID, b.t.ID) })
	now := timeText(b.now)
	count, err := x.insert(ctx, "insert transfer ids", "INSERT IGNORE INTO transfer_id (id, body_hash, outcome, answer, order_time, posted_at) VALUES ", "",
		len(byID), func(q *text, i int) { q.answer(byID[i], now, guessed) })
	if err != nil {
		return nil, err
	}
	for _, it := range ids {
		it.fresh = true
	}
	if count == int64(len(ids)) {
		return ids, nil
	}
	if guessed {
		return nil, errWrongGuess
	}
	if err := recall(ctx, x, byID); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ids, func(it *item) bool { return !it.fresh }), nil
}

// recall reads the ids locked and answers those that were there before: only they have an answer.
func recall(ctx context.Context, x *tx, byID []*item) error {
	at := make(map[string]*item, len(byID))
	for _, it := range byID {
		at[it.t.ID] = it
	}
	const op = "read remembered answers"
	return in(ctx, x, op, "SELECT id, body_hash, outcome, answer FROM transfer_id WHERE answer <> '' AND id IN (", ") LOCK IN SHARE MODE", byID,
		func(q *text, it *item) { q.str(it.t.ID) },
		func(cells row) (err error) {
			it := at[cells.str(0)]
			if it == nil {
				return fault.New(fault.Internal, op, "id %q was not asked for", cells.str(0))
			}
			it.fresh = false
			if it.kept, err = core.ParseAnswer(cells.str(2), bytes.Clone(cells.raw(3))); err != nil {
				return err
			}
			copy(it.keptBody[:], cells.raw(1))
			it.answer = it.remembered(it.body)
			if it.answer.Outcome == core.Replayed && it.sent.Outcome == core.Applied && slices.EqualFunc(it.answer.Balances, it.sent.Balances, core.SameBalance) {
				it.answer.Outcome = core.Applied // by the commit whose answer was lost
			}
			return nil
		})
}

// remembered is what a transfer with this id and the body gets: the id is known, from before or by this batch.
func (it *item) remembered(body [32]byte) core.Answer {
	if body != it.keptBody {
		return core.ConflictAnswer()
	}
	return it.kept.Again()
}

// settle answers the items that repeat an id of their own batch.
func settle(b *batch) {
	for _, it := range b.items {
		if it.same == nil && it.fresh {
			it.kept, it.keptBody = it.answer, it.body
		}
	}
	for _, it := range b.items {
		if it.same != nil {
			it.answer = it.same.remembered(it.body)
		}
	}
}
