package intake

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"strata/core"
	"strata/fault"
)

// The codes of rejects that are not the ledger's.
const (
	accountConflict = "account_conflict"
	accountInvalid  = "account_invalid"
	notTaken        = "failed" // the database could not take it; another import may
)

// Result is what an import did.
type Result struct {
	Plan     Plan
	Skipped  int64 // items that a mark said were done
	Opened   int64 // accounts; those that were there already count, too
	Applied  int64
	Replayed int64 // booked by an earlier call
	Refused  int64 // by this call: also conflicts and what the database couldn't take
	// Mark is what all calls with this file did.
	Mark Mark
}

// Check is fault.Proof where anything of the file was refused, by this call or before a stop; nil: all of it is there.
func (r Result) Check() error {
	if r.Mark.Refused == 0 {
		return nil
	}
	return fault.New(fault.Proof, "import "+r.Plan.Kind.String(), "%d of %d were refused", r.Mark.Refused, r.Plan.Items).
		WithHint("the rejects say which and why; what is put right goes into a new file, transfers with new ids")
}

// run is one import.
type run struct {
	*Config
	key     string
	res     Result
	rejects rejects

	batch []item
	legs  int
	seen  int64     // items scanned
	at    time.Time // the latest order time so far: where the clock stands
	open  time.Time // the accounting date
}

// Import checks the file and posts what the marks don't have. Result.Check says whether all of it is there. Errors:
// fault.Invalid for the file or the configuration, and then nothing was posted; fault.Proof where the file changed
// meanwhile; else the ledger's: call again.
func Import(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.check(); err != nil {
		return Result{}, err
	}
	plan, err := cfg.look(ctx)
	if err != nil {
		return Result{Plan: plan}, err
	}
	r := &run{Config: &cfg, key: cfg.key(&plan), res: Result{Plan: plan, Mark: plan.Done}}
	err = r.all(ctx)
	return r.res, errors.Join(err, r.rejects.close())
}

func (r *run) all(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	t, err := r.scan(ctx, func(x *item) error { return r.take(ctx, x) })
	if err == nil {
		err = r.post(ctx)
	}
	if err != nil {
		return err
	}
	if t.content() != r.res.Plan.Content {
		return fault.New(fault.Proof, "import "+r.Name, "the file changed while it was imported").WithHint("import it again")
	}
	return r.cut(ctx, r.OpenDay)
}

// prepare makes the shards of the past.
func (r *run) prepare(ctx context.Context) error {
	p := &r.res.Plan
	if r.Clock == nil || r.Kind != Transfers || p.Items == 0 {
		return nil
	}
	from, to := core.Date(p.First), core.Date(p.Last).AddDate(0, 1, 0)
	return r.Days.EnsureShards(ctx, from, to)
}

// take puts an item into the batch, after the batch was posted where it is full or the item is of another day.
func (r *run) take(ctx context.Context, x *item) error {
	if r.seen++; r.seen <= r.res.Plan.Done.Items {
		r.res.Skipped++
		r.pass(x)
		return nil
	}
	full := len(r.batch) == batchSize || len(r.batch) > 0 && r.legs+len(x.transfer.Legs) > batchLegs
	newDay := r.Clock != nil && len(r.batch) > 0 && r.Kind == Transfers &&
		!core.Date(x.transfer.OrderTime).Equal(core.Date(r.batch[0].transfer.OrderTime))
	if full || newDay {
		if err := r.post(ctx); err != nil {
			return err
		}
	}
	r.batch = append(r.batch, *x)
	r.legs += len(x.transfer.Legs)
	r.pass(x)
	return nil
}

// pass moves the time to the item's, never back.
func (r *run) pass(x *item) {
	if x.transfer.OrderTime.After(r.at) {
		r.at = x.transfer.OrderTime
	}
}

// post posts the batch: the ledger, the rejects, the mark.
func (r *run) post(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	first := r.batch[0].line
	if err := r.turn(ctx); err != nil {
		return fmt.Errorf("import %s from line %d: %w", r.Name, first, err)
	}
	m := &r.res.Mark
	m.Items += int64(len(r.batch))
	if r.Marks != nil {
		if err := r.Marks.PutMark(ctx, r.key, *m); err != nil {
			return fmt.Errorf("mark %s from line %d: %w", r.Name, first, err)
		}
	}
	if err := r.Config.at("intake.after_mark"); err != nil {
		return err
	}
	r.batch, r.legs = r.batch[:0], 0
	if r.Progress != nil {
		r.Progress(m.Items, r.res.Plan.Items)
	}
	return nil
}

func (r *run) turn(ctx context.Context) error {
	if r.Clock != nil && r.Kind != Accounts {
		if err := r.cut(ctx, core.Date(r.at)); err != nil {
			return err
		}
		r.Clock.Set(r.at)
	}
	if err := r.Config.at("intake.before_batch"); err != nil {
		return err
	}
	post := r.postTransfers
	if r.Kind == Accounts {
		post = r.openAccounts
	}
	if err := post(ctx); err != nil {
		return err
	}
	if err := r.Config.at("intake.after_batch"); err != nil {
		return err
	}
	if err := r.rejects.flush(); err != nil {
		return err
	}
	return r.Config.at("intake.after_rejects")
}

// cut moves the accounting date to a later day; zero or an earlier one: not.
func (r *run) cut(ctx context.Context, day time.Time) error {
	if r.Clock == nil || day.IsZero() || r.Kind == Accounts {
		return nil
	}
	if r.open.IsZero() {
		open, err := r.Days.Day(ctx)
		if err != nil {
			return err
		}
		r.open = open
	}
	if day = core.Date(day); !day.After(r.open) {
		return nil
	}
	if err := r.Config.at("intake.before_day"); err != nil {
		return err
	}
	if err := r.Days.CutDay(ctx, day); err != nil {
		return err
	}
	r.open = day
	return r.Config.at("intake.after_day")
}

// openAccounts opens the batch or, where an account of it can't be, each by itself.
func (r *run) openAccounts(ctx context.Context) error {
	accounts := make([]core.Account, len(r.batch))
	for i, x := range r.batch {
		accounts[i] = x.account
	}
	opened := func(count int) {
		r.res.Opened += int64(count)
		r.res.Mark.Applied += int64(count)
	}
	err := r.busy(ctx, func() error { return r.Accounts.Open(ctx, accounts) })
	if err == nil {
		opened(len(accounts))
		return nil
	}
	if code := accountCode(err); code == "" {
		return err
	}
	for i := range accounts {
		err := r.busy(ctx, func() error { return r.Accounts.Open(ctx, accounts[i:i+1]) })
		if err == nil {
			opened(1)
			continue
		}
		code := accountCode(err)
		if code == "" {
			return err
		}
		if err := r.reject(&r.batch[i], code, "", err.Error()); err != nil {
			return err
		}
	}
	return nil
}

// accountCode is the code of a refused account; "" for an error that is not about it.
func accountCode(err error) string {
	switch fault.KindOf(err) {
	case fault.Conflict:
		return accountConflict
	case fault.Invalid:
		return accountInvalid
	}
	return ""
}

func (r *run) postTransfers(ctx context.Context) error {
	var transfers []core.Transfer
	var of []int // the item of each transfer
	for i, x := range r.batch {
		if !x.empty {
			transfers, of = append(transfers, x.transfer), append(of, i)
		}
	}
	var answers []core.Answer
	if err := r.busy(ctx, func() (err error) {
		answers, err = r.Poster.Post(ctx, transfers)
		return err
	}); err != nil {
		return err
	}
	for i, a := range answers {
		switch a.Outcome {
		case core.Applied:
			r.res.Applied++
			r.res.Mark.Applied++
		case core.Replayed:
			r.res.Replayed++
			r.res.Mark.Applied++
		default:
			code := string(a.Code)
			if a.Outcome == core.Failed {
				code = notTaken
			}
			if err := r.reject(&r.batch[of[i]], code, a.Field, a.Message); err != nil {
				return err
			}
		}
	}
	return nil
}

// busy asks again while the ledger is busy, as it says.
func (r *run) busy(ctx context.Context, ask func() error) error {
	for try := 1; ; try++ {
		err := ask()
		if !fault.Is(err, fault.Busy) || try == busyTries {
			return err
		}
		pause := 500 * time.Millisecond
		var after *core.RetryAfter
		if errors.As(err, &after) {
			pause = min(max(after.After, time.Millisecond), time.Minute)
		}
		if err := r.Wait(ctx, pause); err != nil {
			return err
		}
	}
}

func (r *run) reject(x *item, code, field, message string) error {
	r.res.Refused++
	r.res.Mark.Refused++
	if r.Rejects == nil {
		return nil
	}
	if err := r.rejects.open(r.Rejects, r.res.Plan.Done.Refused > 0); err != nil {
		return err
	}
	return r.rejects.write(strconv.Itoa(x.line), guard(x.id), code, field, guard(message))
}
