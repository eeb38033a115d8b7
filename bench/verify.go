package main

import (
	"context"
	"errors"
	"fmt"

	"strata/fault"
	"strata/node"
)

// verifyRows is how many there are.
func (s *Session) verifyRows() int {
	if s.Quick {
		return 20_000
	}
	return 500_000
}

// verifyBench measures how fast the index is proven equal to its sources, while nothing else happens.
func verifyBench(ctx context.Context, s *Session) (err error) {
	rows := s.verifyRows()
	st, err := s.openStage(ctx, rows, 1000)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	ends, err := st.fill(ctx, rows)
	if err != nil {
		return err
	}
	s.set("rows", fmt.Sprintf("%d in %d shards, all on live; one pass to warm up, then one a round", rows, len(paymentTables())))
	s.set("cpu", "of this process: verify, SQLite, capture and sync, which have nothing to do but heartbeats; not the databases, nor Elasticsearch")
	capture, err := st.open(ctx, st.config("capture", ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, capture.Close()) }()
	roles := startRoles(ctx, capture, node.Roles{Canal: true}) // heartbeats, behind which verify looks
	defer func() { err = errors.Join(err, roles.stop()) }()
	var steps []func(round int) error
	for _, t := range st.targets() {
		n, err := st.open(ctx, st.config("node-"+t.name, t.prefix))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, n.Close()) }()
		sync := startRoles(ctx, n, node.Roles{Sync: true})
		defer func() { err = errors.Join(err, sync.stop()) }()
		if err := waitReached(ctx, n, sync, ends); err != nil {
			return err
		}
		if err := errors.Join(st.counted(ctx, n), st.measureVerify(ctx, n, t, 0)); err != nil {
			return fmt.Errorf("warm up %s: %w", t.name, err)
		}
		steps = append(steps, func(round int) error { return st.measureVerify(ctx, n, t, round) })
	}
	if err := s.InTurn(steps...); err != nil {
		return err
	}
	for _, t := range st.targets() {
		s.middle("full_rows_per_s"+t.suffix, "full", t.name, "rows_per_s")
	}
	return nil
}

// measureVerify is one pass; round 0 warms up.
func (st *stage) measureVerify(ctx context.Context, n *node.Node, t target, round int) error {
	if err := forgetPeak(); err != nil {
		return err
	}
	w := startWatch()
	rep, err := n.Verify(ctx, node.VerifyRequest{Parts: []string{"index"}})
	if err != nil {
		return err
	}
	wall, cpu := w.seconds()
	if !rep.OK || rep.RowsCompared != int64(st.loaded) {
		return fault.New(fault.Proof, "verify", "%d rows compared of %d, %d differences", rep.RowsCompared, st.loaded, rep.Differences)
	}
	rows := float64(rep.RowsCompared)
	if round > 0 {
		st.s.note(Run{"full", t.name, round, map[string]float64{"rows": rows, "seconds": wall, "rows_per_s": rows / wall, "cpu_s_per_million_rows": cpu / rows * 1e6, "peak_mib": peak()}})
	}
	st.s.say("round %d, %s, full: %.0f rows/s", round, t.name, rows/wall)
	return nil
}
