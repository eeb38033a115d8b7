package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/fault"
	"strata/index"
	"strata/node"
)

const (
	pipelineBeatMs = 50   // heartbeats are the samples of lag
	loadRows       = 500  // of one transaction of the load
	steadyRate     = 2000 // rows per second of the steady load
	steadyRows     = 40   // of one of its transactions
)

// pipelineSizes are numbers of rows.
type pipelineSizes struct{ warm, load, steady int }

func (s *Session) pipelineSizes() pipelineSizes {
	if s.Quick {
		return pipelineSizes{warm: 4_000, load: 20_000, steady: 3 * steadyRate}
	}
	return pipelineSizes{warm: 20_000, load: 100_000, steady: 10 * steadyRate}
}

// pipelineRun is the state of the benchmark.
type pipelineRun struct {
	s      *Session
	v      *servers
	cfg    node.Config
	node   *node.Node
	rows   []payment // all of them
	loaded int       // rows that were committed
}

// pipeline measures the way from a commit on live to the search index: the offline replica, capture, Kafka, sync.
func pipeline(ctx context.Context, s *Session) (err error) {
	sz := s.pipelineSizes()
	v, err := s.servers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	p := &pipelineRun{s: s, v: v, rows: payments(s.Seed, sz.warm+s.Rounds*(sz.load+sz.steady)), cfg: s.config(v, "node")}
	p.cfg.HeartbeatMs, p.cfg.Datasets = pipelineBeatMs, []catalog.Spec{paymentSpec()}
	p.cfg = p.cfg.WithDefaults()
	s.set("rows", fmt.Sprintf("warm-up %d; per round %d as fast as it goes in transactions of %d, %d at %d/s in transactions of %d", sz.warm, sz.load, loadRows, sz.steady, steadyRate, steadyRows))
	s.set("heartbeat", fmt.Sprintf("every %d ms (default 1000): each is a sample of the lag in each of %d partitions", pipelineBeatMs, p.cfg.Datasets[0].Partitions))
	s.set("cpu", "of this process: the load's client (texts made before), capture, the in-process Kafka, sync and its SQLite; not the MariaDB servers")
	for _, t := range paymentTables() {
		if _, err := v.live.ExecContext(ctx, "CREATE TABLE "+t+" "+core.EntryTable); err != nil {
			return fault.Wrap(fault.Unavailable, "make table", err)
		}
	}
	marks, err := p.endToEnd(ctx, sz)
	if err != nil {
		return err
	}
	if err := p.apply(ctx, marks); err != nil {
		return err
	}
	s.middle("rows_per_s", "end to end", "strata", "rows_per_s")
	s.middle("cpu_s_per_million_rows", "end to end", "strata", "cpu_s_per_million_rows")
	s.middle("commit_to_searchable_ms_p50", "steady load", "strata", "lag_ms_p50")
	s.middle("commit_to_searchable_ms_p99", "steady load", "strata", "lag_ms_p99")
	return s.ratio("index_rows_vs_bare_sqlite", "index", "strata", "bare sqlite", "documents_per_s", quotient)
}

// endToEnd runs the rounds with every role in this process, and returns how far the topic goes.
func (p *pipelineRun) endToEnd(ctx context.Context, sz pipelineSizes) (marks []index.Watermark, err error) {
	if p.node, err = node.OpenAndSetup(ctx, node.Options{Config: p.cfg, Log: p.s.log, Now: time.Now}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.node.Close()) }()
	roles := startRoles(ctx, p.node, node.Roles{Canal: true, Sync: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	if _, _, err := p.load(ctx, sz.warm); err != nil {
		return nil, err
	}
	p.s.say("warmed up with %d rows", sz.warm)
	err = p.s.InTurn(
		func(round int) error { return p.measureLoad(ctx, round, sz.load) },
		func(round int) error { return p.measureLag(ctx, round, sz.steady) })
	if err != nil {
		return nil, err
	}
	docs, err := p.node.Documents(ctx)
	if err != nil {
		return nil, err
	}
	if docs != int64(p.loaded) {
		return nil, fault.New(fault.Proof, "count documents", "%d instead of %d", docs, p.loaded)
	}
	return p.node.Watermarks(ctx)
}

// load commits the next count rows and waits until they are searchable. It returns when the last commit and when the
// covering watermark were there, in seconds since the first statement was sent.
func (p *pipelineRun) load(ctx context.Context, count int) (committed, searchable float64, err error) {
	texts := inserts(p.rows[p.loaded:p.loaded+count], loadRows)
	began := time.Now()
	for _, text := range texts {
		if _, err := p.v.live.ExecContext(ctx, text); err != nil {
			return 0, 0, fault.Wrap(fault.Unavailable, "load rows", err)
		}
	}
	committed = time.Since(began).Seconds()
	p.loaded += count
	err = p.node.WaitIndexed(ctx, nil)
	return committed, time.Since(began).Seconds(), err
}

func (p *pipelineRun) measureLoad(ctx context.Context, round, count int) error {
	w := startWatch()
	committed, searchable, err := p.load(ctx, count)
	if err != nil {
		return err
	}
	_, cpu := w.seconds()
	n := float64(count)
	p.s.note(Run{"end to end", "strata", round, map[string]float64{"rows": n, "committed_s": committed, "searchable_s": searchable,
		"rows_per_s": n / searchable, "cpu_s": cpu, "cpu_s_per_million_rows": cpu / n * 1e6}})
	p.s.say("round %d: %d rows searchable in %.1f s", round, count, searchable)
	return nil
}

// measureLag commits rows at the steady rate, each transaction when its time has come, late ones at once.
func (p *pipelineRun) measureLag(ctx context.Context, round, count int) error {
	texts := inserts(p.rows[p.loaded:p.loaded+count], steadyRows)
	p.node.ResetLag()
	w := startWatch()
	sent, timer := 0, time.NewTimer(0)
	defer timer.Stop()
	for _, text := range texts {
		due := w.at.Add(time.Duration(sent) * time.Second / steadyRate)
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fault.Wrap(fault.Interrupted, "load rows", ctx.Err())
		}
		if _, err := p.v.live.ExecContext(ctx, text); err != nil {
			return fault.Wrap(fault.Unavailable, "load rows", err)
		}
		sent += steadyRows
	}
	wall, cpu := w.seconds()
	p50, p99 := p.node.Lag()
	p.loaded += count
	p.s.note(Run{"steady load", "strata", round, map[string]float64{"rows": float64(count), "rows_per_s": float64(count) / wall,
		"lag_ms_p50": p50, "lag_ms_p99": p99, "cores_used": cpu / wall}})
	p.s.say("round %d: lag %.0f ms, p99 %.0f ms", round, p50, p99)
	return p.node.WaitIndexed(ctx, nil)
}

// apply compares the drain of the whole topic by sync with the bare loader.
func (p *pipelineRun) apply(ctx context.Context, marks []index.Watermark) error {
	p.s.set("index", fmt.Sprintf("%d documents: strata from the topic to a new index, bare sqlite from memory in transactions of %d; both WAL, synchronous=FULL, the same columns and indexes",
		p.loaded, bareBatch))
	rows := p.rows[:p.loaded]
	if _, err := p.bare(ctx, "bare-warm.db", rows[:min(10_000, len(rows))]); err != nil {
		return fmt.Errorf("warm up bare sqlite: %w", err)
	}
	return p.s.InTurn(
		func(round int) error {
			f, err := p.drain(ctx, round, marks)
			return p.noteApply("strata", round, f, err)
		},
		func(round int) error {
			f, err := p.bare(ctx, fmt.Sprintf("bare-%d.db", round), rows)
			return p.noteApply("bare sqlite", round, f, err)
		})
}

// bare loads the rows into a new file, and measures from the first row in memory to the last commit.
func (p *pipelineRun) bare(ctx context.Context, name string, rows []payment) (applied, error) {
	db, err := openBare(ctx, filepath.Join(p.s.dir, name))
	if err != nil {
		return applied{}, fmt.Errorf("open bare sqlite: %w", err)
	}
	w := startWatch()
	if err := loadBare(ctx, db, rows); err != nil {
		return applied{}, errors.Join(fmt.Errorf("load bare sqlite: %w", err), db.Close())
	}
	a := applied{batches: int64(len(rows)+bareBatch-1) / bareBatch}
	a.wall, a.cpu = w.seconds()
	var docs int
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM doc").Scan(&docs)
	if err == nil && docs != len(rows) {
		err = fault.New(fault.Proof, "count rows", "%d instead of %d", docs, len(rows))
	}
	return a, errors.Join(err, db.Close())
}

// applied is what one side of the index part took, seconds.
type applied struct {
	wall, cpu float64
	batches   int64
}

// noteApply notes a run of the index part, if it didn't fail.
func (p *pipelineRun) noteApply(side string, round int, a applied, err error) error {
	if err != nil {
		return err
	}
	n := float64(p.loaded)
	p.s.note(Run{"index", side, round, map[string]float64{"documents": n, "seconds": a.wall, "documents_per_s": n / a.wall,
		"batches": float64(a.batches), "cpu_s_per_million_rows": a.cpu / n * 1e6}})
	p.s.say("round %d: %s %.0f documents/s", round, side, n/a.wall)
	return nil
}

// drainPoll is how often the index is asked whether it has reached the topic's end.
const drainPoll = 20 * time.Millisecond

// drain reads the captured topic from its start into an index in a new folder, with the role sync alone, and measures
// from the role's start to the watermark that covers the last document.
func (p *pipelineRun) drain(ctx context.Context, round int, until []index.Watermark) (a applied, err error) {
	cfg := p.cfg
	cfg.Data = filepath.Join(p.s.dir, fmt.Sprintf("drain-%d", round))
	var batches atomic.Int64
	n, err := node.Open(ctx, node.Options{Config: cfg, Log: p.s.log, Now: time.Now, At: func(point string) error {
		if point == "sync.applied" {
			batches.Add(1)
		}
		return nil
	}})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	w := startWatch()
	roles := startRoles(ctx, n, node.Roles{Sync: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	if err := waitReached(ctx, n, roles, until); err != nil {
		return a, err
	}
	a.wall, a.cpu = w.seconds()
	a.batches = batches.Load()
	docs, err := n.Documents(ctx)
	if err == nil && docs != int64(p.loaded) {
		err = fault.New(fault.Proof, "count documents", "%d instead of %d", docs, p.loaded)
	}
	return a, err
}

// waitReached waits until the node's index is as far as until, or its roles end.
func waitReached(ctx context.Context, n *node.Node, roles *runs, until []index.Watermark) error {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		marks, err := n.Watermarks(ctx)
		if err != nil || reached(marks, until) {
			return err
		}
		select {
		case <-tick.C:
		case err := <-roles.done:
			roles.done <- nil // for stop
			return errors.Join(fault.New(fault.Unavailable, "drain topic", "sync ended"), err)
		case <-ctx.Done():
			return fault.Wrap(fault.KindOf(ctx.Err()), "drain topic", ctx.Err())
		}
	}
}

// reached reports whether marks are at least as far as until, partition by partition.
func reached(marks, until []index.Watermark) bool {
	if len(marks) < len(until) {
		return false
	}
	for i, u := range until {
		if marks[i].Partition != u.Partition || marks[i].Number < u.Number {
			return false
		}
	}
	return true
}
