package canal_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/fault"
)

func TestStopped_dataset_goes_on_by_a_task_that_mends_it(t *testing.T) {
	for i, task := range []canal.Task{{Kind: canal.Backfill, Dataset: "entry"}, {Kind: canal.Rewind, Dataset: "entry"}, {Kind: canal.Accept, Dataset: "entry"},
		{Kind: canal.Backfill, Dataset: "entry", Why: "a partition"}} {
		t.Run(string(task.Kind)+task.Why, func(t *testing.T) {
			o := newOffice(t, 3)
			o.write(10)
			x := canal.Txn{Alarms: []canal.Alarm{{Dataset: "entry", Table: "entry_b", What: "truncate", Effect: canal.Gone}}}
			if i == 3 {
				x.Alarms[0].Effect = canal.SomeGone
			}
			o.data[0].RowsGone = catalog.GoneStop
			o.src.Commit(x)
			o.state = o.src.At(len(o.src.Txns()))
			o.write(10)
			l := o.leader(o.config("a", nil))
			if err := o.until(l, nil, func() bool { return l.Stats().GTID == o.last() || len(l.Stats().Stopped) > 0 }); err != nil {
				t.Fatal(err)
			}
			if len(l.Stats().Stopped) != 1 {
				t.Fatalf("%+v", l.Stats())
			}
			part := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", Shards: []string{"entry"}})
			o.work(nil, nil)
			if k := o.desk.AllTasks()[part-1]; k.State != canal.Failed || k.Err == "" {
				t.Fatalf("a part mends a stopped dataset: %+v", k)
			}
			id := o.task(task)
			o.write(3)
			o.work(nil, nil)
			if k := o.desk.AllTasks()[id-1]; k.State != canal.Done {
				t.Fatalf("%+v", k)
			}
			o.marked()
			if _, err := o.follow(o.data[0], false); err != nil {
				t.Fatal(err)
			}
			if task.Kind == canal.Backfill { // rows that went while it was stopped are gone from the topic too
				o.equal(o.data[0], false)
			}
			if task.Kind == canal.Rewind {
				o.state = o.src.At(len(o.src.Txns()))
				for name, note := range o.must(o.data[0]) {
					if !strings.HasPrefix(name, "entry_b") && note != "" && o.state["entry"][idIn(name)] != note {
						t.Fatalf("%s is %q in the topic", name, note)
					}
				}
			}
		})
	}
}

// Rows that have other names than in their topic would be there twice, and nothing would take the old ones away.
func TestL2_no_task_lets_a_dataset_go_on_whose_rows_have_other_names_now(t *testing.T) {
	for _, kind := range []canal.TaskKind{canal.Backfill, canal.Rewind, canal.Accept} {
		t.Run(string(kind), func(t *testing.T) {
			o := newOffice(t, 5)
			o.write(10)
			o.marked()
			o.data[0].Key = []string{"note"}
			id := o.task(canal.Task{Kind: kind, Dataset: "entry"})
			before := o.sent(o.data[0])
			o.write(3)
			l := o.leader(o.config("a", nil))
			if err := o.until(l, nil, o.idle); err != nil {
				t.Fatal(err)
			}
			if k := o.desk.AllTasks()[id-1]; k.State != canal.Failed || !strings.Contains(k.Err, "named by") {
				t.Fatalf("%+v", k)
			}
			if l.Stats().Stopped["entry"].Reason == "" || o.sent(o.data[0]) != before {
				t.Fatalf("%+v; %d records, there were %d", l.Stats().Stopped, o.sent(o.data[0]), before)
			}
		})
	}
}

func TestDesk_that_is_away_stops_no_stream(t *testing.T) {
	o := newOffice(t, 1)
	o.write(10)
	o.desk.Fail = func(method string) error {
		if method == "AddTask" {
			return nil
		}
		return fault.New(fault.Unavailable, method, "away")
	}
	if err := o.run(o.leader(o.config("a", nil))); err != nil {
		t.Fatal(err)
	}
	o.equal(o.data[0], true)
}

func TestEvidence_and_status_are_written(t *testing.T) {
	o := newOffice(t, 1)
	o.write(10)
	o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", Who: "me", Why: "because"})
	o.work(nil, nil)
	var what []string
	for _, e := range o.desk.Evidence() {
		what = append(what, e.What+" "+e.Who)
	}
	if s := strings.Join(what, ", "); !strings.Contains(s, "term a") || strings.Count(s, "backfill me") < 2 {
		t.Fatal(s)
	}
	s := o.desk.Status()
	if s == nil || s.Term == 0 || s.GTID == "" || len(s.Numbers["entry"]) != 3 || s.LagMs < 0 {
		t.Fatalf("%+v", s)
	}
}

// named is a source of one server, whose streams have something on disk.
type named struct{ *canaltest.Source }

func (named) Reads() string { return "replica-2" }

func (n named) Open(ctx context.Context, at canal.Position) (canal.Stream, error) {
	s, err := n.Source.Open(ctx, at)
	return spilled{s}, err
}

type spilled struct{ canal.Stream }

func (spilled) Spilled() int64 { return 4711 }

// crowded is a desk with keys that wait.
type crowded struct{ canal.Desk }

func (crowded) Left(context.Context, int64) (int64, error) { return 4712, nil }

func TestStatus_names_the_server_and_is_told_while_nothing_comes(t *testing.T) {
	o := newOffice(t, 1)
	o.write(3)
	cfg := o.config("a", nil)
	cfg.Source, cfg.Desk = named{o.src}, crowded{o.desk}
	l := o.leader(cfg)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var first time.Time
	for first.IsZero() || !o.desk.Status().At.After(first) || o.desk.Status().GTID != o.last() {
		select {
		case err := <-done:
			t.Fatal("no second status", err)
		case <-time.After(time.Millisecond):
		}
		if s := o.desk.Status(); s != nil && first.IsZero() && s.GTID == o.last() {
			first = s.At
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := o.desk.Status(); s.Source != "replica-2" || s.Spilled != 4711 || l.Stats().Source != "replica-2" || l.Stats().Spilled != 4711 ||
		l.Stats().ToRepair != 4712 {
		t.Fatalf("%+v", s)
	}
}
