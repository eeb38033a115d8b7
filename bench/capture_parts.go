package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/node"
)

// wideBytes is the size of one wide row.
const wideBytes = 15 << 20

// peak is the largest resident size of this process since forgetPeak, in MiB.
func peak() float64 {
	kib, _, _ := strings.Cut(strings.TrimSpace(procField("/proc/self/status", "VmHWM")), " ")
	n, _ := strconv.ParseFloat(kib, 64)
	return n / 1024
}

// forgetPeak begins a new measurement of the peak.
func forgetPeak() error {
	return fault.Wrap(fault.Unavailable, "reset peak", os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
}

// wholeTransaction sends one transaction of many rows.
func (c *captureRun) wholeTransaction(ctx context.Context) error {
	rows := c.sz.whole
	if err := c.loadWhole(ctx, rows); err != nil {
		return err
	}
	c.s.say("a transaction of %d rows is committed", rows)
	if err := forgetPeak(); err != nil {
		return err
	}
	r, err := c.readStrata(ctx, "", rows)
	if err != nil {
		return err
	}
	n := float64(r.rows)
	c.s.note(Run{"one transaction", "strata", 1, map[string]float64{"rows": n, "rows_per_s": n / r.wall, "cpu_s_per_million_rows": r.cpu / n * 1e6, "peak_mib": peak()}})
	c.s.report.Ratios["whole_transaction_peak_mib"] = peak()
	return nil
}

// loadWhole commits one transaction of so many rows.
func (c *captureRun) loadWhole(ctx context.Context, rows int) error {
	tx, err := c.v.live.BeginTx(ctx, nil)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "begin transaction", err)
	}
	for range rows / captureRows {
		if _, err := tx.ExecContext(ctx, c.insert(captureRows)); err != nil {
			return errors.Join(fault.Wrap(fault.Unavailable, "load rows", err), tx.Rollback())
		}
	}
	return fault.Wrap(fault.Unavailable, "commit transaction", tx.Commit())
}

// wideRows sends rows near the largest that a server takes.
func (c *captureRun) wideRows(ctx context.Context) error {
	for i := range c.sz.wide {
		if _, err := c.v.live.ExecContext(ctx, fmt.Sprintf("INSERT INTO wide VALUES (%d, REPEAT('x', %d))", i, wideBytes)); err != nil {
			return fault.Wrap(fault.Unavailable, "load wide rows", err)
		}
	}
	if err := forgetPeak(); err != nil {
		return err
	}
	letters := canal.Topic(canal.DeadLetters("wide"))
	lettersBase, err := c.ends(letters)
	if err != nil {
		return err
	}
	roles := startRoles(ctx, c.node, node.Roles{Canal: true})
	_, err = c.follow(ctx, letters, lettersBase, lettersBase+int64(c.sz.wide), func() (time.Duration, error) { return cpuTime(), nil })
	if err = errors.Join(err, roles.stop()); err != nil {
		return err
	}
	c.s.note(Run{"rows of 15 MiB", "strata", 1, map[string]float64{"rows": float64(c.sz.wide), "peak_mib": peak()}})
	c.s.report.Ratios["wide_rows_peak_mib"] = peak()
	return nil
}

// backfill sends all rows of the table beside a live load, and looks at the live stream's lag meanwhile.
func (c *captureRun) backfill(ctx context.Context) (err error) {
	cfg := c.cfg
	cfg.HeartbeatMs = 200 // the lag is seen by heartbeats: no finer than their interval
	n, err := node.OpenAndSetup(ctx, node.Options{Config: cfg.WithDefaults(), Log: c.s.log, Now: time.Now, Place: "bench"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	desk, err := n.Desk(ctx)
	if err != nil {
		return err
	}
	if err := forgetPeak(); err != nil {
		return err
	}
	roles := startRoles(ctx, n, node.Roles{Canal: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	w := startWatch()
	task, err := desk.Order(ctx, canal.Task{Kind: canal.Backfill, Dataset: captureTable, Who: "bench", Why: "to measure it"})
	if err != nil {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return c.trickle(inner) })
	worst, began := int64(0), time.Time{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for task.State != canal.Done {
		select {
		case <-tick.C:
		case <-ctx.Done():
			stop()
			return errors.Join(fault.Wrap(fault.Interrupted, "follow backfill", ctx.Err()), g.Wait())
		}
		if task, err = desk.TaskByID(ctx, task.ID); err != nil || task.State == canal.Failed || task.State == canal.Ended {
			stop()
			return errors.Join(err, g.Wait(), fault.New(fault.Internal, "follow backfill", "%s: %s", task.State, task.Err))
		}
		if began.IsZero() && task.State == canal.Running {
			began, w = time.Now(), startWatch()
		}
		if st, ok, err := desk.Status(ctx); err == nil && ok && !began.IsZero() {
			worst = max(worst, st.LagMs)
		}
	}
	wall, cpu := w.seconds()
	stop()
	rows := float64(task.Done)
	c.s.note(Run{"backfill", "strata", 1, map[string]float64{"rows": rows, "rows_per_s": rows / wall, "cpu_s_per_million_rows": cpu / rows * 1e6,
		"worst_lag_ms": float64(worst), "peak_mib": peak()}})
	c.s.say("backfill: %.0f rows, %.0f rows/s, worst lag %d ms", rows, rows/wall, worst)
	c.s.report.Ratios["backfill_rows_per_s"], c.s.report.Ratios["backfill_worst_lag_ms"] = rows/wall, float64(worst)
	return g.Wait()
}

// trickle changes rows of the table until ctx ends: the load beside a backfill.
func (c *captureRun) trickle(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := c.v.live.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET status=(status+1)%%100 WHERE id=%d", captureTable, 1+i*7919%(c.next-1))); err != nil && ctx.Err() == nil {
			return fault.Wrap(fault.Unavailable, "change rows", err)
		}
	}
}

// source measures a load on live with and without a capture that reads the offline replica.
func (c *captureRun) source(ctx context.Context) error {
	if _, err := exec.LookPath("sysbench"); err != nil {
		c.s.say("sysbench is not installed: the cost on the source is not measured")
		return nil //nolint:nilerr // said
	}
	if _, err := c.sysbench(ctx, sysbenchLoad{}, "prepare"); err != nil {
		return err
	}
	cfg := c.cfg
	cfg.Offline, cfg.HeartbeatMs = node.Offline{DSN: c.v.stack.Addresses.Offline.DSN}, 0
	cfg.Control.DSN, cfg.Data = strings.Replace(cfg.Control.DSN, "/strata_control", "/strata_bench", 1), cfg.Data+"-offline"
	cfg.Datasets = []catalog.Spec{{Name: "sbtest1", Partitions: captureParts}, {Name: "sbtest2", Partitions: captureParts}}
	if err := c.v.archiveSchema(ctx, "strata_bench"); err != nil {
		return err
	}
	n, err := node.OpenAndSetup(ctx, node.Options{Config: cfg.WithDefaults(), Log: c.s.log, Now: time.Now, Place: "bench-offline"})
	if err != nil {
		return err
	}
	// It begins with the whole binlog; only what comes after that is measured.
	roles := startRoles(ctx, n, node.Roles{Canal: true})
	_, err = c.follow(ctx, canal.Topic("sbtest2"), 20_000, 20_000+2*captureParts, func() (time.Duration, error) { return 0, nil })
	if err = errors.Join(err, roles.stop()); err != nil {
		return errors.Join(err, n.Close())
	}
	load := sysbenchLoad{seconds: 8, pairs: 3}
	if c.s.Quick {
		load = sysbenchLoad{seconds: 4, pairs: 2}
	}
	err = c.withAndWithout(ctx, n, "source beside capture", load, "_sharing_cores")
	if err == nil {
		err = c.sourceApart(ctx, n, load)
	}
	return errors.Join(err, n.Close())
}

// sourceApart is the measurement with cores of its own for live and its clients: what it costs them that somebody reads
// their replica, without what programs take from each other on one small machine.
func (c *captureRun) sourceApart(ctx context.Context, n *node.Node, load sysbenchLoad) error {
	_, err := exec.LookPath("taskset")
	if live := c.v.stack.Live; err != nil || live == nil || runtime.NumCPU() < 2 {
		c.s.set("source", "live was not given cores of its own")
		return nil //nolint:nilerr // said
	}
	together, err := apart(ctx, c.v.stack.Live.PID())
	if err == nil {
		c.s.set("source", "live and its clients on core 0; its replica, Kafka and capture on the others, which are busy without them too, at the lowest priority; sharing_cores: all on all")
		load.core, load.pairs = ownCore, 3*load.pairs // one pair differs from the next by 15 %
		var stop func()
		if stop, err = keepBusy(); err == nil {
			err = c.withAndWithout(ctx, n, "source", load, "")
			stop()
		}
	}
	return errors.Join(err, together())
}

// withAndWithout measures the load on live, in turns, and notes the ratios of its transactions and of the CPU time that live spends on one.
func (c *captureRun) withAndWithout(ctx context.Context, n *node.Node, part string, load sysbenchLoad, suffix string) error {
	const with, without = "with capture", "without capture"
	live := 0
	if c.v.stack.Live != nil {
		live = c.v.stack.Live.PID()
	}
	measure := func(side string, round int) error {
		before, err := usageBeside(live)
		if err != nil {
			return err
		}
		tps, err := c.sysbench(ctx, load, "run")
		if err != nil {
			return err
		}
		after, err := usageBeside(live)
		figures := after.per(before, tps*float64(load.seconds))
		figures["tps"] = tps
		c.s.note(Run{part, side, round, figures})
		c.s.say("%s, round %d, %s: %.0f transactions/s", part, round, side, tps)
		return err
	}
	for round := 1; round <= load.pairs; round++ {
		if err := measure(without, round); err != nil {
			return err
		}
		roles := startRoles(ctx, n, node.Roles{Canal: true})
		err := caughtUp(ctx, n)
		if err == nil {
			err = measure(with, round)
		}
		if err = errors.Join(err, roles.stop()); err != nil {
			return err
		}
	}
	if err := c.s.ratio("source_cpu_with_vs_without"+suffix, part, with, without, "live_cpu_us", quotient); err != nil {
		return err
	}
	return c.s.ratio("source_tps_with_vs_without"+suffix, part, with, without, "tps", quotient)
}

// caughtUp waits until capture has read what was written before the call.
func caughtUp(ctx context.Context, n *node.Node) error {
	desk, err := n.Desk(ctx)
	if err != nil {
		return err
	}
	now := catalog.Instant(time.Now().UnixMicro())
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, ok, err := desk.Status(ctx)
		if err != nil || ok && st.Beat.At > now {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.Wrap(fault.Interrupted, "wait for capture", ctx.Err())
		}
	}
}

// sysbenchLoad is how sysbench runs: seconds each time, in pairs with and without; core "" is any.
type sysbenchLoad struct {
	seconds, pairs int
	core           string
}

// sysbench runs a command on live and returns its transactions per second.
func (c *captureRun) sysbench(ctx context.Context, load sysbenchLoad, command string) (float64, error) {
	live := c.v.stack.Addresses.Live
	args := []string{"sysbench", "oltp_write_only", "--db-driver=mysql", "--mysql-host=" + live.Host, fmt.Sprint("--mysql-port=", live.Port), "--mysql-user=" + live.User,
		"--mysql-password=" + live.Password, "--mysql-db=" + live.Schema, "--tables=2", "--table-size=20000", "--threads=4", fmt.Sprint("--time=", load.seconds), command}
	if load.core != "" {
		args = append([]string{"taskset", "-c", load.core}, args...)
	}
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return 0, fault.New(fault.Unavailable, "run sysbench", "%w: %s", err, out)
	}
	m := regexp.MustCompile(`transactions:\s+\d+\s+\(([\d.]+) per sec`).FindSubmatch(out)
	if m == nil {
		return 0, nil
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
