package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/fault"
	"strata/index"
	"strata/local"
	"strata/node"
)

const paymentName = "payment"

// stage is a whole pipeline's servers with the payments' tables: what the benchmarks of the index have in common.
type stage struct {
	s       *Session
	v       *servers
	pay     *paymentMaker
	loaded  int // rows that were committed
	brokers []string
	beatMs  int
	elastic *local.Elastic // nil: there is no JVM for it
	stops   []func() error // in the order of their starts
}

// openStage starts the servers; rows is how many payments will be made in all.
func (s *Session) openStage(ctx context.Context, rows, beatMs int) (st *stage, err error) {
	st = &stage{s: s, pay: newPaymentMaker(s.Seed, rows), beatMs: beatMs}
	if st.v, err = s.servers(ctx); err != nil {
		return nil, err
	}
	st.stops = append(st.stops, st.v.close)
	brokers, stop, err := s.kafkaServer(ctx, st.v)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	st.brokers, st.stops = brokers, append(st.stops, stop)
	if err := st.startElastic(ctx); err != nil {
		return nil, errors.Join(err, st.close())
	}
	for _, t := range paymentTables() {
		if _, err := st.v.live.ExecContext(ctx, "CREATE TABLE "+t+" "+core.EntryTable); err != nil {
			return nil, errors.Join(fault.Wrap(fault.Unavailable, "make table", err), st.close())
		}
	}
	return st, nil
}

// close stops everything, the last one first.
func (st *stage) close() error {
	var errs []error
	for i := len(st.stops) - 1; i >= 0; i-- {
		errs = append(errs, st.stops[i]())
	}
	return errors.Join(errs...)
}

func (st *stage) startElastic(ctx context.Context) error {
	s := st.s
	java, err := local.FindJava(os.Getenv, "elastic")
	if err != nil {
		s.say("without Elasticsearch: %v", err)
		s.set("elasticsearch", "not measured: "+err.Error())
		return nil
	}
	home, err := local.Open(filepath.Join(s.dir, "elastic"), s.log)
	if err != nil {
		return err
	}
	heap := 1024
	if st.elastic, err = home.StartElastic(ctx, local.ElasticConfig{Name: "elastic", Java: java, HeapMiB: heap, JVM: fastJVM()}); err != nil {
		return errors.Join(err, home.Close())
	}
	e := st.elastic
	st.stops = append(st.stops, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return errors.Join(e.Stop(ctx), home.Close())
	})
	s.set("elasticsearch", fmt.Sprintf("7.17, one node in a JVM of its own, heap %d MiB, translog synced at each request", heap))
	s.say("Elasticsearch runs")
	return nil
}

// config is a node's over the stage, with the payments; prefix "" is an embedded index of the node's own, else one in
// Elasticsearch.
func (st *stage) config(name, prefix string) node.Config {
	cfg := st.s.config(st.v, name)
	cfg.Kafka.Brokers, cfg.HeartbeatMs, cfg.Datasets = st.brokers, st.beatMs, []catalog.Spec{paymentSpec()}
	if prefix != "" {
		cfg.Index.Elastic = &node.Elastic{URL: st.elastic.URL(), Prefix: prefix}
	}
	return cfg.WithDefaults()
}

func (st *stage) open(ctx context.Context, cfg node.Config) (*node.Node, error) {
	return node.OpenAndSetup(ctx, node.Options{Config: cfg, Log: st.s.log, Now: time.Now, Place: cfg.Data})
}

// load commits the next count rows in transactions of size rows, and returns how long that took, in seconds.
func (st *stage) load(ctx context.Context, count, size int) (committed float64, err error) {
	texts := inserts(st.pay.next(count), size)
	began := time.Now()
	for _, text := range texts {
		if _, err := st.v.live.ExecContext(ctx, text.sql); err != nil {
			return 0, fault.Wrap(fault.Unavailable, "load rows", err)
		}
	}
	st.loaded += count
	return time.Since(began).Seconds(), nil
}

// fill loads rows and has them captured into the topic, and returns how far the topic goes then.
func (st *stage) fill(ctx context.Context, count int) (ends []index.Watermark, err error) {
	cfg := st.config("capture", "")
	n, err := st.open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	roles := startRoles(ctx, n, node.Roles{Canal: true})
	defer func() { err = errors.Join(err, roles.stop()) }()
	if _, err := st.load(ctx, count, loadRows); err != nil {
		return nil, err
	}
	ends, err = topicEnds(ctx, n, paymentName, st.loaded)
	st.s.say("%d rows are in Kafka", st.loaded)
	return ends, err
}

// topicEnds waits until so many rows have been captured, and returns how far the dataset's partitions go then; a mark stands
// behind each of these ends when it returns.
func topicEnds(ctx context.Context, n *node.Node, dataset string, rows int) (ends []index.Watermark, err error) {
	desk, err := n.Desk(ctx)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := desk.Load(ctx)
		if err != nil {
			return nil, err
		}
		if cp := st.Checkpoint; cp != nil && cp.Rows >= uint64(rows) {
			parts := make([]index.Watermark, len(cp.Parts[dataset]))
			for i, p := range cp.Parts[dataset] {
				parts[i] = index.Watermark{Dataset: dataset, Partition: int32(i), Number: p.Number}
			}
			switch {
			case ends == nil:
				ends = parts
			case !slices.ContainsFunc(ends, func(w index.Watermark) bool { return parts[w.Partition].Number <= w.Number }):
				return ends, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Interrupted, "follow capture", ctx.Err())
		}
	}
}

// target is an index that a benchmark measures.
type target struct{ name, suffix, prefix string }

// targets are the embedded index and, where it runs, Elasticsearch.
func (st *stage) targets() []target {
	out := []target{{name: "embedded"}}
	if st.elastic != nil {
		out = append(out, target{name: "elasticsearch", suffix: "_elastic", prefix: "bench"})
	}
	return out
}

// counted refuses an index that hasn't as many documents as rows were committed.
func (st *stage) counted(ctx context.Context, n *node.Node) error {
	docs, err := n.Documents(ctx)
	if err == nil && docs != int64(st.loaded) {
		err = fault.New(fault.Proof, "count documents", "%d instead of %d", docs, st.loaded)
	}
	return err
}
