package indexsource

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/router"
)

const (
	pageRows  = 1000
	pollEvery = 50 * time.Millisecond // while the index is waited for
)

// Config is what a Source needs.
type Config struct {
	Index index.Reader
	Now   func() time.Time
}

// Fitter is an Index that knows when it was made for other columns than a dataset's, and so can't answer for it.
type Fitter interface {
	// Fits returns nil where it can answer, and fault.Unavailable where it can't.
	Fits(ctx context.Context, d *catalog.Dataset) error
}

// Source reads the index. It is safe for concurrent use.
type Source struct{ cfg Config }

// New checks the configuration and makes a Source.
func New(cfg Config) (*Source, error) {
	var errs []error
	if cfg.Index == nil {
		errs = append(errs, fault.New(fault.Invalid, "configure index source", "no Index"))
	}
	if cfg.Now == nil {
		errs = append(errs, fault.New(fault.Invalid, "configure index source", "no Now"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Source{cfg}, nil
}

// Name is "index".
func (s *Source) Name() string { return "index" }

// Open is part of router.Source.
func (s *Source) Open(ctx context.Context, f router.Fetch) (router.Opened, error) {
	if slices.ContainsFunc(f.Aggregates, func(a router.Aggregate) bool { return a.Func != router.Count }) || f.Freshness.Strong {
		return router.Opened{}, fault.New(fault.Internal, "open index", "asked for a sum or a strong answer")
	}
	if slices.ContainsFunc(f.Columns, f.Dataset.Masked) || f.Filter.FindColumn(f.Dataset.Masked) != "" {
		return router.Opened{}, fault.New(fault.Internal, "open index", "asked for a masked column")
	}
	ctx, cancel := context.WithDeadline(ctx, f.Deadline)
	defer cancel()
	low, err := s.reached(ctx, f)
	if err != nil {
		return router.Opened{}, err
	}
	if x, ok := s.cfg.Index.(Fitter); ok { // after the watermarks, which say which generation is searched
		if err := x.Fits(ctx, f.Dataset); err != nil {
			return router.Opened{}, err
		}
	}
	search := index.Search{Dataset: f.Dataset.Name, Filter: f.Filter, Columns: f.Columns, After: f.After, Limit: pageRows}
	for _, h := range f.Holdings {
		search.Shards = append(search.Shards, h.Shard.Table)
	}
	for _, o := range f.Order {
		search.Order = append(search.Order, index.Order(o))
	}
	opened := router.Opened{Heartbeat: low.Heartbeat, At: low.At}
	switch {
	case len(f.Aggregates) > 0 && len(f.Columns) == 0:
		opened.Rows = &total{s: s, search: search, f: f}
	case len(f.Aggregates) > 0:
		for _, k := range f.Dataset.Key { // any total order will do
			search.Order = append(search.Order, index.Order{Column: k})
			if !slices.Contains(search.Columns, k) {
				search.Columns = append(slices.Clip(search.Columns), k)
			}
		}
		opened.Rows = &counted{pages: pages{s: s, search: search, f: f}}
	default:
		if f.Limit > 0 {
			search.Limit = min(search.Limit, f.Limit)
		}
		opened.Rows = &pages{s: s, search: search, f: f}
	}
	return opened, nil
}

// reached returns the lowest watermark once it is as far as was asked for.
func (s *Source) reached(ctx context.Context, f router.Fetch) (index.Watermark, error) {
	giveUp := time.NewTimer(f.Freshness.Wait)
	defer giveUp.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		marks, err := s.cfg.Index.Watermarks(ctx, f.Dataset.Name)
		if err != nil {
			return index.Watermark{}, err
		}
		low, err := s.lowest(f, marks)
		if err == nil {
			return low, nil
		}
		select {
		case <-poll.C:
		case <-giveUp.C:
			return low, err
		case <-ctx.Done():
			return low, fault.Wrap(fault.KindOf(ctx.Err()), "open index", ctx.Err())
		}
	}
}

// lowest is the minimum over the partitions, and whether it is far enough.
func (s *Source) lowest(f router.Fetch, marks []index.Watermark) (index.Watermark, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Unavailable, "open index", format, args...).
			WithHint("`strata sync status` shows how far the index is; ask live, or with less freshness")
	}
	if n := max(1, int(f.Dataset.Partitions)); len(marks) < n {
		return index.Watermark{}, bad("%d of %d partitions of %s have a watermark", len(marks), n, f.Dataset.Name)
	}
	low := marks[0]
	fresh := f.Freshness
	for _, m := range marks {
		if m.Frozen != "" && (fresh.Bounded > 0 || fresh.AtLeast > 0) {
			return m, bad("partition %d is frozen: %s", m.Partition, m.Frozen)
		}
		if m.Heartbeat < low.Heartbeat {
			low = m
		}
	}
	if low.Heartbeat < fresh.AtLeast {
		return low, bad("the index is at heartbeat %d, %d was asked for", low.Heartbeat, fresh.AtLeast)
	}
	if lag := s.cfg.Now().Sub(low.At.Time()); fresh.Bounded > 0 && lag > fresh.Bounded {
		return low, bad("the index is %s behind, at most %s was asked for", lag.Round(time.Millisecond), fresh.Bounded)
	}
	return low, nil
}

// pages is a search, page by page.
type pages struct {
	s      *Source
	f      router.Fetch
	search index.Search
	page   index.Page
	at     int
	begun  bool
	err    error
}

// Next is part of router.Rows.
func (p *pages) Next(ctx context.Context) (*catalog.Row, error) {
	if p.err != nil {
		return nil, p.err
	}
	if p.at == len(p.page.Rows) {
		if p.begun && !p.page.More {
			p.err = io.EOF
			return nil, p.err
		}
		if p.err = p.more(ctx); p.err != nil {
			return nil, p.err
		}
		if len(p.page.Rows) == 0 {
			return p.Next(ctx) // More is false then, or more has failed
		}
	}
	p.at++
	return &p.page.Rows[p.at-1], nil
}

func (p *pages) more(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, p.f.Deadline)
	defer cancel()
	if n := len(p.page.Rows); n > 0 {
		last := &p.page.Rows[n-1]
		p.search.After = make([]*string, len(p.search.Order))
		for i, o := range p.search.Order {
			if c := last.Cell(slices.Index(p.search.Columns, o.Column)); c != nil {
				text := string(c)
				p.search.After[i] = &text
			}
		}
	}
	page, err := p.s.cfg.Index.Search(ctx, p.search)
	if err != nil {
		return err
	}
	if len(page.Rows) == 0 && page.More {
		return fault.New(fault.Unavailable, "search index", "an empty page with more to come")
	}
	p.page, p.at, p.begun = page, 0, true
	return nil
}

// Close is part of router.Rows.
func (p *pages) Close() error {
	if p.err == nil {
		p.err = io.ErrClosedPipe
	}
	p.page = index.Page{}
	return nil
}

// counted turns each row into a group with counts of one.
type counted struct {
	pages
	row catalog.Row
}

// Next is part of router.Rows.
func (c *counted) Next(ctx context.Context) (*catalog.Row, error) {
	row, err := c.pages.Next(ctx)
	if err != nil {
		return nil, err
	}
	c.row.Reset()
	for i := range c.f.Columns {
		c.row.Append(row.Cell(i))
	}
	for range c.f.Aggregates {
		c.row.AppendString("1")
	}
	return &c.row, nil
}

// total is one count over everything.
type total struct {
	s      *Source
	f      router.Fetch
	search index.Search
	row    catalog.Row
	err    error
}

// Next is part of router.Rows.
func (t *total) Next(ctx context.Context) (*catalog.Row, error) {
	if t.err != nil {
		return nil, t.err
	}
	ctx, cancel := context.WithDeadline(ctx, t.f.Deadline)
	defer cancel()
	n, err := t.s.cfg.Index.Count(ctx, t.search)
	if err != nil {
		t.err = err
		return nil, err
	}
	t.err = io.EOF
	for range t.f.Aggregates {
		t.row.AppendString(strconv.FormatInt(n, 10))
	}
	return &t.row, nil
}

// Close is part of router.Rows.
func (t *total) Close() error {
	if t.err == nil {
		t.err = io.ErrClosedPipe
	}
	return nil
}
