package verify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/local"
	"strata/sync/verify"
)

// shortBook remembers the progress and nothing else.
type shortBook struct {
	verify.Book
	p verify.Progress
}

func (b *shortBook) Acquire(context.Context, string, time.Duration) (bool, error) { return true, nil }
func (b *shortBook) Release(context.Context, string) error                        { return nil }
func (b *shortBook) Load(context.Context) (verify.Progress, error)                { return b.p, nil }
func (b *shortBook) Found(context.Context, []verify.Finding) error                { return nil }
func (b *shortBook) Settle(context.Context, []verify.Finding) error               { return nil }

func (b *shortBook) Save(_ context.Context, _ string, p *verify.Progress) (bool, error) {
	b.p = *p
	return true, nil
}

func (b *shortBook) Findings(context.Context, string, verify.State, int64, int) ([]verify.Finding, error) {
	return nil, nil
}

func (b *shortBook) Counts(context.Context, time.Time) (map[string]verify.Counts, error) {
	return nil, nil
}
func (b *shortBook) PutReport(context.Context, string, []byte, string) error { return nil }

// shelf is a topic's partitions: every image that was ever sent, of which the oldest ones go.
type shelf struct {
	docs    [4][]index.Document
	gone    [4]int                         // that retention has taken
	letters []index.Document               // that wait to be sent once more
	last    map[catalog.Key]index.Document // that was applied
}

func (f *shelf) oldest() []index.Version {
	out := make([]index.Version, len(f.docs))
	for p := range f.docs {
		out[p] = f.docs[p][f.gone[p]].Version
	}
	return out
}

// lowest is the lowest version among the letters.
func (f *shelf) lowest() index.Version {
	return slices.MinFunc(f.letters, func(a, b index.Document) int { return int(int64(a.Version) - int64(b.Version)) }).Version
}

// TestL2_what_is_replayed_after_a_sweep_resurrects_nothing: rows come and go, retention takes what it likes of the topic, some
// records are dead letters, a clock goes on, and the verifier sweeps. Then everything that can be read again is applied
// again: what was deleted stays deleted.
func TestL2_what_is_replayed_after_a_sweep_resurrects_nothing(t *testing.T) {
	p := newPost(t, ledger())
	n, swept := 0, int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		n++
		d := *p.d
		d.Name = fmt.Sprintf("entry%d", n)
		p.ok(p.x.Ensure(t.Context(), &d))
		f := &shelf{last: map[catalog.Key]index.Document{}}
		now := time.Now()
		cfg := p.cfg
		cfg.Datasets, cfg.Sweeper, cfg.SweepAge, cfg.Every = []*catalog.Dataset{&d}, p.x, time.Hour, time.Nanosecond
		cfg.Now = func() time.Time { return now }
		cfg.Oldest = func(context.Context, string) ([]index.Version, error) { return f.oldest(), nil }
		cfg.Letters = func(context.Context, string) (int64, index.Version, error) {
			if len(f.letters) == 0 {
				return 0, 0, nil
			}
			return int64(len(f.letters)), f.lowest(), nil
		}
		cfg.View = func(context.Context, *catalog.Dataset) (*catalog.View, error) {
			return &catalog.View{Dataset: d.Name}, nil
		}
		book := &shortBook{}
		cfg.Book, cfg.Log = book, slog.New(slog.DiscardHandler)
		for range rapid.IntRange(4, 8).Draw(rt, "passes") {
			f.load(rt, p, &d)
			now = now.Add(time.Duration(rapid.IntRange(20, 90).Draw(rt, "minutes")) * time.Minute)
			p.ok(p.runs(cfg, 1))
			swept += book.p.Swept[d.Name].Removed
			f.replay(rt, p, &d)
		}
	})
	if swept == 0 {
		t.Error("nothing was ever swept")
	}
}

// load changes some rows, and lets the oldest records go.
func (f *shelf) load(rt *rapid.T, p *post, d *catalog.Dataset) {
	for i := range rapid.IntRange(4, 20).Draw(rt, "changes") {
		part := i % len(f.docs) // every partition has something
		account := part + len(f.docs)*rapid.IntRange(0, 4).Draw(rt, "account")
		row := entry(account, 1, rapid.IntRange(1, 1000).Draw(rt, "amount"))
		doc := p.doc("entry_202611", row, rapid.Bool().Draw(rt, "deleted"))
		f.docs[part] = append(f.docs[part], doc)
		if rapid.IntRange(0, 3).Draw(rt, "letter") == 0 {
			f.letters = append(f.letters, doc) // it is not applied
			continue
		}
		f.apply(rt, p, d, doc)
	}
	p.x.reached.Store(uint64(p.version))
	retention := rapid.SampledFrom([]string{"keeps all", "keeps the last", "keeps some"}).Draw(rt, "retention")
	for part := range f.docs {
		switch last := len(f.docs[part]) - 1; retention {
		case "keeps the last":
			f.gone[part] = last
		case "keeps some":
			f.gone[part] = rapid.IntRange(f.gone[part], last).Draw(rt, "gone")
		}
	}
}

// apply sends a record to the index, where its row must then be what its highest version says, whatever came before.
func (f *shelf) apply(rt *rapid.T, p *post, d *catalog.Dataset, doc index.Document) {
	if last, ok := f.last[doc.Key]; !ok || last.Version < doc.Version {
		f.last[doc.Key] = doc
	}
	if _, err := p.x.Apply(context.Background(), d.Name, []index.Document{doc}); err != nil {
		rt.Fatal(err)
	}
	stored, err := p.x.Get(context.Background(), d.Name, []string{doc.ID()})
	if err != nil {
		rt.Fatal(err)
	}
	want := f.last[doc.Key]
	switch there := len(stored) > 0 && !stored[0].Deleted; {
	case there == want.Deleted:
		rt.Fatalf("row %s, deleted %v by version %d: there %v after version %d", doc.Key, want.Deleted, want.Version, there, doc.Version)
	case there && stored[0].Version != want.Version:
		rt.Fatalf("row %s: version %d instead of %d", doc.Key, stored[0].Version, want.Version)
	}
}

// replay sends what can be read again once more, and some of the letters.
func (f *shelf) replay(rt *rapid.T, p *post, d *catalog.Dataset) {
	for part := range f.docs {
		for _, doc := range f.docs[part][f.gone[part]:] {
			if !slices.ContainsFunc(f.letters, func(l index.Document) bool { return l.Version == doc.Version }) {
				f.apply(rt, p, d, doc)
			}
		}
	}
	f.letters = slices.DeleteFunc(f.letters, func(l index.Document) bool {
		sent := rapid.IntRange(0, 2).Draw(rt, "sent once more") == 0
		if sent {
			f.apply(rt, p, d, l)
		}
		return sent
	})
}

func TestSweep_refuses_what_can_not_be_known(t *testing.T) {
	p := newPost(t, ledger())
	p.fill(p.live, "entry_202611", 10)
	gone := p.doc("entry_202611", entry(1, 1000, 5), true)
	p.apply(gone)
	p.x.reached.Store(uint64(p.version) + 1)
	now := time.Now()
	oldest, err := []index.Version{1 << 60, 1 << 60, 1 << 60, 1 << 60}, error(nil)
	cfg := p.cfg
	cfg.Sweeper, cfg.SweepAge, cfg.Every, cfg.MaxLag = p.x, time.Hour, time.Nanosecond, 1000*time.Hour
	cfg.Now = func() time.Time { return now }
	cfg.Oldest = func(context.Context, string) ([]index.Version, error) { return oldest, err }
	pass := func() verify.Swept {
		t.Helper()
		now = now.Add(time.Second)
		p.ok(p.runs(cfg, 1))
		return p.progress().Swept["entry"]
	}
	if s := pass(); s.Removed != 0 || s.Below != 0 || s.Why != "" {
		t.Errorf("too young: %+v", s)
	}
	now = now.Add(2 * time.Hour)
	err = fault.New(fault.Unsafe, "read oldest record", "there is no record")
	if s := pass(); s.Removed != 0 || s.Why == "" {
		t.Errorf("unknown: %+v", s)
	}
	err, oldest = nil, oldest[:3]
	if s := pass(); s.Removed != 0 || s.Why == "" {
		t.Errorf("three partitions: %+v", s)
	}
	oldest = append(oldest, gone.Version)
	if s := pass(); s.Removed != 0 || s.Below != gone.Version {
		t.Errorf("its record can be read: %+v", s)
	}
	oldest[3]++
	for _, point := range []string{"verify.sweep", "verify.swept"} {
		now = now.Add(time.Second)
		dying := cfg
		dying.At, dying.Lease = local.NewTrap(point, 1).At, 300*time.Millisecond
		if err := p.runs(dying, 1); !errors.Is(err, local.ErrCrash) {
			t.Errorf("%s: %v", point, err)
		}
		if stored, err := p.x.Get(t.Context(), "entry", []string{gone.ID()}); err != nil || len(stored) == 1 != (point == "verify.sweep") {
			t.Errorf("%s: %d documents, %v", point, len(stored), err)
		}
	}
	if s := pass(); s.Why != "" || s.Below != gone.Version+1 {
		t.Errorf("after all: %+v", s)
	}
}
