package mysql

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"strata/archive"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// The pin was lost after the compare: the archive may have been given what is live's no longer.
func TestL5_a_lost_pin_is_never_overlooked(t *testing.T) {
	t.Parallel()
	lose := func(t *testing.T, w *world, k *Work) {
		localtest.Exec(t, w.app, "KILL "+strconv.FormatUint(k.pin.ID(), 10))
		localtest.Eventually(t, 30*time.Second, "the pin's end", func() (bool, error) { return k.pin.Alive(t.Context()) != nil, nil })
	}
	t.Run("before own nothing is owned", func(t *testing.T) {
		w := newWorld(t, 1, 5)
		k := w.take(t, token1)
		step(t, k.Copy(t.Context()))
		step(t, k.Fence(t.Context()))
		m := compared(t, k)
		lose(t, w, k)
		if err := k.Own(t.Context(), m.Digest()); !fault.Is(err, fault.Stale) {
			t.Errorf("%v", err)
		}
		standing(t, w, day1, archive.Copying)
	})
	t.Run("between own and release, in one run, live owns again", func(t *testing.T) {
		w := newWorld(t, 1, 5)
		m := w.mover(t, func(point string) error {
			if point == archive.PointOwned {
				ids, err := texts(t.Context(), w.live, "SELECT IS_USED_LOCK(?)", pinLockOf(w))
				step(t, err)
				localtest.Exec(t, w.app, "KILL "+ids[0])
				localtest.Eventually(t, 30*time.Second, "a TRUNCATE without the pin", func() (bool, error) {
					_, err := w.app.ExecContext(t.Context(), "TRUNCATE TABLE e_20260101")
					return err == nil, nil
				})
			}
			return nil
		})
		if _, err := m.Run(t.Context(), w.planFor(t, m)); !fault.Is(err, fault.Proof) {
			t.Errorf("%v", err)
		}
		standing(t, w, day1, archive.Idle)
	})
}

// The same, with a mover that ended between own and release.
func TestL5_a_successor_compares_before_it_releases(t *testing.T) {
	t.Parallel()
	for _, changed := range []bool{false, true} {
		name := map[bool]string{false: "after own with equal rows it is released", true: "after own with other rows live owns again"}[changed]
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, 5)
			m := w.mover(t, local.NewTrap(archive.PointOwned, 1).At)
			if _, err := m.Run(t.Context(), w.planFor(t, m)); !errors.Is(err, local.ErrCrash) {
				t.Fatal(err)
			}
			if changed {
				localtest.Exec(t, w.app, "TRUNCATE TABLE e_20260101") // triggers do not stop it, and there is no pin
			}
			next := w.mover(t, nil)
			_, err := next.Run(t.Context(), w.planFor(t, next))
			if !changed {
				step(t, err)
				standing(t, w, day1, archive.Sealed)
				return
			}
			if !fault.Is(err, fault.Proof) {
				t.Errorf("%v", err)
			}
			st := standing(t, w, day1, archive.Idle)
			if st.LiveEpoch() != 2 {
				t.Errorf("live is at epoch %d", st.LiveEpoch())
			}
			localtest.Exec(t, w.app, "INSERT INTO e_20260101 (id, sub, at, unit) VALUES (1, '', '2026-01-01', 'EUR')") // no fence
			have, err := w.hashes(t.Context())
			step(t, err)
			if len(have) != 6 { // today's 5 and the new one
				t.Errorf("%d rows are read", len(have))
			}
			again := w.mover(t, nil)
			if _, err := again.Run(t.Context(), w.planFor(t, again)); err != nil {
				t.Fatal(err)
			}
			if st := standing(t, w, day1, archive.Sealed); st.LiveEpoch() != 3 {
				t.Errorf("sealed at epoch %d", st.LiveEpoch())
			}
		})
	}
}

// pinLockOf is the lock that the first shard's pin holds.
func pinLockOf(w *world) string {
	shard, _ := w.ds.ShardOf(day1)
	k := &Work{site: &Site{cfg: Config{Live: w.live}}, shard: shard}
	return k.pinLock()
}

// Handing back can end at every point.
func TestL5_handing_back_goes_on_after_a_crash(t *testing.T) {
	t.Parallel()
	for _, point := range []string{archive.PointReturnLive, archive.PointReturnArchive, archive.PointReturnFence, archive.PointReturnDone} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, 1, 5)
			m := w.mover(t, local.NewTrap(archive.PointOwned, 1).At)
			_, _ = m.Run(t.Context(), w.planFor(t, m))
			localtest.Exec(t, w.app, "TRUNCATE TABLE e_20260101")
			m = w.mover(t, local.NewTrap(point, 1).At)
			if _, err := m.Run(t.Context(), w.planFor(t, m)); !errors.Is(err, local.ErrCrash) {
				t.Fatalf("no crash: %v", err)
			}
			have, err := w.hashes(t.Context())
			step(t, err)
			if len(have) != 5 {
				t.Errorf("%d rows are read", len(have))
			}
			for range 2 { // hand back, then move
				next := w.mover(t, nil)
				_, _ = next.Run(t.Context(), w.planFor(t, next))
			}
			standing(t, w, day1, archive.Sealed)
		})
	}
}
