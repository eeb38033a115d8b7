package notice

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"strata/core"
	"strata/fault"
)

const (
	takeSize  = 200 // events per take: a body is at most about 100 KB
	takeTurns = 50  // takes of one Round, and between two looks at what is due
)

// Notifier is the notification of one ledger database. Its methods are safe for concurrent use, and so are several
// processes on one database.
type Notifier struct {
	cfg     Config
	targets map[string]*Target
	client  *http.Client
	wake    chan struct{}

	mu    sync.Mutex
	desks map[string]*desk // by target; only those with senders

	stats counters
}

// desk is the senders of one target.
type desk struct {
	senders int
	missed  bool       // one more was wanted: who leaves may not have seen what is due
	claim   sync.Mutex // they claim one after the other, since all would choose the same
}

// Stats are counts since New.
type Stats struct {
	Taken     int64 // events that got a notice; one that comes twice counts twice
	Unwanted  int64 // events that no target wants
	Sent      int64 // attempts
	Delivered int64
	Failed    int64 // attempts
	GivenUp   int64
	Errors    int64 // of the database or the feed, that Run went on after
	Senders   int64 // at work now
}

type counters struct {
	taken, unwanted, sent, delivered, failed, givenUp, errors, senders atomic.Int64
}

// New checks the configuration and makes the table where it is missing. Errors: fault.Invalid, all at once; the server's.
func New(ctx context.Context, cfg Config) (*Notifier, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n := &Notifier{cfg: cfg, targets: map[string]*Target{}, wake: make(chan struct{}, 1), desks: map[string]*desk{}}
	for i := range n.cfg.Targets {
		n.targets[n.cfg.Targets[i].Name] = &n.cfg.Targets[i]
	}
	n.client = newClient(&n.cfg)
	return n, makeTable(ctx, cfg.DB)
}

// Stats returns the counts.
func (n *Notifier) Stats() Stats {
	c := &n.stats
	return Stats{Taken: c.taken.Load(), Unwanted: c.unwanted.Load(), Sent: c.sent.Load(), Delivered: c.delivered.Load(),
		Failed: c.failed.Load(), GivenUp: c.givenUp.Load(), Errors: c.errors.Load(), Senders: c.senders.Load()}
}

// Wake makes Run look now. It never blocks.
func (n *Notifier) Wake() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *Notifier) at(point string) error {
	if n.cfg.At == nil {
		return nil
	}
	return n.cfg.At(point)
}

// Run takes and sends until the context ends; nil then. It looks every Poll, and after Wake.
func (n *Notifier) Run(ctx context.Context) error {
	defer n.client.CloseIdleConnections()
	p := newPass(n)
	defer p.wait()
	sending, stop := context.WithCancel(ctx)
	defer stop()
	away := false // logged once until a pass went well
	for {
		more, err := p.look(sending)
		err = errors.Join(err, p.takeError())
		switch {
		case ctx.Err() != nil:
			p.wait()
			return fatal(errors.Join(err, p.takeError()))
		case err == nil:
			away = false
		case fatal(err) != nil:
			return err
		default:
			n.stats.errors.Add(1)
			if !away {
				n.cfg.Log.Warn("notices wait", "err", err)
			}
			away = true
		}
		if err == nil && more {
			continue
		}
		timer := time.NewTimer(n.cfg.Poll)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-n.wake:
		case <-p.broken:
		}
		timer.Stop()
	}
}

// Round is one pass: it takes what the feed has, sends what was due at its start, waits for all of it, and says what it
// did. The first error ends it after what is being sent.
func (n *Notifier) Round(ctx context.Context) (Stats, error) {
	before := n.Stats()
	p := newPass(n)
	ctx, p.stop = context.WithCancel(ctx)
	defer p.stop()
	_, err := p.take(ctx)
	if err == nil {
		if p.until, err = n.now(ctx); err == nil {
			err = p.start(ctx, p.until)
		}
	}
	p.wait()
	after := n.Stats()
	return Stats{Taken: after.Taken - before.Taken, Unwanted: after.Unwanted - before.Unwanted, Sent: after.Sent - before.Sent,
		Delivered: after.Delivered - before.Delivered, Failed: after.Failed - before.Failed, GivenUp: after.GivenUp - before.GivenUp,
		Senders: after.Senders}, errors.Join(err, p.takeError())
}

// fatal is err without what another turn may cure.
func fatal(err error) error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range j.Unwrap() {
			if e = fatal(e); e != nil {
				return e
			}
		}
		return nil
	}
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Busy, fault.Timeout, fault.Stale, fault.Interrupted:
		return nil
	}
	return err
}

// pass is one call's senders.
type pass struct {
	*Notifier
	until   time.Time // only what was due then is sent; zero: whatever is due
	senders sync.WaitGroup
	broken  chan struct{} // a sender had an error that ends Run
	stop    func()        // called at the first error; nil: the others go on

	errMu sync.Mutex
	err   error
}

func newPass(n *Notifier) *pass { return &pass{Notifier: n, broken: make(chan struct{}, 1)} }

func (p *pass) wait() { p.senders.Wait() }

func (p *pass) fail(err error) {
	p.errMu.Lock()
	p.err = errors.Join(p.err, err)
	p.errMu.Unlock()
	if p.stop != nil {
		p.stop()
	}
	if fatal(err) == nil {
		return // Run sees it at its next turn
	}
	select {
	case p.broken <- struct{}{}:
	default:
	}
}

func (p *pass) takeError() error {
	p.errMu.Lock()
	defer p.errMu.Unlock()
	err := p.err
	p.err = nil
	return err
}

// look is one turn of Run.
func (p *pass) look(ctx context.Context) (more bool, err error) {
	if more, err = p.take(ctx); err != nil {
		return false, err
	}
	now, err := p.now(ctx)
	if err != nil {
		return false, err
	}
	return more, p.start(ctx, now)
}

// take turns events into notices: rows first, then Done.
func (p *pass) take(ctx context.Context) (more bool, err error) {
	for range takeTurns {
		events, err := p.cfg.Feed.Next(ctx, takeSize)
		if err != nil {
			return false, fmt.Errorf("take events: %w", err)
		}
		if len(events) == 0 {
			return false, nil
		}
		if err := p.keep(ctx, events); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (p *pass) keep(ctx context.Context, events []core.Event) error {
	ids := make([]string, 0, len(events))
	var rows []row
	for i := range events {
		e := &events[i]
		ids = append(ids, e.Transfer.ID)
		if t := p.choose(&e.Transfer); t != nil {
			rows = append(rows, row{id: e.Transfer.ID, tenant: e.Transfer.Tenant, target: t.Name, body: string(appendBody(nil, e, t.Accounts))})
		}
	}
	if err := p.at("notice.before_take"); err != nil {
		return err
	}
	now, err := p.now(ctx)
	if err != nil {
		return err
	}
	if err := p.insert(ctx, rows, now); err != nil {
		return err
	}
	if err := p.at("notice.after_take"); err != nil {
		return err
	}
	if err := p.cfg.Feed.Done(ctx, ids); err != nil {
		return fmt.Errorf("end events: %w", err)
	}
	p.stats.taken.Add(int64(len(rows)))
	p.stats.unwanted.Add(int64(len(events) - len(rows)))
	return p.at("notice.after_done")
}

func (n *Notifier) choose(t *core.Transfer) *Target {
	for i := range n.cfg.Targets {
		if n.cfg.Targets[i].wants(t) {
			return &n.cfg.Targets[i]
		}
	}
	return nil
}

// start puts senders to work for every target that has something due and senders left.
func (p *pass) start(ctx context.Context, now time.Time) error {
	due, err := p.due(ctx, now)
	if err != nil {
		return err
	}
	for _, target := range due {
		for d := p.enter(target); d != nil; d = p.enter(target) {
			p.senders.Go(func() {
				defer p.leave(target, d)
				if err := p.sendAll(ctx, target, d); err != nil {
					p.fail(err)
				}
			})
		}
	}
	return nil
}

// enter takes one of the target's senders; nil: none is left, and the next one that leaves wakes Run.
func (n *Notifier) enter(target string) *desk {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.desks[target]
	if d == nil {
		d = &desk{}
		n.desks[target] = d
	}
	if d.senders >= n.cfg.Concurrency {
		d.missed = true
		return nil
	}
	d.senders++
	n.stats.senders.Add(1)
	return d
}

func (n *Notifier) leave(target string, d *desk) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d.senders--; d.senders == 0 {
		delete(n.desks, target)
	}
	n.stats.senders.Add(-1)
	if d.missed {
		d.missed = false
		n.Wake()
	}
}
