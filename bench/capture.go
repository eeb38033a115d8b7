package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/node"
)

const (
	captureParts   = 8    // partitions of every topic
	captureRows    = 1000 // rows of one of the large transactions
	captureClients = 32   // of the single-row transactions' load
	captureTable   = "event"
	captureLimit   = 10 * time.Minute // of one wait
)

// captureSizes are numbers of rows.
type captureSizes struct{ warm, bulk, single, backfill, whole, wide int }

func (s *Session) captureSizes() captureSizes {
	if s.Quick {
		return captureSizes{warm: 20_000, bulk: 100_000, single: 4_000, backfill: 100_000, whole: 100_000, wide: 2}
	}
	return captureSizes{warm: 300_000, bulk: 500_000, single: 50_000, backfill: 5_000_000, whole: 5_000_000, wide: 12}
}

// captureRun is the state of the benchmark.
type captureRun struct {
	s      *Session
	sz     captureSizes
	v      *servers
	client sarama.Client
	cfg    node.Config // of node, without defaults
	node   *node.Node
	peer   *debezium // nil: there is no JVM
	next   int       // id of the next row
}

// captureBench measures the way from the binlog to acknowledged records in Kafka.
func captureBench(ctx context.Context, s *Session) (err error) {
	c := &captureRun{s: s, sz: s.captureSizes(), next: 1}
	if c.v, err = s.servers(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.v.close()) }()
	brokers, stop, err := s.kafkaServer(ctx, c.v)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := c.open(ctx, brokers); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.warmUp(ctx); err != nil {
		return err
	}
	for _, p := range []struct {
		part string
		rows int
		load func(ctx context.Context, rows int) error
	}{{"1000-row transactions", c.sz.bulk, c.loadBulk}, {"single-row transactions", c.sz.single, c.loadSingle}} {
		if err := c.compare(ctx, p.part, p.rows, p.load); err != nil {
			return err
		}
	}
	for _, part := range []func(ctx context.Context) error{c.wholeTransaction, c.wideRows, c.backfill, c.source} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return c.ratios()
}

func (c *captureRun) ratios() error {
	s := c.s
	for _, part := range []string{"1000-row transactions", "single-row transactions"} {
		suffix := ""
		if strings.HasPrefix(part, "single") {
			suffix = "_single"
		}
		s.middle("rows_per_s"+suffix, part, "strata", "rows_per_s")
		s.middle("cpu_s_per_million_rows"+suffix, part, "strata", "cpu_s_per_million_rows")
		if err := s.ratio("rows_vs_raw_decode"+suffix, part, "strata", "raw decode", "rows_per_s", quotient); err != nil {
			return err
		}
		if c.peer == nil {
			continue
		}
		if err := s.ratio("rows_vs_debezium"+suffix, part, "strata", "debezium", "rows_per_s", quotient); err != nil {
			return err
		}
		if err := s.ratio("debezium_cpu_per_row_vs_ours"+suffix, part, "debezium", "strata", "cpu_s_per_million_rows", quotient); err != nil {
			return err
		}
	}
	return nil
}

// open makes the tables, the node and the peer.
func (c *captureRun) open(ctx context.Context, brokers []string) (err error) {
	s := c.s
	for _, q := range []string{
		"CREATE TABLE " + captureTable + ` (id BIGINT PRIMARY KEY, account BIGINT NOT NULL, amount BIGINT NOT NULL, currency CHAR(3) NOT NULL,
			kind VARCHAR(20) NOT NULL, memo VARCHAR(100) NOT NULL, created_at DATETIME(6) NOT NULL, status TINYINT NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
		"CREATE TABLE wide (id BIGINT PRIMARY KEY, body LONGBLOB NOT NULL) ENGINE=InnoDB",
	} {
		if _, err := c.v.live.ExecContext(ctx, q); err != nil {
			return fault.Wrap(fault.Unavailable, "make table", err)
		}
	}
	kc := sarama.NewConfig()
	kc.Version = sarama.V2_8_0_0
	if c.client, err = sarama.NewClient(brokers, kc); err != nil {
		return fault.Wrap(fault.Unavailable, "open kafka", err)
	}
	cfg := s.config(c.v, "node")
	cfg.Offline, cfg.Kafka.Brokers, cfg.HeartbeatMs = node.Offline{DSN: cfg.Live.DSN}, brokers, 3_600_000
	cfg.Datasets = []catalog.Spec{{Name: captureTable, Partitions: captureParts}, {Name: "wide", Partitions: 1}}
	c.cfg = cfg
	cfg = cfg.WithDefaults()
	s.set("rows", fmt.Sprintf("8 columns, about 100 bytes in the table; warm-up %d; per round %d in transactions of %d, %d in transactions of one row by %d clients",
		c.sz.warm, c.sz.bulk, captureRows, c.sz.single, captureClients))
	s.set("how", "the backlog is written while nobody reads; then each side reads it alone, from its first record in Kafka to its last")
	s.set("cpu", "strata and raw decode: this process, in which nothing else runs meanwhile; debezium: its JVM")
	c.node, err = node.OpenAndSetup(ctx, node.Options{Config: cfg, Log: s.log, Now: time.Now, Place: "bench"})
	if err != nil {
		return err
	}
	c.peer, err = c.s.debezium(ctx, c.v, brokers, filepath.Join(s.dir, "connect"))
	return err
}

func (c *captureRun) close() error {
	var err error
	if c.peer != nil {
		err = c.peer.close()
	}
	if c.node != nil {
		err = errors.Join(err, c.node.Close())
	}
	return errors.Join(err, c.client.Close())
}

// prime adds rows until the peer, which begins somewhere after its start, sends them; then it is paused, at that place. Rows
// that come before are read by strata alone.
func (c *captureRun) prime(ctx context.Context) error {
	if c.peer == nil {
		return nil
	}
	// The server waits for a reader that is stopped.
	if _, err := c.v.live.ExecContext(ctx, "SET GLOBAL net_write_timeout=3600"); err != nil {
		return fault.Wrap(fault.Unavailable, "set time-out", err)
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	first := c.next
	for seen, quiet := int64(0), 0; quiet < 10; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.Wrap(fault.Interrupted, "wait for debezium", ctx.Err())
		}
		if seen == 0 {
			if _, err := c.v.live.ExecContext(ctx, c.insert(1)); err != nil {
				return fault.Wrap(fault.Unavailable, "load rows", err)
			}
		}
		now, err := c.ends(c.peer.topic)
		if err != nil {
			return err
		}
		if quiet++; now != seen || now == 0 {
			seen, quiet = now, 0
		}
	}
	if err := c.peer.connect.Pause(); err != nil {
		return err
	}
	_, err := c.readStrata(ctx, "", c.next-first)
	return err
}

// warmUp lets every side read some rows.
func (c *captureRun) warmUp(ctx context.Context) error {
	if err := c.prime(ctx); err != nil {
		return err
	}
	from, err := c.position(ctx)
	if err != nil {
		return err
	}
	if err := c.loadBulk(ctx, c.sz.warm); err != nil {
		return err
	}
	for _, side := range c.sides() {
		if _, err := side.read(ctx, from, c.sz.warm); err != nil {
			return fmt.Errorf("warm up %s: %w", side.name, err)
		}
		c.s.say("%s is warm", side.name)
	}
	return nil
}

// captureSide reads a backlog that is there.
type captureSide struct {
	name string
	// read returns what it took from the first record that was seen to the last.
	read func(ctx context.Context, from string, rows int) (reading, error)
}

// reading is how a backlog was read.
type reading struct {
	rows      int
	wall, cpu float64 // seconds
}

func (c *captureRun) sides() []captureSide {
	sides := []captureSide{{"raw decode", c.readRaw}, {"strata", c.readStrata}}
	if c.peer != nil {
		sides = append(sides, captureSide{"debezium", c.readDebezium})
	}
	return sides
}

// compare lets every side read the same backlog, round after round.
func (c *captureRun) compare(ctx context.Context, part string, rows int, load func(ctx context.Context, rows int) error) error {
	for round := 1; round <= c.s.Rounds; round++ {
		from, err := c.position(ctx)
		if err != nil {
			return err
		}
		if err := load(ctx, rows); err != nil {
			return err
		}
		for _, side := range c.sides() {
			r, err := side.read(ctx, from, rows)
			if err != nil {
				return fmt.Errorf("%s, round %d, %s: %w", part, round, side.name, err)
			}
			n := float64(r.rows)
			c.s.note(Run{part, side.name, round, map[string]float64{"rows": n, "wall_s": r.wall, "rows_per_s": n / r.wall, "cpu_s": r.cpu,
				"cpu_s_per_million_rows": r.cpu / n * 1e6}})
			c.s.say("%s, round %d, %s: %.0f rows/s, %.2f µs of CPU a row", part, round, side.name, n/r.wall, r.cpu/n*1e6)
		}
	}
	return nil
}

func (c *captureRun) position(ctx context.Context) (pos string, err error) {
	err = c.v.live.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_binlog_pos").Scan(&pos)
	return pos, fault.Wrap(fault.Unavailable, "read position", err)
}

// insert is the text that adds count rows.
func (c *captureRun) insert(count int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + captureTable + " VALUES ")
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		id := c.next
		c.next++
		fmt.Fprintf(&b, "(%d,%d,%d,'CNY','payment','order %d of shop %d','2026-11-22 10:%02d:%02d.%06d',%d)",
			id, id%100_000, id%9973*100, id, id%317, id/60%60, id%60, id%1_000_000, id%4)
	}
	return b.String()
}

func (c *captureRun) loadBulk(ctx context.Context, rows int) error {
	for range rows / captureRows {
		if _, err := c.v.live.ExecContext(ctx, c.insert(captureRows)); err != nil {
			return fault.Wrap(fault.Unavailable, "load rows", err)
		}
	}
	return nil
}

func (c *captureRun) loadSingle(ctx context.Context, rows int) error {
	texts := make(chan string)
	g, ctx := errgroup.WithContext(ctx)
	c.v.live.SetMaxIdleConns(captureClients)
	for range captureClients {
		g.Go(func() error {
			for text := range texts {
				if _, err := c.v.live.ExecContext(ctx, text); err != nil {
					return fault.Wrap(fault.Unavailable, "load rows", err)
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(texts)
		for range rows {
			select {
			case texts <- c.insert(1):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

// ends is the sum of the end offsets of a topic's partitions; 0 where there is none yet.
func (c *captureRun) ends(topic string) (int64, error) {
	parts, err := c.client.Partitions(topic)
	sum := int64(0)
	for _, p := range parts {
		var end int64
		if end, err = c.client.GetOffset(topic, p, sarama.OffsetNewest); err != nil {
			break
		}
		sum += end
	}
	for _, soon := range []error{sarama.ErrUnknownTopicOrPartition, sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable} {
		if errors.Is(err, soon) { // it is being made
			return 0, fault.Wrap(fault.Unavailable, "ask kafka", c.client.RefreshMetadata())
		}
	}
	return sum, fault.Wrap(fault.Unavailable, "read topic "+topic, err)
}

// follow measures from the first look at which a topic is beyond `first` until it has reached `last`; cpu tells what the
// reader has used so far.
func (c *captureRun) follow(ctx context.Context, topic string, first, last int64, cpu func() (time.Duration, error)) (r reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, captureLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var began time.Time
	var used time.Duration
	for {
		now, err := c.ends(topic)
		if err != nil {
			return r, err
		}
		if began.IsZero() && now > first {
			if used, err = cpu(); err != nil {
				return r, err
			}
			began, r.rows = time.Now(), int(last-now)
		}
		if now >= last {
			after, err := cpu()
			r.wall, r.cpu = time.Since(began).Seconds(), (after - used).Seconds()
			return r, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, fault.New(fault.Timeout, "follow topic "+topic, "%d of %d records", now, last)
		}
	}
}

// readStrata leads for one term.
func (c *captureRun) readStrata(ctx context.Context, _ string, rows int) (reading, error) {
	topic := canal.Topic(captureTable)
	base, err := c.ends(topic)
	if err != nil {
		return reading{}, err
	}
	base += 2 * captureParts // open and resume
	roles := startRoles(ctx, c.node, node.Roles{Canal: true})
	r, err := c.follow(ctx, topic, base, base+int64(rows), func() (time.Duration, error) { return cpuTime(), nil })
	return r, errors.Join(err, roles.stop())
}
