package canaltest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
)

// DeskCase is a Desk with what stands beside it.
type DeskCase struct {
	Desk    canal.Desk
	Control canal.Control // whose terms the Desk goes by; none is taken yet
	// Wish sets what an operator wants of a task.
	Wish func(ctx context.Context, id int64, w canal.Wish) error
}

// DeskSuite checks a Desk whose pipeline is new.
func DeskSuite(t *testing.T, c DeskCase) {
	for from := range uint32(2) { // terms 1 and 2: 1 is over
		if ok, err := c.Control.Take(t.Context(), from, from+1, "a"); !ok || err != nil {
			t.Fatalf("Take: %v, %v", ok, err)
		}
	}
	t.Run("tasks", func(t *testing.T) { deskTasks(t, c) })
	t.Run("keys", func(t *testing.T) { deskKeys(t, c.Desk) })
	t.Run("keys of tasks", func(t *testing.T) { deskLeft(t, c.Desk) })
	t.Run("history", func(t *testing.T) { deskHistory(t, c.Desk) })
	t.Run("evidence and status", func(t *testing.T) {
		for _, e := range []canal.Evidence{{What: "term"}, {At: time.Now(), What: "accept", Term: 2, Who: "o'neil", Why: "理由", Detail: `{"a":"b\\"}`}} {
			if err := c.Desk.Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		s := canal.Status{Term: 2, Leader: "a", Numbers: map[string][]uint64{"entry": {1, 2}}}
		if ok, err := c.Desk.Report(t.Context(), 2, s); !ok || err != nil {
			t.Fatalf("Report: %v, %v", ok, err)
		}
		if ok, err := c.Desk.Report(t.Context(), 2, s); !ok || err != nil {
			t.Fatalf("Report of the same: %v, %v", ok, err)
		}
		if ok, err := c.Desk.Report(t.Context(), 1, s); ok || err != nil {
			t.Fatalf("Report of a term that is over: %v, %v", ok, err)
		}
	})
}

func deskTasks(t *testing.T, c DeskCase) {
	ctx, d := t.Context(), c.Desk
	open := func() []canal.Task {
		t.Helper()
		all, err := d.Tasks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if all[i].CreatedAt.IsZero() || all[i].UpdatedAt.IsZero() {
				t.Fatalf("a task without its times: %+v", all[i])
			}
			all[i].CreatedAt, all[i].UpdatedAt = time.Time{}, time.Time{}
			if len(all[i].Shards) == 0 {
				all[i].Shards = nil
			}
		}
		return all
	}
	if got := open(); len(got) != 0 {
		t.Fatalf("tasks of a new pipeline: %+v", got)
	}
	want := []canal.Task{
		{Kind: canal.Backfill, Dataset: "entry", Shards: []string{"entry_202601", "entry_late_1"}, From: "a'b", To: "ü,2", RowsPerSecond: 7, Who: "o'neil", Why: "理由"},
		{Kind: canal.Rewind, GTID: "0-1-5,1-1-7", Who: "strata", Why: "w"},
		{Kind: canal.Accept, Dataset: "entry"}}
	for i := range want {
		id, ok, err := d.AddTask(ctx, []uint32{0, 2, 0}[i], want[i])
		if err != nil || !ok || id <= 0 || i > 0 && id <= want[i-1].ID {
			t.Fatalf("AddTask: %d, %v, %v", id, ok, err)
		}
		want[i].ID, want[i].State = id, canal.Queued
	}
	if _, ok, err := d.AddTask(ctx, 1, want[0]); ok || err != nil {
		t.Fatalf("AddTask by a term that is over: %v, %v", ok, err)
	}
	if got := open(); !reflect.DeepEqual(got, want) {
		t.Fatalf("tasks\n%+v, want\n%+v", got, want)
	}
	a := &want[0]
	a.State, a.Done, a.Total, a.Place, a.Err = canal.Running, 5, 9, `{"after":"ü'\\"}`, "waits"
	step := func(term uint32, wish canal.Wish, expect bool) {
		t.Helper()
		for range 2 { // the same again is no error
			if w, ok, err := d.Advance(ctx, term, *a); err != nil || ok != expect || ok && w != wish {
				t.Fatalf("Advance: %q, %v, %v; want %q, %v", w, ok, err, wish, expect)
			}
		}
	}
	step(2, canal.Run, true)
	if got := open(); !reflect.DeepEqual(got, want) {
		t.Fatalf("tasks\n%+v, want\n%+v", got, want)
	}
	if err := c.Wish(ctx, a.ID, canal.Pause); err != nil {
		t.Fatal(err)
	}
	a.Wish = canal.Pause
	if got := open(); !reflect.DeepEqual(got, want) {
		t.Fatalf("tasks\n%+v, want\n%+v", got, want)
	}
	a.Wish, a.State = canal.Run, canal.Paused // Advance changes no wish
	step(2, canal.Pause, true)
	a.Wish, a.State = canal.Pause, canal.Done
	step(1, canal.Run, false)
	a.State = canal.Paused
	if got := open(); !reflect.DeepEqual(got, want) {
		t.Fatalf("tasks after an Advance by a term that is over\n%+v, want\n%+v", got, want)
	}
	for i, s := range []canal.TaskState{canal.Done, canal.Ended, canal.Failed} {
		want[i].State = s
		if _, ok, err := d.Advance(ctx, 2, want[i]); !ok || err != nil {
			t.Fatalf("Advance to %s: %v, %v", s, ok, err)
		}
		if got := open(); len(got) != 2-i {
			t.Fatalf("tasks after one is %s: %+v", s, got)
		}
	}
}

// due returns the keys that are due, checked for the order of want.
func due(t *testing.T, d canal.Desk, n int, want ...catalog.Key) []canal.RepairKey {
	t.Helper()
	keys, err := d.Due(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	var got []catalog.Key
	for _, k := range keys {
		got = append(got, k.Key)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("due: %q, want %q", got, want)
	}
	return keys
}

func deskKeys(t *testing.T, d canal.Desk) {
	ctx := t.Context()
	key := func(k string) canal.RepairKey {
		return canal.RepairKey{Dataset: "entry", Shard: "entry_202601", Key: catalog.Key(k), Why: "wh'y"}
	}
	enqueue := func(keys ...canal.RepairKey) {
		t.Helper()
		if err := d.Enqueue(ctx, keys); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(term uint32, done, later []canal.RepairKey, pause time.Duration, expect bool) {
		t.Helper()
		if ok, err := d.Settle(ctx, term, done, later, pause); ok != expect || err != nil {
			t.Fatalf("Settle: %v, %v; want %v", ok, err, expect)
		}
	}
	due(t, d, 10)
	enqueue()
	settle(2, nil, nil, 0, true)
	enqueue(key("a"))
	enqueue(key("B"), key("b"), key("b"), key("ü'\\,x"))
	enqueue(key("a"))
	got := due(t, d, 10, "a", "B", "b", "ü'\\,x")
	if k := got[3]; k.Dataset != "entry" || k.Shard != "entry_202601" || k.Why != "wh'y" || k.Tries != 0 || k.Task != 0 {
		t.Fatalf("due: %+v", k)
	}
	due(t, d, 2, "a", "B")
	settle(1, got[:1], got[1:2], time.Hour, false)
	due(t, d, 10, "a", "B", "b", "ü'\\,x")
	settle(2, got[:1], got[1:2], time.Hour, true)
	due(t, d, 10, "b", "ü'\\,x")
	settle(2, got[:1], nil, 0, true) // not there any more
	other := key("b")
	other.Shard = "entry_202602"
	enqueue(other)
	settle(2, []canal.RepairKey{other}, nil, 0, true) // a version that never was
	got = due(t, d, 10, "b", "ü'\\,x", "b")
	enqueue(key("b"))
	settle(2, got[:2], got[2:], time.Hour, true) // b of January was enqueued again
	got = due(t, d, 10, "b")
	if got[0].Shard != "entry_202601" {
		t.Fatalf("due: %+v", got)
	}
	enqueue(key("b"))
	settle(2, nil, got, time.Hour, true)
	got = due(t, d, 10, "b")
	settle(2, got, nil, 0, true)
	enqueue(key("B")) // it has a pause of an hour
	got = due(t, d, 10, "B")
	settle(2, nil, got, time.Millisecond, true)
	deadline := time.Now().Add(10 * time.Second)
	for got = nil; len(got) == 0 && time.Now().Before(deadline); {
		var err error
		if got, err = d.Due(ctx, 10); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 || got[0].Key != "B" || got[0].Tries < 1 {
		t.Fatalf("due after a pause: %+v", got)
	}
	settle(2, got, nil, 0, true)
	due(t, d, 10)
}

func deskLeft(t *testing.T, d canal.Desk) {
	left := func(task, want int64) {
		t.Helper()
		if n, err := d.Left(t.Context(), task); n != want || err != nil {
			t.Fatalf("Left(%d): %d, %v; want %d", task, n, err, want)
		}
	}
	left(0, 1) // one with a pause from before
	key := func(k string, task int64) canal.RepairKey {
		return canal.RepairKey{Dataset: "transfer", Shard: "transfer", Key: catalog.Key(k), Task: task}
	}
	if err := d.Enqueue(t.Context(), []canal.RepairKey{key("1", 71), key("2", 71), key("3", 0), key("4", 72)}); err != nil {
		t.Fatal(err)
	}
	left(0, 5)
	left(71, 2)
	left(72, 1)
	left(73, 0)
	// An operator's does not take a key away from a task, a task takes it to itself.
	if err := d.Enqueue(t.Context(), []canal.RepairKey{key("1", 0), key("3", 72)}); err != nil {
		t.Fatal(err)
	}
	left(0, 5)
	left(71, 2)
	left(72, 2)
	if err := d.Enqueue(t.Context(), []canal.RepairKey{key("4", 71)}); err != nil { // a leader that is over says so late
		t.Fatal(err)
	}
	left(72, 2)
	keys, err := d.Due(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := d.Settle(t.Context(), 2, keys[:1], keys[1:], time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	left(0, 4)
	many := make([]canal.RepairKey, 2500)
	for i := range many {
		many[i] = key(fmt.Sprint("many", i), 75)
	}
	if err := d.Enqueue(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	left(75, 2500)
	if keys, err = d.Due(t.Context(), 5000); err != nil || len(keys) != 2500 || keys[0].Key != "many0" || keys[2499].Key != "many2499" {
		t.Fatalf("Due of many: %d, %v", len(keys), err)
	}
	if ok, err := d.Settle(t.Context(), 2, keys[:1200], keys[1200:], time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	left(75, 1300)
	due(t, d, 10)
	deskLeftOfLater(t, d)
}

// deskLeftOfLater: a later task has taken a key of an earlier one to itself.
func deskLeftOfLater(t *testing.T, d canal.Desk) {
	add := func(dataset string) int64 {
		t.Helper()
		id, ok, err := d.AddTask(t.Context(), 0, canal.Task{Kind: canal.Rewind, Dataset: dataset, Who: "w"})
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		return id
	}
	first, other, later := add("late"), add("other"), add("late")
	for _, id := range []int64{first, later} {
		k := canal.RepairKey{Dataset: "late", Shard: "late", Key: "taken", Task: id}
		if err := d.Enqueue(t.Context(), []canal.RepairKey{k}); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[int64]int64{first: 1, other: 0, later: 1} {
		if n, err := d.Left(t.Context(), id); n != want || err != nil {
			t.Fatalf("Left(%d) of %d, %d, %d: %d, %v; want %d", id, first, other, later, n, err, want)
		}
	}
}

func deskHistory(t *testing.T, d canal.Desk) {
	ctx := t.Context()
	cp := func(i int) *canal.Checkpoint {
		return &canal.Checkpoint{Term: 2, Seq: uint64(i), Position: canal.Position{GTID: fmt.Sprint("0-1-", i), Last: canal.Last{GTID: "x", Digest: catalog.Hash{byte(i)}}},
			Parts: map[string][]canal.PartPosition{"entry": {{Offset: int64(i)}}}, Stopped: map[string]canal.Stopped{},
			Lowered: map[string]canal.Lowered{"entry": {Mark: canal.Mark{GTID: "0-1-2", Heartbeat: 3}, Tasks: []int64{1}}}}
	}
	read := func(f func(*canal.Checkpoint) (bool, error)) {
		t.Helper()
		if err := d.History(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	read(func(*canal.Checkpoint) (bool, error) {
		t.Fatal("a new pipeline has a history")
		return false, nil
	})
	const n = 50
	for i := range n {
		if ok, err := d.Remember(ctx, 2, cp(i)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if ok, err := d.Remember(ctx, 1, cp(n)); ok || err != nil {
		t.Fatalf("Remember of a term that is over: %v, %v", ok, err)
	}
	at := n
	read(func(c *canal.Checkpoint) (bool, error) {
		at--
		if !reflect.DeepEqual(c, cp(at)) {
			t.Fatalf("history\n%+v, want\n%+v", c, cp(at))
		}
		return at > 20, nil
	})
	if at != 20 {
		t.Fatalf("History went on to %d", at)
	}
	stop := errors.New("stop")
	if err := d.History(ctx, func(*canal.Checkpoint) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Fatalf("History with an error of the caller: %v", err)
	}
}
