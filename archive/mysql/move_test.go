package mysql

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"

	"strata/archive"
	"strata/local"
	"strata/local/localtest"
)

func TestMove_all_old_shards_go_and_nothing_else(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 25)
	r := w.watch(t)
	m := w.mover(t, nil)
	plan := w.planFor(t, m)
	if len(plan.Moves) != 3 || plan.Young != 1 || len(plan.Unmovable) != 0 {
		t.Fatalf("plan\n%s", plan)
	}
	res, err := m.Run(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if res.Moved != 3 || res.Rows != 75 {
		t.Errorf("%d segments, %d rows", res.Moved, res.Rows)
	}
	r.pass(t)
	r.end(t)
	if got := w.tables(t, w.live); !slices.Equal(got, []string{"e_20260720", "e_late_1"}) {
		t.Errorf("live has %v", got)
	}
	if got := w.tables(t, w.arch); !slices.Equal(got, w.days) {
		t.Errorf("the archive has %v", got)
	}
	view := w.planFor(t, m)
	if !view.Empty() || view.Archived != 3 {
		t.Errorf("afterwards the plan is\n%s", view)
	}
	segs, err := m.Status(t.Context())
	if err != nil || len(segs) != 3 || segs[0].State != archive.StateSealed || segs[0].Signature == "" {
		t.Errorf("segments %+v, %v", segs, err)
	}
	if len(segs[0].Sums) != 2 || segs[0].Sums[0].Unit != "EUR" {
		t.Errorf("sums %+v", segs[0].Sums)
	}
	check, err := m.Check(t.Context())
	if err != nil || check.Segments != 3 || len(check.Findings) != 0 {
		t.Errorf("check %+v, %v", check, err)
	}
}

func TestMove_an_empty_shard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 0)
	m := w.mover(t, nil)
	res, err := m.Run(t.Context(), w.planFor(t, m))
	if err != nil || res.Moved != 1 || res.Rows != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestMove_more_rows_than_a_chunk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 2500)
	m := w.mover(t, nil, func(c *Config) { c.BatchRows = 700 })
	res, err := m.Run(t.Context(), w.planFor(t, m))
	if err != nil || res.Rows != 2500 {
		t.Fatalf("%+v, %v", res, err)
	}
	check, err := m.Check(t.Context())
	if err != nil || len(check.Findings) != 0 {
		t.Fatalf("check %+v, %v", check, err)
	}
	t.Run("a row changed by hand is found with its range of keys", func(t *testing.T) {
		localtest.Exec(t, w.arch.SQL(), "UPDATE e_20260101 SET amount=amount+1 WHERE id=1200")
		check, err := m.Check(t.Context())
		if err != nil || len(check.Findings) != 1 {
			t.Fatalf("check %+v, %v", check, err)
		}
		f := check.Findings[0]
		if f.After != "999,e709" || f.To != "1999,cf09" || f.Have != 1000 {
			t.Errorf("finding %+v", f)
		}
	})
	t.Run("a row deleted by hand is found too", func(t *testing.T) {
		localtest.Exec(t, w.arch.SQL(), "UPDATE e_20260101 SET amount=amount-1 WHERE id=1200")
		localtest.Exec(t, w.arch.SQL(), "DELETE FROM e_20260101 WHERE id=2400")
		check, err := m.Check(t.Context())
		if err != nil || len(check.Findings) != 1 || check.Findings[0].Have != 499 || check.Findings[0].To != "" {
			t.Fatalf("check %+v, %v", check, err)
		}
	})
}

// inGroups gives each point a shard of its own, a few points to a world: a reader's pass stays short.
func inGroups(t *testing.T, points []string, rows int, run func(t *testing.T, w *world, r *watcher, point, table string)) {
	t.Helper()
	for group := range slices.Chunk(points, 5) {
		w := newWorld(t, len(group), rows)
		r := w.watch(t)
		for i, point := range group {
			t.Run(point, func(t *testing.T) { run(t, w, r, point, w.days[i]) })
			if t.Failed() {
				break
			}
		}
		r.pass(t)
		r.end(t)
		if got := w.tables(t, w.live); !slices.Equal(got, []string{"e_20260720", "e_late_1"}) {
			t.Errorf("live has %v", got)
		}
	}
}

// Every step can end at every point: a successor finishes, and a reader sees every row exactly once all the time.
func TestL5_every_row_exactly_once_through_a_crash_at_every_point(t *testing.T) {
	t.Parallel()
	inGroups(t, archive.MovePoints(), 25, func(t *testing.T, w *world, r *watcher, point, table string) {
		m := w.mover(t, local.NewTrap(point, 1).At)
		_, err := m.Run(t.Context(), w.planFor(t, m, table))
		if !errors.Is(err, local.ErrCrash) {
			t.Fatalf("no crash: %v", err)
		}
		w.look(t, r)
		next := w.mover(t, nil)
		if _, err := next.Run(t.Context(), w.planFor(t, next, table)); err != nil {
			t.Fatalf("the successor: %v", err)
		}
		standing(t, w, table, archive.Sealed)
	})
}

// A mover that stands still at any point, and goes on after a successor has finished, changes nothing.
func TestL5_a_mover_that_was_overtaken_changes_nothing(t *testing.T) {
	t.Parallel()
	points := archive.MovePoints()
	points = points[:slices.Index(points, archive.PointSealLive)] // after it there is nothing left to overtake
	inGroups(t, points, 15, func(t *testing.T, w *world, _ *watcher, point, table string) {
		reached, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		m := w.mover(t, func(p string) error {
			if p == point {
				once.Do(func() {
					close(reached)
					<-goOn
				})
			}
			return nil
		})
		plan := w.planFor(t, m, table)
		ended := make(chan error, 1)
		go func() {
			_, err := m.Run(t.Context(), plan)
			ended <- err
		}()
		select {
		case <-reached:
		case err := <-ended:
			t.Fatalf("it ended before: %v", err)
		}
		next := w.mover(t, nil)
		_, err := next.Run(t.Context(), w.planFor(t, next, table))
		close(goOn)
		stale := <-ended
		if err != nil {
			t.Fatalf("the successor: %v", err)
		}
		if stale == nil {
			t.Error("the mover that was overtaken believes that it finished")
		}
		standing(t, w, table, archive.Sealed)
	})
}

// standing checks the stage of a table.
func standing(t testing.TB, w *world, table string, want archive.Stage) archive.Standing {
	t.Helper()
	all, err := w.site(t, nil).Survey(t.Context(), w.ds)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		if st.Shard.Table == table {
			if st.Stage() != want {
				t.Errorf("%s is %s, not %s: live %+v, archive %+v", table, st.Stage(), want, st.Live, st.Archive)
			}
			return st
		}
	}
	t.Fatalf("no table %s", table)
	return archive.Standing{}
}

func TestL10_a_plan_changes_nothing_and_is_what_runs(t *testing.T) {
	w := newWorld(t, 2, 10)
	before := dump(t, w)
	m := w.mover(t, nil)
	plan := w.planFor(t, m)
	if len(plan.Moves) != 2 {
		t.Fatalf("plan\n%s", plan)
	}
	if after := dump(t, w); !slices.Equal(before, after) {
		t.Errorf("planning changed\n%v to\n%v", before, after)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var shown archive.Plan
	if err := json.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	shown.Moves = shown.Moves[1:] // what isn't in the plan isn't done
	res, err := w.mover(t, nil).Run(t.Context(), &shown)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Segments) != 1 || res.Segments[0].ID != shown.Moves[0].Segment {
		t.Errorf("ran %+v", res.Segments)
	}
	standing(t, w, w.days[0], archive.Idle)
	standing(t, w, w.days[1], archive.Sealed)
	t.Run("an old plan is refused, not run a second time", func(t *testing.T) {
		if _, err := w.mover(t, nil).Run(t.Context(), &shown); err == nil {
			t.Error("it ran")
		}
	})
}

// dump is everything that the servers say, as text.
func dump(t testing.TB, w *world) []string {
	t.Helper()
	var out []string
	for _, d := range []string{w.live.Schema(), w.arch.Schema(), w.control.Schema()} {
		rows, err := texts(t.Context(), w.live, `SELECT CONCAT(TABLE_NAME, ' ', COALESCE(CREATE_TIME,'')) FROM information_schema.TABLES WHERE TABLE_SCHEMA=?
			UNION ALL SELECT CONCAT(TRIGGER_NAME, ACTION_STATEMENT) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=? ORDER BY 1`, d, d)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rows...)
	}
	pos, err := texts(t.Context(), w.live, "SELECT @@GLOBAL.gtid_binlog_pos")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, pos...)
}

// A whole-shard move deletes no row: the binlog has a marker row and DDL, and no delete event of the table.
func TestL6_a_move_deletes_no_row_and_leaves_its_mark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 30)
	localtest.Exec(t, w.app, "CREATE TABLE app_log (n INT)")
	before := binlogEnd(t, w)
	m := w.mover(t, nil)
	if _, err := m.Run(t.Context(), w.planFor(t, m)); err != nil {
		t.Fatal(err)
	}
	deletes, markers := events(t, w, before, w.live.Schema())
	if deletes != 0 {
		t.Errorf("%d delete events on live", deletes)
	}
	if markers != 1 {
		t.Errorf("%d marker rows in the binlog", markers)
	}
	marks, err := texts(t.Context(), w.live, "SELECT CONCAT(segment, ' ', chunk) FROM strata_prune")
	if err != nil || len(marks) != 1 || marks[0][:len("e_20260101.1 e_20260101__strata_")] != "e_20260101.1 e_20260101__strata_" {
		t.Errorf("markers %v, %v", marks, err)
	}
	if sh, ok := w.ds.ShardOf(marks[0][len("e_20260101.1 "):]); ok {
		t.Errorf("the attempt's table would be captured as %v", sh)
	}
}

func TestPlan_says_why_a_shard_stays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6, 4)
	localtest.Exec(t, w.app, "INSERT INTO e_20260101 (id, sub, at, unit) VALUES (-1, '', '2026-01-02 00:00:00', 'EUR')")
	localtest.Exec(t, w.app, "CREATE TRIGGER theirs AFTER INSERT ON e_20260102 FOR EACH ROW SET @x=1")
	localtest.Exec(t, w.app, "CREATE TABLE child (id BIGINT PRIMARY KEY, a BIGINT, b VARBINARY(8), KEY (a, b), FOREIGN KEY (a, b) REFERENCES e_20260103 (id, sub))")
	localtest.Exec(t, w.app, "ALTER TABLE e_20260104 ADD COLUMN twice BIGINT AS (amount*2) PERSISTENT")
	localtest.Exec(t, w.app, "UPDATE e_20260105 SET state='open' WHERE id=4000001")
	localtest.Exec(t, w.arch.SQL(), "CREATE TABLE e_20260106 (id INT)")
	w.ds.TerminalWhen = "state='closed'"
	plan := w.planFor(t, w.mover(t, nil))
	if !plan.Empty() {
		t.Errorf("plan\n%s", plan)
	}
	for table, want := range map[string]string{
		"e_20260101": "1 rows lie outside its range 2026-01-01..2026-01-02 by at",
		"e_20260102": "trigger theirs is not strata's",
		"e_20260103": "foreign key child_ibfk_1 of child refers to e_20260103",
		"e_20260104": "column twice is generated or invisible",
		"e_20260105": "1 rows are not terminal: state='closed'",
		"e_20260106": "the archive has a table of that name, which no move has made",
	} {
		if !slices.Contains(plan.Unmovable, archive.Refusal{Dataset: "e", Shard: table, Reason: want}) {
			t.Errorf("%s: not %q", table, want)
		}
	}
	if t.Failed() {
		t.Log(plan)
	}
}
