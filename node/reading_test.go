package node_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/db"
	"strata/local"
	"strata/local/localtest"
	"strata/node"
	"strata/router"
)

// TestL4_read_your_writes: a heartbeat taken after a commit is a position; an index that says it has reached it finds
// the commit.
func TestL4_read_your_writes(t *testing.T) { readYourWrites(t, "") }

// TestL4_read_your_writes_in_Elasticsearch: the same.
func TestL4_read_your_writes_in_Elasticsearch(t *testing.T) {
	readYourWrites(t, fmt.Sprintf("index: {elastic: {url: %q, prefix: read_your_writes}}\n", localtest.SharedElastic(t)))
}

func readYourWrites(t *testing.T, more string) {
	const writers, writes = 4, 50
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE note (id INT PRIMARY KEY, note VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL)")
	localtest.Exec(t, r.live, "INSERT INTO note SELECT seq, 'old' FROM seq_1_to_3000")
	localtest.Exec(t, r.live, "ANALYZE TABLE note")
	n := r.open(t, r.config(t, more+"scan_rows: 1\ndatasets: [{name: note}]\n"))
	run(t, n, node.Roles{Canal: true, Sync: true})
	indexed(t, n)
	beats, err := db.Open(t.Context(), db.Config{DSN: r.stack.Addresses.Live.DSN, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = beats.Close() })

	find := func(ctx context.Context, text string, position uint64) (rows int, err error) {
		res, err := n.Router().Query(ctx, router.Query{Dataset: "note", Filter: catalog.Cmp("note", catalog.Eq, text),
			Freshness: router.Freshness{AtLeast: position, Wait: settle}, Timeout: settle})
		if err != nil {
			return 0, err
		}
		defer res.Close()
		ended, err := take(ctx, res, 10, func(*catalog.Row) { rows++ })
		if err != nil || !ended {
			return rows, fmt.Errorf("ended %v: %v", ended, err)
		}
		if s := res.Served(); len(s.Sources) != 1 || s.Sources[0].Source != "index" || s.Position < position {
			return rows, fmt.Errorf("served %+v, position %d", s, position)
		}
		return rows, nil
	}
	g, ctx := errgroup.WithContext(t.Context())
	for w := range writers {
		g.Go(func() error {
			for i := range writes {
				id, text := 10_000+w*writes+i, fmt.Sprintf("w%d-%d", w, i)
				if _, err := r.live.ExecContext(ctx, "INSERT INTO note VALUES (?, ?)", id, text); err != nil {
					return err
				}
				want, gone := text, ""
				switch i % 3 {
				case 1:
					want, gone = text+"-new", text
					if _, err := r.live.ExecContext(ctx, "UPDATE note SET note=? WHERE id=?", want, id); err != nil {
						return err
					}
				case 2:
					want, gone = "", text
					if _, err := r.live.ExecContext(ctx, "DELETE FROM note WHERE id=?", id); err != nil {
						return err
					}
				}
				beat, err := db.Beat(ctx, beats, catalog.At(time.Now()))
				if err != nil {
					return err
				}
				if want != "" {
					if rows, err := find(ctx, want, beat.Seq); err != nil || rows != 1 {
						return fmt.Errorf("%q was found %d times: %v", want, rows, err)
					}
				}
				if gone != "" {
					if rows, err := find(ctx, gone, beat.Seq); err != nil || rows != 0 {
						return fmt.Errorf("%q was found %d times after its end: %v", gone, rows, err)
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestStreamsInFlatMemory reads far more than may be held, from live and the archive.
func TestStreamsInFlatMemory(t *testing.T) {
	const months, rowsPerMonth, limit = 6, 28_000, 32 << 20
	r := newRig(t)
	var payload uint64
	for m := 1; m <= months; m++ {
		table := fmt.Sprintf("event_2025%02d", m)
		localtest.Exec(t, r.live, "CREATE TABLE "+table+" (id BIGINT PRIMARY KEY, at DATETIME NOT NULL, payload VARCHAR(400) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, KEY at (at, id))")
		localtest.Exec(t, r.live, "INSERT INTO "+table+" SELECT ?+seq, ? + INTERVAL seq MINUTE, REPEAT(CHAR(65 + seq % 26), 400) FROM seq_1_to_"+fmt.Sprint(rowsPerMonth),
			m*1_000_000, fmt.Sprintf("2025-%02d-01", m))
		payload += rowsPerMonth * 400
	}
	n := r.open(t, r.config(t, "datasets: [{name: event, time: at, shards: month}]\narchive_policies: [{dataset: event, older_than_days: 100}]\n"))
	mover, err := n.Mover(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := mover.Plan(t.Context(), time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := mover.Run(t.Context(), plan); err != nil || res.Moved != 2 {
		t.Fatalf("%d moved of\n%s: %v", res.Moved, plan, err)
	}

	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before, most := heap(), uint64(0)
	var rows int64
	served := all(t, n, router.Query{Dataset: "event"}, func(*catalog.Row) {
		if rows++; rows%5000 == 1 {
			most = max(most, heap())
		}
	})
	if rows != months*rowsPerMonth || len(served.Sources) != 2 {
		t.Errorf("%d rows from %+v", rows, served.Sources)
	}
	t.Logf("%d rows of %d MiB: the heap rose from %d MiB to %d MiB at most", rows, payload>>20, before>>20, most>>20)
	if grown := int64(most) - int64(before); payload < 2*limit || grown > limit {
		t.Errorf("the heap grew by %d MiB for %d MiB of rows", grown>>20, payload>>20)
	}
}

// TestCut_connections cuts the captured server's connections in the middle of transactions.
func TestCut_connections(t *testing.T) {
	r := newRig(t)
	wire, err := local.NewProxy(r.stack.Offline.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	r.text = strings.Replace(r.text, r.stack.Offline.Addr(), wire.Addr(), 1)
	localtest.Exec(t, r.live, "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL, note VARCHAR(200) NOT NULL)")
	n := r.open(t, r.config(t, "datasets: [{name: item, partitions: 3}]\n"))
	run(t, n, node.Roles{Canal: true, Sync: true})
	indexed(t, n)

	stop := make(chan struct{})
	wrote := make(chan error, 1)
	go func() { wrote <- writeItems(t.Context(), r.live, stop) }()
	sizes := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		before := n.Captured()
		wire.CutAfter(1 + sizes.Int64N(60_000))
		localtest.Eventually(t, settle, "the stream was cut and opened again", func() (bool, error) {
			return n.Captured().Reopened > before.Reopened, nil
		})
		localtest.Eventually(t, settle, "transactions flow again", func() (bool, error) {
			return n.Captured().Txns > before.Txns+20, nil
		})
	}
	close(stop)
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	indexed(t, n)
	rep := proven(t, n, "index")
	if rows := r.number(t, "SELECT count(*) FROM item"); rows == 0 || rep.RowsCompared != rows {
		t.Errorf("%d rows compared of %d", rep.RowsCompared, rows)
	}
	st := n.Captured()
	t.Logf("%d transactions, %d records, %d known, opened again %d times, term %d", st.Txns, st.Records, st.Known, st.Reopened, st.Term)
	if st.Term != 1 {
		t.Errorf("a cut connection of the source ended a term: %d: %s", st.Term, st.Err)
	}
}

// writeItems commits transactions of up to 60 rows until stop is closed.
func writeItems(ctx context.Context, d *sql.DB, stop <-chan struct{}) error {
	random := rand.New(rand.NewPCG(2, 2))
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		tx, err := d.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO item (n, note) SELECT ?, REPEAT('x', 1+seq) FROM seq_1_to_%d", 1+random.IntN(60)), i)
		if err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE item SET n=n+1 WHERE id % 97 = ? ORDER BY id DESC LIMIT 20", random.IntN(97))
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM item WHERE id % 89 = ? LIMIT 3", random.IntN(89))
		}
		if err == nil && i%10 == 9 {
			err = tx.Rollback()
		} else if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
}
