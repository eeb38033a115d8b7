package node_test

import (
	"bytes"
	"context"
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

	"strata/catalog"
	"strata/index"
	"strata/local/localtest"
	"strata/node"
)

const hotRows = 8

// capturer is a process of its own that captures.
type capturer struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	log bytes.Buffer
}

// startCapturer starts the test binary as a capture process. It ends with the test, or with the test binary.
func startCapturer(t *testing.T, cfg node.Config, server uint32) *capturer {
	t.Helper()
	cfg.CaptureServerID = server
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &capturer{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childConfig+"="+string(text))
	c.cmd.Stderr = c
	leash, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.cmd.Process.Signal(syscall.SIGCONT)
		_ = leash.Close()
		if err := c.cmd.Wait(); err != nil || t.Failed() {
			t.Logf("capture process %d: %v\n%s", c.cmd.Process.Pid, err, c.said())
		}
	})
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

	var writes atomic.Int64
	enough, wrote := make(chan struct{}), make(chan error, 1)
	go func() {
		random := rand.New(rand.NewPCG(3, 3))
		for {
			select {
			case <-enough:
				wrote <- nil
				return
			default:
			}
			if _, err := r.live.ExecContext(t.Context(), "UPDATE hot SET counter=counter+1 WHERE id IN (?,?,?)", 1+random.IntN(hotRows), 1+random.IntN(hotRows), 1+random.IntN(hotRows)); err != nil {
				wrote <- err
				return
			}
			writes.Add(1)
		}
	}()
	w := newWatcher()
	goRun(t, "watch the documents", func(ctx context.Context) error { return ctxErr(ctx, w.run(ctx, n.Index())) })
	indexed(t, n)

	for _, x := range []struct {
		name         string
		stopped, new *capturer
	}{{"the second takes over from the first", first, second}, {"the first takes over from the second", second, first}} {
		before, ends := state(), strings.Count(x.stopped.said(), "term ended")
		if !x.stopped.leads(before) {
			t.Fatalf("%s: %s leads", x.name, before.Leader)
		}
		if err := x.stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		localtest.Eventually(t, settle, x.name, func() (bool, error) {
			now := state()
			return now.Term > before.Term && x.new.leads(now), nil
		})
		indexed(t, n)
		if err := x.stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		localtest.Eventually(t, settle, "the stopped process sees that its term is over", func() (bool, error) {
			return strings.Count(x.stopped.said(), "term ended") > ends, nil
		})
		indexed(t, n)
		// The next stop meets a leader with a checkpoint; the first one had only the topics' tails.
		localtest.Eventually(t, settle, "a checkpoint is saved", func() (bool, error) { return state().GTID != before.GTID, nil })
		if now := state(); !x.new.leads(now) {
			t.Fatalf("%s leads after the stopped process went on", now.Leader)
		}
	}
	rises := w.rises.Load()
	localtest.Eventually(t, settle, "documents still follow the rows", func() (bool, error) { return w.rises.Load() > rises+50, nil })
	close(enough)
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	rep := proven(t, n, "index")
	t.Logf("%d writes, %d looks, %d rises seen, %d records of dead leaders dropped, term %d", writes.Load(), w.looks.Load(), w.rises.Load(),
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
