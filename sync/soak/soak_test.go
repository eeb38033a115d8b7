package soak

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"strata/local"
	"strata/local/soaktest"
)

const events = 8 // of one round

// event does one thing to one of the parts. Some last for some commits.
func (r *rig) event() string {
	ctx := r.T.Context()
	switch n := r.Rnd.IntN(12); n {
	case 0, 1, 2:
		list := r.with([]string{"sync", "sync", "canal"}[n])
		i := list[r.Rnd.IntN(len(list))]
		r.Procs[i].Kill()
		r.Fatal(r.Procs[i].Start())
		return fmt.Sprintf("killed process %d, %s", i, r.Procs[i].Roles)
	case 3:
		r.killSyncs()
		return "killed every sync"
	case 4, 5:
		if r.elastic == nil {
			r.killSyncs()
			return "killed every sync, and the embedded index with it"
		}
		r.Fatal(r.elastic.Kill())
		r.watch.shaken()
		r.Commits(between / 2)
		r.Fatal(r.elastic.Restart(ctx))
		return "killed Elasticsearch"
	case 6:
		if r.Kafka == nil {
			r.Wire.Cut()
			return "cut the wire to live"
		}
		r.Fatal(r.Kafka.Kill())
		r.Fatal(r.Kafka.Restart(ctx))
		return "killed Kafka"
	case 7:
		return r.disturb("live", r.Wire)
	case 8:
		return r.disturb("Kafka", r.kafkaWire)
	case 9, 10:
		return r.disturb("the index", r.indexWire)
	default:
		i := r.Rnd.IntN(len(r.Procs))
		p := r.Procs[i].Cmd.Process
		_ = p.Signal(syscall.SIGSTOP) // it may have ended
		r.Commits(2 * between)
		_ = p.Signal(syscall.SIGCONT)
		return fmt.Sprintf("process %d, %s, slept", i, r.Procs[i].Roles)
	}
}

// killSyncs kills every process that writes the index before any begins again.
func (r *rig) killSyncs() {
	for _, i := range r.with("sync") {
		r.Procs[i].Kill()
	}
	r.Commits(between / 2) // starts them again
}

// disturb cuts a wire, cuts it inside something, or lets nothing pass for a while.
func (r *rig) disturb(name string, w *local.Proxy) string {
	if w == nil {
		return "no wire to " + name
	}
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

// round runs a load with events in between, and then the proof.
func (r *rig) round() {
	r.watched(func() {
		r.Write(func() {
			for range events {
				r.Commits(between)
				r.T.Log(r.event())
			}
		})
		r.proof()
	})
}

func roles(list string) []string { return strings.Fields(list) }

// everything is a round with all that can be killed, two processes of each role.
func everything(t *testing.T, seed uint64) {
	newRig(t, parts{seed: seed, elastic: true, kafka: true, roles: roles("canal canal sync sync")}).round()
}

// embeddedIndex is one with the embedded index, and a Kafka that is killed with every other seed.
func embeddedIndex(t *testing.T, seed uint64) {
	newRig(t, parts{seed: seed, kafka: seed%2 == 0, roles: roles("canal canal sync sync")}).round()
}

// TestL2_no_document_goes_back_whatever_is_killed: with the embedded index.
func TestL2_no_document_goes_back_whatever_is_killed(t *testing.T) { embeddedIndex(t, 1) }

// TestL2_no_document_of_Elasticsearch_goes_back_whatever_is_killed: the same there, with a real Kafka that is killed too.
func TestL2_no_document_of_Elasticsearch_goes_back_whatever_is_killed(t *testing.T) {
	everything(t, 2)
}

// TestSoak_index and the next are rounds with a seed each.
func TestSoak_index(t *testing.T) { soaktest.Rounds(t, everything) }

func TestSoak_embedded_index(t *testing.T) { soaktest.Rounds(t, embeddedIndex) }
