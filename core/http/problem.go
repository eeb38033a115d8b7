package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/core"
	"strata/fault"
)

// problem is an error as it is answered.
type problem struct {
	status  int
	code    string
	detail  string
	hint    string
	field   string
	id      string // of a transfer
	outcome string // of a transfer
	offset  int    // in the body, from 1; 0: none
	wait    time.Duration
	err     error // the cause, for the log
}

// Error says it.
func (p *problem) Error() string { return p.code + ": " + p.detail }

// Unwrap is the cause.
func (p *problem) Unwrap() error { return p.err }

func (p *problem) hinted(hint string) *problem {
	p.hint = hint
	return p
}

// problemForm is RFC 9457 with this API's members.
type problemForm struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
	Code     string `json:"code"`
	Field    string `json:"field,omitempty"`
	Hint     string `json:"hint,omitempty"`
	Offset   *int   `json:"offset,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	RetryMS  int64  `json:"retry_after_ms,omitempty"`
	ID       string `json:"id,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
}

// problemOf brings any error into the form. A status that the route does not have is a bug, and shown as one.
func (s *Server) problemOf(err error, rt *route, q *request) *problem {
	var p *problem
	if !errors.As(err, &p) {
		p = classify(err)
	}
	if q.ctx.Err() != nil && errors.Is(q.ctx.Err(), context.DeadlineExceeded) && p.status >= 499 {
		p = &problem{status: http.StatusGatewayTimeout, code: "timeout", detail: "the request took longer than " + s.cfg.RequestLimit.String(), err: err}
	}
	if !slices.Contains(rt.all(), p.status) {
		p = &problem{status: http.StatusInternalServerError, code: "internal", err: err}
	}
	return p
}

// classify shows an error of the ledger or of a section.
func classify(err error) *problem {
	kind := fault.KindOf(err)
	p := &problem{status: kind.Code().HTTP, code: kind.String(), detail: err.Error(), hint: fault.HintOf(err), err: err}
	var busy *core.RetryAfter
	switch {
	case errors.As(err, &busy):
		p.wait = max(busy.After, time.Millisecond)
	case kind == fault.Busy || kind == fault.Unavailable:
		p.wait = time.Second
	case kind == fault.Interrupted:
		p.status, p.code = http.StatusServiceUnavailable, "unavailable"
	case kind == fault.Invalid:
		var e *fault.Error
		if errors.As(err, &e) {
			p.field = e.Object
		}
	}
	return p
}

// fail answers with a problem; q is nil before there is one.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, q *request, p *problem) {
	form := problemForm{Type: "urn:strata:problem:" + p.code, Title: strings.ReplaceAll(p.code, "_", " "), Status: p.status, Detail: p.detail,
		Instance: "urn:strata:request:" + strconv.FormatUint(rand.Uint64(), 36),
		Code:     p.code, Field: p.field, Hint: p.hint, ID: p.id, Outcome: p.outcome}
	if p.status >= 500 {
		s.failed.Add(1)
		if p.err != nil {
			s.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "instance", form.Instance, "err", p.err)
		}
	}
	if p.code == "internal" {
		form.Detail, form.Hint = "an error that nobody foresaw; the log has it under this instance", ""
	}
	if p.offset > 0 && q != nil {
		at := min(p.offset-1, len(q.body))
		before := q.body[:at]
		form.Offset, form.Line = &at, 1+bytes.Count(before, []byte{'\n'})
		form.Column = at - bytes.LastIndexByte(before, '\n')
	}
	h := w.Header()
	if p.wait > 0 {
		form.RetryMS = max(1, p.wait.Milliseconds())
		h.Set("Retry-After", strconv.FormatInt(wholeSeconds(p.wait), 10))
	}
	if p.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = s.shared.problem, s.shared.noStore, s.shared.noSniff
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(form) // the client has gone
}
