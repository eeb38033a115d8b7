package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/router"
)

const (
	firstPage = 50   // rows of an account's first page
	deepPage  = 5000 // the page that is compared with the first ones
	nearby    = 5    // pages around it, and first pages, that are asked
)

// querySizes of one run.
type querySizes struct {
	transfers int
	pageSize  int // of the pages over all rows; page 5000 exists
	accounts  int // asked for their first page
	asks      int // of each side in a round
	deepAsks  int // of each of the nearby pages in a round
	offsets   int // the plain table's OFFSET, in a round
	step      int // pages at a time on the way to page 5000
}

func (s *Session) querySizes() querySizes {
	if s.Quick {
		return querySizes{transfers: 6_500, pageSize: 3, accounts: 20, asks: 100, deepAsks: 20, offsets: 3, step: 10}
	}
	return querySizes{transfers: 42_000, pageSize: 20, accounts: 50, asks: 300, deepAsks: 40, offsets: 10, step: 1}
}

// queryRun is the state of the benchmark.
type queryRun struct {
	s     *Session
	sz    querySizes
	led   *ledgerStage
	plain *plainTable
}

// query measures what the router adds to a query over one plain table, and whether later pages cost more.
func query(ctx context.Context, s *Session) (err error) {
	q := &queryRun{s: s, sz: s.querySizes()}
	v, err := s.servers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	if q.led, err = s.openLedger(ctx, v, q.sz.transfers); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.led.node.Close()) }()
	if err := q.led.fill(ctx); err != nil {
		return err
	}
	if q.plain, err = openPlainTable(ctx, v.live, plainEntry); err != nil {
		return err
	}
	if err := q.firstPages(ctx); err != nil {
		return fmt.Errorf("first pages: %w", err)
	}
	if err := q.deepPages(ctx); err != nil {
		return fmt.Errorf("pages by cursor: %w", err)
	}
	return errors.Join(
		s.ratio("first_page_added_ms_p50", "first page", "strata", "plain table", "p50_ms", difference),
		s.ratio("page_5000_vs_first", "pages by cursor", "strata, page 5000", "strata, first", "p50_ms", quotient))
}

// firstPages asks for the first page of an account by time, over all shards.
func (q *queryRun) firstPages(ctx context.Context) error {
	accounts, err := q.led.accounts(ctx, firstPage, q.sz.accounts)
	if err != nil {
		return err
	}
	q.s.set("first page", fmt.Sprintf("%d rows of one account ordered by accounting_date and key, over all shards; %d accounts, %d asks a side and round after 1 of each account to warm up",
		firstPage, len(accounts), q.sz.asks))
	ours := func(account string) ([]string, error) {
		keys, _, err := q.page(ctx, router.Query{Dataset: "entry", Filter: catalog.Cmp("account_id", catalog.Eq, account), Limit: firstPage})
		return keys, err
	}
	plain := func(account string) ([]string, error) { return q.plain.read(ctx, q.plain.account, account, firstPage) }
	for _, a := range accounts {
		if err := sameKeys("account "+a, ours, plain, a); err != nil {
			return err
		}
	}
	side := func(name string, ask func(string) ([]string, error)) func(int) error {
		return func(round int) error {
			times := make([]float64, q.sz.asks)
			w := startWatch()
			for i := range times {
				began := time.Now()
				if _, err := ask(accounts[i%len(accounts)]); err != nil {
					return err
				}
				times[i] = ms(time.Since(began))
			}
			_, cpu := w.seconds()
			q.s.note(Run{"first page", name, round, map[string]float64{"asks": float64(len(times)), "p50_ms": percentile(times, 50),
				"p99_ms": percentile(times, 99), "cpu_ms_per_ask": cpu / float64(len(times)) * 1000}})
			return nil
		}
	}
	defer q.s.say("first pages done")
	return q.s.InTurn(side("strata", ours), side("plain table", plain))
}

// sameKeys asks both sides and compares.
func sameKeys[T any](what string, ours, plain func(T) ([]string, error), arg T) error {
	got, err := ours(arg)
	want, err2 := plain(arg)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fault.New(fault.Proof, "compare "+what, "the router gives %v, the plain table %v", got, want)
	}
	return nil
}

// page reads one page, every cell of it, and returns the keys of its rows and the cursor behind it.
func (q *queryRun) page(ctx context.Context, query router.Query) (keys []string, cursor string, err error) {
	res, err := q.led.node.Router().Query(ctx, query)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	for {
		row, err := res.Next(ctx)
		if errors.Is(err, io.EOF) {
			return keys, res.Cursor(), nil
		}
		if err != nil {
			return nil, "", err
		}
		keys = append(keys, row.Text(0)+"/"+row.Text(1))
	}
}
