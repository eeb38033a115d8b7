package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

const (
	foundEach  = 2                     // every second transaction of the steady load is looked for
	foundEvery = 20 * time.Millisecond // between two searches: more would cost what is measured
	foundMost  = 50                    // rows of one search
)

// finder looks for rows in an index until it finds them, as a user would: by searches.
type finder struct {
	index  index.Reader
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	sought []soughtRow // oldest first
	took   []float64   // ms, of those that were found
}

// soughtRow is a row and when its commit was acknowledged.
type soughtRow struct {
	p  *payment
	at time.Time
}

func startFinder(ctx context.Context, x index.Reader) *finder {
	ctx, cancel := context.WithCancel(ctx)
	f := &finder{index: x, cancel: cancel, done: make(chan error, 1)}
	go func() { f.done <- f.run(ctx) }()
	return f
}

// seek looks for a row from now on.
func (f *finder) seek(p *payment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sought = append(f.sought, soughtRow{p, time.Now()})
}

// stop is called when the index says that it has everything: a row that one more search doesn't find is fault.Proof.
func (f *finder) stop() (tookMs []float64, err error) {
	f.cancel()
	if err := <-f.done; err != nil {
		return nil, err
	}
	for len(f.sought) > 0 {
		left := len(f.sought)
		if err := f.look(context.Background()); err != nil {
			return nil, err
		}
		if len(f.sought) == left {
			return nil, fault.New(fault.Proof, "find rows", "%d rows that the index claims to have are not found, such as %d/%d", left, f.sought[0].p.account, f.sought[0].p.seq)
		}
	}
	return f.took, nil
}

func (f *finder) run(ctx context.Context) error {
	tick := time.NewTicker(foundEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// look searches once for the oldest rows that were not found.
func (f *finder) look(ctx context.Context) error {
	f.mu.Lock()
	some := f.sought[:min(len(f.sought), foundMost)]
	f.mu.Unlock()
	if len(some) == 0 {
		return nil
	}
	var any []catalog.Filter
	for _, r := range some {
		any = append(any, catalog.Filter{Op: catalog.And, Args: []catalog.Filter{
			catalog.Cmp("account_id", catalog.Eq, strconv.FormatInt(r.p.account, 10)), catalog.Cmp("seq", catalog.Eq, strconv.FormatInt(r.p.seq, 10))}})
	}
	page, err := f.index.Search(ctx, index.Search{Dataset: paymentName, Shards: paymentTables(), Filter: catalog.Filter{Op: catalog.Or, Args: any},
		Columns: []string{"account_id", "seq"}, Order: []index.Order{{Column: "account_id"}, {Column: "seq"}}, Limit: foundMost})
	if err != nil {
		return err
	}
	now, found := time.Now(), map[[2]string]bool{}
	for i := range page.Rows {
		found[[2]string{page.Rows[i].Text(0), page.Rows[i].Text(1)}] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []soughtRow
	for i, r := range f.sought {
		if i < len(some) && found[[2]string{strconv.FormatInt(r.p.account, 10), strconv.FormatInt(r.p.seq, 10)}] {
			f.took = append(f.took, ms(now.Sub(r.at)))
			continue
		}
		left = append(left, r)
	}
	f.sought = left
	return nil
}
