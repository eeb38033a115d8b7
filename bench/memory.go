package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/node"
)

const (
	backlogTable = "backlog"
	backlogParts = 8
	backlogRows  = 50_000 // of one transaction
)

// drainChild makes a process of this program one that drains a topic: it holds a drainOrder as JSON.
const drainChild = "STRATA_BENCH_DRAIN"

// drainOrder is what such a process is told, drainReport what it answers with.
type (
	drainOrder struct {
		Config node.Config
		Until  []index.Watermark
	}
	drainReport struct{ PeakMiB, Seconds, CPU float64 }
)

// runDrain is that process.
func runDrain(ctx context.Context, text string, out io.Writer) (err error) {
	var o drainOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fault.Wrap(fault.Internal, "parse order", err)
	}
	n, err := node.Open(ctx, node.Options{Config: o.Config, Log: newSession("", false, 0).log, Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	w := startWatch()
	roles := startRoles(ctx, n, node.Roles{Sync: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	if err := waitReached(ctx, n, roles, o.Until); err != nil {
		return err
	}
	r := drainReport{PeakMiB: peak()}
	r.Seconds, r.CPU = w.seconds()
	return fault.Wrap(fault.Internal, "write report", json.NewEncoder(out).Encode(r))
}

// memory measures what a process that runs sync alone, as `serve --roles sync` does, takes while it works off a backlog.
func (st *stage) memory(ctx context.Context, rows int) error {
	s := st.s
	if err := st.v.archiveSchema(ctx, "strata_bench"); err != nil {
		return err
	}
	cfg := st.config("backlog-capture", "")
	cfg.Datasets = []catalog.Spec{{Name: backlogTable, Partitions: backlogParts}}
	cfg.Control.DSN = strings.Replace(cfg.Control.DSN, "/strata_control", "/strata_bench", 1)
	cfg = cfg.WithDefaults()
	ends, err := st.backlog(ctx, cfg, rows)
	if err != nil {
		return err
	}
	s.set("memory", fmt.Sprintf("peak of the resident set of a process that runs sync alone, over a backlog of %d records in %d partitions", rows, backlogParts))
	for _, t := range st.targets() {
		one := cfg
		one.Data = filepath.Join(s.dir, "backlog-"+t.name)
		if t.prefix != "" {
			one.Index.Elastic = &node.Elastic{URL: st.elastic.URL(), Prefix: "backlog"}
		}
		r, err := drainApart(ctx, drainOrder{one, ends})
		if err != nil {
			return fmt.Errorf("drain backlog, %s: %w", t.name, err)
		}
		n := float64(rows)
		s.note(Run{"backlog in a process of its own", t.name, 1, map[string]float64{"records": n, "peak_mib": r.PeakMiB, "records_per_s": n / r.Seconds, "cpu_s_per_million_rows": r.CPU / n * 1e6}})
		s.say("%s: backlog of %d records worked off in %.1f s with %.0f MiB", t.name, rows, r.Seconds, r.PeakMiB)
		s.report.Ratios["sync_rss_backlog_mib"+t.suffix] = r.PeakMiB
	}
	return nil
}

// backlog makes rows on live and has them captured.
func (st *stage) backlog(ctx context.Context, cfg node.Config, rows int) (ends []index.Watermark, err error) {
	live := st.v.live
	if _, err := live.ExecContext(ctx, "CREATE TABLE "+backlogTable+` (id BIGINT PRIMARY KEY, account BIGINT NOT NULL, amount BIGINT NOT NULL, memo VARCHAR(100) NOT NULL,
		created_at DATETIME(6) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "make table", err)
	}
	n, err := st.open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	roles := startRoles(ctx, n, node.Roles{Canal: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	for from := 1; from <= rows; from += backlogRows {
		text := fmt.Sprintf("INSERT INTO %s SELECT seq, seq %% 1000, seq * 7 %% 100000, CONCAT('order ', seq, ' of shop ', seq %% 317, REPEAT('.', 40)), '2026-11-22 10:00:00' + INTERVAL seq MICROSECOND FROM seq_%d_to_%d",
			backlogTable, from, min(from+backlogRows-1, rows))
		if _, err := live.ExecContext(ctx, text); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "load rows", err)
		}
	}
	ends, err = topicEnds(ctx, n, backlogTable, rows)
	st.s.say("a backlog of %d records is in Kafka", rows)
	return ends, err
}

// drainApart has a process of its own drain a topic.
func drainApart(ctx context.Context, o drainOrder) (r drainReport, err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return r, fault.Wrap(fault.Internal, "encode order", err)
	}
	self, err := os.Executable()
	if err != nil {
		return r, fault.Wrap(fault.Unavailable, "find this program", err)
	}
	c := exec.CommandContext(ctx, self)
	c.Env = append(os.Environ(), drainChild+"="+string(text))
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return r, fault.New(fault.Unavailable, "run sync apart", "%w: %s", err, stderr.String())
	}
	return r, fault.Wrap(fault.Internal, "parse report", json.Unmarshal(out, &r))
}
