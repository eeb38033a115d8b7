package intake

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"strata/core"
	"strata/fault"
	"strata/money"
)

// item is one account, or one transfer with all of its rows.
type item struct {
	line     int
	id       string
	account  core.Account
	transfer core.Transfer
	empty    bool // an opening balance of 0: there is nothing to book
}

// scan reads a file's items in order, those without problems. It returns the content's hash, what was read, and the
// problems so far as an error; each's error ends it.
func (c *Config) scan(ctx context.Context, each func(*item) error) (*table, error) {
	f, err := c.Open()
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "open "+c.Name, err)
	}
	defer func() { _ = f.Close() }() // read only
	required, optional := c.columns()
	t, err := newTable(c.Name, ctxReader{ctx, f}, required, optional)
	if err != nil {
		return t, err
	}
	switch c.Kind {
	case Accounts:
		err = c.scanAccounts(t, each)
	case Balances:
		err = c.scanBalances(t, each)
	default:
		err = c.scanTransfers(t, each)
	}
	if err != nil {
		return t, err
	}
	return t, t.problems()
}

func (c *Config) columns() (required, optional []string) {
	switch c.Kind {
	case Accounts:
		return []string{"id", "unit"}, []string{"name", "side", "min_balance", "max_balance", "tenant", "strategy", "metadata"}
	case Balances:
		return []string{"account", "unit", "amount"}, []string{"nature"}
	}
	return []string{"id", "kind", "order_time", "account", "unit", "amount"},
		[]string{"nature", "memo", "business_date", "tenant", "order", "product", "metadata"}
}

func (c *Config) scanAccounts(t *table, each func(*item) error) error {
	for {
		more, err := t.next()
		if err != nil || !more {
			return err
		}
		before := t.bad.Count
		a := core.Account{Name: t.cell("name"), Unit: t.cell("unit"), Tenant: t.cell("tenant"),
			Strategy: t.cell("strategy"), Metadata: t.cell("metadata")}
		a.ID = t.account("id")
		switch side := t.cell("side"); side {
		case "", "credit":
		case "debit":
			a.Side = core.DebitSide
		default:
			t.problem("side", fmt.Sprintf("%q is neither credit nor debit", side))
		}
		for column, to := range map[string]**int64{"min_balance": &a.MinBalance, "max_balance": &a.MaxBalance} {
			if t.cell(column) != "" {
				n := c.amount(t, column, a.Unit)
				*to = &n
			}
		}
		if t.bad.Count == before {
			if err := core.CheckAccount(&a); err != nil {
				t.problem("", err.Error())
			}
		}
		if t.bad.Count > before {
			continue
		}
		if err := each(&item{line: t.line(), id: strconv.FormatInt(a.ID, 10), account: a}); err != nil {
			return err
		}
	}
}

func (c *Config) scanBalances(t *table, each func(*item) error) error {
	at := core.Date(c.Date)
	for {
		more, err := t.next()
		if err != nil || !more {
			return err
		}
		before := t.bad.Count
		id, unit, nature := t.account("account"), t.cell("unit"), t.cell("nature")
		amount := c.amount(t, "amount", unit)
		opening, ok := c.Opening[unit]
		switch {
		case !ok:
			t.problem("unit", fmt.Sprintf("no opening account is given for %q", unit))
		case opening == id:
			t.problem("account", "it is the opening account of "+unit+" itself; its balance follows from the others'")
		}
		x := core.Transfer{ID: c.Series + "-" + strconv.FormatInt(id, 10), Kind: "opening", OrderTime: at, Memo: "opening balance",
			Legs: []core.Leg{{Account: opening, Unit: unit, Amount: -amount}, {Account: id, Unit: unit, Amount: amount, Nature: nature}}}
		if nature != "" {
			x.ID += "-" + nature
			if amount < 0 {
				t.problem("nature", "a negative balance has no nature")
			}
		}
		if t.bad.Count == before && amount != 0 {
			t.validate(&x, t.line())
		}
		if t.bad.Count > before {
			continue
		}
		if err := each(&item{line: t.line(), id: x.ID, transfer: x, empty: amount == 0}); err != nil {
			return err
		}
	}
}

func (c *Config) scanTransfers(t *table, each func(*item) error) error {
	var now *item // whose rows are being read
	good := true
	flush := func() error {
		if now == nil {
			return nil
		}
		before := t.bad.Count
		if good {
			t.validate(&now.transfer, now.line)
		}
		if !good || t.bad.Count > before {
			return nil
		}
		return each(now)
	}
	for {
		more, err := t.next()
		if err != nil {
			return err
		}
		if !more {
			return flush()
		}
		if now == nil || t.cell("id") != now.id {
			if err := flush(); err != nil {
				return err
			}
			before := t.bad.Count
			now = &item{line: t.line(), id: t.cell("id")}
			now.transfer = t.transfer()
			good = t.bad.Count == before
		}
		before := t.bad.Count
		t.sameTransfer(&now.transfer)
		unit := t.cell("unit")
		leg := core.Leg{Account: t.account("account"), Unit: unit, Amount: c.amount(t, "amount", unit), Nature: t.cell("nature")}
		if len(now.transfer.Legs) == core.MaxLegs {
			t.problem("", fmt.Sprintf("transfer %s has more than %d legs", now.id, core.MaxLegs))
		} else {
			now.transfer.Legs = append(now.transfer.Legs, leg)
		}
		good = good && t.bad.Count == before
	}
}

// transfer reads what a row says of its transfer.
func (t *table) transfer() core.Transfer {
	x := core.Transfer{ID: t.cell("id"), Kind: t.cell("kind"), Memo: t.cell("memo"), Tenant: t.cell("tenant"), Order: t.cell("order"),
		Product: t.cell("product"), Metadata: t.cell("metadata"), OrderTime: t.moment("order_time")}
	if core.CheckCaller(&x) != nil {
		t.problem("id", "ids that begin with "+core.CoordinatorPrefix+" are a coordinator's")
	}
	if date := t.cell("business_date"); date != "" {
		var err error
		if x.BusinessDate, err = time.Parse(time.DateOnly, date); err != nil {
			t.problem("business_date", fmt.Sprintf("%q is not a date such as 2006-01-02", date))
		}
	}
	return x
}

// sameTransfer notes where the row says something else of its transfer than the first row.
func (t *table) sameTransfer(x *core.Transfer) {
	for _, c := range []struct{ column, first string }{{"kind", x.Kind}, {"memo", x.Memo}, {"tenant", x.Tenant}, {"order", x.Order},
		{"product", x.Product}, {"metadata", x.Metadata}} {
		if have := t.cell(c.column); have != "" && have != c.first {
			t.problem(c.column, fmt.Sprintf("another value than in the first row of transfer %s", x.ID))
		}
	}
	if t.cell("order_time") != "" && len(x.Legs) > 0 && !t.moment("order_time").Equal(x.OrderTime) {
		t.problem("order_time", fmt.Sprintf("another time than in the first row of transfer %s", x.ID))
	}
	if date := t.cell("business_date"); date != "" && len(x.Legs) > 0 && date != x.BusinessDate.Format(time.DateOnly) {
		t.problem("business_date", fmt.Sprintf("another date than in the first row of transfer %s", x.ID))
	}
}

// validate notes what the ledger would refuse whatever the accounts are.
func (t *table) validate(x *core.Transfer, line int) {
	if code, why := x.Validate(); code != "" {
		t.problemAt(line, 1, "", fmt.Sprintf("transfer %s: %s (%s)", x.ID, why, code))
	}
}

// account reads the id of an account from outside: those below 1 are the ledger's own.
func (t *table) account(column string) int64 {
	id, err := strconv.ParseInt(t.cell(column), 10, 64)
	if err != nil || id < 1 {
		t.problem(column, fmt.Sprintf("%q is not an account's id, a whole number from 1 on", t.cell(column)))
	}
	return id
}

func (c *Config) amount(t *table, column, unit string) int64 {
	text := t.cell(column)
	parse := money.ParseMinor
	if c.Decimal {
		parse = func(text string) (money.Amount, error) { return c.Units.Parse(text, money.Unit(unit)) }
	}
	n, err := parse(text)
	if err != nil {
		t.problem(column, err.Error())
	}
	return int64(n)
}

// moment reads a time, to the microsecond; more digits are a problem: they would be cut off.
func (t *table) moment(column string) time.Time {
	text := t.cell(column)
	for _, form := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		at, err := time.Parse(form, text)
		if err != nil {
			continue
		}
		if at.Nanosecond()%1000 != 0 {
			t.problem(column, fmt.Sprintf("%q has more than six digits of a second", text))
		}
		return at.UTC()
	}
	t.problem(column, fmt.Sprintf("%q is not a time such as 2006-01-02T15:04:05Z, 2006-01-02 15:04:05 (UTC) or 2006-01-02", text))
	return time.Time{}
}

// ctxReader ends with its context: a file can be long.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
