package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"strata/local"
	"strata/local/localtest"
	"strata/local/soaktest"
)

const (
	limit   = soaktest.Limit
	between = 120 // commits, between two events
)

// program is the binary under test, built once.
var program string

func TestMain(m *testing.M) { os.Exit(soaktest.Main(m, &program)) }

// parts says what a rig has beside the database.
type parts struct {
	seed    uint64
	elastic bool // an Elasticsearch of its own; false: the embedded index
	shared  bool // the Elasticsearch of all tests, which is not killed
	kafka   bool // a real Kafka of its own; false: one in this process, which is not killed
	front   bool // requests to Elasticsearch go by a scripted front instead of a wire
	more    string
	roles   []string // a process each
}

// rig is one round.
type rig struct {
	*soaktest.Rig
	elastic   *local.Elastic // nil: the embedded index
	indexWire *local.Proxy   // between Elasticsearch and everything of strata's; nil: there is none
	kafkaWire *local.Proxy   // between Kafka and all clients; nil: there is none
	front     *localtest.Front
	from      searchCopy
	watch     *watcher
}

func newRig(t *testing.T, p parts) *rig {
	t.Helper()
	r := &rig{Rig: &soaktest.Rig{T: t}}
	set := soaktest.Setup{Program: program, Seed: p.seed, Tables: soaktest.Tables(), More: p.more}
	home := localtest.Home(t)
	if p.kafka {
		r.kafkaWire = newWire(t, "127.0.0.1:1") // told where to when it is known
		k := localtest.StartKafka(t, home, local.JavaKafkaConfig{Name: "kafka", Advertise: r.kafkaWire.Addr()})
		r.kafkaWire.Retarget(k.Addr())
		set.Kafka = k
	}
	if p.elastic || p.shared {
		set.More += r.inElastic(home, p)
	}
	m := localtest.Shared(t)
	set.Live, set.DSN = m, localtest.Schema(t, m)
	r.Rig = set.New(t)
	r.Load.XA = false // a new leader reads nothing for a minute after an XA COMMIT whose keys it can't know; canal/soak has them
	if r.from == nil {
		r.from = newEmbedded(t, r.Data)
	}
	r.watch = newWatcher(r.from)
	for _, roles := range p.roles {
		r.Begin(roles)
	}
	return r
}

// inElastic has the index in Elasticsearch, and returns what the configuration says of that.
func (r *rig) inElastic(home *local.Home, p parts) string {
	var url string
	if p.elastic {
		r.elastic = localtest.StartElastic(r.T, home, local.ElasticConfig{Name: "elastic"})
		url = r.elastic.URL()
	} else {
		url = localtest.SharedElastic(r.T)
	}
	e := &elasticsearch{url: url, prefix: localtest.Unique("soak")}
	r.from = e
	r.T.Cleanup(func() {
		if p.shared {
			r.Fatal(e.call(context.Background(), http.MethodDelete, "/"+e.prefix+"*", nil, nil))
		}
	})
	if p.front {
		r.front = localtest.NewFront(r.T, url)
		url = r.front.URL
	} else {
		r.indexWire = newWire(r.T, strings.TrimPrefix(url, "http://"))
		url = "http://" + r.indexWire.Addr()
	}
	return fmt.Sprintf("index: {elastic: {url: %q, prefix: %s}}\n", url, e.prefix)
}

func newWire(t *testing.T, target string) *local.Proxy {
	t.Helper()
	w, err := local.NewProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// watched runs f while documents are watched.
func (r *rig) watched(f func()) {
	r.T.Helper()
	ctx, cancel := context.WithCancel(r.T.Context())
	var done sync.WaitGroup
	done.Go(func() { r.watch.run(ctx) })
	f()
	cancel()
	done.Wait()
	w := r.watch
	for _, s := range w.wrong {
		r.T.Error(s)
	}
	r.T.Logf("watched: %d reads, %d images that were newer; the last error: %v", w.sweeps, w.moves, w.failed)
	if w.sweeps == 0 || w.moves == 0 {
		r.T.Error("the watcher saw nothing")
	}
}

// with are the numbers of the processes that have a role.
func (r *rig) with(role string) (out []int) {
	for i, p := range r.Procs {
		if slices.Contains(strings.Split(p.Roles, ","), role) {
			out = append(out, i)
		}
	}
	return out
}

// beat is the heartbeat that comes next: what was committed before the call was so before it.
func (r *rig) beat() (next uint64) {
	r.T.Helper()
	r.Fatal(r.DB.QueryRowContext(r.T.Context(), "SELECT seq+1 FROM strata_heartbeat WHERE id=1").Scan(&next))
	return next
}

// reached waits until every partition's watermark has come to a heartbeat.
func (r *rig) reached(beat uint64) {
	r.T.Helper()
	var last string
	r.T.Cleanup(func() {
		if r.T.Failed() && last != "" {
			r.T.Logf("wanted heartbeat %d, the index was at %s", beat, last)
		}
	})
	localtest.Eventually(r.T, limit, fmt.Sprintf("heartbeat %d in the index", beat), func() (bool, error) {
		last = ""
		for _, dataset := range []string{"orders", "items"} {
			marks, err := r.from.marks(r.T.Context(), dataset)
			for p := range soaktest.Partitions {
				if m := marks[p]; err != nil || m.Heartbeat < beat || m.Frozen != "" {
					last += fmt.Sprintf(" %s %d: %+v %v;", dataset, p, m, err)
				}
			}
		}
		return last == "", r.Alive()
	})
}

// proof waits until the last change is in the index, and compares all.
func (r *rig) proof() {
	r.T.Helper()
	r.reached(r.beat())
	r.compare("orders", "SELECT id, v FROM orders")
	r.compare("items", "SELECT n, v FROM (SELECT * FROM item_202610 UNION ALL SELECT * FROM item_202611) x")
	var out string
	localtest.Eventually(r.T, limit, "verify that no wire which was to be cut breaks off", func() (bool, error) {
		var code int
		out, code = r.Try("verify", "--json", "--part", "index")
		return code != 3, nil
	})
	var rep struct {
		OK           bool  `json:"ok"`
		Differences  int64 `json:"differences"`
		RowsCompared int64 `json:"rows_compared"`
	}
	text := out[strings.Index(out, "{"):]
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&rep); err != nil || !rep.OK || rep.Differences != 0 || rep.RowsCompared == 0 {
		r.T.Errorf("verify: %v: %s", err, out)
	}
	r.T.Logf("%d commits; verify compared %d rows; the load's last error: %v", r.Load.Commits.Load(), rep.RowsCompared, r.Load.Last())
}

// sound sees to it that no process has given a dataset up: nothing was done that a person would have to look at.
func (r *rig) sound() {
	r.T.Helper()
	for i, p := range r.Procs {
		for line := range strings.Lines(p.Said()) {
			if strings.Contains(line, "dataset stopped") {
				r.T.Errorf("process %d: %s", i, line)
			}
		}
	}
}

// compare reports documents of the load that are not as their rows are.
func (r *rig) compare(dataset, query string) {
	r.T.Helper()
	rows := r.Table(query)
	first := 1
	if dataset == "items" {
		first += soaktest.ItemsFrom
	}
	keys := make([]int, soaktest.Keys)
	for i := range keys {
		keys[i] = first + i
	}
	images, err := r.from.images(r.T.Context(), dataset, keys)
	r.Fatal(err)
	for _, k := range keys {
		row, there := rows[fmt.Sprint(k)]
		doc, stored := images[k]
		stored = stored && !doc.deleted
		if there != stored || there && row[0] != fmt.Sprint(doc.v) {
			r.T.Errorf("%s %d: the row is %v, the document %+v", dataset, k, row, doc)
		}
	}
}
