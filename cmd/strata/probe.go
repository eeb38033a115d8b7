package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/router"
)

// probeAccounts is how many accounts the baseline counts on their own.
const probeAccounts = 64

// Probe asks the router, over and over, for rows whose number is known, while shards move: every row must come exactly
// once. It looks at entries of closed accounting dates, which nobody adds to.
type Probe struct {
	router   *router.Router
	before   catalog.Filter // accounting_date < the open date
	total    int64
	months   map[string]int64 // "2026-01" → entries
	accounts map[string]int64 // the first probeAccounts accounts → entries
	random   *rand.Rand

	Queries, Errors, Missed, Twice atomic.Int64
}

// NewProbe reads the baseline: what is there before anything moves.
func NewProbe(ctx context.Context, r *router.Router, open string, seed uint64) (*Probe, error) {
	p := &Probe{router: r, before: catalog.Cmp("accounting_date", catalog.Lt, open), months: map[string]int64{},
		accounts: map[string]int64{}, random: rand.New(rand.NewPCG(seed, 1))}
	err := p.stream(ctx, router.Query{Filter: p.before}, func(row *catalog.Row) {
		p.total++
		p.months[string(row.Cell(2)[:7])]++
		account := row.Text(0)
		if _, known := p.accounts[account]; known || len(p.accounts) < probeAccounts {
			p.accounts[account]++
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	return p, nil
}

// probeCycle is the number of queries after which every kind has been asked.
const probeCycle = 12

// Run asks until moved is closed, at least a cycle, or ctx ends. Wrong and failed answers are counted; the first failure is
// returned for the report.
func (p *Probe) Run(ctx context.Context, moved <-chan struct{}) error {
	var first error
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-moved:
			if i >= probeCycle {
				return first
			}
		default:
		}
		var err error
		switch {
		case i%probeCycle == 3:
			err = p.all(ctx)
		case i%3 == 0:
			err = p.account(ctx)
		default:
			err = p.month(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.Errors.Add(1)
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// all streams every closed entry.
func (p *Probe) all(ctx context.Context) error {
	return p.compare(ctx, router.Query{Filter: p.before}, p.total)
}

// month counts the entries of one month by reading them.
func (p *Probe) month(ctx context.Context) error {
	month, want := pick(p.random, p.months)
	from, err := time.Parse("2006-01", month)
	if err != nil {
		return fault.Wrap(fault.Internal, "probe month", err)
	}
	f := catalog.AndAll(p.before, catalog.Cmp("accounting_date", catalog.Ge, from.Format(time.DateOnly)),
		catalog.Cmp("accounting_date", catalog.Lt, from.AddDate(0, 1, 0).Format(time.DateOnly)))
	return p.compare(ctx, router.Query{Filter: f}, want)
}

// account pages through one account's entries by cursors.
func (p *Probe) account(ctx context.Context) error {
	account, want := pick(p.random, p.accounts)
	q := router.Query{Limit: 500, Filter: catalog.AndAll(p.before, catalog.Cmp("account_id", catalog.Eq, account))}
	return p.compare(ctx, q, want)
}

func pick(r *rand.Rand, m map[string]int64) (string, int64) {
	n := r.IntN(len(m))
	for k, v := range m { // the order of a map is random enough; n only spreads it
		if n == 0 {
			return k, v
		}
		n--
	}
	return "", 0
}

// compare reads the query to its end, over all pages, and compares the number of different rows with want.
func (p *Probe) compare(ctx context.Context, q router.Query, want int64) error {
	p.Queries.Add(1)
	var got, twice int64
	var last catalog.Row
	order := []catalog.Sort{{Index: 2, Type: catalog.Type{Kind: catalog.Date}}, {Index: 0, Type: catalog.Type{Kind: catalog.Int}},
		{Index: 1, Type: catalog.Type{Kind: catalog.Int}}}
	var disorder error
	err := p.stream(ctx, q, func(row *catalog.Row) {
		if got+twice > 0 {
			switch c := catalog.CompareRows(order, &last, row); {
			case c == 0:
				twice++
				return
			case c > 0 && disorder == nil:
				disorder = fault.New(fault.Proof, "probe entries", "row %s/%s came after %s/%s", row.Text(0), row.Text(1), last.Text(0), last.Text(1))
			}
		}
		got++
		last = row.Clone()
	})
	if err != nil {
		return err
	}
	p.Twice.Add(twice + max(0, got-want))
	p.Missed.Add(max(0, want-got))
	return disorder
}

// stream reads all pages of q over entry, in time order.
func (p *Probe) stream(ctx context.Context, q router.Query, f func(*catalog.Row)) error {
	q.Dataset, q.Columns = "entry", []string{"account_id", "seq", "accounting_date"}
	for {
		cursor, err := p.page(ctx, q, f)
		if err != nil || cursor == "" {
			return err
		}
		q.Cursor = cursor
	}
}

func (p *Probe) page(ctx context.Context, q router.Query, f func(*catalog.Row)) (cursor string, err error) {
	res, err := p.router.Query(ctx, q)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	for {
		row, err := res.Next(ctx)
		if errors.Is(err, io.EOF) {
			if s := res.Served(); !s.Complete {
				return "", fault.New(fault.Unavailable, "probe entries", "an incomplete answer: %s", s.Reason)
			}
			return res.Cursor(), nil
		}
		if err != nil {
			return "", err
		}
		f(row)
	}
}
