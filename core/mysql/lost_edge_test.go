package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/db"
	"strata/local"
	"strata/local/localtest"
)

// TestL12_every_second_commit_loses_its_answer: the wire is cut behind COMMIT, after none or some bytes of the answer, while a
// script with everything runs. Answers, Applied and not Replayed among them, and all that is shown are the model's.
func TestL12_every_second_commit_loses_its_answer(t *testing.T) {
	s := fresh(t)
	addr := localtest.Shared(t).Addr()
	proxy, err := local.NewProxy(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	s.dsn = strings.Replace(s.dsn, addr, proxy.Addr(), 1)
	s.edit = func(c *Config) { consumed(c); c.Lanes = 1; c.MergeEvery = -1 }
	hits := int64(0) // one lane, one caller
	s.at = func(point string) error {
		switch point {
		case "core.before_commit", "core.before_control", "core.before_settings", "core.before_done", "core.before_expire":
			if hits++; hits%2 == 1 {
				proxy.CutAfter(hits / 2 % 8)
			}
		}
		return nil
	}
	l, m := run(t, s), model(t, s.clock)
	for i, st := range script(61, s.clock.Now(), 50) {
		s.clock.Set(st.at)
		want, wantErr := st.do(t.Context(), m)
		have, err := st.do(t.Context(), l)
		for try := 0; try < 10 && err != nil && st.name != "post"; try++ { // what looks at something finds connections that were cut
			have, err = st.do(t.Context(), l)
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("step %d, %s: %v instead of %v", i, st.name, err, wantErr)
		}
		for k := range want {
			have[k].Message, want[k].Message = "", ""
			if fmt.Sprintf("%+v", have[k]) != fmt.Sprintf("%+v", want[k]) {
				t.Fatalf("step %d, answer %d:\n%+v instead of\n%+v", i, k, have[k], want[k])
			}
		}
	}
	proxy.CutAfter(-1)
	if n := l.Stats().Ambiguous; n < 10 {
		t.Errorf("%d commits lost their answers", n)
	}
	l.stop()
	s.at, s.dsn = nil, strings.Replace(s.dsn, proxy.Addr(), addr, 1)
	l = run(t, s)
	if a, b := shown(t, l), shown(t, m); a != b {
		t.Fatal(firstDifference(a, b))
	}
	sameEntries(t, l, m)
}

// TestL12_a_script_beside_a_move: the shards are fenced, or released and dropped, in the middle of a script. Every row is what it
// would have been, somewhere, once.
func TestL12_a_script_beside_a_move(t *testing.T) {
	const seed, calls = 5, 30
	shards := []string{"transfer_202605", "entry_202605"}
	contents := map[string]string{}
	for name, move := range map[string]func(t *testing.T, d *db.DB){
		"none": func(*testing.T, *db.DB) {},
		"fenced": func(t *testing.T, d *db.DB) {
			for _, table := range shards {
				fence(t, d, table)
			}
		},
		"released": func(t *testing.T, d *db.DB) {
			for _, table := range shards {
				of, _, _ := strings.Cut(table, "_")
				localtest.Exec(t, d.SQL(), fmt.Sprintf("INSERT INTO %s_late_1 SELECT * FROM %s", of, table)) // an archive, as it were
				localtest.Exec(t, d.SQL(), fmt.Sprintf("INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('%s','%s',0,1,1,'released')", of, table))
				localtest.Exec(t, d.SQL(), "DROP TABLE "+table)
			}
		},
	} {
		s := fresh(t)
		s.edit = consumed
		l := run(t, s)
		for i, st := range script(seed, s.clock.Now(), calls) {
			if i == calls/2 {
				move(t, l.db)
			}
			s.clock.Set(st.at)
			if _, err := st.do(t.Context(), l); err != nil {
				t.Fatalf("%s: step %d, %s: %v", name, i, st.name, err)
			}
		}
		if late := l.Stats().Late; (late == 0) != (name == "none") {
			t.Errorf("%s: %d late rows", name, late)
		}
		digest, report := content(t, s.dsn)
		wantBalanced(t, report)
		contents[name] = digest + "\n" + shown(t, l)
	}
	for name, c := range contents {
		if c != contents["none"] {
			t.Errorf("%s: %s", name, firstDifference(c, contents["none"]))
		}
	}
}

// TestL12_a_fence_on_part_of_a_shard: a call that takes more than one statement finds the fence at the second one. What the
// first one wrote stays, and is not written again.
func TestL12_a_fence_on_part_of_a_shard(t *testing.T) {
	s, l := started(t)
	late, early := time.Date(2026, 5, 10, 0, 0, 0, 0, time.UTC), time.Date(2026, 5, 3, 0, 0, 0, 0, time.UTC)
	wantApplied(t, l, payAt("first", late))
	localtest.Exec(t, l.db.SQL(), fmt.Sprintf("CREATE TRIGGER part AFTER INSERT ON transfer_202605 FOR EACH ROW IF NEW.order_time < '2026-05-05' THEN SIGNAL SQLSTATE '%s' SET MESSAGE_TEXT='%s'; END IF",
		db.FenceState, db.FenceMessage("transfer_202605")))
	ts := make([]core.Transfer, 500)
	for i := range ts {
		ts[i] = payAt(fmt.Sprintf("t%03d", i), late)
		ts[i].Metadata, ts[i].Memo = `{"a":"`+strings.Repeat(`\\`, 1015)+`"}`, strings.Repeat(`\`, core.MaxMemoRunes) // each is two bytes of a statement
		ts[i].Linked = i < len(ts)-1                                                                                  // one batch
		if i > 490 {
			ts[i].OrderTime = early
		}
	}
	wantApplied(t, l, ts...)
	stayed, moved := count(t, l.db, "SELECT COUNT(*) FROM transfer_202605"), count(t, l.db, "SELECT COUNT(*) FROM transfer_late_1")
	if stayed <= 1 || stayed+moved != 501 || count(t, l.db, "SELECT COUNT(*) FROM transfer_late_1 WHERE order_time < '2026-05-05'") != 9 {
		t.Fatalf("%d rows stayed, %d are late", stayed, moved)
	}
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
}
