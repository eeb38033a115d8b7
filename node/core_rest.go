package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"strata/core"
	rest "strata/core/http"
	"strata/core/voucher"
	"strata/fault"
)

// restVouchers shows the vouchers, and makes the transfers of business cases, as the API wants it.
type restVouchers struct{ c *Ledgers }

// Transfer is rest.Cases. order_time has to be among the parameters: with the clock's a repeated call would be another body.
func (r restVouchers) Transfer(ctx context.Context, name, id string, params json.RawMessage) (core.Transfer, error) {
	head := core.Transfer{ID: id}
	texts, err := caseParams(params, &head)
	if err != nil {
		return core.Transfer{}, err
	}
	t, err := r.c.Case(ctx, name, head, texts)
	return t, caseProblem(err)
}

// caseProblem is an error of Case as rest.Cases promises it: what names no case is fault.NotFound, else the first problem's
// field is the error's object.
func caseProblem(err error) error {
	all := voucher.Problems(err)
	switch {
	case len(all) == 0:
		return err
	case all[0].Code == voucher.UnknownCase:
		return fault.Wrap(fault.NotFound, "find case", err)
	}
	return &fault.Error{Kind: fault.Invalid, Object: all[0].Field, Err: err}
}

func badParam(name, format string, args ...any) error {
	return &fault.Error{Kind: fault.Invalid, Op: "read parameters", Object: "params." + name, Err: fmt.Errorf(format, args...)}
}

// caseParams reads the parameters, all texts or whole numbers; order_time, tenant and order belong to the transfer itself.
func caseParams(raw json.RawMessage, head *core.Transfer) (map[string]string, error) {
	const op = "read parameters"
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var values map[string]any
	if err := dec.Decode(&values); err != nil {
		return nil, fault.Wrap(fault.Invalid, op, err)
	}
	out := make(map[string]string, len(values))
	for name, v := range values {
		var text string
		switch v := v.(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		default:
			return nil, badParam(name, "it is neither a text nor a whole number")
		}
		switch name {
		case "order_time":
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return nil, badParam(name, "%q is not an RFC 3339 time", text)
			}
			head.OrderTime = core.Micros(at)
		case "tenant":
			head.Tenant = text
		case "order":
			head.Order = text
		default:
			out[name] = text
		}
	}
	if head.OrderTime.IsZero() {
		return nil, badParam("order_time", "it is missing; a repeated call has to send the same")
	}
	return out, nil
}

// Case makes the transfer of a business case by the rules in force on the open accounting date.
func (c *Ledgers) Case(ctx context.Context, name string, head core.Transfer, params map[string]string) (core.Transfer, error) {
	if c.Vouchers == nil {
		return core.Transfer{}, noVouchers()
	}
	day, err := c.Ledger.Day(ctx)
	if err != nil {
		return core.Transfer{}, err
	}
	_, doc, err := c.Vouchers.InForce(ctx, day)
	if err != nil {
		return core.Transfer{}, err
	}
	return doc.Transfer(name, head, params)
}

func noVouchers() error {
	return fault.New(fault.Invalid, "open vouchers", "this configuration has none").WithHint("set core: vouchers: true")
}

// Vouchers is rest.Vouchers.
func (r restVouchers) Vouchers(ctx context.Context, transfer string) ([]rest.Voucher, error) {
	v, err := r.c.Vouchers.Voucher(ctx, transfer)
	if err != nil {
		return nil, err
	}
	out := rest.Voucher{Number: v.Transfer, Rules: v.Rules, Date: v.Date}
	for _, l := range v.Lines {
		out.Lines = append(out.Lines, rest.Line{Subject: l.Subject, Unit: l.Unit, Debit: l.Debit, Credit: l.Credit})
	}
	return []rest.Voucher{out}, nil
}

// VoucherStatus is rest.Vouchers.
func (r restVouchers) VoucherStatus(ctx context.Context) (rest.VoucherStatus, error) {
	s, err := r.c.VoucherStatus(ctx)
	return rest.VoucherStatus{Waiting: s.Waiting, Oldest: s.Oldest, Failed: s.Failed, Rules: s.Newest}, err
}

// VoucherStatus is how far the vouchers are, with what waits for them.
type VoucherStatus struct {
	voucher.Status
	Waiting int64     // transfers that the rules were not asked about yet
	Oldest  time.Time // when the oldest of them was posted; zero: none
}

// VoucherStatus says how far the vouchers are.
func (c *Ledgers) VoucherStatus(ctx context.Context) (out VoucherStatus, err error) {
	if c.Vouchers == nil {
		return out, noVouchers()
	}
	if out.Status, err = c.Vouchers.Status(ctx); err != nil {
		return out, err
	}
	out.Waiting, out.Oldest, err = c.waiting(ctx, core.ForVouchers)
	return out, err
}

// waiting counts what a consumer has not taken yet.
func (c *Ledgers) waiting(ctx context.Context, consumer string) (count int64, oldest time.Time, err error) {
	const op = "count waiting events"
	var first *string
	err = c.node.live.SQL().QueryRowContext(ctx, "SELECT COUNT(*), MIN(posted_at) FROM outbox WHERE consumer=?", consumer).Scan(&count, &first)
	if err != nil {
		return 0, time.Time{}, fault.Wrap(fault.Unavailable, op, err)
	}
	if first != nil {
		if oldest, err = time.Parse("2006-01-02 15:04:05.999999", *first); err != nil {
			return 0, time.Time{}, fault.Wrap(fault.Internal, op, err)
		}
	}
	return count, oldest, nil
}
