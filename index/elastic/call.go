package elastic

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	es "github.com/olivere/elastic/v7"

	"strata/fault"
)

// maxAnswer bounds what one answer takes of memory: a page of 10,000 rows of 26 KB.
const maxAnswer = 256 << 20

// request is one request. body is text as it is, or an object.
type request struct {
	method, path string
	params       url.Values
	body         any
	ndjson       bool
}

func param(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// call sends a request and reads a 2xx answer into into. Every other end is an error with its kind.
func (c *client) call(ctx context.Context, op string, r request, into any) error {
	raw, err := c.send(ctx, r)
	if err != nil {
		return classify(ctx, op, err)
	}
	return decode(op, raw, into)
}

// send is call without reading. Its error is *es.Error where the server answered.
func (c *client) send(ctx context.Context, r request) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	began := c.now()
	opt := es.PerformRequestOptions{Method: r.method, Path: r.path, Params: r.params, Body: r.body, MaxResponseSize: maxAnswer}
	if r.ndjson {
		opt.ContentType = "application/x-ndjson"
	}
	res, err := c.es.PerformRequest(ctx, opt)
	if errors.Is(err, es.ErrNoClient) || isNoClient(err) { // all were marked dead and are alive again now; nothing was sent
		res, err = c.es.PerformRequest(ctx, opt)
	}
	if err != nil {
		c.seen(r, began, status(err))
		return nil, err
	}
	c.seen(r, began, res.StatusCode)
	return res.Body, nil
}

// isNoClient looks below olivere's wrapping, which has a method of its own for it.
func isNoClient(err error) bool {
	c, ok := err.(interface{ Cause() error })
	return ok && errors.Is(c.Cause(), es.ErrNoClient)
}

// detail is the error of an answer or of one of its items.
type detail struct {
	Type     string    `json:"type"`
	Reason   string    `json:"reason"`
	Index    string    `json:"index"`
	CausedBy *detail   `json:"caused_by"`
	Root     []*detail `json:"root_cause"`
}

// root is what is behind "all shards failed".
func (d *detail) root() *detail {
	if len(d.Root) > 0 && d.Root[0] != nil {
		return d.Root[0]
	}
	return d
}

// String is the reason with its causes.
func (d *detail) String() string {
	if d == nil {
		return "no reason given"
	}
	text := d.Type + ": " + d.Reason
	if d.CausedBy != nil && d.CausedBy.Reason != d.Reason {
		text += " (" + d.CausedBy.String() + ")"
	}
	return text
}

// status returns the HTTP status of an error, 0 where there was no answer.
func status(err error) int {
	var e *es.Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func errorType(err error) string {
	var e *es.Error
	if errors.As(err, &e) && e.Details != nil {
		return e.Details.Type
	}
	return ""
}

// classify gives the error of a request its kind. The caller's own end comes first.
func classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return fault.Wrap(fault.KindOf(cause), op, cause)
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	var e *es.Error
	if errors.As(err, &e) {
		d := &detail{}
		if e.Details != nil {
			d = &detail{Type: e.Details.Type, Reason: e.Details.Reason, Index: e.Details.Index}
			for _, r := range e.Details.RootCause {
				d.Root = append(d.Root, &detail{Type: r.Type, Reason: r.Reason, Index: r.Index})
			}
		}
		return refusal(op, e.Status, d)
	}
	if errors.Is(err, es.ErrResponseSize) {
		return fault.New(fault.TooLarge, op, "the answer has more than %d bytes", maxAnswer).WithHint("ask for fewer rows at a time")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, op, "no answer in time: %w", err).WithHint("is Elasticsearch overloaded? see GET /_cat/thread_pool and its log")
	}
	return fault.New(fault.Unavailable, op, "%w", err).WithHint("is Elasticsearch there? see its log")
}

// refusal is the error of an answer, or of one item of an answer, that is final: not to be tried again at once.
func refusal(op string, status int, d *detail) error {
	d = d.root()
	object := d.Index
	if object == "" {
		object = "the index"
	}
	cause := d.String()
	switch {
	case d.Type == "index_not_found_exception":
		return fault.New(fault.Unsafe, op, "%s is gone: %w: %s", object, errGone, cause).WithHint("%s", hintGone)
	case d.Type == "index_closed_exception":
		return fault.New(fault.Unavailable, op, "%s is closed: %s", object, cause).
			WithHint("open it: curl -X POST <elasticsearch>/%s/_open; strata goes on by itself", object)
	case d.Type == "cluster_block_exception" && strings.Contains(cause, "flood-stage"):
		return fault.New(fault.Unavailable, op, "the disk is too full to write: %s", cause).
			WithHint("free disk space on Elasticsearch's nodes: it allows writing again by itself below its high watermark")
	case d.Type == "cluster_block_exception":
		return fault.New(fault.Unavailable, op, "%s is blocked: %s", object, cause).
			WithHint(`if it was made read-only by hand: curl -X PUT <elasticsearch>/%s/_settings -H 'Content-Type: application/json' -d '{"index.blocks.write":null,"index.blocks.read_only":null,"index.blocks.read_only_allow_delete":null}'`, object)
	case d.Type == "search_context_missing_exception":
		return fault.New(fault.Unavailable, op, "its point in time is gone: %s", cause).WithHint("begin again: Elasticsearch was restarted, or nothing was read for 5 minutes")
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fault.New(fault.Denied, op, "Elasticsearch refuses the login: %d %s", status, cause).
			WithHint("check user, password and the privileges on strata's indices")
	case status == http.StatusTooManyRequests || status >= 500:
		return fault.New(fault.Unavailable, op, "%d %s", status, cause).WithHint("is Elasticsearch overloaded or starting? see its log and GET /_cluster/health")
	case status == http.StatusRequestEntityTooLarge:
		return fault.New(fault.TooLarge, op, "%d %s", status, cause).WithHint("raise Elasticsearch's http.max_content_length")
	default:
		return fault.New(fault.Internal, op, "%d %s", status, cause)
	}
}

// hintGone is what to do about an index that is not there any more.
const hintGone = "if it can't be restored: stop strata, delete the dataset's other indices and, in <prefix>.state, its documents " +
	"(POST /<prefix>.state/_delete_by_query?q=dataset:<dataset>), and start: the index is made again from the topic's beginning"

// hintRestored is what to do about an index that is another one than it was.
const hintRestored = "it lacks what came after the snapshot. Stop strata, delete the dataset's documents in <prefix>.state " +
	"(POST /<prefix>.state/_delete_by_query?q=dataset:<dataset>), and start: the topic is applied again from its beginning, over " +
	"what was restored; `strata verify` then shows and repairs what the topic doesn't have any more"

// errGone marks the error of an index that is not there.
var errGone = errors.New("there is no such index")

// isGone reports whether an error says that an index is not there.
func isGone(err error) bool { return errors.Is(err, errGone) }
