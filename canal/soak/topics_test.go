package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/local"
	"strata/local/localtest"
)

// admin is somebody who does things to topics behind capture's back.
type admin struct {
	*rig
	sarama.ClusterAdmin
}

func (r *rig) admin() admin {
	r.t.Helper()
	a, err := sarama.NewClusterAdminFromClient(r.client())
	r.fatal(err)
	return admin{r, a}
}

// remove deletes a topic and waits until it is gone.
func (a admin) remove(topic string) {
	a.t.Helper()
	a.fatal(a.DeleteTopic(topic))
	localtest.Eventually(a.t, limit, "the topic's end", func() (bool, error) {
		list, err := a.DescribeTopics([]string{topic})
		return err == nil && errors.Is(list[0].Err, sarama.ErrUnknownTopicOrPartition), err
	})
}

// empty deletes the records of a topic up to now.
func (a admin) empty(topic string) {
	a.t.Helper()
	client := a.client()
	ends := map[int32]int64{}
	for p := range int32(partitions) {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		a.fatal(err)
		ends[p] = end
	}
	a.fatal(a.DeleteRecords(topic, ends))
}

// down has all processes killed while f runs.
func (r *rig) down(f func()) {
	r.t.Helper()
	r.without(syscall.SIGKILL, f)
}

// off has all processes stop while f runs.
func (r *rig) off(f func()) {
	r.t.Helper()
	r.without(syscall.SIGTERM, f)
}

func (r *rig) without(signal syscall.Signal, f func()) {
	r.t.Helper()
	for _, p := range r.procs {
		_ = p.cmd.Process.Signal(signal) // it may have ended
		<-p.ended
	}
	f()
	for _, p := range r.procs {
		r.fatal(p.start())
	}
}

// itemsGoOn waits until something written now is in the topic of items.
func (r *rig) itemsGoOn() {
	r.t.Helper()
	r.ends++
	localtest.Exec(r.t, r.db, "REPLACE INTO item_202611 VALUES (999998, '2026-11-22', ?, NULL)", r.ends)
	_, items := r.readers()
	client := r.client()
	localtest.Eventually(r.t, limit, "a change of another dataset", func() (bool, error) {
		if err := errors.Join(r.alive(), items.read(client)); err != nil {
			return false, unlessMoving(client, err)
		}
		return items.rows[`{"n":999998,"at":"2026-11-22 00:00:00.000"}`]["v"] == r.ends, nil
	})
}

func topicsRig(t *testing.T, seed uint64, kafka broker) *rig {
	m := localtest.Shared(t)
	r := newRig(t, seed, m, localtest.Schema(t, m), kafka, "canal")
	r.write(func() { r.commits(between) })
	r.proof()
	return r
}

// whole waits until nothing is stopped, and then for the proof.
func (r *rig) whole() {
	r.t.Helper()
	r.status(0, "repairs   0 keys")
	r.proof()
}

// deleted: a topic is deleted while it runs, and while it is down, and made anew by somebody meanwhile.
func deleted(t *testing.T, seed uint64, kafka broker) {
	r := topicsRig(t, seed, kafka)
	a := r.admin()
	r.write(func() {
		a.remove("strata.orders")
		r.commits(between)
		r.evidence("stop", 1)
		r.itemsGoOn()
	})
	r.whole()
	r.write(func() {
		r.down(func() {
			a.remove("strata.orders")
			a.fatal(a.CreateTopic("strata.orders", &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
			r.committed(between)
		})
		r.evidence("stop", 2)
	})
	r.whole()
}

// TestSoak_mends_a_topic_whose_records_were_deleted: those that a leader who was killed had sent after its checkpoint.
func TestSoak_mends_a_topic_whose_records_were_deleted(t *testing.T) {
	soakOnly(t)
	cut(t, 12, nil)
}

func cut(t *testing.T, seed uint64, kafka broker) {
	r := topicsRig(t, seed, kafka)
	a := r.admin()
	orders, items := r.readers()
	orders.holes = true
	r.caughtUp(orders, items)
	r.write(func() {
		r.commits(between)
		r.down(func() {
			// A reader has what the checkpoint says is sent; who lags more is mended by an index's own repair.
			r.fatal(orders.readTo(r.client(), r.saved("orders")))
			a.empty("strata.orders")
		})
		r.evidence("stop", 1)
	})
	r.status(0, "repairs   0 keys")
	r.proofBy(orders, items)
}

// saved is the end of each partition of a dataset's topic, as the last checkpoint has it.
func (r *rig) saved(dataset string) (ends []int64) {
	r.t.Helper()
	var text []byte
	r.fatal(r.control.QueryRowContext(r.t.Context(), "SELECT checkpoint FROM canal_leader").Scan(&text))
	var c canal.Checkpoint
	r.fatal(json.Unmarshal(text, &c))
	for _, p := range c.Parts[dataset] {
		ends = append(ends, p.Offset)
	}
	return ends
}

// recounted: another count of partitions is refused, of the topic and of the configuration.
func recounted(t *testing.T, seed uint64, kafka broker) {
	r := topicsRig(t, seed, kafka)
	a := r.admin()
	count := func(from, to int) {
		r.configure(fmt.Sprintf(`orders, partitions: %d`, from), fmt.Sprintf("orders, partitions: %d", to))
	}
	r.write(func() {
		r.off(func() { count(partitions, 5) })
		r.status(1, "STOPPED   orders", "set partitions back to 3")
		r.itemsGoOn()
		r.off(func() { count(5, partitions) })
		r.led()
		r.strata("canal", "rewind", "orders", "--why", "partitions is what it was", "--wait")
	})
	r.whole()
	r.write(func() {
		r.off(func() { a.fatal(a.CreatePartitions("strata.orders", 5, nil, false)) })
		r.status(1, "STOPPED   orders", "5 partitions", "delete the topic")
		r.itemsGoOn()
		a.remove("strata.orders")
		r.strata("canal", "backfill", "orders", "--why", "the topic has to be made anew", "--wait")
	})
	r.whole()
}

// TestSoak_topics does that to a real Kafka.
func TestSoak_topics(t *testing.T) {
	for name, f := range map[string]func(*testing.T, uint64, broker){"deleted": deleted, "cut": cut, "recounted": recounted} {
		t.Run(name, func(t *testing.T) {
			someRounds(t, func(t *testing.T, seed uint64) {
				f(t, seed, localtest.StartKafka(t, localtest.Home(t), local.JavaKafkaConfig{Name: "kafka"}))
			})
		})
	}
}
