package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	es "github.com/olivere/elastic/v7"

	"strata/fault"
	"strata/index"
)

const (
	// maxBulkDocs and maxBulkBytes bound a bulk: larger ones are not faster, and Elasticsearch holds each in its heap.
	maxBulkDocs  = 2000
	maxBulkBytes = 5 << 20
	// maxTries without any progress: about 11 s of pauses, so that a node's short trouble ends before the caller knows of it.
	maxTries   = 8
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// bulkSize is how many documents the next bulk of a dataset may have.
type bulkSize struct{ size atomic.Int64 }

func (s *bulkSize) docs() int { return int(s.size.Load()) }

// shrink and grow halve and double; a race between partitions costs one step.
func (s *bulkSize) shrink() { s.size.Store(max(s.size.Load()/2, 1)) }
func (s *bulkSize) grow()   { s.size.Store(min(s.size.Load()*2, maxBulkDocs)) }

// verdict is what became of one bulk.
type verdict uint8

const (
	done    verdict = iota // every item has its outcome, or is in again
	trouble                // nothing is known; again later, smaller
	tooBig                 // again at once, in halves
)

// send brings every item of the batch to an outcome. Items that are sent again go out in their order, before later ones.
func (x *Index) send(ctx context.Context, op string, b *batch) error {
	todo := b.items
	wait, tries := firstPause, 0
	most := maxBulkDocs // less once the server has said that a bulk is too large
	var why error
	for len(todo) > 0 {
		n, full := b.fill(todo, most)
		again, what, err := x.sendOne(ctx, op, b, todo[:n])
		if what != done {
			why = err
			again = todo[:n]
		}
		switch {
		case what == done && err != nil:
			return err
		case what == tooBig:
			if n == 1 {
				b.out[todo[0].at] = index.Outcome{Status: index.Refused, Reason: err.Error()}
				todo = todo[1:]
				continue
			}
			most = n / 2
			continue
		case len(again) < n: // part of it is progress, however little
			wait, tries = firstPause, 0
		}
		if len(again) <= n/2 {
			b.ds.bulk.grow()
		}
		if len(again) == 0 {
			todo = todo[n:]
			continue
		}
		if tries++; tries >= maxTries {
			return fault.New(fault.Unavailable, op, "tried %d times: %w", tries, whyAgain(why)).WithHint("%s", fault.HintOf(whyAgain(why)))
		}
		if len(again) == n && full {
			b.ds.bulk.shrink()
		}
		todo = append(again[:len(again):len(again)], todo[n:]...)
		if err := x.cfg.Pause(ctx, wait); err != nil {
			return classify(ctx, op, err)
		}
		wait = min(wait*2, maxPause)
	}
	return nil
}

// whyAgain is the reason where only items, not the whole bulk, were put off.
func whyAgain(err error) error {
	if err == nil {
		return fault.New(fault.Unavailable, "", "documents were put off with 429 or 503").
			WithHint("Elasticsearch is overloaded: see GET /_cat/thread_pool/write")
	}
	return err
}

// fill is how many of the items go into the next bulk; full where the dataset's size of bulks allows no more.
func (b *batch) fill(todo []item, most int) (n int, full bool) {
	docs := b.ds.bulk.docs()
	for size := 0; n < min(len(todo), most, docs); n++ {
		if size += todo[n].to - todo[n].from; n > 0 && size > maxBulkBytes {
			break
		}
	}
	return n, n == docs
}

// bulkItem is one item of a bulk's answer.
type bulkItem struct {
	Index  string
	ID     string
	Status int
	Error  *detail
}

// sendOne sends one bulk. With done it returns the items to send again; err is then final. Otherwise err is why.
func (x *Index) sendOne(ctx context.Context, op string, b *batch, items []item) (again []item, what verdict, err error) {
	var body strings.Builder
	size := 0
	for i := range items {
		size += items[i].to - items[i].from
	}
	body.Grow(size)
	for i := range items {
		body.Write(b.text[items[i].from:items[i].to])
	}
	raw, err := x.c.send(ctx, request{method: http.MethodPost, path: "/_bulk", body: body.String(), ndjson: true,
		params: param("require_alias", "true", "timeout", "20s", "filter_path", "errors,items.*._index,items.*._id,items.*.status,items.*.error")})
	if err != nil {
		return nil, bulkVerdict(ctx, err), classify(ctx, op, err)
	}
	if allApplied(raw, items) {
		for i := range items {
			b.out[items[i].at] = index.Outcome{Status: index.Applied}
		}
		return nil, done, nil
	}
	got, err := bulkAnswer(op, raw, len(items))
	if err != nil {
		return nil, trouble, err
	}
	for i := range items {
		if got[i].ID != items[i].id {
			return nil, trouble, fault.New(fault.Unavailable, op, "answer %d is of %q, not of %q", i, got[i].ID, items[i].id)
		}
	}
	for i := range items {
		retry, err := b.settle(op, &items[i], got[i])
		if err != nil {
			return nil, done, err
		}
		if retry {
			again = append(again, items[i])
		}
	}
	return again, done, nil
}

// allApplied reports whether an answer is, byte for byte, the one of a bulk of which every item was written where it belongs:
// nearly every answer is, and this takes a tenth of the time that reading it takes.
func allApplied(raw []byte, items []item) bool {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"errors":false,"items":[`))
	for i := range items {
		if i > 0 && ok {
			rest, ok = bytes.CutPrefix(rest, []byte{','})
		}
		for _, want := range [...]string{`{"index":{"_index":"`, items[i].shard.index, `","_id":"`, items[i].id, `","status":20`} {
			if ok = ok && len(rest) >= len(want) && string(rest[:len(want)]) == want; !ok {
				return false
			}
			rest = rest[len(want):]
		}
		if len(rest) < 3 || rest[0] != '0' && rest[0] != '1' || string(rest[1:3]) != "}}" {
			return false
		}
		rest = rest[3:]
	}
	return ok && string(rest) == "]}"
}

// bulkAnswer reads the n items of any other answer.
func bulkAnswer(op string, raw []byte, n int) ([]bulkItem, error) {
	bad := func(format string, args ...any) ([]bulkItem, error) {
		return nil, fault.New(fault.Unavailable, op, format, args...)
	}
	if !json.Valid(raw) {
		return bad("%.200q is no answer to a bulk", raw)
	}
	var errors, items []byte
	for name, rest := element(inside(raw)); name != nil; name, rest = element(rest) {
		var v []byte
		switch v, rest = element(rest); string(name) {
		case `"errors"`:
			errors = v
		case `"items"`:
			items = v
		}
	}
	if s := string(errors); s != "true" && s != "false" {
		return bad("%.200q is no answer to a bulk", raw)
	}
	out := make([]bulkItem, 0, n)
	for one, rest := element(inside(items)); one != nil; one, rest = element(rest) {
		action, of := element(inside(one))
		answer, _ := element(of)
		var item bulkItem
		if string(action) == `"index"` && !item.read(answer) {
			return bad("%.200q is no answer to a document", one)
		}
		out = append(out, item)
	}
	if len(out) != n {
		return bad("%d answers to %d documents", len(out), n)
	}
	return out, nil
}

// read reads an item.
func (i *bulkItem) read(raw []byte) bool {
	ok := true
	for name, rest := element(inside(raw)); name != nil && ok; name, rest = element(rest) {
		var v []byte
		var err error
		switch v, rest = element(rest); string(name) {
		case `"_index"`:
			i.Index, ok = unquote(v)
		case `"_id"`:
			i.ID, ok = unquote(v)
		case `"status"`:
			i.Status, err = strconv.Atoi(string(v))
		case `"error"`:
			err = json.Unmarshal(v, &i.Error)
		}
		ok = ok && err == nil
	}
	return ok
}

// bulkVerdict judges a bulk that failed as a whole.
func bulkVerdict(ctx context.Context, err error) verdict {
	var e *es.Error
	switch {
	case ctx.Err() != nil:
		return done // the caller's end is final
	case !errors.As(err, &e):
		return trouble // no answer: it may have been written
	case e.Status == http.StatusRequestEntityTooLarge:
		return tooBig
	case e.Status == http.StatusTooManyRequests && errorType(err) != "cluster_block_exception", e.Status >= 500:
		return trouble
	default:
		return done
	}
}

// settle turns one item's answer into its outcome, into another try, or into an error that ends the batch.
func (b *batch) settle(op string, it *item, got bulkItem) (retry bool, err error) {
	kind := ""
	if got.Error != nil {
		kind = got.Error.Type
	}
	switch {
	case got.Status == http.StatusOK || got.Status == http.StatusCreated:
		if got.Index != it.shard.index {
			return false, aliasMoved(op, write(it.shard.index), it.shard.index)
		}
		b.out[it.at] = index.Outcome{Status: index.Applied}
	case got.Status == http.StatusConflict && kind == "version_conflict_engine_exception":
		b.out[it.at] = index.Outcome{Status: index.Newer}
	case kind == "cluster_block_exception" || kind == "index_closed_exception" || kind == "index_not_found_exception":
		if got.Error.Index == "" {
			got.Error.Index = it.shard.index
		}
		return false, refusal(op, got.Status, got.Error)
	case got.Status == http.StatusTooManyRequests || got.Status >= 500:
		return true, nil
	case kind == "illegal_argument_exception" && strings.Contains(got.Error.Reason, "alias ["+write(it.shard.index)+"]"):
		return false, aliasTwice(op, write(it.shard.index), got.Error.Reason)
	case got.Status == http.StatusBadRequest && refusesDocument(kind):
		b.out[it.at] = index.Outcome{Status: index.Refused, Reason: got.Error.String()}
	case got.Status == http.StatusRequestEntityTooLarge:
		b.out[it.at] = index.Outcome{Status: index.Refused, Reason: "the document is too large for Elasticsearch"}
	case got.Error == nil:
		return false, fault.New(fault.Unavailable, op, "%s: status %d without a reason", it.id, got.Status)
	default:
		return false, refusal(op, got.Status, got.Error)
	}
	return false, nil
}

// refusesDocument reports whether a 400 of this type is about the document, and not about the index or the request.
func refusesDocument(kind string) bool {
	switch kind {
	case "mapper_parsing_exception", "strict_dynamic_mapping_exception", "illegal_argument_exception", "parsing_exception",
		"document_parsing_exception", "x_content_parse_exception", "json_parse_exception", "not_x_content_exception":
		return true
	}
	return false
}
