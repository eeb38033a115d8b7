package soak

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"strata/local"
	"strata/local/soaktest"
)

const events = 8 // of one round; half of them where `make test` starts servers again

// happenings are what can happen to the parts of a round; some last for some commits. One that stands there twice happens twice
// as often.
func (r *rig) happenings() (list []func() string) {
	one := func(role string) func() string { return func() string { return r.killOne(role) } }
	list = append(list, one("sync"), one("sync"), one("canal"), r.killSyncs, r.sleep, r.disturb("live", r.Wire))
	if r.elastic != nil {
		list = append(list, r.killElastic, r.killElastic)
	}
	if r.indexWire != nil {
		index := r.disturb("the index", r.indexWire)
		list = append(list, index, index)
	}
	if r.kafkaWire != nil {
		list = append(list, r.killKafka, r.disturb("Kafka", r.kafkaWire))
	}
	return list
}

func (r *rig) killOne(role string) string {
	list := r.with(role)
	i := list[r.Rnd.IntN(len(list))]
	r.Procs[i].Kill()
	r.Fatal(r.Procs[i].Start())
	return fmt.Sprintf("killed process %d, %s", i, r.Procs[i].Roles)
}

// killElastic kills it while nobody reads: a read by id makes Elasticsearch write down what it had only in its memory.
func (r *rig) killElastic() string {
	r.watch.rest(true)
	defer r.watch.rest(false)
	r.Commits(between)
	r.Fatal(r.elastic.Kill())
	r.watch.shaken()
	r.Commits(between / 2)
	r.Fatal(r.elastic.Restart(r.T.Context()))
	return "killed Elasticsearch"
}

func (r *rig) killKafka() string {
	r.Fatal(r.Kafka.Kill())
	r.Fatal(r.Kafka.Restart(r.T.Context()))
	return "killed Kafka"
}

// sleep stops a process and lets it go on later, in the belief that no time has passed.
func (r *rig) sleep() string {
	i := r.Rnd.IntN(len(r.Procs))
	p := r.Procs[i].Cmd.Process
	_ = p.Signal(syscall.SIGSTOP) // it may have ended
	r.Commits(2 * between)
	_ = p.Signal(syscall.SIGCONT)
	return fmt.Sprintf("process %d, %s, slept", i, r.Procs[i].Roles)
}

// killSyncs kills every process that writes the index before any begins again.
func (r *rig) killSyncs() string {
	for _, i := range r.with("sync") {
		r.Procs[i].Kill()
	}
	r.Commits(between / 2) // starts them again
	return "killed every sync"
}

// disturb cuts a wire, cuts it inside something, or lets nothing pass for a while.
func (r *rig) disturb(name string, w *local.Proxy) func() string {
	return func() string {
		switch r.Rnd.IntN(3) {
		case 0:
			w.Cut()
			return "cut the wire to " + name
		case 1:
			w.CutAfter(int64(r.Rnd.IntN(50_000)))
			return "cut the wire to " + name + " inside something"
		default:
			w.Stall(true)
			r.Commits(between)
			w.Stall(false)
			return "the wire to " + name + " stood still"
		}
	}
}

// round runs a load with n events in between, and then the proof.
func (r *rig) round(n int) {
	list := r.happenings()
	r.watched(func() {
		r.Write(func() {
			for range n {
				r.Commits(between)
				r.T.Log(list[r.Rnd.IntN(len(list))]())
			}
		})
		r.proof()
	})
	r.sound()
}

func roles(list string) []string { return strings.Fields(list) }

// everything is a round with all that can be killed, two processes of each role.
func everything(t *testing.T, seed uint64, n int) {
	newRig(t, parts{seed: seed, elastic: true, kafka: true, roles: roles("canal canal sync sync")}).round(n)
}

// embeddedIndex is one with the embedded index, and a Kafka that is killed with every other seed.
func embeddedIndex(t *testing.T, seed uint64) {
	newRig(t, parts{seed: seed, kafka: seed%2 == 0, roles: roles("canal canal sync sync")}).round(events)
}

// TestIndex_survives: with the embedded index.
func TestIndex_survives(t *testing.T) { embeddedIndex(t, 1) }

// TestIndex_survives_in_Elasticsearch: with a real Kafka; both are killed, too.
func TestIndex_survives_in_Elasticsearch(t *testing.T) {
	everything(t, 138, events/2)
}

// TestSoak_index and the next are rounds with a seed each.
func TestSoak_index(t *testing.T) {
	soaktest.Rounds(t, func(t *testing.T, seed uint64) { everything(t, seed, events) })
}

func TestSoak_embedded_index(t *testing.T) { soaktest.Rounds(t, embeddedIndex) }
