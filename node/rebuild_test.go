package node_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/local/localtest"
	"strata/node"
	"strata/sync/rebuild"
)

const billRows = 2000

// rebuildRig is a pipeline over one dataset whose sync runs in processes of their own, under load.
type rebuildRig struct {
	*rig
	cfg     node.Config
	n       *node.Node
	builds  *rebuild.Rebuilds
	stop    func()       // ends the capture
	asked   atomic.Int64 // searches for a row that was committed and waited for
	written atomic.Int64
}

// newRebuildRig captures in this process; more is YAML.
func newRebuildRig(t *testing.T, more string) *rebuildRig {
	t.Helper()
	r := &rebuildRig{rig: newRig(t)}
	localtest.Exec(t, r.live, "CREATE TABLE bill (id BIGINT AUTO_INCREMENT PRIMARY KEY, amount BIGINT NOT NULL, memo VARCHAR(40) COLLATE utf8mb4_bin)")
	localtest.Exec(t, r.live, fmt.Sprintf("INSERT INTO bill (id, amount, memo) SELECT seq, seq, CONCAT('bill ', seq) FROM seq_1_to_%d", billRows))
	r.cfg = r.config(t, "datasets: [{name: bill, partitions: 2}]\n"+more)
	r.n = r.open(t, r.cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.n.Run(ctx, node.Roles{Canal: true}) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("capture: %v", err)
		}
	})
	t.Cleanup(r.stop)
	r.builds = r.rebuilds(t, r.n)
	return r
}

func (r *rebuildRig) rebuilds(t *testing.T, n *node.Node) *rebuild.Rebuilds {
	t.Helper()
	b, err := n.Rebuilds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// syncs starts a process that feeds the index and runs rebuilds; it dies at the point, if one is given.
func (r *rebuildRig) syncs(t *testing.T, point string) *capturer {
	t.Helper()
	env := []string{childRoles + "=sync"}
	if point != "" {
		env = append(env, "STRATA_CRASH="+point)
	}
	return startChild(t, r.cfg, env...)
}

// load inserts, updates and deletes, until the test ends.
func (r *rebuildRig) load(t *testing.T) {
	goRun(t, "write", func(ctx context.Context) error {
		random := rand.New(rand.NewPCG(5, 5))
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			id := 1 + random.IntN(billRows)
			query := fmt.Sprintf("UPDATE bill SET amount=amount+1 WHERE id=%d", id)
			switch random.IntN(4) {
			case 0:
				query = fmt.Sprintf("DELETE FROM bill WHERE id=%d", id)
			case 1:
				query = fmt.Sprintf("INSERT INTO bill (id, amount, memo) VALUES (%d, 1, 'again') ON DUPLICATE KEY UPDATE amount=amount+1", id)
			}
			if _, err := r.live.ExecContext(ctx, query); err != nil {
				return ctxErr(ctx, err)
			}
			r.written.Add(1)
			<-tick.C
		}
		return nil
	})
}

// ask commits rows, waits for each until the index says that it has it, and searches it, until the test ends.
func (r *rebuildRig) ask(t *testing.T) {
	goRun(t, "search", func(ctx context.Context) error {
		for ctx.Err() == nil {
			res, err := r.live.ExecContext(ctx, "INSERT INTO bill (amount, memo) VALUES (7, 'asked for')")
			if err != nil {
				return ctxErr(ctx, err)
			}
			id, err := res.LastInsertId()
			if err != nil {
				return err
			}
			if err := r.n.WaitIndexed(ctx, nil); err != nil {
				return ctxErr(ctx, err)
			}
			page, err := r.n.Index().Search(ctx, index.Search{Dataset: "bill", Shards: []string{"bill"}, Order: []index.Order{{Column: "id"}}, Limit: 2,
				Filter: catalog.Cmp("id", catalog.Eq, strconv.FormatInt(id, 10))})
			if err != nil {
				return ctxErr(ctx, err)
			}
			if len(page.Rows) != 1 {
				return fmt.Errorf("row %d was committed and waited for, and %d are found", id, len(page.Rows))
			}
			r.asked.Add(1)
		}
		return nil
	})
}

// reaches waits until a rebuild is over, or halts, and returns it.
func (r *rebuildRig) reaches(t *testing.T, generation int, phase rebuild.Phase) rebuild.Rebuild {
	t.Helper()
	var b rebuild.Rebuild
	localtest.Eventually(t, 2*settle, fmt.Sprintf("generation %d is %s", generation, phase), func() (bool, error) {
		var err error
		if b, err = r.builds.Look(t.Context(), "bill"); err != nil {
			return false, err
		}
		if b.Halted() {
			return false, fmt.Errorf("it halted at %s: %s (%s)", b.Phase, b.Err, b.Hint)
		}
		return b.Generation == generation && b.Phase == phase, nil
	})
	return b
}

// moreAsked waits until rows were searched for since the call.
func (r *rebuildRig) moreAsked(t *testing.T) {
	t.Helper()
	want := r.asked.Load() + 2
	localtest.Eventually(t, settle, "searches go on", func() (bool, error) { return r.asked.Load() >= want, nil })
}

// begin orders a rebuild; before the first checkpoint there is no place to begin at.
func (r *rebuildRig) begin(t *testing.T, why string) {
	t.Helper()
	localtest.Eventually(t, settle, "a rebuild begins", func() (bool, error) {
		_, err := r.builds.Start(t.Context(), "bill", "tester", why)
		if fault.Is(err, fault.Unavailable) {
			return false, nil
		}
		return err == nil, err
	})
}

// rebuildOnce rebuilds, and proves the generation.
func (r *rebuildRig) rebuildOnce(t *testing.T, generation int) {
	t.Helper()
	r.begin(t, "to try it")
	b := r.reaches(t, generation, rebuild.Done)
	if b.Compared < billRows/2 || b.Who != "tester" {
		t.Errorf("%+v", b)
	}
}

// rebuildTo rebuilds under load.
func (r *rebuildRig) rebuildTo(t *testing.T, generation int) {
	t.Helper()
	r.rebuildOnce(t, generation)
	r.moreAsked(t)
}

func TestL4_rebuild_under_load(t *testing.T) {
	for name, more := range map[string]func(*testing.T) string{
		"sqlite": func(*testing.T) string { return "" },
		"elastic": func(t *testing.T) string {
			return fmt.Sprintf("index: {elastic: {url: %q, prefix: %s}}\n", localtest.SharedElastic(t), localtest.Unique("rebuild"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRebuildRig(t, more(t))
			one := r.syncs(t, "")
			indexed(t, r.n)
			r.load(t)
			r.ask(t)
			r.moreAsked(t)
			r.syncs(t, "") // two that feed and could run it
			r.rebuildTo(t, 2)
			one.end()
			r.rebuildTo(t, 3)
			if err := r.builds.Drop(t.Context(), "bill", 1, "tester", "old"); err != nil {
				t.Fatal(err)
			}
			if err := r.builds.Drop(t.Context(), "bill", 3, "tester", "no"); !fault.Is(err, fault.Conflict) {
				t.Errorf("dropping what answers: %v", err)
			}
			list, err := r.builds.List(t.Context())
			if err != nil || len(list) != 2 || list[0].Number != 2 || list[0].State != index.Old || list[1].State != index.Serving || list[1].Documents < 1 {
				t.Errorf("%+v, %v", list, err)
			}
			r.moreAsked(t)
			proven(t, r.n, "index")
			t.Logf("%d writes, %d rows waited for and found", r.written.Load(), r.asked.Load())
		})
	}
}

// TestL2_rebuild_killed_in_every_phase has the process that runs the rebuild, and feeds the index, die by SIGKILL under load. (All
// points are crashed at by the rebuild's own tests; here each waits for the dead one's lease.)
func TestL2_rebuild_killed_in_every_phase(t *testing.T) {
	r := newRebuildRig(t, "")
	first := r.syncs(t, "")
	indexed(t, r.n)
	r.load(t)
	r.ask(t)
	r.moreAsked(t)
	first.end()
	generation := 1
	for _, point := range []string{"rebuild.ordered", "rebuild.noted:2", "rebuild.handed", "index.switch.between", "rebuild.switched"} {
		generation++
		dies := r.syncs(t, point)
		r.begin(t, point)
		select {
		case <-dies.ended:
		case <-time.After(settle):
			t.Fatalf("%s: it did not die", point)
		}
		if status, ok := dies.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: %v", point, dies.err)
		}
		heir := r.syncs(t, "")
		b := r.reaches(t, generation, rebuild.Done)
		if b.Orders != 0 {
			t.Errorf("%s: the backfill was ordered %d times", point, b.Orders+1)
		}
		r.moreAsked(t)
		proven(t, r.n, "index")
		if generation > 2 {
			if err := r.builds.Drop(t.Context(), "bill", generation-2, "tester", "old"); err != nil {
				t.Fatal(err)
			}
		}
		heir.end()
	}
	t.Logf("%d writes, %d rows waited for and found", r.written.Load(), r.asked.Load())
}

// TestRebuildForAColumn: a column comes into the table; the index refuses it, the stores answer, and a rebuild mends that.
func TestRebuildForAColumn(t *testing.T) {
	r := newRebuildRig(t, "scan_rows: 10\n")
	first := r.syncs(t, "")
	indexed(t, r.n)
	first.end()
	localtest.Exec(t, r.live, "ALTER TABLE bill ADD COLUMN note VARCHAR(20) COLLATE utf8mb4_bin")
	localtest.Exec(t, r.live, "INSERT INTO bill (amount, memo, note) VALUES (5, 'with a note', 'new')")
	r.stop() // every process is started again with the declaration of now
	n := r.open(t, r.cfg)
	r.n, r.builds = n, r.rebuilds(t, n)
	run(t, n, node.Roles{Canal: true, Sync: true})
	localtest.Eventually(t, settle, "the index refuses the columns", func() (bool, error) {
		st := n.Synced()
		return len(st.Datasets) == 1 && strings.Contains(st.Datasets[0].Hint, "strata sync rebuild bill"), nil
	})
	// No index of the table fits: the search copy would be asked, and can't answer for these columns.
	asked := func() (string, string) {
		q, err := n.ParseSQL("SELECT id, note FROM bill WHERE memo = 'with a note'")
		if err != nil {
			t.Fatal(err)
		}
		note := ""
		served := all(t, n, q, func(row *catalog.Row) { note = row.Text(1) })
		return note, served.Sources[0].Source
	}
	if note, source := asked(); note != "new" || source != "live" {
		t.Errorf("note %q of %s", note, source)
	}
	r.rebuildOnce(t, 2)
	localtest.Eventually(t, settle, "the new generation is taken for the one that serves", func() (bool, error) {
		st := n.Synced().Datasets[0]
		return st.Generation == 2 && st.Err == "", nil
	})
	indexed(t, n)
	if note, source := asked(); note != "new" || source != "index" {
		t.Errorf("after the rebuild: note %q of %s", note, source)
	}
	proven(t, n, "index")
}
