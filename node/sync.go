package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/db"
	syncer "strata/sync"
	synccontrol "strata/sync/control"
	"strata/sync/dlq"
	synckafka "strata/sync/kafka"
)

// countEvery is how often a process that applies counts the open letters.
const countEvery = 10 * time.Second

// runSync applies topics to the index, as one of any number of processes.
func (n *Node) runSync(ctx context.Context) (err error) {
	security, err := n.cfg.Kafka.security(os.Getenv)
	if err != nil {
		return err
	}
	feed, err := synckafka.New(synckafka.Config{Brokers: n.cfg.Kafka.Brokers, Index: n.indexKind, Partitions: n.partitions(), Security: security})
	if err != nil {
		return err
	}
	defer func() { _ = feed.Close() }()
	letters, err := n.OpenLetters(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	reports, err := n.syncReports(ctx)
	if err != nil {
		return err
	}
	board := &syncBoard{Reports: reports, open: map[string]int64{}}
	cfg := syncer.Config{Index: n.index, Feed: feed, Datasets: n.datasets, Now: n.now, Log: n.log, At: n.at, Lag: n.metrics.sawLag,
		Letters: letters.Outbox, Documents: n.index, Board: board, Holder: n.holder()}
	if n.cfg.Sync.RepairGaps == nil || *n.cfg.Sync.RepairGaps {
		if cfg.Tasks, err = n.Desk(ctx); err != nil {
			return err
		}
	}
	s, err := syncer.New(cfg)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.sync, n.feed = s, feed
	n.mu.Unlock()
	g, gctx := errgroup.WithContext(ctx)
	counting, stop := context.WithCancel(gctx)
	g.Go(func() error {
		defer stop()
		return s.Run(gctx)
	})
	g.Go(func() error {
		board.count(counting, n.datasets, letters.Book)
		return nil
	})
	return g.Wait()
}

// holder is this process among those that share work.
func (n *Node) holder() string {
	host, _ := os.Hostname() // for people, but for a Place
	place := n.place
	if place == "" {
		place = strconv.Itoa(os.Getpid())
	}
	return host + ":" + place
}

// syncReports is where the processes that write to this index see each other.
func (n *Node) syncReports(ctx context.Context) (*synccontrol.Reports, error) {
	return ofIndex(ctx, n, synccontrol.OpenReports)
}

// ofIndex opens what the control database keeps for this index.
func ofIndex[T any](ctx context.Context, n *Node, open func(ctx context.Context, d *db.DB, index string) (*T, error)) (*T, error) {
	cdb, err := n.control(ctx)
	if err != nil {
		return nil, err
	}
	target, err := n.indexTarget()
	if err != nil {
		return nil, err
	}
	return open(ctx, cdb, target)
}

// indexTarget names the index itself: an embedded one is its machine's.
func (n *Node) indexTarget() (string, error) {
	var name string
	kind := "sqlite"
	if e := n.cfg.Index.Elastic; e != nil {
		kind = "elastic"
		name = "elastic " + e.URL + " " + e.Prefix
	} else {
		dir, err := filepath.Abs(n.IndexDir())
		if err != nil {
			return "", err
		}
		host, _ := os.Hostname() // where there is none, the folder tells enough
		name = "sqlite " + host + ":" + dir
	}
	const most = 200
	if len(name) > most || strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) {
		sum := sha256.Sum256([]byte(name))
		name = kind + " " + hex.EncodeToString(sum[:])
	}
	return name, nil
}

// syncBoard adds to what a process reports how many letters are open.
type syncBoard struct {
	*synccontrol.Reports
	mu   sync.Mutex
	open map[string]int64
}

// Report fulfils syncer.Board.
func (b *syncBoard) Report(ctx context.Context, holder string, s syncer.Stats, ttl time.Duration) (int, map[string]uint64, error) {
	b.mu.Lock()
	for i := range s.Datasets {
		s.Datasets[i].Open = b.open[s.Datasets[i].Dataset]
	}
	b.mu.Unlock()
	return b.Reports.Report(ctx, holder, s, ttl)
}

// count counts the open letters now and then; where that can't be done, the last figures stay.
func (b *syncBoard) count(ctx context.Context, datasets []*catalog.Dataset, book *dlq.Book) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		for _, d := range datasets {
			if open, _, err := book.OpenLetters(ctx, d.Name); err == nil {
				b.mu.Lock()
				b.open[d.Name] = open
				b.mu.Unlock()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Letters is the datasets' dead letters.
type Letters struct {
	*dlq.Book
	Outbox *dlq.Outbox
	close  func() error
}

// Close ends what it has opened.
func (l *Letters) Close() error { return errors.Join(l.Outbox.Close(), l.Book.Close(), l.close()) }

// OpenLetters opens the dead letters of all datasets.
func (n *Node) OpenLetters(ctx context.Context) (*Letters, error) {
	desk, err := n.Desk(ctx)
	if err != nil {
		return nil, err
	}
	sink, err := openSink(&n.cfg, os.Getenv, n.log, "strata-sync-letters")
	if err != nil {
		return nil, err
	}
	book := dlq.NewBook(dlq.Config{Sink: sink, Index: n.index, Datasets: n.datasets, Repairs: desk, Now: n.now, At: n.at})
	return &Letters{Book: book, Outbox: dlq.NewOutbox(sink), close: sink.Close}, nil
}

// ResumeSync lets a stopped dataset go on, with an entry in the evidence. Errors: NotFound.
func (n *Node) ResumeSync(ctx context.Context, dataset, who, why string) error {
	found := false
	for _, s := range n.specs() {
		found = found || s.Name == dataset
	}
	if !found {
		return noDataset(dataset)
	}
	desk, err := n.Desk(ctx)
	if err != nil {
		return err
	}
	if err := desk.Record(ctx, resumeEvidence(dataset, who, why)); err != nil {
		return err
	}
	reports, err := n.syncReports(ctx)
	if err != nil {
		return err
	}
	return reports.Resume(ctx, dataset)
}
