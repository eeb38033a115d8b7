package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strata/fault"
	"strata/node"
	"strata/sync/verify"
)

// throttlePart: a throttled verifier reads one of so many of the rows that it could.
const throttlePart = 10

// verifySizes are numbers of rows: that are compared, and of each load beside a verifier. A load lasts for some turns of the
// verifier's, who begins each with a span: a short one would show its beginning only.
type verifySizes struct{ rows, load int }

func (s *Session) verifySizes() verifySizes {
	if s.Quick {
		return verifySizes{rows: 20_000, load: 4_000}
	}
	return verifySizes{rows: 500_000, load: 180_000}
}

// verifyBench measures how fast the index is proven equal to its sources while nothing else happens, and what a verifier that
// is always on and throttled costs the pipeline.
func verifyBench(ctx context.Context, s *Session) (err error) {
	sz := s.verifySizes()
	st, err := s.openStage(ctx, sz.rows+2*(len(s.besides())*s.Rounds+2)*sz.load, 1000)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	s.set("rows", fmt.Sprintf("%d in %d shards, all on live; each mode with one pass to warm up, then one a round", sz.rows, len(paymentTables())))
	s.set("beside a verifier", fmt.Sprintf("%d rows as fast as they go, in turn with and without a verifier in mode fast, pass after pass, at one row in %d of its speed alone; the ratio is of all rows by all seconds", sz.load, throttlePart))
	s.set("cpu", "of this process: verify, SQLite, capture and sync; not the databases, nor Elasticsearch")
	if _, err := st.fill(ctx, sz.rows); err != nil {
		return err
	}
	capture, err := st.open(ctx, st.config("capture", ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, capture.Close()) }()
	roles := startRoles(ctx, capture, node.Roles{Canal: true}) // heartbeats, behind which verify looks
	defer func() { err = errors.Join(err, roles.stop()) }()
	for _, do := range []func(context.Context, verifySizes) error{st.verifyAlone, st.verifyBeside} {
		if err := do(ctx, sz); err != nil {
			return err
		}
	}
	return nil
}

// verifyConfig is an index's node, with a verifier that is always on at so many rows a second; 0: without one.
func (st *stage) verifyConfig(t target, rowsPerSecond int) node.Config {
	cfg := st.config("node-"+t.name, t.prefix)
	cfg.Verify.Every = "off"
	if rowsPerSecond > 0 {
		cfg.Verify.Every, cfg.Verify.RowsPerSecond = "1s", rowsPerSecond
	}
	return cfg
}

// withSync does something with an index's node while its sync runs and is not behind.
func (st *stage) withSync(ctx context.Context, cfg node.Config, do func(n *node.Node) error) (err error) {
	n, err := st.open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	roles := startRoles(ctx, n, node.Roles{Sync: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	if err := n.WaitIndexed(ctx, nil); err != nil {
		return err
	}
	return do(n)
}

// verifyAlone compares all rows while nothing else happens.
func (st *stage) verifyAlone(ctx context.Context, _ verifySizes) error {
	modes := []verify.Mode{verify.Full, verify.Fast}
	var steps []func(round int) error
	for _, t := range st.targets() {
		pass := func(round int) error {
			return st.withSync(ctx, st.verifyConfig(t, 0), func(n *node.Node) error {
				for _, mode := range modes {
					if err := st.measureVerify(ctx, n, t, mode, round); err != nil {
						return err
					}
				}
				return nil // each pass has counted the documents
			})
		}
		if err := pass(0); err != nil {
			return fmt.Errorf("warm up %s: %w", t.name, err)
		}
		steps = append(steps, pass)
	}
	if err := st.s.InTurn(steps...); err != nil {
		return err
	}
	for _, t := range st.targets() {
		for _, mode := range modes {
			st.s.middle(string(mode)+"_rows_per_s"+t.suffix, string(mode), t.name, "rows_per_s")
		}
	}
	return nil
}

// measureVerify is one pass; round 0 warms up.
func (st *stage) measureVerify(ctx context.Context, n *node.Node, t target, mode verify.Mode, round int) error {
	if err := forgetPeak(); err != nil {
		return err
	}
	w := startWatch()
	rep, err := n.Verify(ctx, node.VerifyRequest{Parts: []string{"index"}, Mode: mode})
	if err != nil {
		return err
	}
	wall, cpu := w.seconds()
	if !rep.OK || rep.RowsCompared != int64(st.loaded) {
		return fault.New(fault.Proof, "verify", "%d rows compared of %d, %d differences", rep.RowsCompared, st.loaded, rep.Differences)
	}
	rows := float64(rep.RowsCompared)
	if round > 0 {
		st.s.note(Run{string(mode), t.name, round, map[string]float64{"rows": rows, "seconds": wall, "rows_per_s": rows / wall, "cpu_s_per_million_rows": cpu / rows * 1e6, "peak_mib": peak()}})
	}
	st.s.say("round %d, %s, %s: %.0f rows/s", round, t.name, mode, rows/wall)
	return nil
}

// besides are the loads of a round, with a verifier or without: with both between two without one, so that what grows with the
// rows counts for both; eight, since one differs from the next by a fifth, for which reason the ratio is of all of them too.
func (s *Session) besides() []bool {
	if s.Quick {
		return []bool{false, true}
	}
	return []bool{false, true, true, false, false, true, true, false}
}

// verifyBeside loads rows beside a throttled verifier, and without one. One index has all its rounds before the next has its own,
// and the quicker one comes last: it has to catch up with all that was loaded before.
func (st *stage) verifyBeside(ctx context.Context, sz verifySizes) error {
	for _, t := range slices.Backward(st.targets()) {
		bound := int(st.s.report.Ratios["fast_rows_per_s"+t.suffix]) / throttlePart
		if bound < 1 {
			return fault.New(fault.Internal, "throttle verifier", "%s has no figure of its own", t.name)
		}
		if err := st.measureBeside(ctx, t, 0, 0, 2*sz.load); err != nil {
			return fmt.Errorf("warm up %s: %w", t.name, err)
		}
		round := func(round int) error {
			for _, with := range st.s.besides() {
				rate := 0
				if with {
					rate = bound
				}
				if err := st.measureBeside(ctx, t, rate, round, sz.load); err != nil {
					return err
				}
			}
			return st.withSync(ctx, st.verifyConfig(t, 0), func(n *node.Node) error { return st.counted(ctx, n) })
		}
		if err := st.s.InTurn(round); err != nil {
			return err
		}
		name, part := "pipeline_with_vs_without_verify"+t.suffix, "beside "+t.name
		if err := st.s.overall(name, part, "with", "without", "rows", "seconds"); err != nil {
			return err
		}
	}
	return nil
}

// measureBeside loads rows and waits until they are searchable; rate is the verifier's, 0: without one.
func (st *stage) measureBeside(ctx context.Context, t target, rate, round, count int) error {
	side := "without"
	if rate > 0 {
		side = "with"
	}
	return st.withSync(ctx, st.verifyConfig(t, rate), func(n *node.Node) error {
		p := &pipelineRun{stage: st, target: t, node: n}
		before, err := verified(ctx, n, rate)
		if err != nil {
			return err
		}
		w := startWatch()
		_, searchable, err := p.loadAndWait(ctx, count)
		if err != nil {
			return err
		}
		_, cpu := w.seconds()
		after, err := verified(ctx, n, rate)
		if err != nil {
			return err
		}
		rows := float64(count)
		if round > 0 {
			st.s.note(Run{"beside " + t.name, side, round, map[string]float64{"rows": rows, "seconds": searchable, "rows_per_s": rows / searchable, "cpu_s_per_million_rows": cpu / rows * 1e6,
				"verify_bound_rows_per_s": float64(rate), "verified_rows": float64(after - before)}})
		}
		st.s.say("round %d, %s, %s a verifier: %.0f rows/s searchable, %d rows verified meanwhile", round, t.name, side, rows/searchable, after-before)
		return nil
	})
}

// verified waits until this process's verifier is at work, and returns how many rows it has compared, in steps of two seconds'
// worth.
func verified(ctx context.Context, n *node.Node, rate int) (int64, error) {
	if rate == 0 {
		return 0, nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, ok := n.VerifierStats(); ok && s.Rows > 0 {
			return s.Rows, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fault.Wrap(fault.Interrupted, "wait for verifier", ctx.Err())
		}
	}
}
