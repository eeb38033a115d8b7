package elastic

import (
	"context"

	"strata/catalog"
	"strata/index"
)

// Count fulfils index.Reader.
func (x *Index) Count(ctx context.Context, s index.Search) (int64, error) {
	op := "count " + s.Dataset
	ds, err := x.dataset(ctx, s.Dataset)
	if err != nil {
		return 0, err
	}
	if err := s.Filter.Check(ds.d); err != nil {
		return 0, err
	}
	p := &plan{Search: s, ds: ds}
	if err := p.condition(); err != nil {
		return 0, err
	}
	shards, err := x.findShards(ctx, ds, s.Shards)
	if err != nil || len(shards) == 0 {
		return 0, err
	}
	sure := p.filter
	if len(p.long) > 0 {
		sure = but(p.filter, obj{"terms": obj{own + ".long": p.long}})
	}
	answers, err := x.msearch(ctx, op, sub{indices(shards), obj{"size": 0, "track_total_hits": true, "query": sure}})
	if err != nil {
		return 0, err
	}
	n, err := answers[0].total(op)
	if err != nil || len(p.long) == 0 {
		return n, err
	}
	more, err := x.countCandidates(ctx, op, p, shards)
	return n + more, err
}

// countCandidates judges the documents with long texts in columns of the filter, one page after the other.
func (x *Index) countCandidates(ctx context.Context, op string, p *plan, shards []*shard) (int64, error) {
	const size = 100 // at 1 MiB each
	p.filter = every(p.filter, obj{"terms": obj{own + ".long": p.long}})
	for _, k := range p.ds.d.Key {
		p.Order = append(p.Order, index.Order{Column: k})
	}
	p.Order = append([]index.Order(nil), p.Order[len(p.Order)-len(p.ds.d.Key):]...)
	p.After = nil
	if err := p.order(); err != nil {
		return 0, err
	}
	p.sort = append(p.sort, obj{own + ".shard": "asc"}) // the same key may be in two shards
	var n int64
	for {
		hits, err := x.page(ctx, op, p, shards, size)
		if err != nil {
			return 0, err
		}
		for i := range hits {
			var row catalog.Row
			if err := p.ds.decode(op, &hits[i], &row); err != nil {
				return 0, err
			}
			if p.Filter.Accepts(p.ds.d, &row) {
				n++
			}
		}
		if len(hits) < size {
			return n, nil
		}
		p.after = hits[len(hits)-1].Sort
	}
}
