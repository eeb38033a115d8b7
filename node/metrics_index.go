package node

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/elastic"
)

// observeIndex adds what is told of the search copy.
func (m *metrics) observeIndex() {
	bounds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	m.indexCalls = m.histogram("strata_index_request_seconds", "Requests to the index, by operation and outcome: ok, or the kind of the error.", bounds, "operation", "outcome")
	m.indexDocs = m.counter("strata_index_documents_total", "Documents that the index was given, by outcome: applied, newer (it has them, or newer ones), refused.", "outcome")
	m.indexBytes = m.counter("strata_index_document_bytes_total", "Bytes of those documents' rows.")
	m.elasticCalls = m.histogram("strata_elastic_request_seconds", "HTTP requests to Elasticsearch, by operation and status: its class, 429 apart, none without an answer.", bounds, "operation", "status")
	m.elasticBytes = m.counter("strata_elastic_bulk_bytes_total", "Bytes of the bulk requests that were sent, those that were sent again too.")
}

// meteredShelf is an index whose requests are counted, of every technology in the same way, and for all generations.
type meteredShelf struct {
	index.Shelf
	m   *metrics
	now func() time.Time
}

// seen counts a request that began at a time.
func (x *meteredShelf) seen(operation string, began time.Time, err *error) {
	outcome := "ok"
	if *err != nil {
		outcome = fault.KindOf(*err).String()
	}
	x.m.indexCalls.WithLabelValues(operation, outcome).Observe(x.now().Sub(began).Seconds())
}

func (x *meteredShelf) Apply(ctx context.Context, dataset string, docs []index.Document) (out []index.Outcome, err error) {
	defer x.seen("apply", x.now(), &err)
	if out, err = x.Shelf.Apply(ctx, dataset, docs); err != nil {
		return out, err
	}
	var by [index.Refused + 1]int
	bytes := 0
	for i := range out {
		by[out[i].Status]++
		bytes += len(docs[i].After)
	}
	for status, name := range [...]string{index.Applied: "applied", index.Newer: "newer", index.Refused: "refused"} {
		if by[status] > 0 {
			x.m.indexDocs.WithLabelValues(name).Add(float64(by[status]))
		}
	}
	x.m.indexBytes.WithLabelValues().Add(float64(bytes))
	return out, nil
}

func (x *meteredShelf) Refresh(ctx context.Context, dataset string) (err error) {
	defer x.seen("refresh", x.now(), &err)
	return x.Shelf.Refresh(ctx, dataset)
}

func (x *meteredShelf) PutWatermark(ctx context.Context, w index.Watermark) (err error) {
	defer x.seen("put_watermark", x.now(), &err)
	return x.Shelf.PutWatermark(ctx, w)
}

func (x *meteredShelf) Watermarks(ctx context.Context, dataset string) (w []index.Watermark, err error) {
	defer x.seen("watermarks", x.now(), &err)
	return x.Shelf.Watermarks(ctx, dataset)
}

func (x *meteredShelf) Search(ctx context.Context, s index.Search) (p index.Page, err error) {
	defer x.seen("search", x.now(), &err)
	return x.Shelf.Search(ctx, s)
}

func (x *meteredShelf) Count(ctx context.Context, s index.Search) (n int64, err error) {
	defer x.seen("count", x.now(), &err)
	return x.Shelf.Count(ctx, s)
}

func (x *meteredShelf) Get(ctx context.Context, dataset string, ids []string) (s []index.Stored, err error) {
	defer x.seen("get", x.now(), &err)
	return x.Shelf.Get(ctx, dataset, ids)
}

func (x *meteredShelf) Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Stored) error) (err error) {
	defer x.seen("scan", x.now(), &err)
	return x.Shelf.Scan(ctx, dataset, shard, after, f)
}

func (x *meteredShelf) Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Digest) error) (err error) {
	defer x.seen("digests", x.now(), &err)
	return x.Shelf.Digests(ctx, dataset, shard, after, f)
}

func (x *meteredShelf) Sweep(ctx context.Context, dataset string, below index.Version) (n int64, err error) {
	defer x.seen("sweep", x.now(), &err)
	return x.Shelf.Sweep(ctx, dataset, below)
}

// sawElastic is elastic.Config.Observe.
func (m *metrics) sawElastic(r elastic.Request) {
	status := "none"
	switch {
	case r.Status == http.StatusTooManyRequests:
		status = "429"
	case r.Status > 0:
		status = strconv.Itoa(r.Status/100) + "xx"
	}
	m.elasticCalls.WithLabelValues(r.Operation, status).Observe(r.Took.Seconds())
	if r.Operation == "bulk" {
		m.elasticBytes.WithLabelValues().Add(float64(r.Bytes))
	}
}
