package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"strata/core"
	"strata/core/notice"
	"strata/fault"
	"strata/node"
)

// LedgerTransferCmd is `ledger transfer`.
type LedgerTransferCmd struct {
	ID       string   `required:"" help:"Your id: the same id with the same body gets the same answer."`
	Kind     string   `default:"payment" help:"What it is."`
	Action   string   `enum:"post,try,confirm,cancel,reverse" default:"post" help:"post, try, confirm, cancel or reverse."`
	Of       string   `help:"The try to confirm or cancel, the transfer to reverse."`
	Leg      []string `sep:"none" help:"ACCOUNT:UNIT:AMOUNT[:NATURE] in minor units; credits positive, debits negative; they sum to zero per unit." placeholder:"LEG"`
	Memo     string   `help:"Up to 255 characters."`
	Metadata string   `help:"A JSON object."`
	Tenant   string   `help:"Whose transfer it is."`
	Merchant string   `name:"merchant-order" help:"The merchant's order number." placeholder:"NUMBER"`
	Product  string   `help:"What is bought."`
	Business string   `name:"business-date" help:"The day that it belongs to, 2006-01-02. Default: the day of its order." placeholder:"DATE"`
	Expires  string   `help:"When a try ends by itself, RFC 3339. Default: never." placeholder:"TIME"`
	Order    string   `help:"When it was ordered, RFC 3339. Default: now; give it where you may have to repeat the call." placeholder:"TIME"`
}

func (c *LedgerTransferCmd) transfer() (core.Transfer, error) {
	t := core.Transfer{ID: c.ID, Kind: c.Kind, Memo: c.Memo, Metadata: c.Metadata, Tenant: c.Tenant, Order: c.Merchant, Product: c.Product,
		Of: c.Of, OrderTime: time.Now().UTC().Truncate(time.Microsecond)}
	t.Action, _ = core.ParseAction(c.Action) // kong has checked it
	for _, f := range []struct {
		flag, text, layout string
		to                 *time.Time
	}{{"--order", c.Order, time.RFC3339Nano, &t.OrderTime}, {"--expires", c.Expires, time.RFC3339Nano, &t.Expires},
		{"--business-date", c.Business, time.DateOnly, &t.BusinessDate}} {
		if f.text == "" {
			continue
		}
		var err error
		if *f.to, err = time.Parse(f.layout, f.text); err != nil {
			like := "an RFC 3339 time such as 2026-01-31T08:00:00Z"
			if f.layout == time.DateOnly {
				like = "a date such as 2026-01-31"
			}
			return t, fault.New(fault.Invalid, "read flags", "%s %q is not %s", f.flag, f.text, like)
		}
	}
	for _, text := range c.Leg {
		leg, err := parseLeg(text)
		if err != nil {
			return t, err
		}
		t.Legs = append(t.Legs, leg)
	}
	return t, nil
}

// Run posts the transfer. An answer that is not booked is an error.
func (c *LedgerTransferCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	t, err := c.transfer()
	if err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if err := core.CheckCaller(&t); err != nil {
			return err
		}
		answers, err := l.Ledger.Post(ctx, []core.Transfer{t})
		if err != nil {
			return err
		}
		return m.showAnswer(cli, t, answers[0])
	})
}

func parseLeg(text string) (core.Leg, error) {
	parts := strings.SplitN(text, ":", 4)
	if len(parts) >= 3 {
		account, aerr := strconv.ParseInt(parts[0], 10, 64)
		amount, merr := strconv.ParseInt(parts[2], 10, 64)
		if aerr == nil && merr == nil {
			l := core.Leg{Account: account, Unit: parts[1], Amount: amount}
			if len(parts) == 4 {
				l.Nature = parts[3]
			}
			return l, nil
		}
	}
	return core.Leg{}, fault.New(fault.Invalid, "read flags", "leg %q is not ACCOUNT:UNIT:AMOUNT in whole minor units, such as 1001:CNY:-1250", text)
}

func (m *Main) showAnswer(cli *CLI, t core.Transfer, a core.Answer) error {
	id, ordered := t.ID, t.OrderTime.Format(time.RFC3339Nano)
	if cli.JSON {
		form := answerForm(id, a)
		form["order_time"] = ordered
		if err := m.printJSON(form); err != nil {
			return err
		}
	} else if a.Outcome == core.Applied || a.Outcome == core.Replayed {
		fmt.Fprintf(m.Stdout, "%s %s, ordered %s\n", id, a.Outcome, ordered)
		if a.Code != "" {
			fmt.Fprintf(m.Stdout, "  %s: %s\n", a.Code, a.Message)
		}
		for _, b := range a.Balances {
			fmt.Fprintf(m.Stdout, "  account %d entry %d balance %d\n", b.Account, b.Seq, b.Balance)
		}
	}
	switch a.Outcome {
	case core.Conflict:
		return fault.New(fault.Conflict, "post transfer "+id, "%s", a.Message).
			WithHint("an id is for one body for ever, and when it was ordered is part of it: repeat it with the first one's --order, or use a new id for another transfer")
	case core.Refused, core.Failed:
		what := string(a.Code)
		if a.Field != "" {
			what += ", " + a.Field
		}
		return fault.New(fault.Conflict, "post transfer "+id, "%s: %s", what, a.Message)
	}
	return nil
}

// LedgerAnswerCmd is `ledger answer`.
type LedgerAnswerCmd struct {
	ID string `arg:"" help:"Transfer id."`
}

// Run shows what the id is remembered with.
func (c *LedgerAnswerCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := plain("transfer id", c.ID); err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		a, known, err := l.Ledger.Answer(ctx, c.ID)
		if err != nil {
			return err
		}
		if !known {
			return fault.New(fault.NotFound, "find transfer "+c.ID, "this id is not remembered")
		}
		return m.printJSONOr(cli, answerForm(c.ID, a), func(w io.Writer) {
			fmt.Fprintf(w, "%s %s %s %s\n", c.ID, a.Outcome, a.Code, a.Message)
			for _, b := range a.Balances {
				fmt.Fprintf(w, "  account %d entry %d amount %d balance %d\n", b.Account, b.Seq, b.Amount, b.Balance)
			}
		})
	})
}

// printJSONOr prints v with --json, else what f writes.
func (m *Main) printJSONOr(cli *CLI, v any, f func(w io.Writer)) error {
	if cli.JSON {
		return m.printJSON(v)
	}
	f(m.Stdout)
	return nil
}

// LedgerOrderCmd is `ledger order`.
type LedgerOrderCmd struct {
	Number string `arg:"" help:"The merchant's order number."`
	Tenant string `help:"Whose number it is."`
}

// Run shows every transfer that named the order number.
func (c *LedgerOrderCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := errors.Join(plain("number", c.Number), plain("--tenant", c.Tenant)); err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		list, err := notice.ByOrder(ctx, l.Ledger, l.Ledger, c.Tenant, c.Number)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fault.New(fault.NotFound, "find order "+c.Number, "no transfer named it").WithHint("--tenant is part of the number")
		}
		forms := make([]map[string]any, len(list))
		for i, s := range list {
			forms[i] = answerForm(s.ID, s.Answer)
			forms[i]["remembered"] = s.Remembered
		}
		return m.printJSONOr(cli, forms, func(w io.Writer) {
			for _, s := range list {
				fmt.Fprintf(w, "%s %s %s\n", s.ID, s.Answer.Outcome, s.Answer.Code)
			}
		})
	})
}

// LedgerReservationsCmd is `ledger reservations`.
type LedgerReservationsCmd struct {
	List   LedgerReservationsListCmd   `cmd:"" help:"List those of a state."`
	Counts LedgerReservationsCountsCmd `cmd:"" help:"Count by state, and the hung trys."`
	Show   LedgerReservationsShowCmd   `cmd:"" help:"Show one."`
	Expire LedgerReservationsExpireCmd `cmd:"" help:"Give back those whose time is over."`
}

// LedgerReservationsListCmd is `ledger reservations list`.
type LedgerReservationsListCmd struct {
	State string `enum:"pending,confirmed,cancelled,expired,fenced" default:"pending" help:"pending, confirmed, cancelled, expired or fenced."`
	After string `help:"Begin after this id."`
	Limit int    `default:"100" help:"At most so many."`
}

func reservationForm(r core.Reservation) map[string]any {
	form := map[string]any{"id": r.ID, "state": r.State.String(), "at": r.At, "ended_by": r.EndedBy, "late_trys": r.LateTrys, "legs": legForms(r.Transfer.Legs)}
	if !r.Transfer.Expires.IsZero() {
		form["expires"] = r.Transfer.Expires
	}
	if !r.EndedAt.IsZero() {
		form["ended_at"] = r.EndedAt
	}
	return form
}

// Run lists them.
func (c *LedgerReservationsListCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := errors.Join(plain("--after", c.After), atMost(c.Limit)); err != nil {
		return err
	}
	state := core.Pending
	for s := core.Pending; s <= core.Fenced; s++ {
		if s.String() == c.State {
			state = s
		}
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		list, err := l.Ledger.ListReservations(ctx, state, c.After, c.Limit)
		if err != nil {
			return err
		}
		forms := make([]map[string]any, len(list))
		for i, r := range list {
			forms[i] = reservationForm(r)
		}
		return m.printJSONOr(cli, forms, func(w io.Writer) {
			for _, r := range list {
				fmt.Fprintf(w, "%s %s since %s, %d legs, %d late trys\n", r.ID, r.State, r.At.Format(time.RFC3339), len(r.Transfer.Legs), r.LateTrys)
			}
		})
	})
}

// LedgerReservationsCountsCmd is `ledger reservations counts`.
type LedgerReservationsCountsCmd struct{}

// Run counts them.
func (c *LedgerReservationsCountsCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		counts, err := l.Ledger.CountReservations(ctx)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, counts, func(w io.Writer) {
			for _, name := range []string{"pending", "confirmed", "cancelled", "expired", "fenced", "hung"} {
				fmt.Fprintf(w, "%-10s %d\n", name, counts[name])
			}
		})
	})
}

// LedgerReservationsShowCmd is `ledger reservations show`.
type LedgerReservationsShowCmd struct {
	ID string `arg:"" help:"The try's id."`
}

// Run shows one.
func (c *LedgerReservationsShowCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := plain("try", c.ID); err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		r, err := l.Ledger.Reservation(ctx, c.ID)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, reservationForm(r), func(w io.Writer) {
			fmt.Fprintf(w, "%s %s since %s, ended by %q, %d late trys\n", r.ID, r.State, r.At.Format(time.RFC3339), r.EndedBy, r.LateTrys)
			for _, g := range r.Transfer.Legs {
				fmt.Fprintf(w, "  account %d %s %d\n", g.Account, g.Unit, g.Amount)
			}
		})
	})
}

// LedgerReservationsExpireCmd is `ledger reservations expire`.
type LedgerReservationsExpireCmd struct {
	Limit int `default:"500" help:"At most so many."`
}

// Run gives them back.
func (c *LedgerReservationsExpireCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := atMost(c.Limit); err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		n, err := l.Ledger.ExpireReservations(ctx, c.Limit)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, map[string]int{"expired": n}, func(w io.Writer) { fmt.Fprintf(w, "%d reservations given back\n", n) })
	})
}
