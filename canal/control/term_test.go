package control_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/control"
	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

// write is a write of a term, with a statement that keeps it waiting after it has looked at the term.
type write struct {
	name string
	hold string
	do   func(ctx context.Context, term uint32) (bool, error)
}

// writes are all of Control and Desk that take a term. There is a task, and a key that is due.
func writes(t *testing.T, c *control.Control) []write {
	t.Helper()
	id, _, err := c.AddTask(t.Context(), 0, canal.Task{Kind: canal.Accept, Who: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Enqueue(t.Context(), []canal.RepairKey{{Dataset: "entry", Shard: "entry", Key: "1"}}); err != nil {
		t.Fatal(err)
	}
	keys, err := c.Due(t.Context(), 1)
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	all := func(table string) string { return "SELECT * FROM " + table + " WHERE pipeline>='' FOR UPDATE" }
	return []write{
		{"AddTask", "SELECT * FROM canal_task WHERE id>0 FOR UPDATE", func(ctx context.Context, term uint32) (bool, error) {
			_, ok, err := c.AddTask(ctx, term, canal.Task{Kind: canal.Accept, Who: fmt.Sprint(term)})
			return ok, err
		}},
		{"Advance", all("canal_task"), func(ctx context.Context, term uint32) (bool, error) {
			_, ok, err := c.Advance(ctx, term, canal.Task{ID: id, State: canal.Running, Done: int64(term)})
			return ok, err
		}},
		{"Settle done", all("canal_repair"), func(ctx context.Context, term uint32) (bool, error) { return c.Settle(ctx, term, keys, nil, 0) }},
		{"Settle later", all("canal_repair"), func(ctx context.Context, term uint32) (bool, error) { return c.Settle(ctx, term, nil, keys, time.Hour) }},
		{"Report", all("canal_status"), func(ctx context.Context, term uint32) (bool, error) {
			return c.Report(ctx, term, canal.Status{Term: term})
		}},
		{"Remember", "SELECT * FROM canal_history WHERE n>0 FOR UPDATE", func(ctx context.Context, term uint32) (bool, error) {
			return c.Remember(ctx, term, &canal.Checkpoint{Term: term})
		}},
	}
}

// waiting counts transactions that wait for a row. (INNODB_TRX is up to 100 ms old.)
func waiting(ctx context.Context, d *db.DB) (n int, err error) {
	var name string
	err = d.SQL().QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(&name, &n)
	return n, err
}

func begin(t *testing.T, d *db.DB, level sql.IsolationLevel, query string) *sql.Tx {
	t.Helper()
	tx, err := d.SQL().BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	rows, err := tx.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	return tx
}

type outcome struct {
	ok  bool
	err error
}

// L2: a leader that was replaced, and goes on after a long stop, must not settle a key whose image its own term can no
// longer send, nor leave a task, a place or a checkpoint behind that its successor doesn't know of.
func TestL2_a_write_of_a_term_that_is_over_never_lands(t *testing.T) {
	servers(t, func(t *testing.T, dsn string) {
		d := open(t, dsn)
		for i, name := range []string{"AddTask", "Advance", "Settle done", "Settle later", "Report", "Remember"} {
			t.Run(name+" makes a Take wait", func(t *testing.T) {
				c := pipeline(t, d, fmt.Sprint("wait", i))
				takeWaits(t, d, c, writes(t, c)[i])
			})
			t.Run(name+" waits for a Take, and is refused", func(t *testing.T) {
				c := pipeline(t, d, fmt.Sprint("refused", i))
				w := writes(t, c)[i]
				take(t, c, 0)
				if ok, err := w.do(t.Context(), 1); !ok || err != nil { // so that there is a row that could be changed
					t.Fatal(ok, err)
				}
				w = writes(t, c)[i]
				tx := begin(t, d, sql.LevelReadCommitted, "SELECT 1")
				if _, err := tx.ExecContext(t.Context(), "UPDATE canal_leader SET term=2 WHERE pipeline=? AND term=1", fmt.Sprint("refused", i)); err != nil {
					t.Fatal(err)
				}
				before := content(t, d)
				wrote := make(chan outcome, 1)
				go func() {
					ok, err := w.do(t.Context(), 1)
					wrote <- outcome{ok, err}
				}()
				var out *outcome
				localtest.Eventually(t, 30*time.Second, "the write waits", func() (bool, error) {
					select {
					case o := <-wrote:
						out = &o
						return true, nil
					default:
					}
					n, err := waiting(t.Context(), d)
					return n >= 1, err
				})
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				if out == nil {
					o := <-wrote
					out = &o
				}
				if out.ok || out.err != nil {
					t.Fatalf("the write of term 1 after the take of term 2: %v, %v", out.ok, out.err)
				}
				if after := content(t, d); after != before {
					t.Fatalf("the write of term 1 has left\n%s, before\n%s", after, before)
				}
			})
		}
	})
}

func take(t *testing.T, c *control.Control, from uint32) {
	t.Helper()
	if ok, err := c.Take(t.Context(), from, from+1, "a"); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

// takeWaits stops a write after its look at the term, and lets a Take come.
func takeWaits(t *testing.T, d *db.DB, c *control.Control, w write) {
	take(t, c, 0)
	if ok, err := w.do(t.Context(), 1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if w.name == "Settle done" || w.name == "Settle later" { // another key for the write that waits
		w = writes(t, c)[map[string]int{"Settle done": 2, "Settle later": 3}[w.name]]
	}
	hold := begin(t, d, sql.LevelRepeatableRead, w.hold)
	wrote, took := make(chan outcome, 1), make(chan outcome, 1)
	go func() {
		ok, err := w.do(t.Context(), 1)
		wrote <- outcome{ok, err}
	}()
	waits := func(n int, early chan outcome) {
		t.Helper()
		localtest.Eventually(t, 30*time.Second, "a statement waits", func() (bool, error) {
			select {
			case o := <-early:
				t.Fatalf("it did not wait: %v, %v", o.ok, o.err)
			default:
			}
			have, err := waiting(t.Context(), d)
			return have >= n, err
		})
	}
	waits(1, wrote)
	go func() {
		ok, err := c.Take(t.Context(), 1, 2, "b")
		took <- outcome{ok, err}
	}()
	waits(2, took)
	if err := hold.Rollback(); err != nil {
		t.Fatal(err)
	}
	if o := <-wrote; !o.ok || o.err != nil {
		t.Errorf("the write that came first: %v, %v", o.ok, o.err)
	}
	if o := <-took; !o.ok || o.err != nil {
		t.Errorf("the take: %v, %v", o.ok, o.err)
	}
}

// content is all that tables of the desk hold, as text.
func content(t *testing.T, d *db.DB) string {
	t.Helper()
	out := ""
	for _, q := range []string{"SELECT CONCAT_WS('|', id, state, done) FROM canal_task ORDER BY id", "SELECT CONCAT_WS('|', id, settled, tries, due_at, version) FROM canal_repair ORDER BY id",
		"SELECT CONCAT_WS('|', pipeline, term, writes) FROM canal_status ORDER BY pipeline", "SELECT CONCAT_WS('|', pipeline, n, term) FROM canal_history ORDER BY pipeline, n"} {
		rows, err := d.SQL().QueryContext(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			out += s + "\n"
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Two leaders race for terms, and go on writing with the terms that they had. What a term had written when the next one
// was taken is all that it ever writes.
func TestDesk_beside_leaders_that_race(t *testing.T) {
	d := open(t, localtest.Schema(t, localtest.Shared(t)))
	c := pipeline(t, d, "live")
	const terms = 40
	var done atomic.Bool
	var wrote atomic.Int64
	var known atomic.Uint32
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				term := max(1, known.Load())
				if _, ok, err := c.AddTask(t.Context(), term, canal.Task{Kind: canal.Accept, Who: fmt.Sprint(term)}); err != nil {
					t.Error(err)
				} else if ok {
					wrote.Add(1)
				}
				key := canal.RepairKey{Dataset: "entry", Shard: "entry", Key: catalog.Key(fmt.Sprint(wrote.Load() % 7))}
				if err := c.Enqueue(t.Context(), []canal.RepairKey{key}); err != nil {
					t.Error(err)
				}
				keys, err := c.Due(t.Context(), 5)
				if err == nil {
					_, err = c.Settle(t.Context(), term, keys, nil, 0)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	had := map[uint32]int{}
	count := func(term uint32) (n int) {
		if err := d.SQL().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM canal_task WHERE who=?", fmt.Sprint(term)).Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	for term := range uint32(terms) {
		take(t, c, term)
		had[term] = count(term)
		known.Store(term + 1)
		seen := wrote.Load()
		localtest.Eventually(t, 30*time.Second, "writes of the term", func() (bool, error) { return wrote.Load() >= seen+3, nil })
	}
	done.Store(true)
	wg.Wait()
	for term, n := range had {
		if now := count(term); now != n {
			t.Errorf("term %d had written %d tasks when it was over, and %d at the end", term, n, now)
		}
	}
	t.Logf("%d tasks in %d terms", wrote.Load(), terms)
}
