package mysql

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/router"
)

const (
	rowBudget  = 32_768   // rows held over all shards of a fetch
	firstPage  = 128      // rows of a stream's first page, before the size of a row is known
	minPage    = 16       // rows
	pageBytes  = 4 << 20  // aimed at
	giantBytes = 64 << 20 // a page stops here, whatever its rows
)

// stream is a merge of keyset pages over the shards of a fetch.
type stream struct {
	s      *Source
	f      router.Fetch
	sort   []catalog.Sort // positions in f.Columns
	strict []int          // positions of sort columns whose collation pads
	timeAt int            // position of the time column if the order begins with it, else -1
	desc   bool           // of the first sort column
	cap    int            // rows of a page of one shard

	pending []*shard // not yet touched, in the order of their ranges
	heap    []*shard // with a head; the least is first
	current *shard   // whose head was returned last; it is heap[0]
	err     error

	mu     sync.Mutex // the snapshot, which a timer takes away
	snap   *db.Snapshot
	timer  *time.Timer
	left   int // shards that may have more rows on the server
	closed bool
}

// shard is one table of the fetch.
type shard struct {
	h       catalog.Holding
	filter  catalog.Filter // folded
	after   []*string
	rows    []catalog.Row // the page
	at, n   int           // the head and the end of the page
	page    int           // rows to ask for next
	fetched int
	done    bool // the server has no more
}

func newStream(s *Source, f router.Fetch, snap *db.Snapshot) (*stream, error) {
	x := &stream{s: s, f: f, timeAt: -1, snap: snap, left: len(f.Holdings)}
	for i, o := range f.Order {
		c, ok := f.Dataset.Column(o.Column)
		at := slices.Index(f.Columns, o.Column)
		if !ok || at < 0 {
			return nil, fault.New(fault.Internal, "open "+s.Name(), "sort column %s is not among the columns", o.Column)
		}
		x.sort = append(x.sort, catalog.Sort{Index: at, Type: c.Type, Desc: o.Desc})
		if padding(c) {
			x.strict = append(x.strict, at)
		}
		if i == 0 {
			x.desc = o.Desc
			if o.Column == f.Dataset.Time {
				x.timeAt = at
			}
		}
	}
	x.cap = max(minPage, rowBudget/max(1, len(f.Holdings)))
	if x.timeAt >= 0 {
		x.cap = rowBudget / 4 // few shards are open at a time
	}
	first := firstPage
	if f.Limit > 0 {
		first = f.Limit
	}
	for _, h := range f.Holdings {
		x.pending = append(x.pending, &shard{h: h, filter: f.Filter.Fold(f.Dataset, h.Shard.Range), after: f.After, page: min(first, x.cap)})
	}
	slices.SortStableFunc(x.pending, func(a, b *shard) int {
		if x.desc {
			return cmp.Compare(b.h.Shard.Range.To, a.h.Shard.Range.To)
		}
		return cmp.Compare(a.h.Shard.Range.From, b.h.Shard.Range.From)
	})
	x.arm()
	return x, nil
}

// arm takes the snapshot away when it was held too long. The caller holds mu, or is alone.
func (x *stream) arm() {
	if x.f.Freshness.Strong {
		return
	}
	x.timer = time.AfterFunc(x.s.hold-time.Since(x.snap.Opened()), func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.dropSnapshot()
	})
}

// dropSnapshot closes the snapshot if there is one; the next page opens another. The caller holds mu.
func (x *stream) dropSnapshot() {
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	if x.snap != nil {
		_ = x.snap.Close() // a connection that could not be given back is dropped
		x.snap = nil
	}
}

// Next is part of router.Rows.
func (x *stream) Next(ctx context.Context) (*catalog.Row, error) {
	if x.err != nil {
		return nil, x.err
	}
	row, err := x.next(ctx)
	if err != nil {
		x.err = err
		_ = x.Close() // never fails
	}
	return row, err
}

func (x *stream) next(ctx context.Context) (*catalog.Row, error) {
	if c := x.current; c != nil {
		x.current = nil
		c.at++
		if err := x.pull(ctx, c); err != nil {
			return nil, err
		}
		if c.at == c.n {
			x.heap[0] = x.heap[len(x.heap)-1]
			x.heap = x.heap[:len(x.heap)-1]
		}
		x.sink(0)
	}
	for len(x.pending) > 0 && x.reaches(x.pending[0]) {
		p := x.pending[0]
		if err := x.pull(ctx, p); err != nil {
			return nil, err
		}
		x.pending = x.pending[1:]
		if p.at < p.n {
			x.heap = append(x.heap, p)
			x.rise(len(x.heap) - 1)
		}
	}
	if len(x.heap) == 0 {
		return nil, io.EOF
	}
	x.current = x.heap[0]
	return x.current.head(), nil
}

func (s *shard) head() *catalog.Row { return &s.rows[s.at] }

// reaches reports whether a shard that was not touched yet may hold the next row.
func (x *stream) reaches(p *shard) bool {
	if len(x.heap) == 0 || x.timeAt < 0 {
		return true
	}
	head := x.heap[0].head().Cell(x.timeAt)
	t, ok := catalog.InstantOf(x.sort[0].Type, head)
	if x.desc {
		return !ok || p.h.Shard.Range.To > t
	}
	return ok && p.h.Shard.Range.From <= t || !ok && head != nil
}

// pull gets the next page of a shard whose page is used up.
func (x *stream) pull(ctx context.Context, p *shard) error {
	if p.at < p.n || p.done {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, x.f.Deadline)
	defer cancel()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return fault.New(fault.Invalid, "read "+x.s.Name(), "the rows are closed")
	}
	if x.snap == nil {
		snap, err := x.s.db.Snapshot(ctx, x.f.Dataset, x.f.Holdings)
		if err != nil {
			return err
		}
		x.snap = snap
		x.arm()
	}
	limit := p.page
	if x.f.Limit > 0 {
		limit = min(limit, x.f.Limit-p.fetched)
	}
	query, args, err := x.query(p, limit)
	if err != nil {
		return err
	}
	rows, err := x.snap.Rows(ctx, x.f.Dataset, x.f.Columns, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // read to its end, or failed
	if err := x.take(p, rows, limit); err != nil {
		return err
	}
	if p.done {
		if x.left--; x.left == 0 {
			x.dropSnapshot()
		}
	}
	return nil
}

// query is the statement for one page.
func (x *stream) query(p *shard, limit int) (string, []any, error) {
	w := &where{ds: x.f.Dataset}
	w.WriteString("SELECT " + db.SelectList(w.ds, x.f.Columns, "") + " FROM " + db.Quote(p.h.Shard.Table) + " WHERE (")
	if err := w.filter(p.filter); err != nil {
		return "", nil, err
	}
	w.WriteByte(')')
	if p.after != nil {
		w.WriteString(" AND ")
		if err := w.after(x.f.Order, p.after, fixed(p.filter)); err != nil {
			return "", nil, err
		}
	}
	w.orderBy(x.f.Order)
	w.WriteString(" LIMIT " + strconv.Itoa(limit))
	return w.String(), w.args, nil
}

// take reads a page into the shard's memory and says how long the next one may be.
func (x *stream) take(p *shard, rows *db.Rows, limit int) error {
	p.at, p.n = 0, 0
	size, giant := 0, false
	for !giant {
		if p.n == len(p.rows) {
			p.rows = append(p.rows, catalog.Row{})
		}
		row := &p.rows[p.n]
		more, err := rows.Next(row)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := x.clean(row); err != nil {
			return err
		}
		p.n++
		size += row.Size()
		giant = size > giantBytes && p.n < limit
	}
	if giant { // closing the result in its middle costs the snapshot
		if x.f.Freshness.Strong {
			return fault.New(fault.TooLarge, "read "+p.h.Shard.Table, "%d rows have more than %d MiB", p.n, giantBytes>>20).
				WithHint("ask for fewer columns or rows, or without strong")
		}
		_ = rows.Close() // kills the statement
		x.dropSnapshot()
	}
	p.fetched += p.n
	p.done = !giant && p.n < limit || x.f.Limit > 0 && p.fetched >= x.f.Limit
	if p.n > 0 {
		last := &p.rows[p.n-1]
		p.after = make([]*string, len(x.sort))
		for i, s := range x.sort {
			if c := last.Cell(s.Index); c != nil {
				text := string(c)
				p.after[i] = &text
			}
		}
		p.page = max(minPage, min(p.page*4, x.cap, pageBytes*p.n/max(1, size)))
	}
	return nil
}

// clean refuses texts in sort columns that the server would put elsewhere than their bytes say.
func (x *stream) clean(row *catalog.Row) error {
	for _, at := range x.strict {
		c := row.Cell(at)
		odd := len(c) > 0 && c[len(c)-1] == ' '
		for _, b := range c {
			odd = odd || b < ' '
		}
		if odd {
			return fault.New(fault.Invalid, "sort by "+x.f.Columns[at], "the text %q ends with a space or holds control characters, which a padding collation puts elsewhere", c).
				WithHint("sort by another column, or give the column the collation utf8mb4_nopad_bin (MariaDB) or utf8mb4_0900_bin (MySQL)")
		}
	}
	return nil
}

func (x *stream) less(a, b *shard) bool { return catalog.CompareRows(x.sort, a.head(), b.head()) < 0 }

// sink and rise keep the heap.
func (x *stream) sink(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(x.heap); c++ {
			if x.less(x.heap[c], x.heap[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		x.heap[i], x.heap[least] = x.heap[least], x.heap[i]
		i = least
	}
}

func (x *stream) rise(i int) {
	for i > 0 && x.less(x.heap[i], x.heap[(i-1)/2]) {
		x.heap[i], x.heap[(i-1)/2] = x.heap[(i-1)/2], x.heap[i]
		i = (i - 1) / 2
	}
}

// Close is part of router.Rows.
func (x *stream) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	x.dropSnapshot()
	x.heap, x.pending, x.current = nil, nil, nil
	if x.err == nil {
		x.err = io.ErrClosedPipe
	}
	return nil
}
