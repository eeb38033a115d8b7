package elastic

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"

	"strata/fault"
	"strata/index"
)

// maxSweep bounds the tombstones of one request: it must be over within RequestLimit.
const maxSweep = 5000

// Sweep fulfils index.Writer. Elasticsearch deletes what it finds by sequence number: a document that was written since, and
// perhaps lives again, is a conflict and stays.
func (x *Index) Sweep(ctx context.Context, dataset string, below index.Version) (int64, error) {
	op := "sweep tombstones of " + dataset
	if _, err := x.dataset(ctx, dataset); err != nil {
		return 0, err
	}
	recorded, err := x.shardRecords(ctx, dataset)
	if err != nil || below == 0 {
		return 0, err
	}
	var gone int64
	for _, r := range recorded {
		for {
			n, err := x.sweepOnce(ctx, op, r.Index, below)
			gone += n
			if err != nil {
				return gone, err
			}
			if n == 0 { // or all were conflicts: the next sweep finds what is left of them
				break
			}
		}
	}
	return gone, nil
}

// sweepOnce deletes up to maxSweep tombstones of one index.
func (x *Index) sweepOnce(ctx context.Context, op, name string, below index.Version) (int64, error) {
	var a struct {
		TimedOut  *bool             `json:"timed_out"`
		Total     int64             `json:"total"`
		Deleted   int64             `json:"deleted"`
		Conflicts int64             `json:"version_conflicts"`
		Failures  []json.RawMessage `json:"failures"`
	}
	dead := every(term(own+".deleted", true), obj{"range": obj{own + ".version": obj{"lt": min(uint64(below), math.MaxInt64)}}})
	err := x.c.call(ctx, op, request{method: http.MethodPost, path: "/" + url.PathEscape(name) + "/_delete_by_query",
		body: obj{"query": dead, "max_docs": maxSweep},
		// refreshed, so that the next request doesn't find them again
		params: param("conflicts", "proceed", "refresh", "true", "scroll_size", "1000", "timeout", "20s")}, &a)
	if err != nil {
		return 0, err
	}
	partly := func(format string, args ...any) error {
		return fault.New(fault.Unavailable, op, "a partial answer: "+format, args...).WithHint("sweep again; see GET /_cluster/health and Elasticsearch's log")
	}
	switch {
	case a.TimedOut == nil:
		return 0, partly("it says nothing of what was done")
	case len(a.Failures) > 0:
		return a.Deleted, partly("%d failures: %.300s", len(a.Failures), a.Failures[0])
	case *a.TimedOut:
		return a.Deleted, partly("it timed out")
	case a.Deleted+a.Conflicts != a.Total:
		return a.Deleted, partly("of %d tombstones %d are deleted, %d were written again", a.Total, a.Deleted, a.Conflicts)
	}
	return a.Deleted, nil
}
