package node_test

import (
	"sync/atomic"
	"testing"
	"time"

	"strata/canal"
	"strata/local/localtest"
	"strata/node"
)

// TestCapture_goes_on_when_the_clock_is_set_back by an hour in the middle, and forward again: changes, checkpoints, tasks.
func TestCapture_goes_on_when_the_clock_is_set_back(t *testing.T) {
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL)")
	cfg := r.config(t, "datasets: [{name: item}]\n")
	o := r.options(t, cfg)
	var off atomic.Int64
	o.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	n := openNode(t, o)
	run(t, n, node.Roles{Canal: true, Sync: true})
	desk, err := n.Desk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, shift := range []time.Duration{0, -time.Hour, 0} {
		off.Store(int64(shift))
		localtest.Exec(t, r.live, "INSERT INTO item (n) SELECT seq FROM seq_1_to_100")
		localtest.Exec(t, r.live, "UPDATE item SET n=n+1 WHERE id%3=0")
		indexed(t, n)
		task, err := desk.Order(t.Context(), canal.Task{Kind: canal.Backfill, Dataset: "item", Who: "test", Why: "the clock is " + shift.String()})
		if err != nil {
			t.Fatal(err)
		}
		localtest.Eventually(t, settle, "the backfill", func() (bool, error) {
			got, err := desk.TaskByID(t.Context(), task.ID)
			return got.State == canal.Done, err
		})
		indexed(t, n)
		if rep := proven(t, n, "index"); rep.RowsCompared != int64(100*(i+1)) {
			t.Errorf("%d rows compared", rep.RowsCompared)
		}
	}
	if s := n.Captured(); s.Term != 1 {
		t.Errorf("term %d: %s", s.Term, s.Err)
	}
}
