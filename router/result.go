package router

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/fault"
)

// Result is the answer to a query: rows in order, then the proof. One goroutine uses it.
type Result struct {
	r      *Router
	p      *prepared
	ctx    context.Context // of the whole query: sources open under it
	cancel context.CancelFunc

	legs    []*leg
	not     avoid
	strikes map[string]int // failures by source since the last emitted row
	tries   int            // plans since the last emitted row
	current *leg
	last    catalog.Row // order cells of the last emitted row
	out     catalog.Row // the emitted row where columns were added for the order
	emitted int64
	more    bool // a row follows the last emitted one; known at the end

	groups *groups // of an aggregation
	served Served
	err    error // sticky; io.EOF at a complete end
	closed bool
}

func newResult(r *Router, p *prepared, ctx context.Context, cancel context.CancelFunc) *Result {
	return &Result{r: r, p: p, ctx: ctx, cancel: cancel, not: avoid{}, strikes: map[string]int{}, more: true,
		served: Served{Sources: []ServedSource{}, Reason: "not read to its end"}}
}

// Columns are the columns of the rows.
func (x *Result) Columns() []catalog.Column { return x.p.out }

// Next returns the next row, valid until the next call, or io.EOF at the end of a page or of a complete stream. Any other
// error means that the rows so far are not the whole answer. After an error or EOF it returns the same again.
func (x *Result) Next(ctx context.Context) (*catalog.Row, error) {
	if x.err != nil {
		return nil, x.err
	}
	row, err := x.next(ctx)
	if err == nil {
		x.emitted++
		x.r.stats.rows.Add(1)
		return row, nil
	}
	x.err = err
	if err == io.EOF {
		x.served.Complete, x.served.Reason = true, ""
	} else {
		x.served.Reason = err.Error()
		x.r.stats.failed.Add(1)
	}
	x.release()
	return nil, err
}

func (x *Result) next(ctx context.Context) (*catalog.Row, error) {
	if x.groups != nil {
		if x.p.q.Limit > 0 && x.emitted >= int64(x.p.q.Limit) {
			return nil, io.EOF
		}
		return x.groups.next()
	}
	if x.current != nil {
		x.current.head = nil
		x.current = nil
	}
	for {
		err := x.fill(ctx)
		if err == nil {
			break
		}
		if err := x.again(ctx, err); err != nil {
			return nil, err
		}
	}
	best := x.least()
	if best == nil {
		x.more = false
		return nil, io.EOF
	}
	if err := x.rises(best.head); err != nil {
		return nil, err
	}
	if x.p.q.Limit > 0 && x.emitted >= int64(x.p.q.Limit) {
		return nil, io.EOF
	}
	x.current = best
	best.count++
	if x.tries > 0 {
		x.tries = 0
		clear(x.strikes)
	}
	return x.emit(best.head), nil
}

// least is the leg with the least head, nil if all are done.
func (x *Result) least() *leg {
	var best *leg
	for _, l := range x.legs {
		if l.head != nil && (best == nil || catalog.CompareRows(x.p.sort, l.head, best.head) < 0) {
			best = l
		}
	}
	return best
}

// rises checks that a row comes after the last emitted one: the pair of every source's promise of order.
func (x *Result) rises(row *catalog.Row) error {
	if x.last.Len() == 0 {
		return nil
	}
	for i, s := range x.p.sort {
		c := catalog.Compare(s.Type, row.Cell(s.Index), x.last.Cell(i))
		if s.Desc {
			c = -c
		}
		if c > 0 {
			return nil
		}
		if c < 0 {
			return fault.New(fault.Proof, "merge "+x.p.ds.Name, "a row came out of order: %s %q after %q", x.p.fetch[s.Index], row.Cell(s.Index), x.last.Cell(i)).
				WithHint("does a shard hold rows outside its time range, or texts with trailing spaces or control characters?")
		}
	}
	return fault.New(fault.Proof, "merge "+x.p.ds.Name, "two rows have the same key %s", strings.Join(x.p.ds.Key, ", ")).
		WithHint("the key must be unique over all shards of the dataset, and a row must lie in one shard only")
}

// emit remembers the row's order cells and cuts off columns that only the order needed.
func (x *Result) emit(row *catalog.Row) *catalog.Row {
	x.last.Reset()
	for _, s := range x.p.sort {
		x.last.Append(row.Cell(s.Index))
	}
	if len(x.p.fetch) == len(x.p.out) {
		return row
	}
	x.out.Reset()
	for i := range x.p.out {
		x.out.Append(row.Cell(i))
	}
	return &x.out
}

// fill gets a head for every leg that has none.
func (x *Result) fill(ctx context.Context) error {
	for _, l := range x.legs {
		if err := l.pull(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *leg) pull(ctx context.Context) error {
	if l.head != nil || l.done {
		return nil
	}
	row, err := l.rows.Next(ctx)
	switch {
	case err == io.EOF:
		l.done = true
		return l.rows.Close()
	case err != nil:
		return &sourceError{l.src.Name(), err}
	}
	l.head = row
	return nil
}

// start plans, opens and gets the first heads, with new plans as often as it may.
func (x *Result) start(ctx context.Context) error {
	for {
		err := x.attempt(ctx)
		if err == nil {
			return nil
		}
		if err := x.forgive(ctx, err); err != nil {
			return err
		}
	}
}

// again goes on after an error in mid-stream, under a new plan after the last emitted row.
func (x *Result) again(ctx context.Context, cause error) error {
	if x.emitted > 0 && x.p.q.Freshness.Strong {
		return fault.Wrap(fault.KindOf(cause), "go on with strong "+x.p.ds.Name, cause)
	}
	if err := x.forgive(ctx, cause); err != nil {
		return err
	}
	if x.emitted > 0 {
		x.p.after = x.p.after[:0:0]
		for i := range x.last.Len() {
			x.p.after = append(x.p.after, cellText(x.last.Cell(i)))
		}
	}
	return x.start(ctx)
}

func cellText(c []byte) *string {
	if c == nil {
		return nil
	}
	s := string(c)
	return &s
}

// attempt makes one plan and opens it up to the first heads.
func (x *Result) attempt(ctx context.Context) error {
	x.tries++
	_, legs, err := x.r.plan(x.ctx, x.p, x.not)
	if err != nil {
		return err
	}
	if err := x.openLegs(legs); err != nil {
		return err
	}
	if len(x.legs) < 2 {
		return x.fill(ctx)
	}
	var g errgroup.Group // without its context: a source may keep a statement running under the one it gets
	for _, l := range x.legs {
		g.Go(func() error { return l.pull(ctx) })
	}
	return g.Wait()
}

// openLegs opens the sources one after the other, always in the same order.
func (x *Result) openLegs(legs []*leg) error {
	for _, l := range legs {
		opened, err := l.src.Open(x.ctx, l.fetch)
		if err != nil {
			return &sourceError{l.src.Name(), err}
		}
		l.opened, l.rows = opened, opened.Rows
		x.legs = append(x.legs, l)
	}
	return nil
}

// forgive decides whether a new plan may mend err: nil means try again. All legs are closed, and the share of those whose
// rows are thrown away is forgotten.
func (x *Result) forgive(ctx context.Context, err error) error {
	if x.emitted == 0 {
		for _, l := range x.legs {
			l.count = 0
		}
	}
	x.drop()
	if cause := context.Cause(ctx); cause != nil {
		return fault.Wrap(fault.KindOf(cause), "query "+x.p.ds.Name, cause)
	}
	if cause := context.Cause(x.ctx); cause != nil {
		return fault.Wrap(fault.KindOf(cause), "query "+x.p.ds.Name, cause).(*fault.Error).
			WithHint("the query's limit of time is %s; narrow it, or give it more", x.p.q.Timeout)
	}
	if x.tries >= maxPlans {
		return err
	}
	switch fault.KindOf(err) {
	case fault.Stale:
		x.served.Replans++
	case fault.Busy: // a table is locked for a moment, by a move or a schema change
	case fault.Unavailable, fault.Timeout, fault.Interrupted:
		var at *sourceError
		if !errors.As(err, &at) || x.not[at.source] != nil {
			return err
		}
		x.strike(at)
	default:
		return err
	}
	x.r.stats.replans.Add(1)
	x.r.cfg.Log.Info("query is planned again", "dataset", x.p.ds.Name, "rows", x.emitted, "err", err)
	if x.tries == 0 {
		return nil
	}
	// A mover needs a moment between two states of a range: 5 ms, then doubling to 40 ms.
	pause := time.NewTimer(5 * time.Millisecond << (x.tries - 1))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	case <-x.ctx.Done():
	}
	return nil
}

// strike counts a failure. A store is asked once more: a mover kills readers that hold it up. The index and a statement
// that took too long are left out at once.
func (x *Result) strike(at *sourceError) {
	x.strikes[at.source]++
	isIndex := x.r.cfg.Index != nil && at.source == x.r.cfg.Index.Name()
	if isIndex || x.strikes[at.source] > 1 || fault.Is(at.err, fault.Timeout) {
		x.not[at.source] = at.err
	}
}

// drop closes all legs after a failure; those that gave no row are not entered.
func (x *Result) drop() {
	kept := x.legs[:0]
	for _, l := range x.legs {
		if l.count > 0 {
			kept = append(kept, l)
		} else {
			_ = l.rows.Close() // nothing was taken from it
		}
	}
	x.legs = kept
	x.release()
}

// release closes all legs and enters their rows into Served.
func (x *Result) release() {
	for _, l := range x.legs {
		if !l.done {
			_ = l.rows.Close() // the rows are thrown away, or all taken
		}
		x.note(l)
	}
	x.legs, x.current = nil, nil
}

// Close ends the query, on the servers too. Idempotent.
func (x *Result) Close() error {
	if x.closed {
		return nil
	}
	x.closed = true
	x.release()
	x.cancel()
	x.r.open.Add(-1)
	if x.err == nil {
		x.err = fault.New(fault.Invalid, "read "+x.p.ds.Name, "the result is closed")
	}
	return nil
}
