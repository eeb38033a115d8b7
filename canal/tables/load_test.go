package tables_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

// load runs writers of versions, of the heartbeat, and SHOW GLOBAL STATUS, until stop is called. XA transactions touch only
// ids from xaFrom on.
const (
	plainRows = 40
	xaFrom    = 30
)

func (r *rig) load(t *testing.T, withXA bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	loop := func(f func(i int) error) {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := f(i); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for w := range 2 {
		loop(func(i int) error {
			_, err := r.writer.SQL().ExecContext(ctx, "UPDATE acct SET ver=ver+1 WHERE id IN (?,?)", (i*7+w)%xaFrom, (i*11+w*3)%xaFrom)
			if fault.Is(db.Classify("update", err), fault.Busy) {
				err = nil
			}
			return err
		})
	}
	loop(func(int) error {
		_, err := db.Beat(ctx, r.writer, 1)
		return err
	})
	loop(func(int) error {
		rows, err := r.admin.SQL().QueryContext(ctx, "SHOW GLOBAL STATUS")
		for err == nil && rows.Next() {
		}
		if err == nil {
			err = errors.Join(rows.Err(), rows.Close())
		}
		return err
	})
	if withXA {
		conn, err := r.writer.SQL().Conn(t.Context())
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		loop(func(i int) error {
			x := fmt.Sprintf("'%s%d'", strings.ReplaceAll(r.writer.Schema(), "_", ""), i)
			for _, q := range []string{"XA START " + x, fmt.Sprintf("UPDATE acct SET ver=ver+1 WHERE id=%d", xaFrom+i%(plainRows-xaFrom)), "XA END " + x, "XA PREPARE " + x, "XA COMMIT " + x} {
				if _, err := conn.ExecContext(context.WithoutCancel(ctx), q); err != nil {
					return fmt.Errorf("%s: %w", q, err)
				}
			}
			return nil
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// L2: a chunk is exactly the state between its heartbeat and the next one: nothing older than the heartbeat, nothing newer
// than the next.
func TestL2_a_chunk_is_of_its_heartbeat(t *testing.T) {
	r := newRig(t, localtest.Shared(t), acct())
	r.fill(t, r.writer, plainRows)
	from, err := db.GTIDPos(t.Context(), r.writer)
	must(t, err)
	stop := r.load(t, true)
	type seen struct {
		beat     uint64
		versions [plainRows]int64
	}
	var chunks []seen
	h := r.holding(t)
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
		r.clock.Add(int64(time.Hour)) // a new snapshot each time
		c, err := r.tables.Chunk(t.Context(), r.d, h, "", "", 100, 1<<20)
		must(t, err)
		s := seen{beat: c.Beat}
		for i := range c.Rows {
			s.versions[i], err = strconv.ParseInt(c.Rows[i].Text(1), 10, 64)
			must(t, err)
		}
		chunks = append(chunks, s)
	}
	stop()
	to, err := db.GTIDPos(t.Context(), r.writer)
	must(t, err)
	j := read(t, r.dsn, from, to)
	old, ahead, byXA, tried := 0, 0, 0, 0
	for _, c := range chunks {
		place, next := j.beats[c.beat], j.beats[c.beat+1]
		if place == 0 || next == 0 {
			continue
		}
		tried++
		for id, v := range c.versions {
			low, high := max(1, j.at(int64(id), place)), max(1, j.at(int64(id), next))
			switch {
			case v >= low && v <= high:
			case id >= xaFrom:
				byXA++
			case v < low:
				old++
			default:
				ahead++
			}
		}
	}
	t.Logf("%d chunks, %d with both heartbeats; wrong by XA: %d", len(chunks), tried, byXA)
	if old > 0 || ahead > 0 || tried < 20 {
		t.Errorf("%d rows older than the heartbeat of their chunk, %d newer than the next, in %d chunks", old, ahead, tried)
	}
}

// L2: what a repair reads lies between its two GTID sets, XA or not.
func TestL2_a_locked_row_is_between_its_positions(t *testing.T) {
	t.Run("of the captured server", func(t *testing.T) {
		lockedBetween(t, newRig(t, localtest.Shared(t), acct()), false)
	})
	t.Run("of live, whose replica is captured", func(t *testing.T) { lockedBetween(t, newPair(t).rig, true) })
}

func lockedBetween(t *testing.T, r *rig, owner bool) {
	r.fill(t, r.writer, plainRows)
	from, err := db.GTIDPos(t.Context(), r.writer)
	must(t, err)
	stop := r.load(t, true)
	type seen struct {
		id, version   int64
		before, after uint64
	}
	var rows []seen
	held := 0
	for i, deadline := 0, time.Now().Add(3*time.Second); time.Now().Before(deadline) || len(rows) < 20 && i < 1000; i++ {
		keys := []catalog.Key{catalog.Key(strconv.Itoa(i % xaFrom)), catalog.Key(strconv.Itoa(xaFrom + i%(plainRows-xaFrom)))}
		l, err := r.tables.Locked(t.Context(), r.d, "acct", keys, owner)
		must(t, err)
		for _, f := range l.Found {
			if f.Held {
				held++
				continue
			}
			id, _ := strconv.ParseInt(f.Row.Text(0), 10, 64)
			v, _ := strconv.ParseInt(f.Row.Text(1), 10, 64)
			rows = append(rows, seen{id, v, seqOf(t, l.Before), seqOf(t, l.After)})
		}
	}
	stop()
	to, err := db.GTIDPos(t.Context(), r.writer)
	must(t, err)
	j := read(t, r.dsn, from, to)
	wrong := 0
	for _, s := range rows {
		if low, high := max(1, j.at(s.id, s.before)), max(1, j.at(s.id, s.after)); s.version < low || s.version > high {
			wrong++
		}
	}
	t.Logf("%d rows read, %d held", len(rows), held)
	if wrong > 0 || len(rows) < 20 {
		t.Errorf("%d of %d rows are not between their positions", wrong, len(rows))
	}
}

// L7: beside DDL of every kind a read is stale or right, never short.
func TestL7_reads_beside_DDL_are_stale_or_right(t *testing.T) {
	const rows = 300
	r := newRig(t, localtest.Shared(t), acct())
	r.fill(t, r.writer, rows)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	ddl := 0
	wg.Go(func() { // every state that has a table called acct is whole
		for ; ctx.Err() == nil; ddl++ {
			for _, q := range [][]string{
				{"DROP TABLE IF EXISTS acct_new, acct_old", "CREATE TABLE acct_new LIKE acct", "INSERT INTO acct_new SELECT * FROM acct", "RENAME TABLE acct TO acct_old, acct_new TO acct", "TRUNCATE TABLE acct_old", "DROP TABLE acct_old"},
				{"ALTER TABLE acct ADD COLUMN extra INT", "ALTER TABLE acct DROP COLUMN extra", "ALTER TABLE acct FORCE"},
				{"RENAME TABLE acct TO acct_gone", "RENAME TABLE acct_gone TO acct"},
				{"DROP TABLE IF EXISTS acct_part", "CREATE TABLE acct_part (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL) PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN MAXVALUE)", "INSERT INTO acct_part SELECT * FROM acct",
					"ALTER TABLE acct_part EXCHANGE PARTITION p WITH TABLE acct", "DROP TABLE acct_part"},
			}[ddl%4] {
				for {
					_, err := r.admin.SQL().ExecContext(ctx, q)
					if fault.Is(db.Classify("ddl", err), fault.Busy) && ctx.Err() == nil {
						continue
					}
					if err != nil && ctx.Err() == nil {
						t.Errorf("%s: %v", q, err)
						return
					}
					break
				}
			}
		}
	})
	h := catalog.Holding{Shard: r.d.ShardAt(0), Store: catalog.Live}
	keys := []catalog.Key{"0", "150", "299"}
	whole, stale := 0, 0
	fine := func(err error) bool {
		if err == nil {
			return true
		}
		if k := fault.KindOf(err); k != fault.Stale && k != fault.Busy && k != fault.NotFound {
			t.Errorf("%s: %v", k, err)
		}
		stale++
		return false
	}
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
		r.clock.Add(int64(time.Hour)) // a new snapshot each time
		c, err := r.tables.Chunk(ctx, r.d, h, "", "", 1000, 1<<20)
		if fine(err) {
			if len(c.Rows) != rows {
				t.Fatalf("%d rows of %d", len(c.Rows), rows)
			}
			whole++
		}
		l, err := r.tables.Locked(ctx, r.d, "acct", keys, false)
		if fine(err) {
			n := 0
			for _, f := range l.Found {
				if f.Row != nil || f.Held {
					n++
				}
			}
			if n != len(keys) {
				t.Fatalf("%d of %d rows found", n, len(keys))
			}
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d whole, %d stale, beside %d rounds of DDL", whole, stale, ddl)
	if whole == 0 || ddl == 0 {
		t.Error("nothing was tried")
	}
}
