package graphql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"

	gql "github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/gqlerrors"
	"github.com/graphql-go/graphql/language/parser"

	"strata/fault"
	"strata/router"
)

// Config is what a Server needs.
type Config struct {
	Router *router.Router
	Log    *slog.Logger
}

// Server answers GraphQL requests. It is safe for concurrent use.
type Server struct {
	cfg    Config
	schema gql.Schema
}

// New makes the schema from the router's datasets. Errors: fault.Invalid.
func New(cfg Config) (*Server, error) {
	var errs []error
	if cfg.Router == nil {
		errs = append(errs, fault.New(fault.Invalid, "configure graphql", "no Router"))
	}
	if cfg.Log == nil {
		errs = append(errs, fault.New(fault.Invalid, "configure graphql", "no Log"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s := &Server{cfg: cfg}
	var err error
	s.schema, err = newSchema(cfg.Router.Datasets(), s.resolve)
	return s, err
}

// Request is a GraphQL request as it comes in JSON.
type Request struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
}

// Response is its answer. Data is absent where nothing was executed.
type Response struct {
	Data   any     `json:"data,omitempty"`
	Errors []Error `json:"errors,omitempty"`
	status int
}

// Error is one error of a Response.
type Error struct {
	Message    string         `json:"message"`
	Locations  []Location     `json:"locations,omitempty"`
	Path       []any          `json:"path,omitempty"`
	Extensions map[string]any `json:"extensions"`
}

// Location is a place in the request's text, from 1.
type Location struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Do parses, bounds, validates and executes one request.
func (s *Server) Do(ctx context.Context, req Request) (res Response) {
	defer func() {
		if p := recover(); p != nil {
			res = s.failed(fault.New(fault.Internal, "execute query", "panic: %v", p))
		}
	}()
	doc, err := parser.Parse(parser.ParseParams{Source: req.Query})
	if err != nil {
		return s.refused([]gqlerrors.FormattedError{gqlerrors.FormatError(err)})
	}
	vars, _ := numbers(req.Variables).(map[string]any)
	if err := check(doc, vars); err != nil {
		return s.failed(err)
	}
	if v := gql.ValidateDocument(&s.schema, doc, nil); !v.IsValid {
		return s.refused(v.Errors)
	}
	ctx = context.WithValue(ctx, budgetKey{}, &budget{maxRows})
	out := gql.Execute(gql.ExecuteParams{Schema: s.schema, AST: doc, OperationName: req.OperationName, Args: vars, Context: ctx})
	res = Response{Data: out.Data, status: http.StatusOK}
	for _, e := range out.Errors {
		res.Errors = append(res.Errors, s.shown(e, fault.Invalid))
	}
	return res
}

// failed is a Response of one error, before execution.
func (s *Server) failed(err error) Response {
	e := s.shown(gqlerrors.FormatError(gqlerrors.NewError(err.Error(), nil, "", nil, nil, err)), fault.Internal)
	return Response{Errors: []Error{e}, status: fault.KindOf(err).Code().HTTP}
}

// refused is a Response of errors in the request's text.
func (s *Server) refused(errs []gqlerrors.FormattedError) Response {
	res := Response{status: fault.Invalid.Code().HTTP}
	for _, e := range errs {
		res.Errors = append(res.Errors, s.shown(e, fault.Invalid))
	}
	return res
}

// shown brings an error into the answer's form. An error that is nobody's fault but graphql-go's own is of kind other.
func (s *Server) shown(e gqlerrors.FormattedError, other fault.Kind) Error {
	out := Error{Message: e.Message, Path: e.Path, Extensions: map[string]any{}}
	for _, l := range e.Locations {
		out.Locations = append(out.Locations, Location{l.Line, l.Column})
	}
	kind := other
	// Without a path it is graphql-go's own: a missing operation, a variable of another type.
	if cause := origin(e); cause != nil && (len(e.Path) > 0 || other == fault.Internal) {
		kind = fault.KindOf(cause)
		out.Message = cause.Error()
		if h := fault.HintOf(cause); h != "" {
			out.Extensions["hint"] = h
		}
		if kind == fault.Internal {
			s.cfg.Log.Error("graphql query failed", "err", cause)
			out.Message = "internal error"
			delete(out.Extensions, "hint")
		}
	}
	out.Extensions["code"] = kind.String()
	return out
}

// origin is the error that a resolver returned or panicked with, nil for graphql-go's own.
func origin(e gqlerrors.FormattedError) error {
	err := e.OriginalError()
	for {
		switch own := err.(type) {
		case *gqlerrors.Error:
			err = own.OriginalError
		case gqlerrors.FormattedError:
			err = own.OriginalError()
		default:
			return err
		}
	}
}

// numbers brings JSON numbers into the types that graphql-go knows, without passing integers through a double.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = numbers(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = numbers(e)
		}
		return out
	}
	return v
}

// ServeHTTP answers POST with a JSON body.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res := s.serve(w, r)
	body := new(bytes.Buffer)
	enc := json.NewEncoder(body)
	if err := enc.Encode(res); err != nil {
		s.cfg.Log.Error("encode graphql answer", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(res.status)
	_, _ = w.Write(body.Bytes()) // the client has gone
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) Response {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		res := s.failed(fault.New(fault.Invalid, "read request", "%s is not POST", r.Method))
		res.status = http.StatusMethodNotAllowed
		return res
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		res := s.failed(fault.New(fault.Invalid, "read request", "the body is not declared application/json"))
		res.status = http.StatusUnsupportedMediaType
		return res
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		res := s.failed(tooLarge("the body has more than %d bytes", maxBody))
		res.status = http.StatusRequestEntityTooLarge
		return res
	}
	if err != nil {
		return s.failed(fault.Wrap(fault.Invalid, "read request", err))
	}
	var req Request
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&req); err != nil {
		return s.failed(fault.New(fault.Invalid, "read request", "%w", err).WithHint(`the body is {"query": "…", "variables": {…}}`))
	}
	return s.Do(r.Context(), req)
}
