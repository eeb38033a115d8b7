package syncer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// moody is an index with every mood that one can have: away, busy, an answer that is lost after the write, documents that it
// refuses for good, documents that it has already.
type moody struct {
	index.Index
	mu      sync.Mutex
	dice    *rand.Rand
	calm    bool
	refuse  int // of a hundred versions
	trouble int // of a hundred batches
}

func (m *moody) refuses(d *index.Document) bool { return int(d.Version.Seq()*7919%100) < m.refuse }

func (m *moody) roll() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calm {
		return 100
	}
	return m.dice.IntN(100)
}

func (m *moody) Apply(ctx context.Context, dataset string, docs []index.Document) ([]index.Outcome, error) {
	roll := m.roll()
	kinds := []fault.Kind{fault.Unavailable, fault.Timeout, fault.Busy, fault.Denied}
	if roll < m.trouble/2 {
		return nil, fault.New(kinds[roll%len(kinds)], "apply", "not now")
	}
	out := make([]index.Outcome, len(docs))
	for i := range docs {
		if m.refuses(&docs[i]) {
			out[i] = index.Outcome{Status: index.Refused, Reason: "never"}
			continue
		}
		got, err := m.Index.Apply(ctx, dataset, docs[i:i+1])
		if err != nil {
			return nil, err
		}
		out[i] = got[0]
		if roll < m.trouble && i == len(docs)/2 {
			return nil, fault.New(kinds[roll%len(kinds)], "apply", "the answer is lost in the middle")
		}
	}
	return out, nil
}

func (m *moody) Refresh(ctx context.Context, dataset string) error {
	if m.roll() < m.trouble/4 {
		return fault.New(fault.Unavailable, "refresh", "not now")
	}
	return m.Index.Refresh(ctx, dataset)
}

// TestL1_whatever_the_index_answers_nothing_is_lost_and_order_is_kept: every image is in the index, or older than what is there,
// or a letter; and a letter is of an image that the index refuses.
func TestL1_whatever_the_index_answers_nothing_is_lost_and_order_is_kept(t *testing.T) {
	x, n := openIndex(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		d := entries()
		d.Name = fmt.Sprintf("entry%d", n)
		f, box := newMemFeed(d), newMemLetters()
		m := &moody{Index: x, dice: rand.New(rand.NewPCG(1, uint64(n))), refuse: rapid.IntRange(0, 40).Draw(rt, "refuse"), trouble: rapid.IntRange(0, 60).Draw(rt, "trouble")}
		box.away = rapid.IntRange(0, 3).Draw(rt, "letters away")
		r := runWith(t, func(c *Config) { c.Index, c.Letters, c.StoppedPause = m, box, time.Millisecond }, f, d)
		l := newLeader(f, d, 1)
		l.takeOver(nil)
		want, refused := model{}, []string{}
		for range rapid.IntRange(1, 60).Draw(rt, "changes") {
			row := entry(rapid.IntRange(1, 4).Draw(rt, "account"), 1, rapid.IntRange(1, 1000).Draw(rt, "amount"))
			doc := index.Document{Version: index.MakeVersion(1, l.seq+1)}
			op := rapid.SampledFrom([]byte("cuud")).Draw(rt, "op")
			p := l.change(op, row)
			if !m.refuses(&doc) {
				want.set(d, op, row)
			} else {
				refused = append(refused, fmt.Sprintf("%d@%d:1.%d", p, lastChange(f, d, p), doc.Version.Seq()))
			}
			if rapid.IntRange(0, 4).Draw(rt, "mark") == 0 {
				l.mark(time.Now())
			}
		}
		beat := l.mark(time.Now())
		m.mu.Lock()
		m.calm = true
		m.mu.Unlock()
		thaws(t, r, d.Name, beat)
		r.stop(t)
		if diff := want.differs(t.Context(), x, d); len(diff) > 0 {
			rt.Fatalf("%s", diff)
		}
		slices.Sort(refused)
		if got := box.names(t); !slices.Equal(got, refused) {
			rt.Fatalf("letters %v, refused %v", got, refused)
		}
	})
}

// lastChange is the offset of the partition's last change.
func lastChange(f *memFeed, d *catalog.Dataset, p int32) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.topics[d.Name][p]
	for i := len(all) - 1; ; i-- {
		if all[i].Header.Kind.Counts() {
			return int64(i)
		}
	}
}
