package mysql

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
)

// errWrongGuess ends an attempt whose guessed answers are not what was found under lock.
var errWrongGuess = errors.New("the guess was wrong")

// missingShard is a table that has to be made before the batch can be done.
type missingShard struct {
	of    *catalog.Dataset
	table string
}

func (e *missingShard) Error() string { return "table " + e.table + " is missing" }

// found is what an attempt read under lock and made of it.
type found struct {
	day     time.Time
	fresh   []*item
	book    core.Book
	order   []int64 // the book's accounts, ascending
	entries []core.Entry
}

// attempt does the batch in one transaction, as doc.go says. guess is what the accounts may be, or nil.
func (l *Ledger) attempt(ctx context.Context, b *batch, guess *found) error {
	x, err := begin(ctx, l.cfg.DB)
	if err != nil {
		return err
	}
	defer x.end()
	if err := l.at("core.before_ids"); err != nil {
		return err
	}
	fresh, err := l.claim(ctx, x, b, guess != nil)
	if err != nil {
		return err
	}
	if err := l.at("core.after_ids"); err != nil {
		return err
	}
	if len(fresh) == 0 { // nothing was written: an end without a commit keeps nothing back
		settle(b)
		return nil
	}
	f := &found{fresh: fresh}
	if err := l.lock(ctx, x, f); err != nil {
		return err
	}
	if guess != nil && !l.lane.agrees(f) {
		return errWrongGuess
	}
	if guess != nil {
		guess.day = f.day
		f = guess // the same states give the same answers, entries and balances
	} else {
		l.apply(f, b.now)
	}
	settle(b)
	if err := l.write(ctx, x, b, f, guess == nil); err != nil {
		return err
	}
	if err := l.at("core.before_commit"); err != nil {
		return err
	}
	if err := x.commit(ctx); err != nil {
		return err
	}
	l.lane.remember(f)
	return l.at("core.after_commit")
}

// claim inserts the ids and gives those that were there their answer. With a guess, ids are inserted with the answers that
// the items have already, and all must be new.
func (l *Ledger) claim(ctx context.Context, x *tx, b *batch, guessed bool) ([]*item, error) {
	ids := make([]*item, 0, len(b.items))
	for _, it := range b.items {
		switch {
		case !it.t.Nameable():
			it.answer = core.Refuse(it.t.Validate())
		case it.same == nil:
			ids = append(ids, it)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	byID := slices.SortedFunc(slices.Values(ids), func(a, b *item) int { return strings.Compare(a.t.ID, b.t.ID) })
	q := &l.lane.text
	q.start("INSERT IGNORE INTO transfer_id (id, body_hash, outcome, answer, order_time, posted_at) VALUES ")
	now := timeText(b.now)
	for _, it := range byID {
		q.answer(it, now, guessed)
	}
	n, err := x.exec(ctx, "insert transfer ids", q.String())
	if err != nil {
		return nil, err
	}
	for _, it := range ids {
		it.fresh = true
	}
	if n == int64(len(ids)) {
		return ids, nil
	}
	if guessed {
		return nil, errWrongGuess
	}
	if err := l.recall(ctx, x, byID); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ids, func(it *item) bool { return !it.fresh }), nil
}

// recall reads the ids locked and answers those that were there before: only they have an answer.
func (l *Ledger) recall(ctx context.Context, x *tx, byID []*item) error {
	q := &l.lane.text
	q.start("SELECT id, body_hash, outcome, answer FROM transfer_id WHERE answer <> '' AND id IN (")
	for _, it := range byID {
		q.str(it.t.ID)
	}
	q.raw(") LOCK IN SHARE MODE")
	at := make(map[string]*item, len(byID))
	for _, it := range byID {
		at[it.t.ID] = it
	}
	const op = "read remembered answers"
	rows, err := x.query(ctx, op, q.String())
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, outcome string
		var body, answer []byte
		if err := rows.Scan(&id, &body, &outcome, &answer); err != nil {
			return db.Classify(op, err)
		}
		it := at[id]
		if it == nil {
			return fault.New(fault.Internal, op, "id %q was not asked for", id)
		}
		it.fresh = false
		if it.kept, err = core.ParseAnswer(outcome, answer); err != nil {
			return err
		}
		copy(it.keptBody[:], body)
		it.answer = it.remembered(it.body)
		if it.answer.Outcome == core.Replayed && it.sent.Outcome == core.Applied && slices.EqualFunc(it.answer.Balances, it.sent.Balances, core.SameBalance) {
			it.answer.Outcome = core.Applied // by the commit whose answer was lost
		}
	}
	return db.Classify(op, rows.Err())
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

// wanted returns the accounts of the fresh items that may be applied, ascending.
func wanted(fresh []*item) []int64 {
	var ids []int64
	for _, it := range fresh {
		if len(it.t.Legs) > core.MaxLegs {
			continue // refused whatever the accounts are
		}
		for _, leg := range it.t.Legs {
			ids = append(ids, leg.Account)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// lock reads the day and the accounts under lock.
func (l *Ledger) lock(ctx context.Context, x *tx, f *found) error {
	var err error
	if f.day, err = lockDay(ctx, x); err != nil {
		return err
	}
	f.order, f.book = wanted(f.fresh), core.Book{}
	for chunk := range slices.Chunk(f.order, accountChunk) {
		if err := l.lockAccounts(ctx, x, chunk, f.book); err != nil {
			return err
		}
	}
	return nil
}

// accountChunk keeps IN lists below the 1000 from which MariaDB makes a join of them, with a lock order of its own.
const accountChunk = 500

func (l *Ledger) lockAccounts(ctx context.Context, x *tx, ids []int64, book core.Book) error {
	q := &l.lane.text
	q.start("SELECT id, unit, min_balance, balance, entries FROM account FORCE INDEX (PRIMARY) WHERE id IN (")
	for _, id := range ids {
		q.num(id)
	}
	q.raw(") ORDER BY id FOR UPDATE")
	const op = "lock accounts"
	rows, err := x.query(ctx, op, q.String())
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		a := &core.Account{}
		if err := rows.Scan(&a.ID, &a.Unit, &a.MinBalance, &a.Balance, &a.Entries); err != nil {
			return db.Classify(op, err)
		}
		book[a.ID] = a
	}
	return db.Classify(op, rows.Err())
}

// apply answers the fresh items in their order and leaves the new balances in the book.
func (l *Ledger) apply(f *found, now time.Time) {
	f.entries = make([]core.Entry, 0, 3*len(f.fresh))
	for _, it := range f.fresh {
		code, why := it.t.Validate()
		if code == "" {
			code, why = core.CheckTime(it.order, now, l.cfg.Horizon)
		}
		if code != "" {
			it.answer = core.Refuse(code, why)
			continue
		}
		it.answer, f.entries = f.book.Apply(it.t, f.entries)
	}
}
