package intake

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"strata/core"
	"strata/fault"
	"strata/money"
)

// Plan is what a file would import: what a dry run shows.
type Plan struct {
	Kind    Kind
	Rows    int64 // of the file, without its header
	Items   int64 // accounts, balances or transfers
	Empty   int64 // of them balances of 0, which book nothing
	Units   []UnitSum
	First   time.Time // of transfers: the earliest order time; else zero
	Last    time.Time // of transfers: the latest
	Content string    // the file's SHA-256 in hex
	Done    Mark      // what Marks know of it already
}

// UnitSum is what is booked in one unit, in minor units.
type UnitSum struct {
	Unit    string
	Items   int64     // accounts in it, or legs
	Debits  money.Sum // of balances: without those of the opening accounts
	Credits money.Sum
}

// Check reads the file and writes nothing. fault.Invalid, with a *ProblemsError inside, names all that is wrong with it;
// the Plan then says how far it counted.
func Check(ctx context.Context, cfg Config) (Plan, error) {
	if err := cfg.check(); err != nil {
		return Plan{}, err
	}
	return cfg.look(ctx)
}

func (c *Config) look(ctx context.Context) (Plan, error) {
	if err := c.checkOpening(ctx); err != nil {
		return Plan{Kind: c.Kind}, err
	}
	p, err := c.plan(ctx)
	if err == nil && c.Marks != nil {
		p.Done, err = c.Marks.Mark(ctx, c.key(&p))
	}
	return p, err
}

// planner counts a file's items.
type planner struct {
	plan   Plan
	units  map[string]*UnitSum
	seed   maphash.Seed
	hashes []uint64 // of ids
	// named are the accounts of legs with the first line that names each, the first maxNamed of them.
	named map[account]int
}

// account is an account as legs name it.
type account struct {
	id   int64
	unit string
}

// maxNamed bounds the look at whether accounts are there; the others' transfers would be refused one by one.
const maxNamed = 200_000

func (c *Config) plan(ctx context.Context) (Plan, error) {
	p := planner{plan: Plan{Kind: c.Kind}, units: map[string]*UnitSum{}, named: map[account]int{}, seed: maphash.MakeSeed()}
	var t *table
	var err error
	t, err = c.scan(ctx, func(x *item) error {
		p.add(c, x)
		return nil
	})
	if t != nil {
		p.plan.Rows, p.plan.Content = t.rows, t.content()
	}
	for _, u := range p.units {
		p.plan.Units = append(p.plan.Units, *u)
	}
	slices.SortFunc(p.plan.Units, func(a, b UnitSum) int { return strings.Compare(a.Unit, b.Unit) })
	if err != nil {
		return p.plan, err
	}
	if err := c.checkOrder(ctx, t); err != nil {
		return p.plan, err
	}
	if err := c.checkTwice(ctx, &p); err != nil {
		return p.plan, err
	}
	return p.plan, c.checkNamed(ctx, &p, t)
}

func (p *planner) add(c *Config, x *item) {
	p.plan.Items++
	p.hashes = append(p.hashes, maphash.String(p.seed, x.id))
	if c.Kind == Accounts {
		p.unit(x.account.Unit).Items++
		return
	}
	if x.empty {
		p.plan.Empty++
		return
	}
	legs := x.transfer.Legs
	if c.Kind == Balances {
		legs = legs[1:]
	} else if at := x.transfer.OrderTime; p.plan.First.IsZero() || at.Before(p.plan.First) {
		p.plan.First = at
	}
	if c.Kind == Transfers && x.transfer.OrderTime.After(p.plan.Last) {
		p.plan.Last = x.transfer.OrderTime
	}
	for _, l := range legs {
		u := p.unit(l.Unit)
		u.Items++
		if key := (account{l.Account, l.Unit}); len(p.named) < maxNamed && p.named[key] == 0 {
			p.named[key] = x.line
		}
		if l.Amount < 0 {
			debit := money.SumOf(money.Amount(l.Amount)).Neg()
			u.Debits.AddSum(debit)
			continue
		}
		u.Credits.Add(money.Amount(l.Amount))
	}
}

func (p *planner) unit(name string) *UnitSum {
	u := p.units[name]
	if u == nil {
		u = &UnitSum{Unit: name}
		p.units[name] = u
	}
	return u
}

// checkOrder names the transfers that are out of the order of days, where a clock is driven along them.
func (c *Config) checkOrder(ctx context.Context, read *table) error {
	if c.Clock == nil || c.Kind != Transfers {
		return nil
	}
	var last time.Time
	_, err := c.scan(ctx, func(x *item) error {
		day := core.Date(x.transfer.OrderTime)
		if day.Before(last) {
			read.problemAt(x.line, 1, "order_time", fmt.Sprintf("%s comes after %s; the past is booked day by day: sort the file by order_time",
				day.Format(time.DateOnly), last.Format(time.DateOnly)))
		}
		last = day
		return nil
	})
	if err != nil {
		return err
	}
	return read.problems()
}

// checkTwice names the ids that are there twice. Hashes that are there twice are found first, then whose they are.
func (c *Config) checkTwice(ctx context.Context, p *planner) error {
	slices.Sort(p.hashes)
	suspects := map[uint64]bool{}
	for i := 1; i < len(p.hashes); i++ {
		if p.hashes[i] == p.hashes[i-1] {
			suspects[p.hashes[i]] = true
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	column, _ := c.columns()
	lines := map[string]int{}
	bad := &ProblemsError{Name: c.Name}
	_, err := c.scan(ctx, func(x *item) error {
		if !suspects[maphash.String(p.seed, x.id)] {
			return nil
		}
		if line, ok := lines[x.id]; ok {
			if bad.Count++; len(bad.Problems) < shown {
				bad.Problems = append(bad.Problems, Problem{Line: x.line, Column: 1, Field: column[0], Message: fmt.Sprintf("%s is there twice, first on line %d", x.id, line)})
			}
			return nil
		}
		lines[x.id] = x.line
		return nil
	})
	if err != nil || bad.Count == 0 {
		return err
	}
	return &fault.Error{Kind: fault.Invalid, Op: "check file", Err: bad, Hint: "the rows of one transfer stand together; nothing of the file was imported"}
}

// checkNamed names the accounts that aren't there or are in another unit: the ledger would refuse their transfers, and for
// ever, though the account may be opened the minute after.
func (c *Config) checkNamed(ctx context.Context, p *planner, read *table) error {
	named := slices.SortedFunc(maps.Keys(p.named), func(a, b account) int {
		return cmp.Or(cmp.Compare(p.named[a], p.named[b]), cmp.Compare(a.id, b.id))
	})
	for _, n := range named {
		a, err := c.Accounts.Balance(ctx, n.id)
		switch {
		case fault.Is(err, fault.NotFound):
			read.problemAt(p.named[n], 1, "account", fmt.Sprintf("account %d does not exist", n.id))
		case err != nil:
			return err
		case a.Unit != n.unit:
			read.problemAt(p.named[n], 1, "unit", fmt.Sprintf("account %d is in %s, not in %s", n.id, a.Unit, n.unit))
		}
	}
	return read.problems()
}

// checkOpening refuses opening accounts that aren't there: else every row would be refused, for ever.
func (c *Config) checkOpening(ctx context.Context) error {
	if c.Kind != Balances {
		return nil
	}
	for unit, id := range c.Opening {
		a, err := c.Accounts.Balance(ctx, id)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.Invalid, "check opening account of "+unit, "account %d does not exist", id).WithHint("import or open it first")
		}
		if err != nil {
			return err
		}
		if a.Unit != unit {
			return fault.New(fault.Invalid, "check opening account of "+unit, "account %d is in %s", id, a.Unit)
		}
	}
	return nil
}
