package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"strata/fault"
	"strata/index"
	"strata/node"
)

// indexSizes are numbers of rows: of the compared drains, and of the backlog with which memory is measured. A drain lasts for half
// a minute in Elasticsearch: the half second in which a process begins, and the last refresh, are little of that.
type indexSizes struct{ rows, backlog int }

func (s *Session) indexSizes() indexSizes {
	if s.Quick {
		return indexSizes{rows: 20_000, backlog: 200_000}
	}
	return indexSizes{rows: 1_200_000, backlog: 3_000_000}
}

// indexRun is the state of the benchmark.
type indexRun struct {
	*stage
	ends []index.Watermark // of the topic
	rows []payment         // all that are in it
}

// indexBench measures sync from a topic that is there to an index, against loaders that have the documents in memory.
func indexBench(ctx context.Context, s *Session) (err error) {
	sz := s.indexSizes()
	st, err := s.openStage(ctx, sz.rows, 1000)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	r := &indexRun{stage: st, rows: newPaymentMaker(s.Seed, sz.rows).next(sz.rows)} // the same ones
	if r.ends, err = st.fill(ctx, sz.rows); err != nil {
		return err
	}
	s.set("documents", fmt.Sprintf("%d, once each, in %d partitions; strata: from the role's start to the watermark that covers the last one, a refresh included", sz.rows, len(r.ends)))
	if err := r.embedded(ctx); err != nil {
		return err
	}
	if st.elastic != nil {
		if err := r.inElastic(ctx); err != nil {
			return err
		}
	}
	return st.memory(ctx, sz.backlog)
}

// applied is what one side took, seconds.
type applied struct {
	wall, cpu, server float64 // cpu: of this process; server: of Elasticsearch
	batches           int64
}

// noteApply notes a run, if it didn't fail. Round 0 is the warm-up.
func (r *indexRun) noteApply(part, side string, round int, a applied, err error) error {
	if err != nil || round == 0 {
		return err
	}
	n := float64(len(r.rows))
	figures := map[string]float64{"documents": n, "seconds": a.wall, "documents_per_s": n / a.wall, "batches": float64(a.batches), "cpu_s_per_million_rows": a.cpu / n * 1e6}
	if a.server > 0 {
		figures["server_cpu_s_per_million_rows"] = a.server / n * 1e6
	}
	r.s.note(Run{part, side, round, figures})
	r.s.say("round %d: %s, %s: %.0f documents/s", round, part, side, n/a.wall)
	return nil
}

// embedded compares with one SQLite file that is loaded from memory.
func (r *indexRun) embedded(ctx context.Context) error {
	const part = "embedded"
	r.s.set("bare sqlite", fmt.Sprintf("one goroutine, from memory in transactions of %d; both WAL, synchronous=FULL, the same columns and indexes", bareBatch))
	strata := func(round int) error {
		a, err := r.drain(ctx, r.config(fmt.Sprintf("drain-%d", round), ""))
		return r.noteApply(part, "strata", round, a, err)
	}
	bare := func(round int) error {
		a, err := r.bareSQLite(ctx, fmt.Sprintf("bare-%d.db", round))
		return r.noteApply(part, "bare sqlite", round, a, err)
	}
	if err := errors.Join(strata(0), bare(0)); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	if err := r.s.InTurn(strata, bare); err != nil {
		return err
	}
	r.s.middle("documents_per_s", part, "strata", "documents_per_s")
	return r.s.ratio("documents_vs_bare_sqlite", part, "strata", "bare sqlite", "documents_per_s", quotient)
}

// bareSQLite loads the rows into a new file, and measures from the first row in memory to the last commit.
func (r *indexRun) bareSQLite(ctx context.Context, name string) (applied, error) {
	db, err := openBare(ctx, filepath.Join(r.s.dir, name))
	if err != nil {
		return applied{}, fmt.Errorf("open bare sqlite: %w", err)
	}
	w := startWatch()
	if err := loadBare(ctx, db, r.rows); err != nil {
		return applied{}, errors.Join(fmt.Errorf("load bare sqlite: %w", err), db.Close())
	}
	a := applied{batches: int64(len(r.rows)+bareBatch-1) / bareBatch}
	a.wall, a.cpu = w.seconds()
	var docs int
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM doc").Scan(&docs)
	if err == nil && docs != len(r.rows) {
		err = fault.New(fault.Proof, "count rows", "%d instead of %d", docs, len(r.rows))
	}
	return a, errors.Join(err, db.Close(), os.Remove(filepath.Join(r.s.dir, name)))
}

// inElastic compares with a loader that has made the same bulks before: with Elasticsearch on a core of its own, as on a machine of
// its own, and with all on all cores, where what making documents of records costs is taken from Elasticsearch.
func (r *indexRun) inElastic(ctx context.Context) error {
	b := &bulks{url: r.elastic.URL(), workers: len(r.ends)}
	for range elasticWarmUps {
		if err := r.warmElastic(ctx, b); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	r.s.set("bare bulk", fmt.Sprintf("%d goroutines, %d bulks of up to %d documents made before; the documents, ids, versions, mappings and settings are those that strata wrote; from making the indices to a refresh at the end",
		b.workers, len(b.bodies), bareBatch))
	if err := r.compareElastic(ctx, b, "_sharing_cores"); err != nil {
		return err
	}
	_, err := exec.LookPath("taskset")
	if err != nil || runtime.NumCPU() < 2 {
		r.s.set("elasticsearch's core", "it was not given one of its own")
		return nil //nolint:nilerr // said
	}
	together, err := apart(ctx, r.elastic.PID())
	if err == nil {
		r.s.set("elasticsearch's core", "core "+ownCore+" is its own, all else has the others, which are busy without it too, at the lowest priority; sharing_cores: all on all")
		var stop func()
		if stop, err = keepBusy(); err == nil {
			err = r.compareElastic(ctx, b, "")
			stop()
		}
	}
	return errors.Join(err, together())
}

// elasticWarmUps is how often each side goes before it is measured: the JVM compiles what it runs often.
const elasticWarmUps = 2

// warmElastic has both sides go once, and has the loader take over what strata has written.
func (r *indexRun) warmElastic(ctx context.Context, b *bulks) error {
	const prefix = "warm"
	_, err := r.drain(ctx, r.config("elastic-warm", prefix))
	if err == nil && b.bodies == nil {
		err = b.copy(ctx, prefix+"-"+paymentName)
	}
	if err == nil {
		err = b.remove(ctx, prefix+"*", prefix+".*")
	}
	if err == nil {
		err = b.load(ctx)
	}
	return errors.Join(err, b.remove(ctx, bulkPrefix+"*"))
}

// compareElastic lets both sides write the same documents, in turns.
func (r *indexRun) compareElastic(ctx context.Context, b *bulks, suffix string) error {
	part := "elasticsearch" + suffix
	strata := func(round int) error {
		prefix := fmt.Sprintf("round%d", round)
		a, err := r.measured(func() (applied, error) { return r.drain(ctx, r.config(fmt.Sprintf("elastic-%d", round), prefix)) })
		if err = r.noteApply(part, "strata", round, a, err); err != nil {
			return err
		}
		return b.remove(ctx, prefix+"*", prefix+".*")
	}
	bare := func(round int) error {
		a, err := r.measured(func() (a applied, err error) {
			w := startWatch()
			a.batches = int64(len(b.bodies))
			err = b.load(ctx)
			a.wall, a.cpu = w.seconds()
			return a, err
		})
		if err = r.noteApply(part, "bare bulk", round, a, err); err != nil {
			return err
		}
		if n, err := b.count(ctx); err != nil || n != len(r.rows) {
			return errors.Join(err, fault.New(fault.Proof, "count documents", "%d instead of %d", n, len(r.rows)))
		}
		return b.remove(ctx, bulkPrefix+"*")
	}
	if err := r.s.InTurn(strata, bare); err != nil {
		return err
	}
	r.s.middle("documents_per_s_elastic"+suffix, part, "strata", "documents_per_s")
	return r.s.ratio("documents_vs_bare_bulk"+suffix, part, "strata", "bare bulk", "documents_per_s", quotient)
}

// measured adds what Elasticsearch's process used.
func (r *indexRun) measured(do func() (applied, error)) (applied, error) {
	before, err := cpuOf(r.elastic.PID())
	if err != nil {
		return applied{}, err
	}
	a, err := do()
	after, err2 := cpuOf(r.elastic.PID())
	a.server = (after - before).Seconds()
	return a, errors.Join(err, err2)
}

// drainPoll is how often the index is asked whether it has reached the topic's end; each time costs it what a reader costs.
const drainPoll = 250 * time.Millisecond

// drain reads the topic from its start into a new index, with the role sync alone, and measures from the role's start to the
// watermark that covers the last document.
func (r *indexRun) drain(ctx context.Context, cfg node.Config) (a applied, err error) {
	var batches atomic.Int64
	var w stopwatch
	var reached atomic.Pointer[[2]float64] // wall and CPU at the last watermark: whoever asks for it is told up to drainPoll later
	n, err := node.Open(ctx, node.Options{Config: cfg, Log: r.s.log, Now: time.Now, At: func(point string) error {
		switch point {
		case "sync.applied":
			batches.Add(1)
		case "sync.watermarked":
			wall, cpu := w.seconds()
			reached.Store(&[2]float64{wall, cpu})
		}
		return nil
	}})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, n.Close(), os.RemoveAll(cfg.Data)) }()
	w = startWatch()
	roles := startRoles(ctx, n, node.Roles{Sync: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	if err := waitReached(ctx, n, roles, r.ends); err != nil {
		return a, err
	}
	a.wall, a.cpu = reached.Load()[0], reached.Load()[1]
	a.batches = batches.Load()
	return a, r.counted(ctx, n)
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
