package statement

import (
	"context"
	"errors"
	"io"
	"slices"

	"strata/catalog"
	"strata/fault"
	"strata/money"
	"strata/router"
)

// Config is what a Writer needs.
type Config struct {
	Router  *router.Router
	Dataset string // with account, time and money columns; "entry" in the core's ledger
	Units   money.Units
	// Sequence, Reference, OrderTime, Before and After name columns where the dataset has them; "" leaves the field empty.
	// New fills in seq, transfer_id, order_time, balance_before and balance_after where they are "" and there.
	Sequence, Reference, OrderTime, Before, After string
}

// Writer writes statements. It is safe for concurrent use.
type Writer struct {
	cfg    Config
	ds     *catalog.Dataset
	amount string
	unit   string // the unit's column, or "" where the dataset has one fixed unit
	fixed  money.Unit
}

// Request names an account and a period.
type Request struct {
	Account  string
	From, To string // dates: From is the first day, To the day after the last
	// Progress is told the entries written so far and how many there will be; nil: nobody.
	Progress func(done, total int64)
}

// Summary is what was written.
type Summary struct {
	Rows     int64         `json:"rows"` // entries
	Units    []Total       `json:"units"`
	Balanced bool          `json:"balanced"`
	SHA256   string        `json:"sha256"`
	Served   router.Served `json:"served"` // of the entries
}

// Total is one unit's balances, in minor units.
type Total struct {
	Unit    money.Unit `json:"unit"`
	Opening string     `json:"opening"`
	Entries string     `json:"entries"`
	Closing string     `json:"closing"`
}

// New checks the configuration against the dataset.
func New(cfg Config) (*Writer, error) {
	if cfg.Router == nil {
		return nil, fault.New(fault.Invalid, "configure statement", "no Router")
	}
	ds, err := cfg.Router.Dataset(cfg.Dataset)
	if err != nil {
		return nil, err
	}
	w := &Writer{ds: ds}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, "configure statement of "+ds.Name, format, args...))
	}
	if ds.Account == "" || ds.Time == "" {
		bad("the dataset has no account or no time column")
	}
	if len(ds.Money) == 0 {
		bad("the dataset has no money column")
	} else {
		m := ds.Money[0]
		w.amount, w.unit, w.fixed = m.Column, m.UnitColumn, money.Unit(m.Unit)
	}
	for _, c := range []struct {
		name *string
		def  string
	}{{&cfg.Sequence, "seq"}, {&cfg.Reference, "transfer_id"}, {&cfg.OrderTime, "order_time"}, {&cfg.Before, "balance_before"}, {&cfg.After, "balance_after"}} {
		if *c.name != "" && ds.Index(*c.name) < 0 {
			bad("the dataset has no column %q", *c.name)
		}
		if *c.name == "" && ds.Index(c.def) >= 0 {
			*c.name = c.def
		}
	}
	w.cfg = cfg
	return w, errors.Join(errs...)
}

// Write writes one statement. On an error what was written is not a statement: it lacks the sha256 line.
func (w *Writer) Write(ctx context.Context, to io.Writer, r Request) (Summary, error) {
	col, _ := w.ds.Column(w.ds.Time)
	for _, d := range []string{r.From, r.To} {
		if err := catalog.CheckCell(col.Type, d); err != nil {
			return Summary{}, fault.Wrap(fault.Invalid, "read period", err)
		}
	}
	if catalog.Canonical(col.Type, r.From) >= catalog.Canonical(col.Type, r.To) {
		return Summary{}, fault.New(fault.Invalid, "read period", "%s is not before %s", r.From, r.To).
			WithHint("the end is the day after the last")
	}
	p := &pass{w: w, r: r, out: newFile(to)}
	if err := p.run(ctx); err != nil {
		return p.sum, err
	}
	return p.sum, nil
}

// filter is the account's rows before a date.
func (w *Writer) before(r Request, date string) catalog.Filter {
	return catalog.AndAll(catalog.Cmp(w.ds.Account, catalog.Eq, r.Account), catalog.Cmp(w.ds.Time, catalog.Lt, date))
}

// balance is sums and counts by unit.
type balance map[money.Unit]state

// state is one unit's sum and number of entries.
type state struct {
	sum   money.Sum
	count money.Sum
}

// balances asks for everything before a date.
func (w *Writer) balances(ctx context.Context, r Request, date string) (balance, error) {
	q := router.Query{Dataset: w.ds.Name, Filter: w.before(r, date), Freshness: router.Freshness{Strong: true},
		Aggregates: []router.Aggregate{{Func: router.Count, Name: "entries"}, {Func: router.Sum, Column: w.amount, Name: "total"}}}
	if w.unit != "" {
		q.GroupBy = []string{w.unit}
	}
	x, err := w.cfg.Router.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.Close() }() // what it could say was said by Next
	out := balance{}
	for {
		row, err := x.Next(ctx)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		unit, n := w.fixed, len(q.GroupBy)
		if n > 0 {
			unit = money.Unit(row.Text(0))
		}
		var s state
		if s.count, err = money.ParseSum(row.Text(n)); err != nil {
			return nil, err
		}
		if s.count.IsZero() {
			continue // no rows: the sum is NULL
		}
		if s.sum, err = money.ParseSum(row.Text(n + 1)); err != nil {
			return nil, err
		}
		out[unit] = s
	}
}

// pass is the writing of one statement.
type pass struct {
	w       *Writer
	r       Request
	out     *file
	sum     Summary
	opening balance
	closing balance
	running balance
	infos   map[money.Unit]money.Info
	lastSeq money.Amount
	lastBal money.Amount // after lastSeq
}

func (p *pass) run(ctx context.Context) error {
	var err error
	if p.opening, err = p.w.balances(ctx, p.r, p.r.From); err != nil {
		return err
	}
	if p.closing, err = p.w.balances(ctx, p.r, p.r.To); err != nil {
		return err
	}
	if err := p.units(); err != nil {
		return err
	}
	if err := p.out.header(p); err != nil {
		return err
	}
	if err := p.entries(ctx); err != nil {
		return err
	}
	if err := p.prove(ctx); err != nil {
		return err
	}
	p.sum.Balanced = true
	p.sum.SHA256, err = p.out.finish(p)
	return err
}

// units finds the form of every unit of the account, and starts the running balances.
func (p *pass) units() error {
	p.infos, p.running = map[money.Unit]money.Info{}, balance{}
	for _, from := range []balance{p.opening, p.closing} {
		for u := range from {
			i, ok := p.w.cfg.Units.Lookup(u)
			if !ok {
				return fault.New(fault.Invalid, "format amounts", "unit %q is unknown", u).
					WithHint("declare it with its exponent in the configuration")
			}
			p.infos[u] = i
		}
	}
	for u, s := range p.opening {
		p.running[u] = state{sum: s.sum}
		n, ok := s.count.Amount()
		bal, fits := s.sum.Amount()
		if !ok || !fits {
			return fault.New(fault.TooLarge, "open statement", "the opening balance %s of %s has more than 64 bits", s.sum, u)
		}
		p.lastSeq, p.lastBal = p.lastSeq+n, p.lastBal+bal // an account of a ledger with seq has one unit
	}
	return nil
}

// names returns the units in order.
func (p *pass) names() []money.Unit {
	out := make([]money.Unit, 0, len(p.infos))
	for u := range p.infos {
		out = append(out, u)
	}
	slices.Sort(out)
	return out
}

// columns are those that the entries are read with; a column that the dataset lacks is left out.
func (p *pass) columns() []string {
	w := p.w
	var out []string
	for _, c := range []string{w.ds.Time, w.cfg.Sequence, w.cfg.Reference, w.cfg.OrderTime, w.unit, w.amount, w.cfg.Before, w.cfg.After} {
		if c != "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// entries streams the period.
func (p *pass) entries(ctx context.Context) error {
	w := p.w
	columns := p.columns()
	order := []router.Order{{Column: w.ds.Time}}
	if w.cfg.Sequence != "" && w.cfg.Sequence != w.ds.Time {
		order = append(order, router.Order{Column: w.cfg.Sequence})
	}
	x, err := w.cfg.Router.Query(ctx, router.Query{Dataset: w.ds.Name, Columns: columns, Order: order,
		Filter:    catalog.AndAll(w.before(p.r, p.r.To), catalog.Cmp(w.ds.Time, catalog.Ge, p.r.From)),
		Freshness: router.Freshness{Strong: true}})
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }() // what it could say was said by Next
	at := func(name string) int { return slices.Index(columns, name) }
	e := entryAt{at(w.ds.Time), at(w.cfg.Sequence), at(w.cfg.Reference), at(w.cfg.OrderTime), at(w.unit), at(w.amount), at(w.cfg.Before), at(w.cfg.After)}
	total := p.expected()
	for {
		row, err := x.Next(ctx)
		if err == io.EOF {
			p.sum.Served = x.Served()
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.entry(row, e); err != nil {
			return err
		}
		if p.sum.Rows++; p.r.Progress != nil && p.sum.Rows%10_000 == 0 {
			p.r.Progress(p.sum.Rows, total)
		}
	}
}

// expected is how many entries the sums promise.
func (p *pass) expected() int64 {
	var n money.Sum
	for _, s := range p.closing {
		n.AddSum(s.count)
	}
	for _, s := range p.opening {
		n.AddSum(s.count.Neg())
	}
	a, _ := n.Amount()
	return int64(a)
}

// entryAt are the positions of an entry's columns; -1 where the dataset lacks one.
type entryAt struct{ date, seq, reference, orderTime, unit, amount, before, after int }

// entry checks one entry, adds it and writes it.
func (p *pass) entry(row *catalog.Row, e entryAt) error {
	unit := p.w.fixed
	if e.unit >= 0 {
		unit = money.Unit(row.Text(e.unit))
	}
	info, ok := p.infos[unit]
	if !ok {
		return p.changed("an entry has unit %q, which no sum had", unit)
	}
	amount, err := money.ParseMinor(row.Text(e.amount))
	if err != nil {
		return fault.New(fault.Proof, "read amount", "%w", err)
	}
	if err := p.chain(row, e, amount); err != nil {
		return err
	}
	s := p.running[unit]
	s.sum.Add(amount)
	s.count.Add(1)
	p.running[unit] = s
	text := func(i int) string {
		if i < 0 {
			return ""
		}
		return row.Text(i)
	}
	return p.out.line("entry", text(e.date), text(e.seq), guard(text(e.reference)), text(e.orderTime), string(unit),
		info.Format(amount), info.FormatSum(s.sum), amount.String(), s.sum.String())
}
