package rest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"strata/core"
	"strata/fault"
)

const (
	maxBody   = 256 << 10
	maxBulk   = 4 << 20   // a batch, settings
	maxBodies = 128 << 20 // of all requests together
	maxBatch  = 500
	maxPage   = 1000
)

// Config is what New needs.
type Config struct {
	Ledger core.Full
	Log    *slog.Logger
	Now    func() time.Time
	// Authorize names who asks. An error with a name is 403, without one 401. nil: everybody on this machine.
	Authorize func(r *http.Request) (client string, err error)
	// Audit is told of every request that may change something; nil: nobody is.
	Audit func(Act)
	// The optional sections: nil answers 404 not_configured.
	Cases    Cases
	Notices  Notices
	Vouchers Vouchers
	// Interval is the pause between two looks at the settings for their rates. 0: 500 ms.
	Interval time.Duration
	// RequestLimit is how long a request may take. 0: 30 s.
	RequestLimit time.Duration
	// MaxRequests is how many run at once. 0: 1024.
	MaxRequests int
	// MaxKeys is how many buckets a rate keeps. 0: 65,536.
	MaxKeys int
}

// Act is one request that may have changed something.
type Act struct {
	At     time.Time
	Client string
	Name   string // the operation, as in the document: postTransfer
	Object string // the id of what it was about; of a batch, the first
	Count  int    // how many objects
	Status int
	Code   string // of the problem; "" where there was none
}

// Stats counts since the start.
type Stats struct {
	Requests    int64 // answered or being answered
	Now         int64 // being answered
	Overloaded  int64 // refused because too many or too much ran at once
	RateLimited int64 // refused by rates of the settings
	Failed      int64 // answered with 500 and above
	Settings    int64 // the version whose rates are in force
}

// Server answers requests under /v1. It is safe for concurrent use.
type Server struct {
	cfg    Config
	mux    *http.ServeMux
	rates  *rates
	shared headers

	requests, now, bodies, overloaded, limited, failed atomic.Int64
}

// headers are values that all answers share.
type headers struct{ json, problem, noStore, noSniff []string }

// New checks the config. Errors: fault.Invalid.
func New(cfg Config) (*Server, error) {
	var errs []error
	bad := func(why string) {
		errs = append(errs, fault.New(fault.Invalid, "configure rest", "%s", why))
	}
	if cfg.Ledger == nil {
		bad("no Ledger")
	}
	if cfg.Log == nil {
		bad("no Log")
	}
	if cfg.Now == nil {
		bad("no Now")
	}
	if cfg.Interval < 0 || cfg.RequestLimit < 0 || cfg.MaxRequests < 0 || cfg.MaxKeys < 0 {
		bad("a limit is negative")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Interval = orElse(cfg.Interval, 500*time.Millisecond)
	cfg.RequestLimit = orElse(cfg.RequestLimit, 30*time.Second)
	cfg.MaxRequests = orElse(cfg.MaxRequests, 1024)
	cfg.MaxKeys = orElse(cfg.MaxKeys, 65_536)
	s := &Server{cfg: cfg, mux: http.NewServeMux(), rates: newRates(cfg.MaxKeys), shared: headers{
		json: []string{"application/json"}, problem: []string{"application/problem+json"},
		noStore: []string{"no-store"}, noSniff: []string{"nosniff"}}}
	for _, rt := range routes() {
		s.mux.HandleFunc(rt.method+" "+rt.pattern, s.serve(rt))
	}
	s.mux.HandleFunc("/", s.astray)
	return s, nil
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// Guard sets the limits of a listener's server that a handler can't: headers, and time for reading and writing.
func (s *Server) Guard(srv *http.Server) {
	srv.ReadHeaderTimeout, srv.ReadTimeout, srv.IdleTimeout = 5*time.Second, 30*time.Second, 2*time.Minute
	srv.WriteTimeout = srv.ReadTimeout + s.cfg.RequestLimit
	srv.MaxHeaderBytes = 16 << 10
}

// Refresh reads the settings and puts their rates in force. Call it before the first request.
func (s *Server) Refresh(ctx context.Context) error {
	v, err := s.cfg.Ledger.Settings(ctx)
	if err != nil {
		return err
	}
	s.rates.set(v.Number, v.Settings.Rates)
	return nil
}

// Run refreshes every Interval until ctx ends. Where the settings can't be read the rates stay as they are.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	away := false
	for {
		look, cancel := context.WithTimeout(ctx, s.cfg.RequestLimit)
		err := s.Refresh(look)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !away:
			s.cfg.Log.Warn("read settings for rates", "err", err)
		case err == nil && away:
			s.cfg.Log.Info("settings for rates are read again")
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Stats counts.
func (s *Server) Stats() Stats {
	return Stats{Requests: s.requests.Load(), Now: s.now.Load(), Overloaded: s.overloaded.Load(),
		RateLimited: s.limited.Load(), Failed: s.failed.Load(), Settings: s.rates.version()}
}

// ServeHTTP answers what is under /v1.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	defer s.now.Add(-1)
	if s.now.Add(1) > int64(s.cfg.MaxRequests) {
		s.fail(w, r, nil, s.overload("too many requests at once"))
		return
	}
	if p := r.URL.EscapedPath(); path.Clean(p) != p {
		s.astray(w, r) // the mux would redirect
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) overload(why string) *problem {
	s.overloaded.Add(1)
	return &problem{status: http.StatusServiceUnavailable, code: "overloaded", detail: why, wait: time.Second}
}

// astray answers what no route fits.
func (s *Server) astray(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch} {
		if _, pattern := s.mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); pattern != "" && pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 || path.Clean(r.URL.Path) != r.URL.Path {
		s.fail(w, r, nil, &problem{status: http.StatusNotFound, code: "unknown_path", detail: "there is nothing at this path", hint: "the paths are in /v1/openapi.json"})
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.fail(w, r, nil, &problem{status: http.StatusMethodNotAllowed, code: "method_not_allowed", detail: "this path takes " + strings.Join(allowed, ", ")})
}

// client names who asks, or refuses.
func (s *Server) client(r *http.Request) (string, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if s.cfg.Authorize == nil {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		if !loopback(host) || !loopback(strings.Trim(name, "[]")) {
			return "", &problem{status: http.StatusForbidden, code: "denied", detail: "without credentials only this machine is answered, at its loopback name"}
		}
		return host, nil
	}
	name, err := s.cfg.Authorize(r)
	switch {
	case err != nil && name == "":
		return "", &problem{status: http.StatusUnauthorized, code: "unauthenticated", detail: "the request has no valid credentials", err: err}
	case err != nil:
		return name, &problem{status: http.StatusForbidden, code: "denied", detail: "the client may not do this", err: err}
	case name == "":
		return host, nil
	}
	return name, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
