package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/core"
	coremysql "strata/core/mysql"
	"strata/db"
	"strata/fault"
	"strata/local"
)

const (
	benchAccounts = 10_000
	hotAccount    = 1
	openingCents  = 1_000_000_000_000 // of every account: no transfer is refused
	batchSize     = 500
)

// coreSizes of one run.
type coreSizes struct {
	clients  []int
	measure  time.Duration // a cell
	warmUp   time.Duration
	openLoop []int // transfers per second
}

func (s *Session) coreSizes() coreSizes {
	if s.Quick {
		return coreSizes{clients: []int{64}, measure: 1500 * time.Millisecond, warmUp: 300 * time.Millisecond, openLoop: []int{4000}}
	}
	return coreSizes{clients: []int{1, 16, 64, 256}, measure: 5 * time.Second, warmUp: time.Second, openLoop: []int{4000, 8000, 12_000}}
}

// payer is one side: it does transfers, each durable when its call returns.
type payer interface {
	pay(ctx context.Context, p []pay) error
}

func (l *locking) pay(ctx context.Context, ps []pay) error {
	for i := range ps {
		if err := l.post(ctx, &ps[i]); err != nil {
			return err
		}
	}
	return nil
}

// inProcess is the core called as a Go package.
type inProcess struct{ ledger core.Full }

func (l *inProcess) pay(ctx context.Context, ps []pay) error {
	ts := make([]core.Transfer, len(ps))
	for i := range ps {
		ts[i] = ps[i].transfer()
	}
	answers, err := l.ledger.Post(ctx, ts)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Outcome != core.Applied {
			return fault.New(fault.Conflict, "post", "%s %s", a.Outcome, a.Message)
		}
	}
	return nil
}

// coreRun is the state of the benchmark.
type coreRun struct {
	s     *Session
	sz    coreSizes
	maria *local.Maria
	root  *sql.DB
	sides []side
	ids   atomic.Int64
	stop  func() error // of the lanes
}

type side struct {
	name   string
	schema string
	payer  payer
	done   int64 // transfers so far
}

// coreBench measures the ledger core against the usual ways of locking, side by side.
func coreBench(ctx context.Context, s *Session) (err error) {
	c := &coreRun{s: s, sz: s.coreSizes()}
	home, err := local.Open(filepath.Join(s.dir, "server"), s.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	schemas := []string{"lanes", "conditional", "forupdate", "proc"}
	if c.maria, err = home.StartMaria(ctx, local.MariaConfig{Name: "live", Schemas: schemas, BufferPoolMiB: 512,
		Options: []string{"--max-connections=1200"}}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.maria.Stop(context.WithoutCancel(ctx))) }()
	if c.root, err = sql.Open("mysql", c.maria.RootDSN("")); err != nil {
		return fault.Wrap(fault.Internal, "open server", err)
	}
	defer func() { err = errors.Join(err, c.root.Close()) }()
	if err := c.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.readBack(ctx); err != nil {
		return err
	}
	if err := c.grid(ctx); err != nil {
		return err
	}
	if err := errors.Join(c.more(ctx), c.restCells(ctx)); err != nil {
		return err
	}
	if err := c.verify(ctx); err != nil {
		return err
	}
	return c.ratios()
}

// open makes the four sides, each in a schema of its own with the same accounts.
func (c *coreRun) open(ctx context.Context) error {
	month, conns := time.Now().UTC().Format("200601"), slices.Max(c.sz.clients)+8
	d, err := db.Open(ctx, db.Config{DSN: c.maria.DSN("lanes"), Name: "lanes", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		return err
	}
	ledger, err := coremysql.New(ctx, coremysql.Config{DB: d, Now: time.Now, Log: c.s.log})
	if err != nil {
		return errors.Join(err, d.Close())
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- ledger.Run(run) }()
	c.stop = func() error { cancel(); return errors.Join(<-ended, d.Close()) }
	c.sides = []side{{name: "lanes", schema: "lanes", payer: &inProcess{ledger}}}
	for _, b := range [][2]string{{"conditional update", "conditional"}, {"for update", "forupdate"}, {"procedure", "proc"}} {
		l, err := openLocking(ctx, c.maria.DSN(b[1]), b[0], month, conns)
		if err != nil {
			return err
		}
		c.sides = append(c.sides, side{name: b[0], schema: b[1], payer: l})
	}
	accounts := make([]core.Account, benchAccounts)
	low := int64(0)
	for i := range accounts {
		accounts[i] = core.Account{ID: int64(i + 1), Name: "bench", Unit: "CNY", MinBalance: &low}
	}
	for chunk := range slices.Chunk(accounts, 1000) {
		if err := ledger.Open(ctx, chunk); err != nil {
			return err
		}
	}
	if err := ledger.EnsureShards(ctx, time.Now().AddDate(0, 0, -1), time.Now().AddDate(0, 0, 1)); err != nil {
		return err
	}
	texts := []string{fmt.Sprintf("UPDATE lanes.account SET balance=%[1]d, credits=%[1]d", openingCents)}
	for _, x := range c.sides[1:] {
		texts = append(texts, "INSERT INTO "+x.schema+".account SELECT * FROM lanes.account")
	}
	for _, text := range texts {
		if _, err := c.root.ExecContext(ctx, text); err != nil {
			return fault.Wrap(fault.Unavailable, "fill accounts", err)
		}
	}
	return nil
}

func (c *coreRun) close() error {
	errs := []error{c.stop()}
	for _, x := range c.sides[1:] {
		errs = append(errs, x.payer.(*locking).db.Close())
	}
	return errors.Join(errs...)
}

func (c *coreRun) readBack(ctx context.Context) error {
	var sync, flush int64
	if err := c.root.QueryRowContext(ctx, "SELECT VERSION(), @@GLOBAL.sync_binlog, @@GLOBAL.innodb_flush_log_at_trx_commit").
		Scan(&c.s.report.Machine.MariaDB, &sync, &flush); err != nil {
		return fault.Wrap(fault.Unavailable, "read settings", err)
	}
	c.s.set("live", fmt.Sprintf("sync_binlog=%d innodb_flush_log_at_trx_commit=%d innodb_buffer_pool_size=512 MiB; client and server on the same cores, TCP on loopback", sync, flush))
	c.s.set("accounts", benchAccounts)
	c.s.set("seconds of a cell", c.sz.measure.Seconds())
	c.s.set("warm-up seconds of a cell", c.sz.warmUp.Seconds())
	if sync != 1 || flush != 1 {
		return fault.New(fault.Unsafe, "read settings", "sync_binlog=%d innodb_flush_log_at_trx_commit=%d; figures of relaxed durability are worth nothing", sync, flush)
	}
	return nil
}

// grid runs every side with every number of clients, uniform and on the hot account, in turn.
func (c *coreRun) grid(ctx context.Context) error {
	return c.s.InTurn(func(round int) error {
		for _, clients := range c.sz.clients {
			for _, shape := range []string{"uniform", "hot"} {
				for i := range c.sides {
					if err := c.cell(ctx, round, &c.sides[i], shape, clients, 1); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// cell measures one side in a closed loop: each client has one call under way.
func (c *coreRun) cell(ctx context.Context, round int, x *side, shape string, clients, batch int) error {
	part := fmt.Sprintf("%s, %d clients", shape, clients)
	if batch > 1 {
		part += fmt.Sprintf(", batches of %d", batch)
	}
	return c.cellAs(ctx, round, x, part, shape, clients, batch)
}

// cellAs is cell as a part of another name.
func (c *coreRun) cellAs(ctx context.Context, round int, x *side, part, shape string, clients, batch int) error {
	from := time.Now().Add(c.sz.warmUp)
	until := from.Add(c.sz.measure)
	waits := make([][]float64, clients)
	done := make([]int64, clients)
	g, gctx := errgroup.WithContext(ctx)
	for n := range clients {
		g.Go(func() error {
			rnd := rand.New(rand.NewPCG(c.s.Seed, uint64(n)))
			for began := time.Now(); began.Before(until); began = time.Now() {
				if err := x.payer.pay(gctx, c.pays(rnd, shape, batch)); err != nil {
					return fmt.Errorf("%s: %s: %w", x.name, part, err)
				}
				done[n] += int64(batch)
				if end := time.Now(); end.After(from) && end.Before(until) {
					waits[n] = append(waits[n], ms(end.Sub(began)))
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, n := range done {
		x.done += n
	}
	all := slices.Concat(waits...)
	rate := float64(len(all)*batch) / c.sz.measure.Seconds()
	figures := map[string]float64{"transfers_per_s": rate}
	if len(all) > 0 {
		figures["p50_ms"], figures["p99_ms"] = percentile(all, 50), percentile(all, 99)
	}
	c.s.note(Run{part, x.name, round, figures})
	c.s.say("%s, %s: %.0f/s", part, x.name, rate)
	return nil
}

// pays makes transfers between two accounts; one of them is the hot one, on either side, where the shape says so.
func (c *coreRun) pays(rnd *rand.Rand, shape string, n int) []pay {
	out := make([]pay, n)
	at := time.Now().UTC().Truncate(time.Microsecond)
	for i := range out {
		p := pay{id: fmt.Sprintf("b%d", c.ids.Add(1)), from: 2 + rnd.Int64N(benchAccounts-1), to: 2 + rnd.Int64N(benchAccounts-2), amount: 1 + rnd.Int64N(1000), at: at}
		if p.to >= p.from {
			p.to++
		}
		if shape == "hot" {
			if p.hotFrom = rnd.IntN(2) == 0; p.hotFrom {
				p.from = hotAccount
			} else {
				p.to = hotAccount
			}
		}
		out[i] = p
	}
	return out
}

// more measures what only the lanes have: batches, and an open loop that counts what it dropped.
func (c *coreRun) more(ctx context.Context) error {
	lanes := &c.sides[0]
	err := c.s.InTurn(func(round int) error {
		for _, shape := range []string{"uniform", "hot"} {
			if err := c.cell(ctx, round, lanes, shape, 4, batchSize); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	rss, err := residentMiB()
	if err != nil {
		return err
	}
	c.s.report.Ratios["process_rss_mib"] = rss
	for _, rate := range c.sz.openLoop {
		if err := c.openLoop(ctx, lanes, rate); err != nil {
			return err
		}
	}
	return nil
}

// openLoop offers transfers at a fixed rate whatever the answers take; waiting counts from the moment each was due.
func (c *coreRun) openLoop(ctx context.Context, x *side, rate int) error {
	total := int(float64(rate) * c.sz.measure.Seconds())
	waits := make([]float64, total)
	var dropped, applied atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	rnd := rand.New(rand.NewPCG(c.s.Seed, 99))
	began := time.Now()
	for i := range total {
		due := began.Add(time.Duration(float64(i) / float64(rate) * float64(time.Second)))
		if d := time.Until(due); d > time.Millisecond {
			timer := time.NewTimer(d)
			select {
			case <-timer.C:
			case <-gctx.Done():
				return g.Wait()
			}
		}
		p := c.pays(rnd, "hot", 1)
		g.Go(func() error {
			err := x.payer.pay(gctx, p)
			if fault.Is(err, fault.Busy) {
				dropped.Add(1)
				return nil
			}
			applied.Add(1)
			waits[i] = ms(time.Since(due))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	x.done += applied.Load()
	waits = slices.DeleteFunc(waits, func(w float64) bool { return w == 0 })
	figures := map[string]float64{"offered_per_s": float64(rate), "dropped": float64(dropped.Load()),
		"applied_per_s": float64(applied.Load()) / time.Since(began).Seconds()}
	if len(waits) > 0 {
		figures["p50_ms"], figures["p99_ms"] = percentile(waits, 50), percentile(waits, 99)
	}
	c.s.note(Run{"open loop, hot", x.name, 1, figures})
	c.s.say("open loop %d/s: %d dropped", rate, dropped.Load())
	return nil
}

// verify compares the sums of every side: nothing was made or lost, and every transfer left its rows.
func (c *coreRun) verify(ctx context.Context) error {
	for _, x := range c.sides {
		month := time.Now().UTC().Format("200601")
		var balances, entries, legs, transfers, ids int64
		for text, to := range map[string]*int64{
			"SELECT SUM(balance) FROM %s.account":       &balances,
			"SELECT SUM(amount) FROM %s.entry_" + month: &entries,
			"SELECT COUNT(*) FROM %s.entry_" + month:    &legs,
			"SELECT COUNT(*) FROM %s.transfer_" + month: &transfers,
			"SELECT COUNT(*) FROM %s.transfer_id":       &ids,
		} {
			if err := c.root.QueryRowContext(ctx, fmt.Sprintf(text, x.schema)).Scan(to); err != nil {
				return fault.Wrap(fault.Unavailable, "verify sums", err)
			}
		}
		if balances != benchAccounts*openingCents || entries != 0 || legs != 2*x.done || transfers != x.done || ids != x.done {
			return fault.New(fault.Proof, "verify sums of "+x.name, "balances %d, entries %d, %d entries, %d transfers, %d ids after %d transfers",
				balances, entries, legs, transfers, ids, x.done)
		}
	}
	c.s.set("sums", "equal on every side after all runs")
	return nil
}

func (c *coreRun) ratios() error {
	best := func(part string, round int) float64 {
		var top float64
		for _, r := range c.s.report.Raw {
			if r.Part == part && r.Round == round && r.Side != "lanes" {
				top = max(top, r.Figures["transfers_per_s"])
			}
		}
		return top
	}
	const figure = "transfers_per_s"
	hot, uniform := "hot, 64 clients", "uniform, 64 clients"
	var each []float64
	for i, own := range c.s.figures(uniform, "lanes", figure) {
		each = append(each, own/best(uniform, i+1))
	}
	c.s.report.Ratios["uniform64_vs_best_locking"] = median(each)
	c.s.middle("uniform64_per_s", uniform, "lanes", figure)
	c.s.middle("hot64_per_s", hot, "lanes", figure)
	c.s.middle("hot64_p99_ms", hot, "lanes", "p99_ms")
	c.s.middle("batch500_per_s", "uniform, 4 clients, batches of 500", "lanes", figure)
	return errors.Join(
		c.s.ratio("rest64_vs_inprocess", "REST, 64 clients", "lanes over REST", "lanes", figure, quotient),
		c.s.ratio("hot64_vs_conditional_update", hot, "lanes", "conditional update", figure, quotient),
		c.s.ratio("hot64_vs_for_update", hot, "lanes", "for update", figure, quotient),
		c.s.ratio("hot64_vs_procedure", hot, "lanes", "procedure", figure, quotient))
}
