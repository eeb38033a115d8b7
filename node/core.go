package node

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/core"
	"strata/core/across"
	"strata/core/daybook"
	rest "strata/core/http"
	"strata/core/intake"
	coremysql "strata/core/mysql"
	"strata/core/notice"
	"strata/core/voucher"
	"strata/db"
	"strata/fault"
)

// Ledgers is the transactional core with everything that hangs on it. Nothing of it runs until Run does.
type Ledgers struct {
	node     *Node
	Ledger   *coremysql.Ledger
	Book     *daybook.Book
	Vouchers *voucher.Store   // nil where the configuration has none
	engine   *voucher.Engine  // the same
	Notices  *notice.Notifier // nil where there are no targets, or NoNotices says why not
	// NoNotices is what is wrong with the targets, such as a secret that this process does not have: only who tells needs it.
	NoNotices error
	Across    *across.Coordinator // nil where there are no other ledgers
	others    []*coremysql.Ledger
	ledgers   map[string]across.Ledger // all, by name; nil where there is one
}

// Core opens the core on the live primary and makes its tables where they are missing.
func (n *Node) Core(ctx context.Context) (*Ledgers, error) {
	ledger, err := n.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	c := &Ledgers{node: n, Ledger: ledger}
	w, err := n.liveWriter(ctx)
	if err != nil {
		return nil, err
	}
	c.Book, err = daybook.New(ctx, daybook.Config{DB: w, Reader: n.live, TransferShards: n.cfg.TransferShards, EntryShards: n.cfg.EntryShards,
		Merger: ledger, Now: n.now, Log: n.log, At: n.at})
	if err != nil {
		return nil, err
	}
	if err := c.openVouchers(ctx, w); err != nil {
		return nil, err
	}
	if c.Notices, err = n.notifier(ctx, w, ledger); fault.Is(err, fault.Invalid) {
		c.NoNotices = err
	} else if err != nil {
		return nil, err
	}
	return c, c.openAcross(ctx, w)
}

func (c *Ledgers) openVouchers(ctx context.Context, w *db.DB) error {
	n := c.node
	if !n.cfg.Core.Vouchers {
		return nil
	}
	var err error
	if c.Vouchers, err = voucher.New(ctx, voucher.Config{DB: w, Now: n.now, Log: n.log, At: n.at}); err != nil {
		return err
	}
	c.engine, err = voucher.NewEngine(voucher.EngineConfig{Store: c.Vouchers, Feed: c.Ledger.Feed(core.ForVouchers)})
	return err
}

// consumers are those for whom the ledger keeps events.
func (n *Node) consumers() (out []string) {
	if n.cfg.Core.Vouchers {
		out = append(out, core.ForVouchers)
	}
	if len(n.cfg.Core.Notices.Targets) > 0 {
		out = append(out, core.ForNotices)
	}
	return out
}

// notifier is nil where nobody is to be told.
func (n *Node) notifier(ctx context.Context, w *db.DB, ledger *coremysql.Ledger) (*notice.Notifier, error) {
	cfg := n.cfg.Core.Notices
	if len(cfg.Targets) == 0 {
		return nil, nil
	}
	targets, err := notice.Targets(cfg.Targets, os.Getenv, os.ReadFile)
	if err != nil {
		return nil, err
	}
	schedule, err := cfg.schedule()
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "configure notices", err)
	}
	return notice.New(ctx, notice.Config{DB: w, Feed: ledger.Feed(core.ForNotices), Targets: targets, Schedule: schedule, Now: n.now, Log: n.log, At: n.at})
}

// openAcross opens the other ledgers and the coordinator, whose rows stand in this ledger's database.
func (c *Ledgers) openAcross(ctx context.Context, w *db.DB) error {
	n := c.node
	cfg := n.cfg.Core.Across
	if len(cfg.Ledgers) == 0 {
		return nil
	}
	all := map[string]across.Ledger{cfg.Name: {Participant: c.Ledger, Transit: cfg.Transit}}
	for name, l := range cfg.Ledgers {
		d, err := n.pool(ctx, "ledger "+name, l.DSN, catalog.Live, db.Writer)
		if err != nil {
			return err
		}
		other, err := coremysql.New(ctx, n.ledgerConfig(d))
		if err != nil {
			return err
		}
		c.others = append(c.others, other)
		all[name] = across.Ledger{Participant: other, Transit: l.Transit}
	}
	c.ledgers = all
	var err error
	c.Across, err = across.New(ctx, across.Config{DB: w, Ledgers: all, Now: n.now, Horizon: n.horizon(), Log: n.log, At: n.at})
	return err
}

func (n *Node) horizon() time.Duration { return time.Duration(n.cfg.Core.HorizonDays) * 24 * time.Hour }

// RunLanes posts what is handed to the ledgers until ctx ends.
func (c *Ledgers) RunLanes(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range append([]*coremysql.Ledger{c.Ledger}, c.others...) {
		g.Go(func() error { return l.Run(ctx) })
	}
	return g.Wait()
}

// Run is the role core but for its HTTP: lanes, vouchers, notices, recovery of transfers across, and the jobs.
func (c *Ledgers) Run(ctx context.Context) error {
	if c.NoNotices != nil {
		return c.NoNotices
	}
	scheduler, err := c.node.scheduler(ctx, c.jobs())
	if err != nil {
		return err
	}
	lanes, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.RunLanes(lanes) }()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return scheduler.Run(gctx) })
	if c.Vouchers != nil {
		g.Go(func() error { return c.engine.Run(gctx) })
	}
	if c.Notices != nil {
		g.Go(func() error { return c.Notices.Run(gctx) })
	}
	if c.Across != nil {
		if err := c.Across.Prepare(ctx); err != nil {
			return errors.Join(err, c.stopLanes(stop, ended))
		}
		g.Go(func() error { return c.Across.Run(gctx) })
	}
	g.Go(func() error {
		select {
		case err := <-ended: // a lane that ends before it is told to: a crash point
			ended <- nil
			return errors.Join(err, fault.New(fault.Internal, "run ledger", "the lanes ended"))
		case <-gctx.Done():
			return nil
		}
	})
	// The lanes end last: what posts to them needs their answers.
	return errors.Join(g.Wait(), c.stopLanes(stop, ended))
}

func (c *Ledgers) stopLanes(stop context.CancelFunc, ended <-chan error) error {
	stop()
	return <-ended
}

// REST is the ledger's HTTP API, under /v1.
func (c *Ledgers) REST() (*rest.Server, error) {
	cfg := rest.Config{Ledger: restLedger{c.Ledger, c}, Log: c.node.log, Now: c.node.now, Audit: func(a rest.Act) {
		if a.Name == "postTransfer" || a.Name == "postBatch" || a.Name == "postCase" {
			return // the transfers are their own record
		}
		c.node.log.Info("audit", "client", a.Client, "act", a.Name, "object", a.Object, "count", a.Count, "status", a.Status, "code", a.Code)
	}}
	if c.Notices != nil {
		cfg.Notices = restNotices{c.Notices}
	}
	if c.Vouchers != nil {
		cfg.Cases, cfg.Vouchers = restVouchers{c}, restVouchers{c}
	}
	return rest.New(cfg)
}

// restLedger cuts the day of all ledgers where there are several.
type restLedger struct {
	*coremysql.Ledger
	c *Ledgers
}

// CutDay is core.Days.
func (r restLedger) CutDay(ctx context.Context, date time.Time) error { return r.c.CutDay(ctx, date) }

// restNotices shows the notifier as the API wants it.
type restNotices struct{ n *notice.Notifier }

func (r restNotices) ListNotices(ctx context.Context, state, after string, limit int) ([]rest.Notice, error) {
	list, err := r.n.List(ctx, notice.State(state), after, limit)
	out := make([]rest.Notice, len(list))
	for i, x := range list {
		out[i] = rest.Notice{ID: x.TransferID, Transfer: x.TransferID, Target: x.Target, State: string(x.State), Attempts: x.Attempt, Said: x.LastError}
		if x.State == notice.Pending {
			out[i].Next = x.NextAt
		}
	}
	return out, err
}

func (r restNotices) CountNotices(ctx context.Context) (map[string]int64, error) {
	counts, err := r.n.Counts(ctx)
	out := map[string]int64{}
	for _, c := range counts {
		out[string(c.State)] += c.Notices
	}
	return out, err
}

func (r restNotices) ResendNotice(ctx context.Context, id string) error { return r.n.Resend(ctx, id) }

// ImportMarks remember how far files were imported, in the ledger's own database.
func (c *Ledgers) ImportMarks(ctx context.Context) (*intake.TableMarks, error) {
	w, err := c.node.liveWriter(ctx)
	if err != nil {
		return nil, err
	}
	return intake.NewTableMarks(ctx, w)
}
