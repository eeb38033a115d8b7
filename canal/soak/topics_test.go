package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/local"
	"strata/local/localtest"
	"strata/local/soaktest"
)

// itemsGoOn waits until something written now is in the topic of items.
func (r *rig) itemsGoOn() {
	r.T.Helper()
	r.ends++
	localtest.Exec(r.T, r.DB, "REPLACE INTO item_202611 VALUES (999998, '2026-11-22', ?, NULL)", r.ends)
	_, items := r.readers()
	client := r.Client()
	localtest.Eventually(r.T, limit, "a change of another dataset", func() (bool, error) {
		if err := errors.Join(r.Alive(), items.read(client)); err != nil {
			return false, unlessMoving(client, err)
		}
		return items.rows[`{"n":999998,"at":"2026-11-22 00:00:00.000"}`]["v"] == r.ends, nil
	})
}

func topicsRig(t *testing.T, seed uint64, kafka soaktest.Broker) *rig {
	m := localtest.Shared(t)
	r := newRig(t, seed, m, localtest.Schema(t, m), kafka, "canal")
	r.Write(func() { r.Commits(between) })
	r.proof()
	return r
}

// whole waits until nothing is stopped, and then for the proof.
func (r *rig) whole() {
	r.T.Helper()
	r.CanalStatus(0, "repairs   0 keys")
	r.proof()
}

// deleted: a topic is deleted while it runs, and while it is down, and made anew by somebody meanwhile.
func deleted(t *testing.T, seed uint64, kafka soaktest.Broker) {
	r := topicsRig(t, seed, kafka)
	a := r.Admin()
	r.Write(func() {
		a.Remove("strata.orders")
		r.Commits(between)
		r.Evidence("stop", 1)
		r.itemsGoOn()
	})
	r.whole()
	r.Write(func() {
		r.Down(func() {
			a.Remove("strata.orders")
			a.Fatal(a.CreateTopic("strata.orders", &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
			r.Committed(between)
		})
		r.Evidence("stop", 2)
	})
	r.whole()
}

// TestSoak_mends_a_topic_whose_records_were_deleted: those that a leader who was killed had sent after its checkpoint.
func TestSoak_mends_a_topic_whose_records_were_deleted(t *testing.T) {
	soaktest.SoakOnly(t)
	cut(t, 12, nil)
}

func cut(t *testing.T, seed uint64, kafka soaktest.Broker) {
	r := topicsRig(t, seed, kafka)
	a := r.Admin()
	orders, items := r.readers()
	orders.holes = true
	r.caughtUp(orders, items)
	r.Write(func() {
		for lost := false; !lost; { // where the checkpoint has all that was sent, nothing is lost
			r.Commits(between)
			r.Down(func() {
				// A reader has what the checkpoint says is sent; who lags more is mended by an index's own repair.
				saved := r.saved("orders")
				r.Fatal(orders.readTo(r.Client(), saved))
				if lost = r.endsAfter("strata.orders", saved); lost {
					a.Empty("strata.orders")
				}
			})
		}
		r.Evidence("stop", 1)
	})
	r.CanalStatus(0, "repairs   0 keys")
	r.proofBy(orders, items)
}

// endsAfter reports whether a topic has records after some offsets, by partition.
func (r *rig) endsAfter(topic string, saved []int64) bool {
	r.T.Helper()
	client := r.Client()
	for p, at := range saved {
		end, err := client.GetOffset(topic, int32(p), sarama.OffsetNewest)
		r.Fatal(err)
		if end > at {
			return true
		}
	}
	return false
}

// saved is the end of each partition of a dataset's topic, as the last checkpoint has it.
func (r *rig) saved(dataset string) (ends []int64) {
	r.T.Helper()
	var text []byte
	r.Fatal(r.Control.QueryRowContext(r.T.Context(), "SELECT checkpoint FROM canal_leader").Scan(&text))
	var c canal.Checkpoint
	r.Fatal(json.Unmarshal(text, &c))
	for _, p := range c.Parts[dataset] {
		ends = append(ends, p.Offset)
	}
	return ends
}

// recounted: another count of partitions is refused, of the topic and of the configuration.
func recounted(t *testing.T, seed uint64, kafka soaktest.Broker) {
	r := topicsRig(t, seed, kafka)
	a := r.Admin()
	count := func(from, to int) {
		r.Configure(fmt.Sprintf(`orders, partitions: %d`, from), fmt.Sprintf("orders, partitions: %d", to))
	}
	r.Write(func() {
		r.Off(func() { count(partitions, 5) })
		r.CanalStatus(1, "STOPPED   orders", "set partitions back to 3")
		r.itemsGoOn()
		r.Off(func() { count(5, partitions) })
		r.Led()
		r.Strata("canal", "rewind", "orders", "--why", "partitions is what it was", "--wait")
	})
	r.whole()
	r.Write(func() {
		r.Off(func() { a.Fatal(a.CreatePartitions("strata.orders", 5, nil, false)) })
		r.CanalStatus(1, "STOPPED   orders", "5 partitions", "delete the topic")
		r.itemsGoOn()
		a.Remove("strata.orders")
		r.Strata("canal", "backfill", "orders", "--why", "the topic has to be made anew", "--wait")
	})
	r.whole()
}

// TestSoak_topics does that to a real Kafka.
func TestSoak_topics(t *testing.T) {
	for name, f := range map[string]func(*testing.T, uint64, soaktest.Broker){"deleted": deleted, "cut": cut, "recounted": recounted} {
		t.Run(name, func(t *testing.T) {
			soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
				f(t, seed, localtest.StartKafka(t, localtest.Home(t), local.JavaKafkaConfig{Name: "kafka"}))
			})
		})
	}
}
