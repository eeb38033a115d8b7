package elastic

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// allShards keeps Elasticsearch from skipping shards that it believes to have nothing: one that is skipped tells of trouble.
const allShards = "2147483647"

// lowest is what Elasticsearch sorts a missing long as, in the first place ascending and in the last descending.
const lowest = -1 << 63

// plan is a search, checked and resolved against the dataset.
type plan struct {
	index.Search
	ds     *dataset
	cols   []int // positions of the wanted columns
	filter obj
	long   []string // columns of the filter whose long texts are judged here
	sort   []any
	texts  []string // order columns that may have long texts
	after  any
}

func (ds *dataset) plan(s index.Search) (*plan, error) {
	if err := s.Check(ds.d); err != nil {
		return nil, err
	}
	p := &plan{Search: s, ds: ds}
	if s.Columns == nil {
		p.Columns = ds.d.Names()
	}
	for _, name := range p.Columns {
		p.cols = append(p.cols, ds.d.Index(name))
	}
	if err := p.order(); err != nil {
		return nil, err
	}
	return p, p.condition()
}

// condition builds the filter, which has passed Check.
func (p *plan) condition() error {
	q := query{ds: p.ds}
	is, err := q.filter(p.Filter, true, 0)
	if err != nil {
		return err
	}
	p.filter, p.long = every(term(own+".deleted", false), is), q.long
	return nil
}

// order builds the sort, and the values to go on after.
func (p *plan) order() error {
	var after []any
	for i, o := range p.Order {
		f := &p.ds.fields[p.ds.d.Index(o.Column)]
		by := obj{"order": "asc", "missing": "_first"}
		if o.Desc {
			by = obj{"order": "desc", "missing": "_last"}
		}
		p.sort = append(p.sort, obj{f.path(): by})
		if f.form == asKeyword && !slices.Contains(p.ds.d.Key, o.Column) {
			p.texts = append(p.texts, o.Column)
		}
		if p.After == nil {
			continue
		}
		v, err := f.sortValue(p.After[i])
		if err != nil {
			return err
		}
		after = append(after, v)
	}
	if after != nil {
		p.after = after
	}
	return nil
}

// sortValue is the search_after value of a cell.
func (f *field) sortValue(cell *string) (any, error) {
	if cell == nil {
		if f.form == asLong || f.form == keyLong {
			return int64(lowest), nil
		}
		return nil, nil
	}
	if f.form == asKeyword {
		return *cell, nil
	}
	v, ok := f.encodeCell([]byte(*cell))
	if !ok {
		return nil, badValue(*cell)
	}
	return v.any(), nil
}

// sub is one search of several that go out together.
type sub struct {
	indices []string
	body    obj
}

// hit is a document found.
type hit struct {
	ID      string          `json:"_id"`
	Index   string          `json:"_index"`
	Version int64           `json:"_version"`
	Source  json.RawMessage `json:"_source"`
	Sort    json.RawMessage `json:"sort"` // as it came, so that going on after it changes no digit
}

// answer is what one search came to.
type answer struct {
	TimedOut bool `json:"timed_out"`
	Shards   *struct {
		Total      int `json:"total"`
		Successful int `json:"successful"`
		Skipped    int `json:"skipped"`
		Failed     int `json:"failed"`
		Failures   []struct {
			Index  string `json:"index"`
			Reason detail `json:"reason"`
		} `json:"failures"`
	} `json:"_shards"`
	Hits struct {
		Total *struct {
			Value    int64  `json:"value"`
			Relation string `json:"relation"`
		} `json:"total"`
		Hits []hit `json:"hits"`
	} `json:"hits"`
	PIT    string  `json:"pit_id"`
	Status int     `json:"status"`
	Error  *detail `json:"error"`
}

// whole refuses an answer that is not of all its n indices.
func (a *answer) whole(op string, n int) error {
	partly := func(format string, args ...any) error {
		return fault.New(fault.Unavailable, op, "a partial answer: "+format, args...).
			WithHint("see GET /_cluster/health and /_cat/shards: every primary must be started")
	}
	switch {
	case a.Error != nil:
		return refusal(op, max(a.Status, http.StatusBadRequest), a.Error)
	case a.Shards == nil:
		return partly("it says nothing of its shards")
	case a.TimedOut:
		return partly("it timed out")
	case a.Shards.Failed > 0 || a.Shards.Skipped > 0 || a.Shards.Successful < a.Shards.Total:
		reason := ""
		if len(a.Shards.Failures) > 0 {
			reason = ": " + a.Shards.Failures[0].Reason.String()
		}
		return partly("of %d shards %d answered, %d failed, %d were skipped%s", a.Shards.Total, a.Shards.Successful, a.Shards.Failed,
			a.Shards.Skipped, reason)
	case a.Shards.Total < n:
		return partly("%d shards instead of %d", a.Shards.Total, n)
	}
	return nil
}

// msearch sends searches together; it returns an answer for each, whole, or an error. The names of indices are in the body,
// where any number has room.
func (x *Index) msearch(ctx context.Context, op string, subs ...sub) ([]answer, error) {
	var body strings.Builder
	for _, s := range subs {
		head := obj{"index": s.indices, "allow_partial_search_results": false}
		for _, line := range []obj{head, s.body} {
			raw, err := json.Marshal(line)
			if err != nil {
				return nil, fault.Wrap(fault.Internal, op, err)
			}
			body.Write(raw)
			body.WriteByte('\n')
		}
	}
	var got struct {
		Responses []answer `json:"responses"`
	}
	err := x.c.call(ctx, op, request{method: http.MethodPost, path: "/_msearch", body: body.String(), ndjson: true,
		params: param("pre_filter_shard_size", allShards)}, &got)
	if err != nil {
		return nil, err
	}
	if len(got.Responses) != len(subs) {
		return nil, fault.New(fault.Unavailable, op, "%d answers to %d searches", len(got.Responses), len(subs))
	}
	for i := range subs {
		if err := got.Responses[i].whole(op, len(subs[i].indices)); err != nil {
			return nil, err
		}
	}
	return got.Responses, nil
}

func indices(shards []*shard) []string {
	out := make([]string, len(shards))
	for i, s := range shards {
		out[i] = s.index
	}
	return out
}

// Search fulfils index.Reader.
func (x *Index) Search(ctx context.Context, s index.Search) (index.Page, error) {
	op := "search " + s.Dataset
	ds, err := x.dataset(ctx, s.Dataset)
	if err != nil {
		return index.Page{}, err
	}
	p, err := ds.plan(s)
	if err != nil {
		return index.Page{}, err
	}
	shards, err := x.findShards(ctx, ds, s.Shards)
	if err != nil || len(shards) == 0 {
		return index.Page{}, err
	}
	var page index.Page
	for {
		want := s.Limit + 1 - len(page.Rows)
		hits, err := x.page(ctx, op, p, shards, want)
		if err != nil {
			return index.Page{}, err // never a part of a page
		}
		for i := range hits {
			if err := p.take(op, &hits[i], &page); err != nil {
				return index.Page{}, err
			}
		}
		if len(page.Rows) > s.Limit {
			page.Rows, page.More = page.Rows[:s.Limit], true
			return page, nil
		}
		if len(hits) < want {
			return page, nil
		}
		p.after = hits[len(hits)-1].Sort // candidates were turned down: there may be more
	}
}

// page asks for the next hits, and in the same request for documents that can't be ordered.
func (x *Index) page(ctx context.Context, op string, p *plan, shards []*shard, size int) ([]hit, error) {
	body := obj{"size": size, "track_total_hits": false, "query": p.filter, "sort": p.sort}
	if p.after != nil {
		body["search_after"] = p.after
	}
	subs := []sub{{indices(shards), body}}
	if len(p.texts) > 0 {
		subs = append(subs, sub{indices(shards), obj{"size": 0, "track_total_hits": true,
			"query": every(p.filter, obj{"terms": obj{own + ".long": p.texts}})}})
	}
	answers, err := x.msearch(ctx, op, subs...)
	if err != nil {
		return nil, err
	}
	if len(p.texts) > 0 {
		if n, err := answers[1].total(op); err != nil || n > 0 {
			if err == nil {
				err = fault.New(fault.TooLarge, op, "%d documents have more than %d bytes in %s: they can't be ordered by it", n, longBytes,
					strings.Join(p.texts, " or ")).WithHint("order by other columns, or ask live and archive")
			}
			return nil, err
		}
	}
	return answers[0].Hits.Hits, nil
}

// total is the number of all hits.
func (a *answer) total(op string) (int64, error) {
	if a.Hits.Total == nil || a.Hits.Total.Relation != "eq" {
		return 0, fault.New(fault.Unavailable, op, "a partial answer: no exact count").WithHint("does something change answers on the way?")
	}
	return a.Hits.Total.Value, nil
}

// take adds a hit's row to the page, unless it is a candidate that the filter turns down.
func (p *plan) take(op string, h *hit, page *index.Page) error {
	var row catalog.Row
	if err := p.ds.decode(op, h, &row); err != nil {
		return err
	}
	if p.turnsDown(&row) {
		return nil
	}
	if len(p.cols) == row.Len() && slices.IsSorted(p.cols) && slices.Equal(p.cols, slices.Compact(slices.Clone(p.cols))) {
		page.Rows = append(page.Rows, row) // all columns in their order
		return nil
	}
	var out catalog.Row
	for _, c := range p.cols {
		out.Append(row.Cell(c))
	}
	page.Rows = append(page.Rows, out)
	return nil
}

// turnsDown judges a row that has long texts in columns of the filter; all others Elasticsearch has judged.
func (p *plan) turnsDown(row *catalog.Row) bool {
	for _, name := range p.long {
		if i := p.ds.d.Index(name); p.ds.fields[i].isLong(row.Cell(i)) {
			return !p.Filter.Accepts(p.ds.d, row)
		}
	}
	return false
}

// decode reads the row of a document.
func (ds *dataset) decode(op string, h *hit, row *catalog.Row) error {
	if _, err := catalog.ParseImage(ds.d, h.Source, row); err != nil {
		return foreign(op, h, err)
	}
	return nil
}
