package soak

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// forgotten deletes what says where sync stopped: the index's watermarks and the group's offsets. The processes are down.
func (r *rig) forgotten() {
	r.T.Helper()
	r.watch.unmarked(func() {
		for _, dataset := range []string{"orders", "items"} {
			r.Fatal(r.from.forget(r.T.Context(), dataset))
			if left, err := r.from.marks(r.T.Context(), dataset); err != nil || len(left) != 0 {
				r.T.Fatalf("watermarks of %s are still there: %v %v", dataset, left, err)
			}
		}
	})
	admin := r.Admin()
	groups, err := admin.ListConsumerGroups()
	r.Fatal(err)
	for group := range groups {
		r.Fatal(admin.DeleteConsumerGroup(group))
	}
	if len(groups) == 0 {
		r.T.Error("sync committed no offset")
	}
}

// readable is how many records of a topic a replay can still read.
func (r *rig) readable(topic string) (records int64) {
	r.T.Helper()
	client := r.Client()
	for p := range int32(soaktest.Partitions) {
		first, err := client.GetOffset(topic, p, sarama.OffsetOldest)
		r.Fatal(err)
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		r.Fatal(err)
		records += end - first
	}
	return records
}

// keptOut is how many images the index had already, or newer ones, since the first process with sync began.
func (r *rig) keptOut() (images int64) {
	r.T.Helper()
	req, err := http.NewRequestWithContext(r.T.Context(), http.MethodGet, r.door("sync")+"/metrics", nil)
	r.Fatal(err)
	res, err := http.DefaultClient.Do(req)
	r.Fatal(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	r.Fatal(err)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "strata_sync_newer_documents_total{") {
			n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			r.Fatal(err)
			images += int64(n)
		}
	}
	return images
}

// replayed is a round in which every topic is read again from its beginning, after deletes, while the load goes on; twice by one
// process and once by two. Kills come in between.
func replayed(t *testing.T, p parts) {
	p.roles = roles("canal sync")
	r := newRig(t, p)
	r.watched(func() {
		r.Write(func() { r.Commits(6 * between) })
		localtest.Exec(t, r.DB, "DELETE FROM orders WHERE id%3=0")
		localtest.Exec(t, r.DB, "DELETE FROM item_202610 WHERE n%6<3")
		r.proof()
		for i := range 3 {
			r.Off(r.forgotten)
			r.watch.mu.Lock()
			began := r.watch.sweeps
			r.watch.mu.Unlock()
			if i == 0 { // no load, no kill: what is there is kept, whether somebody looks in between or not
				r.proof()
				if n := r.keptOut(); n == 0 {
					t.Error("the index took everything again")
				}
			}
			if i == 1 { // a replay beside the load
				r.Write(func() {
					r.Commits(2 * between)
					r.killSyncs()
				})
				localtest.Exec(t, r.DB, "DELETE FROM orders WHERE id%5=0")
			}
			if i == 2 {
				r.Begin("sync")
			}
			r.proof()
			r.watch.mu.Lock()
			seen := r.watch.sweeps - began
			r.watch.mu.Unlock()
			t.Logf("replay %d of %d records of orders: %d reads meanwhile", i+1, r.readable("strata.orders"), seen)
			if seen == 0 {
				t.Error("nobody watched the replay")
			}
		}
	})
	r.sound()
}

// TestL2_a_topic_that_is_read_again_resurrects_nothing: in the embedded index.
func TestL2_a_topic_that_is_read_again_resurrects_nothing(t *testing.T) {
	replayed(t, parts{seed: 11})
}

// TestIndex_is_made_again_from_its_topic: the same in Elasticsearch.
func TestIndex_is_made_again_from_its_topic(t *testing.T) {
	replayed(t, parts{seed: 12, shared: true})
}

// TestSoak_replay: one or the other, with a real Kafka.
func TestSoak_replay(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
		replayed(t, parts{seed: seed, shared: seed%2 == 0, kafka: true})
	})
}
