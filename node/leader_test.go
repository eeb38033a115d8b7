package node_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"strata/catalog"
	"strata/index"
	"strata/local/localtest"
	"strata/node"
)

const hotRows = 8

// capturer is a process of its own that captures, or has other roles.
type capturer struct {
	cmd   *exec.Cmd
	end   func()        // ends it, and waits until it has
	ended chan struct{} // closed when it has
	err   error         // of its end
	mu    sync.Mutex
	log   bytes.Buffer
}

// startCapturer starts the test binary as a capture process. It ends with the test, or with the test binary.
func startCapturer(t *testing.T, cfg node.Config, server uint32) *capturer {
	t.Helper()
	cfg.Capture.ServerID = server
	return startChild(t, cfg)
}

// startChild starts the test binary as a process of its own, with more in its environment.
func startChild(t *testing.T, cfg node.Config, env ...string) *capturer {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &capturer{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(append(os.Environ(), childConfig+"="+string(text)), env...)
	c.cmd.Stderr, c.ended = c, make(chan struct{})
	leash, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	c.end = sync.OnceFunc(func() {
		_ = c.cmd.Process.Signal(syscall.SIGCONT)
		_ = leash.Close()
		<-c.ended
		if c.err != nil || t.Failed() {
			t.Logf("process %d: %v\n%s", c.cmd.Process.Pid, c.err, c.said())
		}
	})
	t.Cleanup(c.end)
	return c
}

func (c *capturer) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

func (c *capturer) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// leads reports whether this process holds the term that control knows.
func (c *capturer) leads(s node.CaptureState) bool {
	return strings.HasSuffix(s.Leader, ":"+strconv.Itoa(c.cmd.Process.Pid))
}

// watcher looks at documents over and over; neither version nor content may ever go back.
type watcher struct {
	ids      []string
	versions map[string]index.Version
	counters map[string]int64
	looks    atomic.Int64
	rises    atomic.Int64
}

func newWatcher() *watcher {
	w := &watcher{versions: map[string]index.Version{}, counters: map[string]int64{}}
	for id := 1; id <= hotRows; id++ {
		text := strconv.Itoa(id)
		row := catalog.RowOf(&text)
		w.ids = append(w.ids, catalog.DocumentID("hot", catalog.KeyOf(&row, []int{0})))
	}
	return w
}

func (w *watcher) run(ctx context.Context, x index.Reader) error {
	for ctx.Err() == nil {
		stored, err := x.Get(ctx, "hot", w.ids)
		if err != nil {
			return err
		}
		w.looks.Add(1)
		for i := range stored {
			s := &stored[i]
			id := string(s.Key)
			counter, err := strconv.ParseInt(s.Row.Text(1), 10, 64)
			switch {
			case err != nil || s.Deleted:
				return fmt.Errorf("row %s: deleted %v, counter %q", id, s.Deleted, s.Row.Text(1))
			case s.Version < w.versions[id]:
				return fmt.Errorf("row %s: version %d:%d after %d:%d", id, s.Version.Term(), s.Version.Seq(), w.versions[id].Term(), w.versions[id].Seq())
			case counter < w.counters[id]:
				return fmt.Errorf("row %s: counter %d after %d, at version %d:%d", id, counter, w.counters[id], s.Version.Term(), s.Version.Seq())
			case counter > w.counters[id]:
				w.rises.Add(1)
			}
			w.versions[id], w.counters[id] = s.Version, counter
		}
	}
	return nil
}

// follows proves that what is committed now is in the documents as soon as the index says so.
func (w *watcher) follows(t *testing.T, r *rig, n *node.Node) {
	t.Helper()
	rows := texts(t, r.live, "SELECT CONCAT(id, ' ', counter) FROM hot")
	indexed(t, n)
	for _, line := range rows {
		id, counter, _ := strings.Cut(line, " ")
		row := catalog.RowOf(&id)
		stored, err := n.Index().Get(t.Context(), "hot", []string{catalog.DocumentID("hot", catalog.KeyOf(&row, []int{0}))})
		if err != nil || len(stored) != 1 {
			t.Fatalf("row %s: %d documents, %v", id, len(stored), err)
		}
		want, err := strconv.ParseInt(counter, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := strconv.ParseInt(stored[0].Row.Text(1), 10, 64); err != nil || got < want {
			t.Fatalf("row %s: the index claims to have counter %d and has %d (%v), at version %d:%d", id, want, got, err,
				stored[0].Version.Term(), stored[0].Version.Seq())
		}
	}
}

// writer counts up the hot rows, fast: all rows at once, or slow: one row every 50 ms.
type writer struct {
	writes atomic.Int64
	slow   atomic.Bool
	enough chan struct{}
	ended  chan error
}

func startWriter(t *testing.T, d *sql.DB) *writer {
	w := &writer{enough: make(chan struct{}), ended: make(chan error, 1)}
	go func() { w.ended <- w.run(t.Context(), d) }()
	return w
}

func (w *writer) run(ctx context.Context, d *sql.DB) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	random := rand.New(rand.NewPCG(3, 3))
	for {
		query := "UPDATE hot SET counter=counter+1"
		if w.slow.Load() {
			query += fmt.Sprintf(" WHERE id=%d", 1+random.IntN(hotRows))
			<-tick.C
		}
		select {
		case <-w.enough:
			return nil
		default:
		}
		if _, err := d.ExecContext(ctx, query); err != nil {
			return err
		}
		w.writes.Add(1)
	}
}

// stop ends the writer.
func (w *writer) stop(t *testing.T) {
	t.Helper()
	close(w.enough)
	if err := <-w.ended; err != nil {
		t.Fatal(err)
	}
}

// TestL2_a_stopped_leader_does_no_harm stops the leading process for longer than its lease, lets another take over, and
// wakes it up again; then the other way round.
func TestL2_a_stopped_leader_does_no_harm(t *testing.T) {
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE hot (id INT PRIMARY KEY, counter BIGINT NOT NULL)")
	localtest.Exec(t, r.live, fmt.Sprintf("INSERT INTO hot SELECT seq, 0 FROM seq_1_to_%d", hotRows))
	cfg := r.config(t, "datasets: [{name: hot, partitions: 2}]\n")
	n := r.open(t, cfg)
	run(t, n, node.Roles{Sync: true})
	first := startCapturer(t, cfg, 5001)
	state := func() node.CaptureState {
		s, err := n.CaptureState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	localtest.Eventually(t, settle, "the first process leads", func() (bool, error) { return first.leads(state()), nil })
	second := startCapturer(t, cfg, 5002)

	wr := startWriter(t, r.live)
	indexed(t, n)
	w := newWatcher()
	goRun(t, "watch the documents", func(ctx context.Context) error { return ctxErr(ctx, w.run(ctx, n.Index())) })

	for _, x := range []struct {
		name         string
		stopped, new *capturer
	}{{"the second takes over from the first", first, second}, {"the first takes over from the second", second, first}} {
		before, ends := state(), strings.Count(x.stopped.said(), "term ended")
		if !x.stopped.leads(before) {
			t.Fatalf("%s: %s leads", x.name, before.Leader)
		}
		// A long reign, then few writes: the successor's first sequence numbers are below those that are stored.
		long := wr.writes.Load() + 300
		localtest.Eventually(t, settle, "the reign was long", func() (bool, error) { return wr.writes.Load() >= long, nil })
		wr.slow.Store(true)
		if err := x.stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		localtest.Eventually(t, settle, x.name, func() (bool, error) {
			now := state()
			return now.Term > before.Term && x.new.leads(now), nil
		})
		w.follows(t, r, n)
		if err := x.stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		localtest.Eventually(t, settle, "the stopped process sees that its term is over", func() (bool, error) {
			return strings.Count(x.stopped.said(), "term ended") > ends, nil
		})
		w.follows(t, r, n)
		wr.slow.Store(false)
		// The next stop meets a leader with a checkpoint; the first one had only the topics' tails.
		localtest.Eventually(t, settle, "a checkpoint is saved", func() (bool, error) { return state().GTID != before.GTID, nil })
		if now := state(); !x.new.leads(now) {
			t.Fatalf("%s leads after the stopped process went on", now.Leader)
		}
	}
	wr.stop(t)
	rep := proven(t, n, "index")
	t.Logf("%d writes, %d looks, %d rises seen, %d records of dead leaders dropped, term %d", wr.writes.Load(), w.looks.Load(), w.rises.Load(),
		n.Synced().Datasets[0].Dropped, state().Term)
	if rep.RowsCompared != hotRows || state().Term < 3 {
		t.Errorf("%d rows compared, term %d", rep.RowsCompared, state().Term)
	}
}

// ctxErr is nil for an error of a context that has ended.
func ctxErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
