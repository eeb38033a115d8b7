package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/core"
	"strata/core/load"
	coremysql "strata/core/mysql"
	"strata/fault"
	"strata/local"
	"strata/node"
)

// What the demo does not ask for.
const (
	demoArchiveDays = 90     // older whole months leave live
	demoMonths      = 18     // of the past that are loaded
	demoScanRows    = 15_000 // so that a search over months without an index turns to the search index
	demoToday       = 2_000  // transfers posted while months move
)

// DemoCmd runs the whole path.
type DemoCmd struct {
	Once      bool   `help:"End after the proof instead of serving."`
	Transfers int    `default:"200000" help:"Transfers to load over 18 months."`
	Accounts  int    `default:"2000" help:"Accounts to spread them over."`
	Today     int    `default:"${today}" hidden:"" help:"Transfers of today, posted while months move."`
	Seed      uint64 `default:"1" help:"Equal seeds give equal ledgers."`
	AsOf      string `help:"The ledger's today, 2006-01-02. Default: the day of the first start, UTC." placeholder:"DATE"`
	HTTP      string `default:"127.0.0.1:8080" help:"Where to serve afterwards; port 0 picks a free one."`
}

// demoPlan is what a data folder was made with; a second start must not ask for something else.
type demoPlan struct {
	Transfers int    `json:"transfers"`
	Accounts  int    `json:"accounts"`
	Today     int    `json:"today"`
	Seed      uint64 `json:"seed"`
	AsOf      string `json:"as_of"`
}

// demo is one run.
type demo struct {
	m     *Main
	cmd   *DemoCmd
	dir   string
	plan  demoPlan
	load  load.Plan
	out   *Progress
	s     *session
	clock core.Clock
	ledg  *coremysql.Ledger
	mem   MemoryPeak
	sum   Summary
	began time.Time

	listener net.Listener // nil with --once
}

// Help is what --help says beyond the flags.
func (c *DemoCmd) Help() string {
	return "Ctrl-C ends serving; the exit code is then that of the proof: 0 where everything held, 1 where not. " +
		"Before the proof is there it is 130. Started again with the same --data and flags it goes on where it was."
}

// Run starts everything, proves it and serves it. Without --data the folder is a temporary one and is removed.
func (c *DemoCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	if cli.Config != "" {
		return fault.New(fault.Invalid, "read flags", "the demo takes no configuration").WithHint("give servers by environment: STRATA_LIVE_DSN, …")
	}
	d := &demo{m: m, cmd: c, dir: cli.Data, out: NewProgress(m.Stderr, false), began: time.Now()}
	if _, err := loadPlan(d.asked()); err != nil {
		return err
	}
	if !c.Once { // before the work, not after it
		if d.listener, err = node.Listen(ctx, c.HTTP); err != nil {
			return err
		}
		defer func() { _ = d.listener.Close() }() // closed already where it has served
	}
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "strata-demo-"); err != nil {
			return fault.Wrap(fault.Denied, "make data folder", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return fault.Wrap(fault.Invalid, "find data folder", err)
	}
	if err := d.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	run, cancel := context.WithCancel(ctx)
	g, run := errgroup.WithContext(run)
	g.Go(func() error { return d.ledg.Run(run) })
	g.Go(func() error { return d.s.node.Run(run, node.Roles{Canal: true, Sync: true}) })
	g.Go(func() error { d.mem.Run(run, d.s.stack.ChildPIDs); return nil })
	var proof error
	g.Go(func() error {
		defer cancel()
		err := d.steps(run)
		if err != nil && !fault.Is(err, fault.Proof) {
			return err
		}
		if proof = err; proof != nil && !d.sum.done {
			d.sum.Failed = []string{proof.Error()}
		}
		d.report(cli.JSON)
		if c.Once {
			return nil
		}
		return d.serve(run)
	})
	err = g.Wait()
	cancel()
	if ctx.Err() != nil && !c.Once && d.sum.done {
		return proof // ctrl-C is how serving ends
	}
	return errors.Join(err, proof)
}

// start opens servers, node and ledger.
func (d *demo) start(ctx context.Context) error {
	began := time.Now()
	stack, err := local.Start(ctx, local.Config{Dir: d.dir, Log: d.m.Log, Getenv: d.m.Getenv})
	if err != nil {
		return err
	}
	d.s = &session{stack: stack, cancel: func() {}}
	if err := d.open(ctx, stack); err != nil {
		return errors.Join(err, d.s.close())
	}
	d.step("start", began)
	d.out.Say("servers of %s: live %s, offline %s, archive %s, kafka %v", d.dir, hostPort(stack.Addresses.Live),
		hostPort(stack.Addresses.Offline), hostPort(stack.Addresses.Archive), stack.Addresses.Kafka)
	return nil
}

func (d *demo) open(ctx context.Context, stack *local.Stack) error {
	if err := d.readPlan(); err != nil {
		return err
	}
	d.clock.Set(d.load.From)
	n, err := node.OpenAndSetup(ctx, node.Options{Config: folderConfig(d.dir, stack.Addresses), Log: d.m.Log, Now: time.Now,
		At: local.CrashFromEnv(d.m.Getenv), LedgerClock: d.clock.Now, FirstDay: d.load.From, Place: d.dir})
	if err != nil {
		return err
	}
	d.s.node = n
	if d.ledg, err = n.Ledger(ctx); err != nil {
		return err
	}
	return writeAddresses(d.dir, d.addresses(""))
}

func (d *demo) addresses(http string) addressBook {
	book := addressBook{PID: os.Getpid(), Addresses: d.s.stack.Addresses, Index: d.s.node.IndexDir(), HTTP: http}
	if http != "" {
		book.GraphQL = http + "/graphql"
	}
	return book
}

func (d *demo) stop() error {
	d.out.Close()
	return errors.Join(d.s.close(), removeIfThere(filepath.Join(d.dir, addressFile)))
}

// readPlan takes the folder's plan, or keeps this start's as the folder's.
func (d *demo) readPlan() error {
	path := filepath.Join(d.dir, "demo.json")
	asked := d.asked()
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if asked.AsOf == "" {
			asked.AsOf = time.Now().UTC().Format(time.DateOnly)
		}
		d.plan = asked
		b, _ := json.Marshal(asked) // plain fields
		if err := replaceFile(path, append(b, '\n')); err != nil {
			return err
		}
	case err != nil:
		return fault.Wrap(fault.Denied, "read demo plan", err)
	default:
		if err := json.Unmarshal(b, &d.plan); err != nil {
			return fault.Wrap(fault.Invalid, "parse "+path, err)
		}
		if asked.AsOf == "" {
			asked.AsOf = d.plan.AsOf
		}
		if asked != d.plan {
			return fault.New(fault.Invalid, "go on in "+d.dir, "it was made with %s", b).WithHint("give the same flags, or another --data")
		}
	}
	d.load, err = loadPlan(d.plan)
	return err
}

func (d *demo) asked() demoPlan {
	return demoPlan{d.cmd.Transfers, d.cmd.Accounts, d.cmd.Today, d.cmd.Seed, d.cmd.AsOf}
}

// loadPlan is the load of a plan; no AsOf is any day.
func loadPlan(p demoPlan) (load.Plan, error) {
	to := time.Now().UTC().Truncate(24 * time.Hour)
	if p.AsOf != "" {
		var err error
		if to, err = time.Parse(time.DateOnly, p.AsOf); err != nil {
			return load.Plan{}, fault.New(fault.Invalid, "read flags", "--as-of %q is not a date such as 2006-01-02", p.AsOf)
		}
	}
	if p.Today < 0 {
		return load.Plan{}, fault.New(fault.Invalid, "read flags", "--today %d", p.Today)
	}
	from := time.Date(to.Year(), to.Month()-demoMonths, 1, 0, 0, 0, 0, time.UTC)
	plan := load.Plan{Seed: p.Seed, Transfers: p.Transfers, Accounts: p.Accounts, From: from, To: to}
	return plan, plan.Validate()
}

// step notes how long a step took.
func (d *demo) step(name string, began time.Time) {
	if d.sum.Seconds == nil {
		d.sum.Seconds = map[string]float64{}
	}
	d.sum.Seconds[name] = seconds(time.Since(began))
}

// steps is the main job. fault.Proof: it ran to its end and something did not hold.
func (d *demo) steps(ctx context.Context) error {
	for _, s := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"load", d.loadPast}, {"index", d.waitIndexed}, {"archive", d.archiveWhileBusy}, {"search", d.search},
		{"statement", d.statement}, {"verify", d.verify},
	} {
		began := time.Now()
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		d.step(s.name, began)
	}
	return d.sum.finish(d)
}

// loadPast loads the ledger by its own posting path; capture and index run beside it.
func (d *demo) loadPast(ctx context.Context) error {
	t := d.out.Start("load transfers", int64(d.plan.Transfers))
	res, err := load.Past(ctx, d.loadConfig(t.Set))
	if err != nil {
		t.Abort()
		return err
	}
	d.sum.Transfers = res.Skipped + res.Applied + res.Replayed + res.Refused
	t.End("%d applied, %d refused as in life, %d were there", res.Applied, res.Refused, res.Skipped+res.Replayed)
	return nil
}

func (d *demo) loadConfig(progress func(done, total int64)) load.Config {
	return load.Config{Plan: d.load, Ledger: d.ledg, Clock: &d.clock, Progress: progress}
}

// waitIndexed waits until everything committed so far is searchable.
func (d *demo) waitIndexed(ctx context.Context) error {
	t := d.out.Start("capture and index", 0)
	if err := d.s.node.WaitIndexed(ctx, t.Set); err != nil {
		t.Abort()
		return err
	}
	docs, err := d.s.node.Documents(ctx)
	if err != nil {
		return err
	}
	t.End("%d documents searchable", docs)
	return nil
}

// archiveWhileBusy moves old months while probes ask and transfers are posted.
func (d *demo) archiveWhileBusy(ctx context.Context) error {
	probe, err := NewProbe(ctx, d.s.node.Router(), d.plan.AsOf, d.plan.Seed)
	if err != nil {
		return err
	}
	d.s.node.ResetLag()
	moved := make(chan struct{})
	var asker sync.WaitGroup
	var asked error
	asker.Go(func() { asked = probe.Run(ctx, moved) })
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		t := d.out.Start("new transfers meanwhile", int64(d.plan.Today))
		res, err := load.Today(gctx, d.loadConfig(t.Set), d.plan.Today)
		if err != nil {
			t.Abort()
			return err
		}
		d.sum.Transfers += res.Skipped + res.Applied + res.Replayed + res.Refused
		t.End("%d applied, some ordered in months that have left live", res.Applied+res.Replayed+res.Skipped)
		return nil
	})
	g.Go(func() error { return d.archive(gctx) })
	err = g.Wait()
	close(moved)
	asker.Wait()
	if err == nil { // what came meanwhile is searchable, and the lag has been measured however little there was to move
		err = d.s.node.WaitIndexed(ctx, nil)
	}
	d.sum.QueriesDuringArchive, d.sum.QueryErrors = probe.Queries.Load(), probe.Errors.Load()
	d.sum.RowsMissed, d.sum.RowsTwice = probe.Missed.Load(), probe.Twice.Load()
	d.sum.Lag.P50, d.sum.Lag.P99 = d.s.node.Lag()
	if asked != nil {
		d.out.Say("a query failed: %v", asked)
	}
	return err
}

func (d *demo) archive(ctx context.Context) error {
	t := d.out.Start("archive old months", 0)
	var done, base int64
	mover, err := d.s.node.Mover(ctx, func(rows, total int64) {
		if rows < done { // the next table
			base += done
		}
		done = rows
		t.Set(base+rows, 0)
	})
	if err != nil {
		return err
	}
	asOf := d.load.To
	plan, err := mover.Plan(ctx, asOf)
	if err != nil {
		return err
	}
	if _, err := mover.Run(ctx, plan); err != nil {
		t.Abort()
		return err
	}
	segments, err := mover.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range segments {
		d.sum.ArchivedRows += s.Rows
	}
	t.End("%d shards of %d rows are in the archive", len(segments), d.sum.ArchivedRows)
	return nil
}

func hostPort(e local.Endpoint) string { return fmt.Sprintf("%s:%d", e.Host, e.Port) }

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.Wrap(fault.Denied, "remove "+path, err)
	}
	return nil
}
