package soak

import (
	"os"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// named waits until a process that syncs has said each of some words.
func (r *rig) named(words ...string) {
	r.T.Helper()
	localtest.Eventually(r.T, limit, "sync naming "+strings.Join(words, ", "), func() (bool, error) {
		for _, i := range r.with("sync") {
			said := r.Procs[i].Said()
			all := true
			for _, w := range words {
				all = all && strings.Contains(said, w)
			}
			if all {
				return true, nil
			}
		}
		return false, r.Alive()
	})
}

// mended waits until nothing is stopped in capture, and then for the proof: without a restart of anything.
func (r *rig) mended() {
	r.T.Helper()
	r.CanalStatus(0, "repairs   0 keys")
	r.proof()
}

// topicsGone is a round in which topics are deleted, made anew and cut, while everything runs and while parts of it are down.
func topicsGone(t *testing.T, p parts) {
	p.roles = roles("canal sync")
	r := newRig(t, p)
	a := r.Admin()
	r.watched(func() {
		r.Write(func() { r.Commits(2 * between) })
		r.proof()
		t.Log("deleted while all runs")
		r.Write(func() {
			a.Remove("strata.orders")
			r.Commits(between)
			r.Evidence("stop", 1)
		})
		r.mended()
		r.named("strata.orders")
		t.Log("deleted, and made anew by somebody, while all is down")
		r.Write(func() {
			r.Down(func() {
				a.Remove("strata.items")
				a.Fatal(a.CreateTopic("strata.items", &sarama.TopicDetail{NumPartitions: soaktest.Partitions, ReplicationFactor: 1}, false))
				r.Committed(between)
			})
			r.Evidence("stop", 2)
		})
		r.mended()
		t.Log("cut before sync has read it")
		sync := r.Procs[r.with("sync")[0]]
		r.Write(func() {
			sync.Kill()
			r.Committed(between)
			r.sent("strata.orders")
			a.Empty("strata.orders")
			r.Committed(between)
			r.Fatal(sync.Start())
		})
		r.mended()
	})
}

// sent waits until a topic has more records than it had.
func (r *rig) sent(topic string) {
	r.T.Helper()
	was := r.readable(topic)
	localtest.Eventually(r.T, limit, "more records of "+topic, func() (bool, error) { return r.readable(topic) > was, nil })
}

// stays is why these are skipped where nobody asks for them.
const stays = "rows that were deleted while their topic was gone stay in the index until verify repairs them; set STRATA_SOAK_TOPICS to see it"

// TestIndex_goes_on_where_its_topic_was_deleted_or_cut: with the embedded index.
func TestIndex_goes_on_where_its_topic_was_deleted_or_cut(t *testing.T) {
	if os.Getenv("STRATA_SOAK_TOPICS") == "" {
		t.Skip(stays)
	}
	topicsGone(t, parts{seed: 31})
}

// TestSoak_topics_of_the_index: with a real Kafka.
func TestSoak_topics_of_the_index(t *testing.T) {
	if os.Getenv("STRATA_SOAK_TOPICS") == "" {
		t.Skip(stays)
	}
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
		topicsGone(t, parts{seed: seed, shared: seed%2 == 0, kafka: true})
	})
}
