package syncer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/local/localtest"
)

// TestCrash dies at every crash point, at the first and at the third time, and starts again.
func TestCrash(t *testing.T) {
	dead := errors.New("dead")
	for _, point := range CrashPoints() {
		for _, nth := range []int64{1, 3} {
			t.Run(point, func(t *testing.T) {
				d, x, m := entries(), openIndex(t), model{}
				f := newMemFeed(d)
				l := newLeader(f, d, 1)
				l.takeOver(nil)
				var beat uint64
				write := func() {
					for i := range 30 {
						row := entry(i, 1, int(beat)*100+i)
						l.change('u', row)
						m.set(d, 'u', row)
					}
					l.poison(40, int(beat))
					beat = l.mark(time.Now())
				}
				write()
				var left atomic.Int64
				left.Store(nth)
				box := newMemLetters()
				r := runWith(t, func(c *Config) {
					c.Index, c.Letters, c.At = x, box, func(p string) error {
						if p == point && left.Add(-1) == 0 {
							return dead
						}
						return nil
					}
				}, f, d)
				died := false
				for !died {
					select {
					case err := <-r.done:
						if died = errors.Is(err, dead); !died {
							t.Fatal(err)
						}
					case <-time.After(time.Millisecond):
						if beat < r.Stats().Datasets[0].Heartbeat+3 { // not for ever ahead of who applies it
							write()
						}
					}
				}
				r = runWith(t, func(c *Config) { c.Index, c.Letters = x, box }, f, d)
				r.reach(t, d.Name, beat)
				if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
					t.Error(diff)
				}
				if names := box.names(t); len(names) != int(beat) {
					t.Errorf("%d letters of %d refused documents: %v", len(names), beat, names)
				}
				r.stop(t)
			})
		}
	}
}

// flakyIndex is away for a while.
type flakyIndex struct {
	index.Index
	fail atomic.Int64
	kind fault.Kind
}

func (y *flakyIndex) Apply(ctx context.Context, dataset string, docs []index.Document) ([]index.Outcome, error) {
	if y.fail.Add(-1) >= 0 {
		return nil, fault.New(y.kind, "apply", "away")
	}
	return y.Index.Apply(ctx, dataset, docs)
}

func TestRun(t *testing.T) {
	t.Run("goes on when the index is back", func(t *testing.T) {
		d, y := entries(), &flakyIndex{Index: openIndex(t), kind: fault.Unavailable}
		y.fail.Store(5)
		f := newMemFeed(d)
		l := newLeader(f, d, 1)
		l.takeOver(nil)
		l.change('c', entry(1, 1, 10))
		beat := l.mark(time.Now())
		r := run(t, y, f, nil, d)
		r.reach(t, d.Name, beat)
		r.stop(t)
	})
	t.Run("commits the watermark's offset", func(t *testing.T) {
		d, x := entries(), openIndex(t)
		f := newMemFeed(d)
		l := newLeader(f, d, 1)
		l.takeOver(nil)
		r := run(t, x, f, nil, d)
		r.reach(t, d.Name, l.mark(time.Now()))
		r.stop(t)
		for name, offset := range f.commits {
			if offset != 3 { // open, resume, mark
				t.Errorf("%s committed at %d", name, offset)
			}
		}
	})
	t.Run("stops for a document of a term that its partition never had", func(t *testing.T) {
		d, x := entries(), openIndex(t)
		f := newMemFeed(d)
		old := newLeader(f, d, 7)
		old.takeOver(nil)
		old.change('c', entry(1, 1, 10))
		beat := old.mark(time.Now())
		r := run(t, x, f, nil, d)
		r.reach(t, d.Name, beat)
		r.stop(t)
		f = newMemFeed(d) // a topic made anew, and terms too; the watermarks are forgotten
		y := &forgetful{x}
		l := newLeader(f, d, 1)
		l.takeOver(nil)
		l.change('u', entry(1, 1, 11))
		r = run(t, y, f, nil, d)
		if err := r.fails(t, d.Name, l.mark(time.Now())); !fault.Is(err, fault.Unsafe) || !strings.Contains(err.Error(), "term 7") {
			t.Errorf("got %v", err)
		}
		r.stop(t)
	})
	t.Run("goes on where the topic is read again over several terms", func(t *testing.T) {
		d, x := entries(), openIndex(t)
		f, m := newMemFeed(d), model{}
		var l *leader
		for term := range uint32(3) {
			next := newLeader(f, d, term+1)
			next.takeOver(l)
			l = next
			for i := range batchRecords + 1 { // so that a batch ends before the next open
				row := entry(1, 1, int(term)*10_000+i)
				l.change('u', row)
				m.set(d, 'u', row)
			}
		}
		beat := l.mark(time.Now())
		r := run(t, x, f, nil, d)
		r.reach(t, d.Name, beat)
		r.stop(t)
		r = run(t, &forgetful{x}, f, nil, d)
		r.reach(t, d.Name, beat)
		r.stop(t)
		if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
			t.Error(diff)
		}
	})
	t.Run("a stopped dataset goes on when the cause is gone", func(t *testing.T) {
		for _, resume := range []bool{false, true} {
			d, y := entries(), &flakyIndex{Index: openIndex(t), kind: fault.Denied}
			y.fail.Store(1 << 30)
			f := newMemFeed(d)
			l := newLeader(f, d, 1)
			l.takeOver(nil)
			l.change('c', entry(1, 1, 10))
			beat := l.mark(time.Now())
			pause := time.Millisecond
			if resume {
				pause = time.Hour
			}
			r := runWith(t, func(c *Config) { c.Index, c.StoppedPause = y, pause }, f, d)
			if err := r.fails(t, d.Name, beat); !fault.Is(err, fault.Denied) {
				t.Fatal(err)
			}
			if st := r.Stats().Datasets[0]; st.State != Stopped {
				t.Errorf("stats %+v", st)
			}
			y.fail.Store(0)
			if resume {
				if err := r.Resume(d.Name); err != nil {
					t.Fatal(err)
				}
			}
			localtest.Eventually(t, 30*time.Second, "it goes on", func() (bool, error) {
				st := r.Stats().Datasets[0]
				return st.State == Running && st.Err == "" && st.Heartbeat == beat, nil
			})
			r.stop(t)
		}
	})
}

// forgetful has documents and no watermarks.
type forgetful struct{ index.Index }

func (forgetful) Watermarks(context.Context, string) ([]index.Watermark, error) { return nil, nil }

func TestNew(t *testing.T) {
	_, err := New(Config{})
	for _, what := range []string{"index", "feed", "dataset", "clock", "logger"} {
		if err == nil || !strings.Contains(err.Error(), "no "+what) {
			t.Errorf("no word of %s: %v", what, err)
		}
	}
}

// TestEnvelope compares the scanner with encoding/json.
func TestEnvelope(t *testing.T) {
	text := rapid.StringOf(rapid.RuneFrom([]rune(`ab"\{}[],: é付`)))
	rapid.Check(t, func(rt *rapid.T) {
		img := func(name string) json.RawMessage {
			if rapid.Bool().Draw(rt, name+" null") {
				return json.RawMessage("null")
			}
			return marshal(map[string]any{"a": text.Draw(rt, name), "after": text.Draw(rt, name), "n": 1.5, "z": nil})
		}
		e := canal.Envelope{Before: img("before"), After: img("after"), Op: rapid.SampledFrom([]string{"c", "u", "d", "r"}).Draw(rt, "op"),
			Source: canal.EnvelopeSource{DB: text.Draw(rt, "db"), Table: "after"}}
		raw := marshal(e)
		if rapid.Bool().Draw(rt, "indent") {
			var b bytes.Buffer
			if err := json.Indent(&b, raw, "", " "); err != nil {
				rt.Fatal(err)
			}
			raw = b.Bytes()
		}
		var want canal.Envelope
		if err := json.Unmarshal(raw, &want); err != nil {
			rt.Fatal(err)
		}
		got, err := parseEnvelope(raw)
		if noAfter := e.Op != "d" && string(want.After) == "null"; noAfter != (err != nil) {
			rt.Fatalf("%s: %v", raw, err)
		}
		if err == nil && (got.op != e.Op[0] || !bytes.Equal(got.before, image(want.Before)) || !bytes.Equal(got.after, image(want.After))) {
			rt.Fatalf("%s gave %q %q", raw, got.before, got.after)
		}
		for cut := range raw { // a value that was cut is refused, and nothing panics
			if _, err := parseEnvelope(raw[:cut]); err == nil {
				rt.Fatalf("%s was taken", raw[:cut])
			}
		}
	})
}

func TestLag(t *testing.T) {
	var h histogram
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	h.add(-time.Second)
	l := h.read(true)
	near := func(got, want time.Duration) bool { return got >= want && got < want+want/10 }
	if l.Count != 1001 || !near(l.P50, 500*time.Millisecond) || !near(l.P99, 990*time.Millisecond) || l.Max != time.Second {
		t.Errorf("lag %+v", l)
	}
	if l := h.read(false); l != (Lag{}) {
		t.Errorf("after the reset: %+v", l)
	}
}

func TestRun_tells_the_lag_of_each_mark(t *testing.T) {
	d, f := entries(), newMemFeed(entries())
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	beat := l.mark(time.Now().Add(-time.Minute))
	var told atomic.Int64
	s, err := New(Config{Index: openIndex(t), Feed: f, Datasets: []*catalog.Dataset{d}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Lag: func(lag time.Duration) {
			if lag < time.Minute || lag > 2*time.Minute {
				t.Errorf("lag %s", lag)
			}
			told.Add(1)
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err = s.WaitFor(t.Context(), d.Name, beat)
	cancel()
	if err = errors.Join(err, <-done); err != nil || told.Load() != int64(d.Partitions) {
		t.Errorf("%d lags told of %d partitions: %v", told.Load(), d.Partitions, err)
	}
}

// BenchmarkSync is changes from memory into the index, 4 partitions.
func BenchmarkSync(b *testing.B) {
	for b.Loop() {
		const n = 100_000
		d, x := entries(), openIndex(b)
		f := newMemFeed(d)
		l := newLeader(f, d, 1)
		l.takeOver(nil)
		for i := range n {
			l.change('c', entry(i*7919%10007, i, i))
		}
		beat := l.mark(time.Now())
		start := time.Now()
		r := run(b, x, f, nil, d)
		r.reach(b, d.Name, beat)
		b.ReportMetric(n/time.Since(start).Seconds(), "docs/s")
		r.stop(b)
	}
}
