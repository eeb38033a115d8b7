package rest

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/core"
	"strata/fault"
)

// request is one request on its way through a route.
type request struct {
	*http.Request
	ctx    context.Context // the request's, with its limit
	client string
	query  url.Values // of known names, each once
	body   []byte
	object string // what it is about, for the audit
	count  int
}

// reply is a route's answer.
type reply struct {
	status int
	body   []byte
	etag   string
}

// serve wraps a route into what all have in common.
func (s *Server) serve(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.RequestLimit)
		defer cancel()
		q := &request{Request: r, ctx: ctx, count: 1}
		out, err := s.safely(w, q, &rt)
		act := Act{Client: q.client, Name: rt.name, Object: q.object, Count: q.count, Status: out.status}
		if err != nil {
			p := s.problemOf(err, &rt, q)
			act.Status, act.Code = p.status, p.code
			s.fail(w, r, q, p)
		} else {
			s.write(w, out)
		}
		if s.cfg.Audit != nil && rt.changes() {
			act.At = s.cfg.Now()
			s.cfg.Audit(act)
		}
	}
}

// safely makes an error of a panic.
func (s *Server) safely(w http.ResponseWriter, q *request, rt *route) (out reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "answer "+rt.name, "panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.run(w, q, rt)
}

// run is the order of the package comment.
func (s *Server) run(w http.ResponseWriter, q *request, rt *route) (reply, error) {
	var err error
	if q.client, err = s.client(q.Request); err != nil {
		return reply{}, err
	}
	if !rt.free {
		if err := s.admit(q, nil); err != nil {
			return reply{}, err
		}
	}
	if err := q.parameters(rt.query); err != nil {
		return reply{}, err
	}
	if rt.body > 0 {
		size, err := s.read(w, q, rt.body)
		defer s.bodies.Add(-size)
		if err != nil {
			return reply{}, err
		}
	}
	return rt.run(s, q)
}

// admit asks the rates.
func (s *Server) admit(q *request, transfers []core.Transfer) error {
	err := s.rates.take(s.cfg.Now(), q.client, transfers)
	if err != nil {
		s.limited.Add(1)
	}
	return err
}

// callers refuses ids that are not a caller's to use.
func callers(t *core.Transfer) error {
	err := core.CheckCaller(t)
	var e *fault.Error
	if !errors.As(err, &e) {
		return err
	}
	return &problem{status: http.StatusBadRequest, code: "bad_field", field: e.Object, detail: e.Err.Error()}
}

// parameters checks the query's.
func (q *request) parameters(known []string) error {
	if q.URL.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return &problem{status: http.StatusBadRequest, code: "bad_parameter", detail: "the query is not well formed"}
	}
	for name, v := range values {
		switch {
		case !slices.Contains(known, name):
			return badParameter(name, "there is no such parameter").hinted("parameters: " + strings.Join(known, ", "))
		case len(v) > 1:
			return badParameter(name, "the parameter is there twice")
		}
	}
	q.query = values
	return nil
}

func badParameter(name, why string) *problem {
	return &problem{status: http.StatusBadRequest, code: "bad_parameter", field: name, detail: why}
}

// page is the limit parameter.
func (q *request) page() (int, error) {
	raw := q.query.Get("limit")
	if raw == "" {
		return 100, nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < 1 || n > maxPage {
		return 0, badParameter("limit", "limit is 1 to "+strconv.Itoa(maxPage))
	}
	return n, nil
}

// id is a path's value that has to be a name that the ledger could know.
func (q *request) id(name string) (string, error) {
	q.object = q.PathValue(name)
	return visible(name, q.object)
}

// after is the id that a page begins behind; "": the first.
func (q *request) after() (string, error) { return visible("after", q.query.Get("after")) }

func visible(name, id string) (string, error) {
	if len(id) > core.MaxIDBytes {
		return "", badParameter(name, "it has more than "+strconv.Itoa(core.MaxIDBytes)+" bytes")
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return "", badParameter(name, "it is not visible ASCII")
		}
	}
	return id, nil
}

// read takes the body in. size is what it holds of the bytes that all bodies together may have, to be given back.
func (s *Server) read(w http.ResponseWriter, q *request, limit int64) (size int64, err error) {
	if err := mediaType(q.Header); err != nil {
		return 0, err
	}
	size = q.ContentLength
	if size > limit {
		return 0, tooLong(limit)
	}
	if size < 0 {
		size = limit
	}
	if s.bodies.Add(size) > maxBodies {
		return size, s.overload("too many bytes are being sent at once")
	}
	if q.ContentLength >= 0 {
		q.body = make([]byte, size)
		_, err = io.ReadFull(q.Body, q.body)
	} else {
		q.body, err = io.ReadAll(http.MaxBytesReader(w, q.Body, limit))
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return size, tooLong(limit)
	case err != nil:
		return size, &problem{status: http.StatusBadRequest, code: "bad_json", detail: "the body could not be read to its end", err: err}
	}
	return size, nil
}

func tooLong(limit int64) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, code: "body_too_large", detail: "the body has more than " + strconv.FormatInt(limit, 10) + " bytes"}
}

func mediaType(h http.Header) error {
	t := h.Get("Content-Type")
	if h.Get("Content-Encoding") != "" {
		return &problem{status: http.StatusUnsupportedMediaType, code: "media_type", field: "Content-Encoding", detail: "the body is taken as it is, not compressed"}
	}
	if t == "application/json" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(t)
	if charset := params["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return &problem{status: http.StatusUnsupportedMediaType, code: "media_type", field: "Content-Type", detail: "the body is not declared application/json"}
	}
	return nil
}

// write sends a reply.
func (s *Server) write(w http.ResponseWriter, out reply) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = s.shared.json, s.shared.noStore, s.shared.noSniff
	if out.etag != "" {
		h.Set("ETag", out.etag)
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(out.body) // the client has gone
}

// wholeSeconds rounds up to what Retry-After can say.
func wholeSeconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }
