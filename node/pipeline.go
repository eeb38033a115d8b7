package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/graphql"
	syncer "strata/sync"
)

// pipeline is the name of the one capture pipeline, in the control database and in envelopes.
const pipeline = "strata"

const (
	firstPause = time.Second // before a leader's next term; terms are 20 bits, so they must not be spent in a loop
	maxPause   = 30 * time.Second
	drainLimit = 5 * time.Second // of requests under way when the HTTP listener stops
)

const rolesHint = "the roles are canal, sync, router, archive, core"

// Roles are what Run runs.
type Roles struct {
	Canal   bool // heartbeats and capture
	Sync    bool // Kafka to index, and its proof all the time
	Router  bool // the HTTP listener: GraphQL and, with Core, the ledger's API
	Archive bool // the archive's cron
	Core    bool // the ledger: lanes, vouchers, notices, jobs, its API
	HTTP    bool // the HTTP listener with health and metrics; it is there with Router and Core anyway
}

// ParseRoles reads role names.
func ParseRoles(names []string) (Roles, error) {
	var r Roles
	for _, n := range names {
		switch n {
		case "canal":
			r.Canal = true
		case "sync":
			r.Sync = true
		case "router":
			r.Router = true
		case "archive":
			r.Archive = true
		case "core":
			r.Core = true
		default:
			return r, fault.New(fault.Invalid, "parse roles", "there is no role %q", n).WithHint("%s", rolesHint)
		}
	}
	if r == (Roles{}) {
		return r, fault.New(fault.Invalid, "parse roles", "none is named").WithHint("%s", rolesHint)
	}
	return r, nil
}

// Run runs the roles until ctx ends (nil) or one fails for good.
func (n *Node) Run(ctx context.Context, roles Roles) error {
	l, err := n.listen(ctx, roles)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	if roles.Canal {
		g.Go(func() error { return n.runBeater(gctx) })
		g.Go(func() error { return n.runCanal(gctx) })
	}
	if roles.Sync {
		g.Go(func() error { return n.runSync(gctx) })
		g.Go(func() error { return n.runRebuilds(gctx) })
		g.Go(func() error { return n.runVerifier(gctx) })
	}
	if roles.Archive {
		g.Go(func() error {
			s, err := n.scheduler(gctx, n.archiveJobs())
			if err != nil {
				return err
			}
			return s.Run(gctx)
		})
	}
	if l != nil {
		g.Go(func() error { return n.runDoors(gctx, l, roles) })
	}
	err = g.Wait()
	if ctx.Err() != nil && fault.Is(err, fault.Interrupted) {
		return nil
	}
	return err
}

// listen opens the listener that the roles want; nil: they want none. One that would only have health and metrics is not worth
// a capture or an index: where its port is taken, the process says so and goes on without it.
func (n *Node) listen(ctx context.Context, roles Roles) (net.Listener, error) {
	doors := roles.Router || roles.Core
	if !doors && !roles.HTTP {
		return nil, nil
	}
	l, err := Listen(ctx, n.cfg.HTTP)
	if fault.Is(err, fault.Busy) && !doors {
		n.log.Error("health and metrics are not served", "err", err, "hint", fault.HintOf(err))
		return nil, nil
	}
	return l, err
}

// runDoors serves l, which it closes: health and metrics, what the roles router and core have there, and the ledger behind it.
func (n *Node) runDoors(ctx context.Context, l net.Listener, roles Roles) error {
	var ledgers *Ledgers
	if roles.Core {
		var err error
		if ledgers, err = n.Core(ctx); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	// The ledger ends after the door is shut: requests under way get their answers.
	inside, shut := context.WithCancel(context.WithoutCancel(ctx))
	defer shut()
	if ledgers != nil {
		g.Go(func() error { return ledgers.Run(inside) })
	}
	g.Go(func() error {
		defer shut()
		return n.serve(gctx, l, roles.Router, ledgers, func(base string) error {
			n.log.Info("serving", "url", base)
			return nil
		})
	})
	return g.Wait()
}

func (n *Node) runBeater(ctx context.Context) error {
	w, err := n.liveWriter(ctx)
	if err != nil {
		return err
	}
	b, err := canal.NewBeater(canal.BeaterConfig{
		Write: func(ctx context.Context, now time.Time) (uint64, error) {
			h, err := db.Beat(ctx, w, catalog.At(now))
			return h.Seq, err
		},
		Every: time.Duration(n.cfg.HeartbeatMs) * time.Millisecond, Now: n.now, Log: n.log,
	})
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

// runCanal leads, or stands by, again and again. What another try can't mend ends it.
func (n *Node) runCanal(ctx context.Context) error {
	leader, closeLeader, err := n.newLeader(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeLeader() }() // what was written is acknowledged or will be written again
	n.mu.Lock()
	n.leader = leader
	n.mu.Unlock()
	pause := firstPause
	for {
		began := n.now()
		err := leader.Run(ctx)
		if ctx.Err() != nil || err == nil {
			return nil // a stop was asked for; a leader that is told of its successor just then has nothing to add
		}
		if n.now().Sub(began) > maxPause {
			pause = firstPause
		}
		n.log.Warn("term ended", "err", err, "hint", fault.HintOf(err), "pause", pause)
		n.reportEnd(ctx, leader.Stats().Term, err)
		if fatal(err) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		pause = min(2*pause, maxPause)
	}
}

// fatal reports whether an operator must act before another term can do better. An error nobody classified is: among
// them a crash point's.
func fatal(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Unsafe, fault.Proof, fault.Denied, fault.Internal:
		return true
	}
	return false
}

// ResetLag begins a new window of the commit-to-searchable lag.
func (n *Node) ResetLag() {
	if s := n.syncNow(); s != nil {
		s.ResetLag()
	}
}

// Lag is the commit-to-searchable lag of this process's sync since ResetLag: the median and the 99th of a hundred, in
// milliseconds; zeros where there is none.
func (n *Node) Lag() (p50, p99 float64) {
	s := n.syncNow()
	if s == nil {
		return 0, 0
	}
	l := s.Lag()
	return float64(l.P50.Microseconds()) / 1000, float64(l.P99.Microseconds()) / 1000
}

func (n *Node) syncNow() *syncer.Sync {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sync
}

// stopped says why a dataset of this process's roles has stopped; "" where none has.
func (n *Node) stopped() string {
	n.mu.Lock()
	leader, s := n.leader, n.sync
	n.mu.Unlock()
	var why []string
	if leader != nil {
		for name, st := range leader.Stats().Stopped {
			why = append(why, fmt.Sprintf("capture of %s stopped: %s", name, st.Reason))
		}
	}
	if s != nil {
		for _, d := range s.Stats().Datasets {
			if d.State == syncer.Stopped {
				why = append(why, fmt.Sprintf("index of %s stopped: %s", d.Dataset, d.Err))
			}
		}
	}
	return strings.Join(why, "; ")
}

// Listen opens the HTTP listener. Errors: fault.Invalid for an address that is not a loopback one, Busy, Denied.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	if err := checkLoopback(addr); err != nil {
		return nil, fault.Wrap(fault.Invalid, "listen", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Busy, "listen on "+addr, "%w", err).WithHint("another process has the port; choose one with --http or http:, port 0 picks a free one")
	case errors.Is(err, os.ErrPermission):
		return nil, fault.Wrap(fault.Denied, "listen on "+addr, err)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, "listen on "+addr, err)
	}
	return l, nil
}

// Serve answers HTTP on l, which it closes, until ctx ends; ready is told the base URL first.
func (n *Node) Serve(ctx context.Context, l net.Listener, ready func(base string) error) error {
	return n.serve(ctx, l, true, nil, ready)
}

// serve is Serve for GraphQL, where asked for, and the API of the ledgers, where there are any; those run elsewhere.
func (n *Node) serve(ctx context.Context, l net.Listener, queries bool, ledgers *Ledgers, ready func(base string) error) error {
	mux := http.NewServeMux()
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	g, gctx := errgroup.WithContext(ctx)
	if queries {
		gql, err := graphql.New(graphql.Config{Router: n.router, Log: n.log})
		if err != nil {
			return errors.Join(err, l.Close())
		}
		mux.Handle("/graphql", gql)
	}
	if ledgers != nil {
		api, err := ledgers.REST()
		if err == nil {
			err = api.Refresh(ctx)
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
		srv.Handler = apiFirst(api, mux)
		api.Guard(srv)
		g.Go(func() error { return api.Run(gctx) })
	}
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", n.ready)
	mux.Handle("GET /metrics", n.metrics.handler())
	if err := ready("http://" + l.Addr().String()); err != nil {
		return errors.Join(err, l.Close())
	}
	g.Go(func() error {
		<-gctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), drainLimit)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			return srv.Close()
		}
		return nil
	})
	g.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fault.Wrap(fault.Unavailable, "serve http", err)
		}
		return nil
	})
	return g.Wait()
}

// apiFirst gives the API its paths as they came: a mux would answer one such as /v1/transfers/.. with a redirect to another.
func apiFirst(api, other http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1" || strings.HasPrefix(r.URL.Path, "/v1/") {
			api.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}

// ready says whether every store answers.
func (n *Node) ready(w http.ResponseWriter, r *http.Request) {
	for _, d := range n.datasets {
		if _, err := n.View(r.Context(), d); err != nil {
			http.Error(w, err.Error(), fault.KindOf(err).Code().HTTP)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}
