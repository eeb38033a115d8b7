package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/core"
	"strata/core/load"
	coremysql "strata/core/mysql"
	"strata/db"
	"strata/fault"
	"strata/node"
)

const (
	plainEntry  = "plain_entry" // the copy of all entries in one table
	archiveDays = 90            // older whole months of entries leave live
)

// ledgerStage is a ledger of 18 months, a node over it, and the plain copy of its entries.
type ledgerStage struct {
	s    *Session
	v    *servers
	node *node.Node
	led  *coremysql.Ledger
	load load.Config
}

func (s *Session) openLedger(ctx context.Context, v *servers, transfers int) (*ledgerStage, error) {
	clock := &core.Clock{}
	plan := load.Plan{Seed: s.Seed, Transfers: transfers, Accounts: 800, From: time.Date(2024, 7, 1, 0, 0, 0, 0, time.UTC),
		To: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	clock.Set(plan.From)
	cfg := s.config(v, "node")
	cfg.Ledger, cfg.Policies = true, []node.Policy{{Dataset: "entry", OlderThanDays: archiveDays}}
	n, err := node.OpenAndSetup(ctx, node.Options{Config: cfg.WithDefaults(), Log: s.log, Now: time.Now, LedgerClock: clock.Now, FirstDay: plan.From})
	if err != nil {
		return nil, err
	}
	led, err := n.Ledger(ctx)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return &ledgerStage{s, v, n, led, load.Config{Plan: plan, Ledger: led, Clock: clock}}, nil
}

// fill posts the transfers, copies the entries to the plain table, and archives old months.
func (l *ledgerStage) fill(ctx context.Context) error {
	if err := l.post(ctx); err != nil {
		return err
	}
	rows, err := l.copyEntries(ctx)
	if err != nil {
		return err
	}
	l.s.say("%d entries loaded", rows)
	mover, err := l.node.Mover(ctx, nil)
	if err != nil {
		return err
	}
	plan, err := mover.Plan(ctx, l.load.Plan.To)
	if err != nil {
		return err
	}
	if _, err := mover.Run(ctx, plan); err != nil {
		return err
	}
	view, err := l.entries(ctx)
	if err != nil {
		return err
	}
	archived := 0
	for _, h := range view.Holdings {
		if h.Store == catalog.Archive {
			archived++
		}
	}
	l.s.say("%d shards are in the archive", archived)
	l.s.set("ledger", fmt.Sprintf("%d entries of 18 months; %d shards, %d of them in the archive; the plain table has all of them, on live, with the same indexes",
		rows, len(view.Holdings), archived))
	return nil
}

// post loads the plan's transfers.
func (l *ledgerStage) post(ctx context.Context) error {
	run, cancel := context.WithCancel(ctx)
	g, run := errgroup.WithContext(run)
	g.Go(func() error { return l.led.Run(run) })
	g.Go(func() error {
		defer cancel()
		_, err := load.Past(run, l.load)
		return err
	})
	return g.Wait()
}

func (l *ledgerStage) entries(ctx context.Context) (*catalog.View, error) {
	d, err := l.node.Dataset("entry")
	if err != nil {
		return nil, err
	}
	return l.node.View(ctx, d)
}

// copyEntries makes the plain table while every shard is still on live.
func (l *ledgerStage) copyEntries(ctx context.Context) (rows int64, err error) {
	view, err := l.entries(ctx)
	if err != nil {
		return 0, err
	}
	texts := []string{"CREATE TABLE " + plainEntry + " " + core.EntryTable}
	for _, h := range view.Holdings {
		texts = append(texts, "INSERT INTO "+plainEntry+" SELECT * FROM "+db.Quote(h.Shard.Table))
	}
	for _, text := range append(texts, "ANALYZE TABLE "+plainEntry) {
		if _, err := l.v.live.ExecContext(ctx, text); err != nil {
			return 0, fault.Wrap(fault.Unavailable, "copy entries", err)
		}
	}
	err = l.v.live.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+plainEntry).Scan(&rows)
	return rows, fault.Wrap(fault.Unavailable, "count entries", err)
}

// accounts are up to count accounts that have at least least entries, evenly from all such.
func (l *ledgerStage) accounts(ctx context.Context, least, count int) ([]string, error) {
	rows, err := l.v.live.QueryContext(ctx, "SELECT account_id FROM "+plainEntry+" GROUP BY account_id HAVING COUNT(*) >= ? ORDER BY account_id", least)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "choose accounts", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var a string
		if err := rows.Scan(&a); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "choose accounts", err)
		}
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "choose accounts", err)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.NotFound, "choose accounts", "none has %d entries", least)
	}
	out := make([]string, min(count, len(all)))
	for i := range out {
		out[i] = all[i*len(all)/len(out)]
	}
	return out, nil
}
