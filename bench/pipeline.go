package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strata/fault"
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
		return pipelineSizes{warm: 2_000, load: 10_000, steady: 2 * steadyRate}
	}
	return pipelineSizes{warm: 20_000, load: 100_000, steady: 60 * steadyRate}
}

// pipelineRun is one index's side of the benchmark.
type pipelineRun struct {
	*stage
	target
	node *node.Node // with the role sync only
}

// pipeline measures the way from a commit on live to a search that finds it: the offline replica, capture, Kafka, sync, index.
func pipeline(ctx context.Context, s *Session) (err error) {
	sz := s.pipelineSizes()
	st, err := s.openStage(ctx, 2*(sz.warm+s.Rounds*(sz.load+sz.steady)), pipelineBeatMs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	s.set("rows", fmt.Sprintf("warm-up %d; per round %d as fast as it goes in transactions of %d, %d at %d/s in transactions of %d", sz.warm, sz.load, loadRows, sz.steady, steadyRate, steadyRows))
	s.set("heartbeat", fmt.Sprintf("every %d ms (default 1000): each is a sample of the lag in each partition", pipelineBeatMs))
	s.set("found", fmt.Sprintf("from the acknowledged commit of every %dth transaction to the end of the first search that finds its last row; one search for all of them every %s", foundEach, foundEvery))
	s.set("cpu", "of this process: the load's client (texts made before), capture, sync with its SQLite, the searches; not the databases, nor Elasticsearch, nor Kafka where it has a JVM")
	capture, err := st.open(ctx, st.config("capture", ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, capture.Close()) }()
	roles := startRoles(ctx, capture, node.Roles{Canal: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	var steps []func(round int) error
	for _, t := range st.targets() {
		p := &pipelineRun{stage: st, target: t}
		if p.node, err = st.open(ctx, st.config("node-"+t.name, t.prefix)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.node.Close()) }()
		if err := p.running(ctx, func() error { _, _, err := p.loadAndWait(ctx, sz.warm); return err }); err != nil {
			return fmt.Errorf("warm up %s: %w", t.name, err)
		}
		s.say("%s: warmed up with %d rows", t.name, sz.warm)
		steps = append(steps,
			func(round int) error {
				return p.running(ctx, func() error { return p.measureLoad(ctx, round, sz.load) })
			},
			func(round int) error {
				return p.running(ctx, func() error { return p.measureLag(ctx, round, sz.steady) })
			})
	}
	if err := s.InTurn(steps...); err != nil {
		return err
	}
	for _, t := range st.targets() {
		s.middle("rows_per_s"+t.suffix, "end to end", t.name, "rows_per_s")
		s.middle("cpu_s_per_million_rows"+t.suffix, "end to end", t.name, "cpu_s_per_million_rows")
		for _, p := range []string{"p50", "p99"} {
			s.middle("commit_to_searchable_ms_"+p+t.suffix, "steady load", t.name, "lag_ms_"+p)
			s.middle("commit_to_found_ms_"+p+t.suffix, "steady load", t.name, "found_ms_"+p)
		}
	}
	return nil
}

// running does something while this side's sync runs and is not behind.
func (p *pipelineRun) running(ctx context.Context, do func() error) (err error) {
	roles := startRoles(ctx, p.node, node.Roles{Sync: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	if err := p.node.WaitIndexed(ctx, nil); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return p.counted(ctx, p.node)
}

// loadAndWait commits rows and waits until they are searchable: when the last commit was, and the covering watermark, in seconds
// since the first statement was sent.
func (p *pipelineRun) loadAndWait(ctx context.Context, count int) (committed, searchable float64, err error) {
	if committed, err = p.load(ctx, count, loadRows); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	err = p.node.WaitIndexed(ctx, nil)
	return committed, committed + time.Since(began).Seconds(), err
}

func (p *pipelineRun) measureLoad(ctx context.Context, round, count int) error {
	w := startWatch()
	committed, searchable, err := p.loadAndWait(ctx, count)
	if err != nil {
		return err
	}
	_, cpu := w.seconds()
	n := float64(count)
	p.s.note(Run{"end to end", p.name, round, map[string]float64{"rows": n, "committed_s": committed, "searchable_s": searchable,
		"rows_per_s": n / searchable, "cpu_s": cpu, "cpu_s_per_million_rows": cpu / n * 1e6}})
	p.s.say("round %d, %s: %d rows searchable in %.1f s", round, p.name, count, searchable)
	return nil
}

// measureLag commits rows at the steady rate, each transaction when its time has come, late ones at once.
func (p *pipelineRun) measureLag(ctx context.Context, round, count int) error {
	rows := p.pay.next(count)
	texts := inserts(rows, steadyRows)
	f := startFinder(ctx, p.node.Index())
	defer f.cancel()
	p.node.ResetLag()
	w := startWatch()
	sent, timer := 0, time.NewTimer(0)
	defer timer.Stop()
	for i, text := range texts {
		due := w.at.Add(time.Duration(sent) * time.Second / steadyRate)
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fault.Wrap(fault.Interrupted, "load rows", ctx.Err())
		}
		if _, err := p.v.live.ExecContext(ctx, text.sql); err != nil {
			return fault.Wrap(fault.Unavailable, "load rows", err)
		}
		if sent += text.rows; i%foundEach == 0 {
			f.seek(&rows[sent-1])
		}
	}
	wall, cpu := w.seconds()
	p.loaded += count
	if err := p.node.WaitIndexed(ctx, nil); err != nil {
		return err
	}
	p50, p99 := p.node.Lag() // not before: marks that are late would be left out
	found, err := f.stop()
	if err != nil {
		return err
	}
	p.s.note(Run{"steady load", p.name, round, map[string]float64{"rows": float64(count), "rows_per_s": float64(count) / wall,
		"lag_ms_p50": p50, "lag_ms_p99": p99, "found": float64(len(found)), "found_ms_p50": percentile(found, 50), "found_ms_p99": percentile(found, 99),
		"found_ms_max": percentile(found, 100), "cores_used": cpu / wall}})
	p.s.say("round %d, %s: searchable after %.0f ms, p99 %.0f ms; found after %.0f ms, p99 %.0f ms", round, p.name, p50, p99, percentile(found, 50), percentile(found, 99))
	return nil
}
