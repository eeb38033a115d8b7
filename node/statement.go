package node

import (
	"context"
	"io"
	"strconv"
	"time"

	"strata/fault"
	"strata/money"
	"strata/statement"
)

// StatementRequest names an account of the ledger and a period.
type StatementRequest struct {
	Account  int64
	From, To time.Time // the first accounting date, and the one after the last
	Progress func(done, total int64)
}

// Statement writes the account's statement as CSV.
func (n *Node) Statement(ctx context.Context, r StatementRequest, to io.Writer) (statement.Summary, error) {
	if !n.cfg.Ledger {
		return statement.Summary{}, fault.New(fault.Invalid, "write statement", "this configuration has no ledger").WithHint("set ledger: true")
	}
	units, err := money.NewUnits(nil)
	if err != nil {
		return statement.Summary{}, err
	}
	w, err := statement.New(statement.Config{Router: n.router, Dataset: "entry", Units: units})
	if err != nil {
		return statement.Summary{}, err
	}
	return w.Write(ctx, to, statement.Request{Account: strconv.FormatInt(r.Account, 10), From: r.From.Format(time.DateOnly),
		To: r.To.Format(time.DateOnly), Progress: r.Progress})
}
