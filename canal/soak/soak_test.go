package soak

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"strata/local"
	"strata/local/localtest"
	"strata/local/soaktest"
)

const (
	events  = 8   // of one round
	between = 120 // commits
)

// event does one thing to one of the parts.
func (r *rig) event() string {
	ctx := r.T.Context()
	switch n := r.Rnd.IntN(9); n {
	case 0, 1:
		i := r.Rnd.IntN(len(r.Procs))
		if n == 0 {
			i = max(r.Leader(), 0)
		}
		r.Procs[i].Kill()
		r.Fatal(r.Procs[i].Start())
		return fmt.Sprint("killed process ", i)
	case 2, 3:
		r.Fatal(r.Live.Kill())
		r.Fatal(r.Live.Restart(ctx))
		return "killed the live database"
	case 4, 5:
		if r.Kafka == nil {
			r.Wire.Cut()
			return "cut the wire"
		}
		r.Fatal(r.Kafka.Kill())
		r.Fatal(r.Kafka.Restart(ctx))
		return "killed Kafka"
	case 6:
		r.Wire.Cut()
		return "cut the wire"
	case 7:
		r.Wire.CutAfter(int64(r.Rnd.IntN(200_000)))
		return "cut the wire inside something"
	default:
		i := max(r.Leader(), 0)
		p := r.Procs[i].Cmd.Process
		r.Fatal(p.Signal(syscall.SIGSTOP))
		localtest.Eventually(r.T, limit, "another leader", func() (bool, error) {
			for _, o := range r.Procs {
				if o != r.Procs[i] {
					r.Fatal(o.Again())
				}
			}
			now := r.Leader()
			return now >= 0 && now != i, nil
		})
		r.Fatal(p.Signal(syscall.SIGCONT))
		return fmt.Sprintf("process %d slept while another led", i)
	}
}

// round runs a load with events in between, and then the proof.
func (r *rig) round() {
	r.undone = true
	r.Write(func() {
		for range events {
			r.Commits(between)
			r.T.Log(r.event())
			_, _ = r.Load.Settle(r.T.Context()) // what a crash left prepared holds its rows
		}
	})
	r.proof()
}

// proof waits until the last change is in its topic and compares topics, read from their beginning, with tables.
func (r *rig) proof() {
	r.T.Helper()
	r.proofBy(r.readers())
}

// readers are a checker for each topic of the load.
func (r *rig) readers() (orders, items *checker) {
	orders, items = newChecker("strata.orders", partitions), newChecker("strata.items", partitions)
	orders.forks, items.forks = r.forks, r.forks
	orders.undone, items.undone = r.undone, r.undone
	return orders, items
}

func (r *rig) proofBy(orders, items *checker) {
	t := r.T
	t.Helper()
	r.caughtUp(orders, items)
	want := r.Table("SELECT CONCAT('{\"id\":', id, '}'), v, note, CAST(amount AS CHAR), CAST(at AS CHAR) FROM orders")
	compare(t, "orders", want, orders, "note", "amount", "at")
	want = r.Table("SELECT CONCAT('{\"n\":', n, ',\"at\":\"', at, '\"}'), v, LOWER(HEX(what)), CAST(at AS CHAR) FROM (SELECT * FROM item_202610 UNION ALL SELECT * FROM item_202611) x")
	compare(t, "items", want, items, "what", "at")
	t.Logf("%d commits; orders %d rows, records %v; items %d rows, records %v; load's last error: %v",
		r.Load.Commits.Load(), len(orders.rows), orders.counts, len(items.rows), items.counts, r.Load.Last())
}

// caughtUp waits until checkers have read a last change of each topic, and then a mark of a later heartbeat in every partition:
// what stands in another partition than a last change may come after it. Whatever holes they saw must be repaired.
func (r *rig) caughtUp(orders, items *checker) {
	t := r.T
	t.Helper()
	r.ends++
	localtest.Exec(t, r.DB, "REPLACE INTO orders VALUES (999999, ?, 'the end', 0, '2026-11-22')", r.ends)
	localtest.Exec(t, r.DB, "REPLACE INTO item_202611 VALUES (999999, '2026-11-22', ?, NULL)", r.ends)
	client := r.Client()
	beat := uint64(0)
	localtest.Eventually(t, limit, "the last changes in their topics", func() (bool, error) {
		if err := errors.Join(r.Alive(), orders.read(client), items.read(client)); err != nil {
			return false, unlessMoving(client, err)
		}
		if orders.rows[`{"id":999999}`]["v"] != r.ends || items.rows[`{"n":999999,"at":"2026-11-22 00:00:00.000"}`]["v"] != r.ends {
			return false, nil
		}
		if beat == 0 {
			beat = 1 + max(orders.last(), items.last())
		}
		return orders.reached(beat) && items.reached(beat), nil
	})
}

// compare reports what the topic's replay has otherwise than the table; columns are those after v.
func compare(t *testing.T, name string, want map[string][]string, c *checker, columns ...string) {
	t.Helper()
	for _, w := range c.wrong {
		t.Error(w)
	}
	differ := 0
	say := func(format string, args ...any) {
		if differ++; differ < 10 {
			t.Errorf(format, args...)
		}
	}
	seen := map[string]bool{}
	for key, row := range c.rows {
		w, ok := want[key]
		if !ok {
			say("%s: %s is in the topic, not in the table; its records:\n%s", name, key, strings.Join(c.trail[key], "\n"))
			continue
		}
		seen[key] = true
		got := []string{fmt.Sprint(int64(row["v"].(float64)))}
		for _, col := range columns {
			got = append(got, fmt.Sprint(row[col]))
		}
		if strings.Join(got, "|") != strings.Join(w, "|") {
			say("%s %s: topic %v, table %v; its records:\n%s", name, key, got, w, strings.Join(c.trail[key], "\n"))
		}
	}
	for k := range want {
		if !seen[k] {
			say("%s: %s is in the table, not in the topic; its records:\n%s", name, k, strings.Join(c.trail[k], "\n"))
		}
	}
	if differ > 0 {
		t.Errorf("%s: %d rows differ", name, differ)
	}
}

// TestCapture_survives: one seed, with the Kafka of this process.
func TestCapture_survives(t *testing.T) {
	m := localtest.Maria(t)
	newRig(t, 1, m, localtest.Schema(t, m), nil, "canal", "canal").round()
}

// TestCapture_survives_with_Kafka: one seed, with a real Kafka that is killed too.
func TestCapture_survives_with_Kafka(t *testing.T) { mariaRound(t, 2) }

// TestCapture_survives_on_MySQL: the same from a real MySQL.
func TestCapture_survives_on_MySQL(t *testing.T) { mysqlRound(t, 3) }

// TestSoak_capture and the next are rounds with a seed each.
func TestSoak_capture(t *testing.T) { soaktest.Rounds(t, mariaRound) }

func TestSoak_capture_on_MySQL(t *testing.T) { soaktest.Rounds(t, mysqlRound) }

func mariaRound(t *testing.T, seed uint64) {
	k := localtest.StartKafka(t, localtest.Home(t), local.JavaKafkaConfig{Name: "kafka"})
	m := localtest.Maria(t)
	newRig(t, seed, m, localtest.Schema(t, m), k, "canal", "canal").round()
}

func mysqlRound(t *testing.T, seed uint64) {
	h := localtest.Home(t)
	m := localtest.StartMySQL(t, h, local.MySQLConfig{Name: "live"})
	k := localtest.StartKafka(t, h, local.JavaKafkaConfig{Name: "kafka"})
	newRig(t, seed, m, localtest.Schema(t, m), k, "canal", "canal").round()
}
