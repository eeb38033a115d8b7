package verify_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/index"
	"strata/local"
	"strata/local/localtest"
	"strata/sync/control"
	"strata/sync/verify"
)

// post is a stand with a verifier's book and a leader that repairs keys.
type post struct {
	*stand
	book *control.Book
	cfg  verify.RunnerConfig
	deaf atomic.Bool // the leader is away
	lame atomic.Bool // it reads a replica that lacks the rows
	mu   sync.Mutex
	keys []canal.RepairKey // that wait for it
	log  bytes.Buffer
}

func newPost(t testing.TB, d *catalog.Dataset) *post {
	p := &post{stand: newStand(t, d)}
	p.x.reached.Store(uint64(index.MakeVersion(1, 1)))
	cdb, err := db.Open(t.Context(), db.Config{DSN: localtest.Schema(t, localtest.Shared(t)), Name: "control", Store: catalog.Archive, Purpose: db.Writer})
	p.ok(err)
	t.Cleanup(func() { _ = cdb.Close() })
	p.book, err = control.OpenBook(t.Context(), cdb, "test")
	p.ok(err)
	c := p.stand.cfg
	c.Mode, c.Queue = verify.Fast, p.queue
	p.cfg = verify.RunnerConfig{Config: c, Book: p.book, Log: slog.New(slog.NewTextHandler(&p.log, nil)), Holder: "one", Every: time.Hour,
		SpanRows: 100, Retry: 20 * time.Millisecond, Sign: func(b []byte) string { return fmt.Sprint("signed ", len(b)) }}
	return p
}

// queue is the leader's: at once, where it is there.
func (p *post) queue(ctx context.Context, keys []canal.RepairKey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, keys...)
	return p.drain(ctx)
}

// drain sends the rows anew as they are, with versions of the leader's own.
func (p *post) drain(ctx context.Context) error {
	if p.deaf.Load() {
		return nil
	}
	view, err := p.stand.cfg.View(ctx, p.d)
	if err != nil {
		return err
	}
	for _, k := range p.keys {
		if !strings.HasPrefix(k.Why, "verifier: ") || k.Task != 0 {
			return fmt.Errorf("key %+v", k)
		}
		for _, h := range view.Holdings {
			if h.Shard.Table != k.Shard {
				continue
			}
			row, there, err := p.stand.cfg.Stores[h.Store].Lookup(ctx, p.d, h, k.Key, nil)
			if err != nil {
				return err
			}
			doc := index.Document{Shard: k.Shard, Key: k.Key, Deleted: true}
			if there && !p.lame.Load() {
				doc = p.doc(k.Shard, row, false)
			}
			p.version++
			doc.Version = p.version
			if _, err := p.x.Apply(ctx, p.d.Name, []index.Document{doc}); err != nil {
				return err
			}
		}
	}
	p.keys = nil
	return nil
}

// runs runs a Runner until its nth pass has ended, or it ends by itself.
func (p *post) runs(cfg verify.RunnerConfig, passes int64) error {
	p.t.Helper()
	r, err := verify.NewRunner(cfg)
	p.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	limit := time.After(2 * time.Minute)
	for {
		select {
		case err := <-done:
			return err
		case <-limit:
			p.t.Fatalf("it takes too long: %+v\n%s", r.Stats(), p.log.String())
		case <-time.After(5 * time.Millisecond):
		}
		if r.Stats().Passes >= passes {
			cancel()
			return <-done
		}
	}
}

// eventually waits until f has nothing to say any more.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var last error
	defer func() {
		if t.Failed() {
			t.Log(last)
		}
	}()
	localtest.Eventually(t, time.Minute, what, func() (bool, error) {
		last = f()
		return last == nil, nil
	})
}

func (p *post) progress() verify.Progress {
	p.t.Helper()
	out, err := p.book.Load(context.Background())
	p.ok(err)
	return out
}

func (p *post) findings() map[string]verify.Finding {
	p.t.Helper()
	list, err := p.book.Findings(context.Background(), "", "", 0, 10_000)
	p.ok(err)
	out := map[string]verify.Finding{}
	for _, f := range list {
		out[f.Shard+"/"+f.Key] = f
	}
	return out
}

// damaged are a row that was changed behind capture's back, a document that was deleted, one that was added, one whose hash
// is another's, and one of a shard that nobody owns: by shard and key what is said of it.
func (p *post) damaged() map[string]string {
	p.t.Helper()
	p.fill(p.live, "entry_202611", 450)
	p.fill(p.live, "entry_202612", 350)
	localtest.Exec(p.t, p.live, "UPDATE entry_202611 SET amount=amount+1 WHERE account_id=-5 AND seq=0")
	p.apply(p.doc("entry_202611", entry(0, 5, 8), true), p.doc("entry_202612", entry(500, 1, 1), false))
	wrong := p.doc("entry_202612", entry(1, 6, 11), false)
	wrong.Hash[3] ^= 8
	p.apply(wrong, p.doc("entry_202509", entry(7, 7, 7), false))
	return map[string]string{"entry_202611/-5,0": "amount", "entry_202611/0,5": "missing in the index", "entry_202612/500,1": "extra in the index",
		"entry_202612/1,6": "the stored hash is not the row's", "entry_202509/7,7": "extra in the index: nobody owns its shard"}
}

// mended checks that everything but the stray was found, named, repaired and reported.
func (p *post) mended(want map[string]string) {
	p.t.Helper()
	got := p.findings()
	for name, what := range want {
		f, state := got[name], verify.Repaired
		if strings.Contains(what, "nobody owns") {
			state = verify.Open
		}
		if f.State != state || f.What != what || f.FoundAt.IsZero() || f.SettledAt.IsZero() == (state == verify.Repaired) || (state == verify.Open) == (f.Hint == "") {
			p.t.Errorf("%s: %+v, want %s: %s", name, f, state, what)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		p.t.Errorf("found too: %+v", got)
	}
	r, err := verify.Once(context.Background(), p.stand.cfg)
	p.ok(err)
	d := r.Datasets[0]
	if d.Differences != 1 || d.Rows != 800 || d.Findings[0].Key != "7,7" {
		p.t.Errorf("afterwards: %+v", d)
	}
}

func TestRunner_finds_names_repairs_and_reports(t *testing.T) {
	p := newPost(t, ledger())
	want := p.damaged()
	p.ok(p.runs(p.cfg, 1))
	p.mended(want)
	at := p.progress()
	last := at.Last["entry"]
	if at.Pass != 1 || at.EndedAt.IsZero() || at.Rows != 800 || at.Holder != "one" || len(at.Done) != 1 || len(at.Places) != 0 || last.Rows != 800 ||
		last.Differences != 5 || last.Repaired != 4 || last.Open != 1 || last.OK || len(last.Sums) != 1 || last.SumsOf != verify.OfSource {
		t.Errorf("progress %+v", at)
	}
	body, signature, ok, err := p.book.Report(t.Context(), "")
	p.ok(err)
	day, err := verify.ParseDaily(body)
	p.ok(err)
	if f := day.Findings["entry"]; !ok || signature != fmt.Sprint("signed ", len(body)) || day.OK || len(day.Datasets) != 1 || day.Datasets[0].Position == 0 ||
		f != (verify.Counts{Found: 5, Repaired: 4, Open: 1}) {
		t.Errorf("report %s", body)
	}
	p.apply(p.doc("entry_202509", entry(7, 7, 7), true)) // by hand, as the hint says
	again := p.cfg
	again.Every = time.Millisecond
	p.ok(p.runs(again, 1))
	if f := p.findings()["entry_202509/7,7"]; f.State != verify.Gone {
		t.Errorf("mended by hand: %+v", f)
	}
	if at := p.progress(); at.Pass < 2 || !at.Last["entry"].OK {
		t.Errorf("progress %+v", at)
	}
}

// TestRunner_crash dies at every point, and another process goes on.
func TestRunner_crash(t *testing.T) {
	for _, point := range verify.CrashPoints() {
		if strings.HasPrefix(point, "verify.sw") {
			continue // TestL2_… has these
		}
		hits := []int{1}
		if strings.HasPrefix(point, "verify.save") {
			hits = []int{1, 3, 7}
		}
		for _, nth := range hits {
			t.Run(fmt.Sprintf("%s %d", point, nth), func(t *testing.T) {
				t.Parallel()
				p := newPost(t, ledger())
				want := p.damaged()
				cfg := p.cfg
				trap := local.NewTrap(point, nth)
				cfg.At, cfg.Lease = trap.At, 300*time.Millisecond
				if err := p.runs(cfg, 1); !errors.Is(err, local.ErrCrash) {
					t.Fatalf("%v: %s", err, p.log.String())
				}
				cfg.Holder, cfg.At = "two", nil
				p.ok(p.runs(cfg, 1))
				p.mended(want)
				if at := p.progress(); at.Pass != 1 || at.Rows != 800 || at.Last["entry"].Rows != 800 || at.Last["entry"].Documents < 801 ||
					at.Last["entry"].Sums[0].Source != p.sum() {
					t.Errorf("progress %+v, the sum is %s", at, p.sum())
				}
			})
		}
	}
}

// sum is of the source.
func (p *post) sum() string {
	var n sql.NullInt64
	p.ok(p.live.QueryRow("SELECT SUM(amount) FROM (SELECT amount FROM entry_202611 UNION ALL SELECT amount FROM entry_202612) e").Scan(&n))
	return fmt.Sprint(n.Int64)
}

func TestRunner_one_process_at_a_time(t *testing.T) {
	p := newPost(t, ledger())
	p.fill(p.live, "entry_202611", 100)
	cfg := p.cfg
	cfg.Lease = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var runners []*verify.Runner
	done := make(chan error, 3)
	for _, name := range []string{"a", "b", "c"} {
		cfg.Holder = name
		r, err := verify.NewRunner(cfg)
		p.ok(err)
		runners = append(runners, r)
		go func() { done <- r.Run(ctx) }()
	}
	eventually(t, "a pass by one of them", func() error {
		lead, passes := 0, int64(0)
		for _, r := range runners {
			if s := r.Stats(); s.Leads {
				lead++
				passes += s.Passes
			}
		}
		if lead != 1 || passes != 1 {
			return fmt.Errorf("%d lead, %d passes", lead, passes)
		}
		return nil
	})
	cancel()
	for range runners {
		p.ok(<-done)
	}
	if ok, err := p.book.Save(t.Context(), "somebody else", &verify.Progress{}); err != nil || ok {
		t.Errorf("who has no lease saves: %v %v", ok, err)
	}
}

// started runs a runner of the post's configuration until stop is called.
func (p *post) started() (r *verify.Runner, stop func()) {
	p.t.Helper()
	r, err := verify.NewRunner(p.cfg)
	p.ok(err)
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		p.ok(<-done)
	}
}

// ahead is how many nanoseconds the runner's clock is set forward from here on.
func (p *post) ahead() *atomic.Int64 {
	ahead, now := new(atomic.Int64), p.cfg.Now
	p.cfg.Now = func() time.Time { return now().Add(time.Duration(ahead.Load())) }
	return ahead
}

func TestRunner_waits_while_the_index_is_behind(t *testing.T) {
	p := newPost(t, ledger())
	p.fill(p.live, "entry_202611", 100)
	p.x.late.Store(time.Minute.Microseconds())
	r, stop := p.started()
	eventually(t, "it waits", func() error {
		if at := p.progress(); at.Held == "" || !r.Stats().Held || at.Rows != 0 {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	p.x.late.Store(0)
	eventually(t, "it goes on", func() error {
		if at := p.progress(); at.Held != "" || at.Rows != 100 {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	stop()
}

// Where everything has just been started, a partition has no watermark yet: that is waited for as a lag is, and only named where
// it stays.
func TestRunner_waits_for_the_first_watermarks(t *testing.T) {
	p := newPost(t, ledger())
	p.fill(p.live, "entry_202611", 100)
	ahead := p.ahead()
	p.cfg.Retry, p.cfg.Lease = time.Millisecond, time.Hour
	p.x.lacks.Store(true)
	r, stop := p.started()
	eventually(t, "it waits", func() error {
		if at := p.progress(); at.Held != "entry: 3 of 4 partitions have a watermark" || len(at.Skipped) != 0 || at.Rows != 0 {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	ahead.Store(int64(2 * time.Minute)) // its patience is over
	eventually(t, "the dataset is passed over", func() error {
		if at := p.progress(); r.Stats().Skipped == 0 || !strings.Contains(at.Skipped["entry"].Hint, "are canal and sync running?") || at.Rows != 0 {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	p.x.late.Store(-(2 * time.Minute).Microseconds())
	p.x.lacks.Store(false)
	eventually(t, "it gets on", func() error {
		if at := p.progress(); at.Rows != 100 {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	stop()
}

// An index that is always a little behind is proven all the same: a span each time its dataset is tried again.
func TestRunner_gets_on_behind_a_lag_that_stays(t *testing.T) {
	p := newPost(t, ledger())
	p.fill(p.live, "entry_202611", 100)
	ahead := p.ahead()
	p.cfg.MaxLag, p.cfg.Retry, p.cfg.Lease = time.Second, time.Millisecond, time.Hour
	late := 5 * time.Second
	p.x.late.Store(late.Microseconds())
	r, stop := p.started()
	eventually(t, "it waits", func() error {
		if at := p.progress(); at.Held == "" || at.Rows != 0 {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	ahead.Store(int64(2 * time.Minute)) // its patience is over
	eventually(t, "the dataset is passed over", func() error {
		if r.Stats().Skipped == 0 {
			return fmt.Errorf("stats %+v", r.Stats())
		}
		return nil
	})
	p.x.late.Store((late - 2*time.Minute).Microseconds()) // the lag is what it was before the clock moved
	eventually(t, "it gets on", func() error {
		if at := p.progress(); at.Rows != 100 {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	stop()
}

// A leader that is away leaves findings open, queued; when it is there again they are looked at, by whoever has the lease.
func TestRunner_without_a_leader(t *testing.T) {
	p := newPost(t, ledger())
	want := p.damaged()
	p.deaf.Store(true)
	cfg := p.cfg
	cfg.Patience = time.Millisecond
	p.ok(p.runs(cfg, 1))
	for name, f := range p.findings() {
		if f.State != verify.Open || f.Hint == "" || f.Queued == (name == "entry_202509/7,7") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	p.deaf.Store(false)
	p.ok(p.drain(t.Context()))
	cfg.Every, cfg.Holder = time.Millisecond, "two"
	p.ok(p.runs(cfg, 1))
	p.mended(want)
}

// What the captured server has otherwise than live is not mended by sending it again.
func TestRunner_names_a_replica_that_differs(t *testing.T) {
	p := newPost(t, ledger())
	p.fill(p.live, "entry_202611", 10)
	localtest.Exec(t, p.live, "UPDATE entry_202611 SET amount=amount+1 WHERE seq=3")
	p.lame.Store(true)
	cfg := p.cfg
	cfg.Patience = time.Millisecond
	p.ok(p.runs(cfg, 1))
	for name, f := range p.findings() {
		if name != "entry_202611/-2,3" || f.State != verify.Open || !strings.Contains(f.Hint, "the captured replica, which has another row") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestL11_a_dataset_that_is_frozen_does_not_hold_up_the_others: it is named, and compared when it can be.
func TestL11_a_dataset_that_is_frozen_does_not_hold_up_the_others(t *testing.T) {
	p := newPost(t, ledger())
	p.damaged()
	other := *p.d
	other.Name = "another"
	p.ok(p.x.Ensure(t.Context(), &other))
	p.cfg.Datasets = []*catalog.Dataset{&other, p.d}
	p.x.frozen, p.x.only = "number 7 is missing", "another"
	_, stop := p.started()
	eventually(t, "the other is compared", func() error {
		at := p.progress()
		if why := at.Skipped["another"].Why; at.Last["entry"].Rows != 800 || !strings.Contains(why, "number 7 is missing") || !at.EndedAt.IsZero() {
			return fmt.Errorf("progress %+v", at)
		}
		return nil
	})
	stop()
	p.x.frozen = ""
	p.ok(p.runs(p.cfg, 1))
	if at := p.progress(); at.Pass != 1 || len(at.Skipped) != 0 || len(at.Done) != 2 || at.EndedAt.IsZero() {
		t.Errorf("progress %+v", at)
	}
}
