package mysql

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

const day1 = "e_20260101"

// take takes the first shard for a test that calls the steps itself.
func (w *world) take(t testing.TB, token string, change ...func(*Config)) *Work {
	t.Helper()
	shard, _ := w.ds.ShardOf(day1)
	got, err := w.site(t, nil, change...).Take(t.Context(), w.ds, shard, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = got.Close() })
	return got.(*Work)
}

// step fails the test on an error.
func step(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func compared(t testing.TB, w *Work) *archive.Manifest {
	t.Helper()
	m, err := w.Compare(t.Context())
	step(t, err)
	return m
}

const token1, token2 = "11111111aaaaaaaaaaaaaaaaaaaaaaaa", "22222222bbbbbbbbbbbbbbbbbbbbbbbb"

// What changed on live between the copy and the fence is in the archive before the archive owns anything.
func TestL5_what_changed_during_the_copy_is_copied_again(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 2500)
	k := w.take(t, token1)
	step(t, k.Copy(t.Context()))
	for _, q := range []string{"UPDATE e_20260101 SET amount=amount+1 WHERE id=3", "DELETE FROM e_20260101 WHERE id=1500",
		"INSERT INTO e_20260101 (id, sub, at, unit) VALUES (-5, '', '2026-01-01', 'EUR'), (999999, '', '2026-01-01', 'EUR')",
		"UPDATE e_20260101 SET sub=x'ffff' WHERE id=2000"} {
		localtest.Exec(t, w.app, q)
	}
	localtest.Exec(t, w.arch.SQL(), "INSERT INTO e_20260101 (id, sub, at, unit) VALUES (5000000, '', '2026-01-01', 'EUR')")
	step(t, k.Fence(t.Context()))
	want, err := w.hashes(t.Context())
	step(t, err)
	m := compared(t, k)
	if m.Rows != 2501 {
		t.Errorf("%d rows", m.Rows)
	}
	step(t, k.Own(t.Context(), m.Digest()))
	have, err := w.hashes(t.Context())
	step(t, err)
	step(t, sameRows(want, have))
	step(t, k.Release(t.Context(), m.Digest()))
	step(t, k.Prune(t.Context(), m))
	step(t, k.Seal(t.Context()))
	if have, err = w.hashes(t.Context()); err == nil {
		err = sameRows(want, have)
	}
	step(t, err)
}

// A repair that ends in the middle leaves nothing half done.
func TestL5_a_crash_in_the_repair_loses_nothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 30)
	r := w.watch(t)
	trap := local.NewTrap(archive.PointRepair, 1)
	m := w.mover(t, func(p string) error {
		if p == archive.PointCopied {
			localtest.Exec(t, w.arch.SQL(), "UPDATE e_20260101 SET amount=0 WHERE id<20")
		}
		return trap.At(p)
	})
	if _, err := m.Run(t.Context(), w.planFor(t, m)); !errors.Is(err, local.ErrCrash) {
		t.Fatalf("no crash: %v", err)
	}
	w.look(t, r)
	next := w.mover(t, nil)
	_, err := next.Run(t.Context(), w.planFor(t, next))
	step(t, err)
	r.pass(t)
	r.end(t)
}

// A mover whose token was replaced can write nothing, even with all its connections.
func TestL5_a_stale_token_writes_nothing(t *testing.T) {
	t.Parallel()
	until := []struct {
		name string
		run  func(ctx context.Context, k *Work, m *archive.Manifest) error
	}{
		{"copy", func(ctx context.Context, k *Work, _ *archive.Manifest) error { return k.Copy(ctx) }},
		{"fence", func(ctx context.Context, k *Work, _ *archive.Manifest) error { return k.Fence(ctx) }},
		{"own", func(ctx context.Context, k *Work, m *archive.Manifest) error { return k.Own(ctx, m.Digest()) }},
		{"release", func(ctx context.Context, k *Work, m *archive.Manifest) error { return k.Release(ctx, m.Digest()) }},
		{"prune", func(ctx context.Context, k *Work, m *archive.Manifest) error { return k.Prune(ctx, m) }},
		{"seal", func(ctx context.Context, k *Work, _ *archive.Manifest) error { return k.Seal(ctx) }},
	}
	for n, u := range until {
		t.Run(u.name, func(t *testing.T) {
			w := newWorld(t, 1, 5)
			k := w.take(t, token1)
			m := &archive.Manifest{}
			for _, before := range until[:n] {
				if before.name == "own" {
					m = compared(t, k)
				}
				step(t, before.run(t.Context(), k, m))
			}
			if u.name == "own" {
				m = compared(t, k)
			}
			for _, d := range []*db.DB{w.live, w.arch} {
				localtest.Exec(t, d.SQL(), "UPDATE strata_part SET token='"+token2+"' WHERE shard='e_20260101'")
			}
			before := content(t, w)
			if err := u.run(t.Context(), k, m); !fault.Is(err, fault.Conflict) {
				t.Errorf("%v", err)
			}
			if after := content(t, w); !slices.Equal(before, after) {
				t.Errorf("it changed\n%v to\n%v", before, after)
			}
		})
	}
}

// content is what a stale mover could change, except an empty table on the archive.
func content(t testing.TB, w *world) []string {
	t.Helper()
	var out []string
	for _, d := range []*db.DB{w.live, w.arch} {
		for _, q := range []string{"SELECT CONCAT_WS(' ', shard, epoch, token, state, manifest) FROM strata_part",
			"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() ORDER BY 1"} {
			rows, err := texts(t.Context(), d, q)
			step(t, err)
			out = append(out, rows...)
		}
	}
	tables := w.tables(t, w.live)
	var n []string
	if slices.Contains(w.tables(t, w.arch), day1) {
		var err error
		if n, err = texts(t.Context(), w.arch, "SELECT COUNT(*) FROM e_20260101"); err != nil {
			t.Fatal(err)
		}
		if n[0] == "0" {
			n = nil
		}
	}
	return append(append(out, tables...), n...)
}

// What is dropped was hashed under its last name: a change after the release keeps the table.
func TestL5_a_table_that_changed_after_release_is_kept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5)
	k := w.take(t, token1)
	step(t, k.Copy(t.Context()))
	step(t, k.Fence(t.Context()))
	m := compared(t, k)
	step(t, k.Own(t.Context(), m.Digest()))
	step(t, k.Release(t.Context(), m.Digest()))
	conn, err := w.app.Conn(t.Context())
	step(t, err)
	defer func() { _ = conn.Close() }()
	for _, q := range []string{"SET @strata_token='" + token1 + "'", "UPDATE e_20260101 SET amount=5 WHERE id=2"} {
		_, err := conn.ExecContext(t.Context(), q)
		step(t, err)
	}
	if err := k.Prune(t.Context(), m); !fault.Is(err, fault.Proof) {
		t.Errorf("%v", err)
	}
	kept := ""
	for _, table := range w.tables(t, w.live) {
		if strings.Contains(table, attemptMark) {
			kept = table
		}
	}
	if kept == "" {
		t.Fatalf("it is gone: %v", w.tables(t, w.live))
	}
}

func TestPrune_leaves_a_table_that_was_made_again(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5)
	m := w.mover(t, local.NewTrap(archive.PointPruneDropped, 1).At)
	_, _ = m.Run(t.Context(), w.planFor(t, m))
	localtest.Exec(t, w.app, "CREATE TABLE e_20260101 "+shardDDL)
	next := w.mover(t, nil)
	if _, err := next.Run(t.Context(), w.planFor(t, next)); !fault.Is(err, fault.Proof) {
		t.Errorf("%v", err)
	}
	if !slices.Contains(w.tables(t, w.live), day1) {
		t.Error("it was dropped")
	}
}

func TestOwn_and_prune_wait_for_other_servers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5)
	lone := localtest.Maria(t, "--server-id=77", "--gtid-domain-id=9")
	localtest.Exec(t, localtest.DB(t, lone.DSN("")), "CREATE DATABASE x")
	behind := open(t, lone.DSN("x"), "standby", catalog.Live, db.Admin)
	short := func(c *Config) { c.GTIDWait = 100 * time.Millisecond }
	k := w.take(t, token1, short, func(c *Config) { c.Promotable = []*db.DB{behind} })
	step(t, k.Copy(t.Context()))
	step(t, k.Fence(t.Context()))
	m := compared(t, k)
	if err := k.Own(t.Context(), m.Digest()); !fault.Is(err, fault.Busy) {
		t.Errorf("own: %v", err)
	}
	standing(t, w, day1, archive.Copying)
	_ = k.Close()
	k = w.take(t, token2, short, func(c *Config) { c.Copies = []*db.DB{behind} })
	step(t, k.Fence(t.Context()))
	m = compared(t, k)
	step(t, k.Own(t.Context(), m.Digest()))
	step(t, k.Release(t.Context(), m.Digest()))
	if err := k.Prune(t.Context(), m); !fault.Is(err, fault.Busy) {
		t.Errorf("prune: %v", err)
	}
	if !slices.Contains(w.tables(t, w.live), day1) {
		t.Error("the table is gone from live")
	}
}

func TestRun_undoes_a_move_that_became_unmovable(t *testing.T) {
	t.Parallel()
	for _, point := range []string{archive.PointAbortCopy, archive.PointAbortFence, archive.PointAbortDone, ""} {
		t.Run("crash at "+point, func(t *testing.T) {
			w := newWorld(t, 1, 5)
			trap := local.NewTrap(point, 1)
			m := w.mover(t, func(p string) error {
				if p == archive.PointCopied {
					localtest.Exec(t, w.app, "INSERT INTO e_20260101 (id, sub, at, unit) VALUES (99, '', '2026-02-01', 'EUR')")
				}
				return trap.At(p)
			})
			_, err := m.Run(t.Context(), w.planFor(t, m))
			if !errors.Is(err, archive.ErrUnmovable) {
				t.Fatalf("%v", err)
			}
			next := w.mover(t, nil)
			plan := w.planFor(t, next)
			for _, mv := range plan.Moves {
				if mv.Action != archive.Abort {
					t.Errorf("the plan is to %s", mv.Action)
				}
			}
			if _, err := next.Run(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			standing(t, w, day1, archive.Idle)
			if len(w.tables(t, w.arch)) != 0 {
				t.Error("the copy is still there")
			}
			localtest.Exec(t, w.app, "DELETE FROM e_20260101 WHERE id=99") // no fence
			last := w.mover(t, nil)
			if _, err := last.Run(t.Context(), w.planFor(t, last)); err != nil {
				t.Fatal(err)
			}
			standing(t, w, day1, archive.Sealed)
		})
	}
}

func TestRun_goes_on_without_its_records(t *testing.T) {
	t.Parallel()
	for _, point := range []string{archive.PointOwned, archive.PointReleased, archive.PointPruneRenamed} {
		t.Run("lost at "+point, func(t *testing.T) {
			w := newWorld(t, 1, 1200)
			big := func(c *Config) { c.BatchRows = 500 }
			m := w.mover(t, local.NewTrap(point, 1).At, big)
			_, _ = m.Run(t.Context(), w.planFor(t, m))
			localtest.Exec(t, w.control.SQL(), "DROP TABLE strata_segment")
			next := w.mover(t, nil, big)
			if _, err := next.Run(t.Context(), w.planFor(t, next)); err != nil {
				t.Fatal(err)
			}
			check, err := next.Check(t.Context())
			if err != nil || check.Segments != 1 || len(check.Findings) != 0 {
				t.Errorf("%+v, %v", check, err)
			}
		})
	}
}

func TestCheck_refuses_a_manifest_that_was_changed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5)
	m := w.mover(t, nil)
	_, err := m.Run(t.Context(), w.planFor(t, m))
	step(t, err)
	localtest.Exec(t, w.control.SQL(), `UPDATE strata_segment SET manifest=REPLACE(manifest, '"rows":5', '"rows":4')`)
	check, err := m.Check(t.Context())
	if err != nil || len(check.Findings) != 1 || !strings.Contains(check.Findings[0].Detail, "signature") {
		t.Errorf("%+v, %v", check, err)
	}
}
