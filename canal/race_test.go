package canal_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/canal"
	"strata/canal/binlog"
	"strata/canal/canaltest"
	"strata/canal/tables"
	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

func TestL2_through_real_servers_a_backfill_of_a_hot_table_leaves_no_older_image(t *testing.T) {
	const rows = 200
	w := newWhole(t, []catalog.Spec{{Name: "entry", Table: "entry", Partitions: 3}}, "CREATE TABLE entry (id INT PRIMARY KEY, v INT NOT NULL)")
	for id := range rows {
		w.exec("INSERT INTO entry VALUES (?, 0)", id)
	}
	var err error
	if w.from, err = db.GTIDPos(t.Context(), w.db); err != nil { // what is there before is only in the table
		t.Fatal(err)
	}
	src, err := binlog.New(binlog.Config{Endpoints: []binlog.Endpoint{{Name: "live", DSN: w.dsn, ServerID: 1 + rand.Uint32N(1<<30)}}, SpillDir: t.TempDir(), Datasets: w.data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := db.Open(t.Context(), db.Config{DSN: w.dsn, Name: "live", Store: catalog.Live, Purpose: db.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	read, err := tables.New(tables.Config{Captured: func() *db.DB { return reader }, Locks: func() *db.DB { return w.db }, Now: time.Now,
		View: func(ctx context.Context, d *catalog.Dataset) (*catalog.View, error) {
			s, err := db.Says(ctx, reader, d)
			if err != nil {
				return nil, err
			}
			return catalog.MergeView(d, []catalog.Says{s})
		}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := canal.New(canal.Config{Name: "test", Holder: "a", Datasets: w.data, Source: src, Sink: w.sink, Control: w.ctl, Lease: w.ctl, Desk: w.ctl, Tables: read,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Start: w.from, CheckpointEvery: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, ok, err := w.ctl.AddTask(t.Context(), 0, canal.Task{Kind: canal.Backfill, Dataset: "entry", Who: "test", Why: "race"}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	load, halt := context.WithCancel(t.Context())
	var g errgroup.Group
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for n := range 2 {
		g.Go(func() error { return hot(load, w, n, rows) })
	}
	g.Go(func() error {
		for load.Err() == nil {
			if _, err := w.db.SQL().ExecContext(load, "SHOW GLOBAL STATUS LIKE 'Binlog_snapshot%'"); err != nil && load.Err() == nil {
				return err
			}
			if _, err := db.Beat(load, w.db, catalog.At(time.Now())); err != nil && load.Err() == nil {
				return err
			}
		}
		return nil
	})
	idle := func() (bool, error) {
		open, err := w.ctl.Tasks(t.Context())
		return len(open) == 0, err
	}
	localtest.Eventually(t, 60*time.Second, "the backfills", idle)
	halt()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	end := w.beat()
	localtest.Eventually(t, 30*time.Second, "the heartbeat and the repairs", func() (bool, error) {
		left, err := w.ctl.Left(t.Context(), 0)
		return left == 0 && l.Stats().Beat.Seq >= end, err
	})
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Backfilled == 0 {
		t.Fatalf("%+v", s)
	}
	images, err := canaltest.Images(t.Context(), w.sink, w.data[0])
	if err == nil {
		err = rising(images)
	}
	if err == nil {
		err = w.equalsTable(w.data[0], images)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hot raises v of random rows, each third time by XA.
func hot(ctx context.Context, w *whole, n, rows int) error {
	c, err := w.db.SQL().Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	rnd := rand.New(rand.NewPCG(uint64(n), 5))
	exec := func(q string) error {
		_, err := c.ExecContext(context.WithoutCancel(ctx), q)
		return err
	}
	for i := 0; ctx.Err() == nil; i++ {
		id := 2*rnd.IntN(rows/2) + n // the writers never wait for each other
		update := fmt.Sprintf("UPDATE entry SET v=v+1 WHERE id=%d", id)
		list := []string{update}
		if i%3 == 0 {
			x := fmt.Sprintf("'w%d.%d'", n, i)
			list = []string{"XA START " + x, update, "XA END " + x, "XA PREPARE " + x, "XA COMMIT " + x}
		}
		for _, q := range list {
			if err := exec(q); err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
		}
	}
	return nil
}

// rising checks that v of no row falls.
func rising(images []canaltest.Seen) error {
	last := map[string]int{}
	for _, s := range images {
		var id, v int
		if _, err := fmt.Sscanf(s.After, `{"id":%d,"v":%d}`, &id, &v); err != nil {
			return fmt.Errorf("%s: %w", s.After, err)
		}
		if v < last[s.Key] {
			return fmt.Errorf("%s at %d/%d comes after v=%d", s.After, s.Header.Term, s.Header.Seq, last[s.Key])
		}
		last[s.Key] = v
	}
	return nil
}
