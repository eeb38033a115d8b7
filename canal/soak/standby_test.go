package soak

import (
	"syscall"
	"testing"
	"time"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// sleeps stops the leader until the standby that took over has sent marks of so much time, and lets it go on then.
func (r *rig) sleeps(long time.Duration) {
	t := r.T
	r.Write(func() {
		r.Commits(between)
		old := r.Leader()
		p := r.Procs[old].Cmd.Process
		began := time.Now()
		r.Fatal(p.Signal(syscall.SIGSTOP))
		localtest.Eventually(t, limit, "another leader", func() (bool, error) {
			now := r.Leader()
			return now >= 0 && now != old, nil
		})
		t.Logf("another led %v after the leader was stopped", time.Since(began).Round(time.Millisecond))
		orders, _ := r.readers()
		client := r.Client()
		r.Fatal(orders.read(client))
		beats := uint64(long / beat)
		goal := orders.last() + beats
		localtest.Eventually(t, limit+long, "marks of the new leader", func() (bool, error) {
			return orders.reached(goal), orders.read(client)
		})
		r.Fatal(p.Signal(syscall.SIGCONT))
		r.Commits(between)
	})
	r.proof()
}

// takesOver kills the leader and says how long it took until another led.
func (r *rig) takesOver() {
	r.Write(func() {
		r.Commits(between)
		old := r.Leader()
		began := time.Now()
		r.Procs[old].Kill()
		localtest.Eventually(r.T, limit, "another leader", func() (bool, error) {
			now := r.Leader()
			return now >= 0 && now != old, nil
		})
		r.T.Logf("another led %v after the leader was killed", time.Since(began).Round(time.Millisecond))
		r.Fatal(r.Procs[old].Start())
	})
	r.proof()
}

// TestSoak_has_a_standby: it takes over from a leader that is gone, and from one that sleeps for some heartbeats.
func TestSoak_has_a_standby(t *testing.T) {
	soaktest.SoakOnly(t)
	m := localtest.Shared(t)
	r := newRig(t, 81, m, localtest.Schema(t, m), nil, "canal", "canal")
	r.takesOver()
	r.sleeps(10 * beat)
}

// TestSoak_sleeping_leader: for a minute.
func TestSoak_sleeping_leader(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
		m := localtest.Maria(t)
		newRig(t, seed, m, localtest.Schema(t, m), nil, "canal", "canal").sleeps(time.Minute)
	})
}
