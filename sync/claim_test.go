package syncer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// countedIndex counts refreshes, and keeps which one was the last to return when each watermark was written.
type countedIndex struct {
	Target
	during func(refresh int) // is called while one goes on

	mu        sync.Mutex
	refreshes int
	puts      []put
}

type put struct {
	w     index.Watermark
	after int // so many refreshes had returned
}

func (x *countedIndex) Refresh(context.Context, string) error {
	x.mu.Lock()
	n := x.refreshes + 1
	x.mu.Unlock()
	x.during(n)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.refreshes = n
	return nil
}

func (x *countedIndex) PutWatermark(_ context.Context, w index.Watermark) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.puts = append(x.puts, put{w, x.refreshes})
	return nil
}

// claimRig is a dataset of which something is claimed, without anybody who reads.
type claimRig struct {
	*Sync
	t *set
	c *claims
}

func newClaimRig(t *testing.T, x Target) *claimRig {
	d := entries()
	s, err := New(Config{Index: x, Feed: newMemFeed(d), Datasets: []*catalog.Dataset{d}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := &claimRig{s, s.sets[0], newClaims()}
	r.t.start(make([]index.Watermark, d.Partitions))
	return r
}

// claimed writes claims until all that the partitions have handed in is written.
func (r *claimRig) claimed(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.claim(ctx, r.t, r.c) }()
	for p := range r.t.d.Partitions {
		if err := r.c.settle(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// marked is a claim of a mark with that number.
func marked(partition int32, number uint64) claim {
	return claim{partition: partition, batches: 1, made: []catalog.Instant{1},
		w: index.Watermark{Partition: partition, Number: number, Version: index.Version(number)}}
}

// TestL4_a_claim_is_written_only_after_a_refresh_that_began_after_it: what is handed in while a refresh goes on waits for the next
// one, which serves all that came meanwhile.
func TestL4_a_claim_is_written_only_after_a_refresh_that_began_after_it(t *testing.T) {
	x := &countedIndex{}
	r := newClaimRig(t, x)
	hand := func(one claim) {
		if err := r.c.hand(t.Context(), one, true); err != nil {
			t.Error(err)
		}
	}
	x.during = func(refresh int) {
		if refresh == 1 {
			for p := range int32(3) {
				hand(marked(p, 20+uint64(p)))
			}
			hand(marked(2, 30))
		}
	}
	hand(marked(0, 10))
	r.claimed(t)
	want := map[index.Version]int{10: 1, 20: 2, 21: 2, 30: 2}
	if x.refreshes != 2 || len(x.puts) != len(want) {
		t.Fatalf("%d refreshes, written: %+v", x.refreshes, x.puts)
	}
	for _, p := range x.puts {
		if want[p.w.Version] != p.after {
			t.Errorf("number %d of partition %d was claimed after refresh %d", p.w.Number, p.w.Partition, p.after)
		}
	}
}

// What is missing is said of the last mark before it, also where both come in one claim or another mark comes after it.
func TestClaim_says_what_is_missing(t *testing.T) {
	gap := claim{partition: 1, frozen: "number 8 is missing", last: 9, batches: 1}
	for name, c := range map[string]struct {
		claims []claim
		want   index.Watermark
	}{
		"after a mark":                {[]claim{marked(1, 7), gap}, index.Watermark{Partition: 1, Number: 7, Version: 9, Frozen: gap.frozen}},
		"after nothing":               {[]claim{gap}, index.Watermark{Partition: 1, Version: 9, Frozen: gap.frozen}},
		"and repaired before a mark":  {[]claim{gap, marked(1, 12)}, index.Watermark{Partition: 1, Number: 12, Version: 12}},
		"and something else is later": {[]claim{marked(1, 7), gap, {partition: 1, frozen: "more", last: 11, batches: 1}}, index.Watermark{Partition: 1, Number: 7, Version: 11, Frozen: "more"}},
	} {
		x := &countedIndex{during: func(int) {}}
		r := newClaimRig(t, x)
		r.t.marks[1].Partition = 1
		for _, one := range c.claims {
			if err := r.c.hand(t.Context(), one, true); err != nil {
				t.Fatal(err)
			}
		}
		r.claimed(t)
		if len(x.puts) != 1 || x.puts[0].w != c.want {
			t.Errorf("%s: %+v, want %+v", name, x.puts, c.want)
		}
	}
}

// TestL9_a_partition_waits_where_too_much_is_not_claimed: an index that doesn't refresh holds up its partitions.
func TestL9_a_partition_waits_where_too_much_is_not_claimed(t *testing.T) {
	x := &countedIndex{during: func(int) {}}
	r := newClaimRig(t, x)
	for i := range uint64(mostUnclaimed) {
		if err := r.c.hand(t.Context(), marked(0, 1+i), false); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.c.hand(ctx, marked(0, 100), false); !errors.Is(err, context.Canceled) {
		t.Errorf("one more was taken: %v", err)
	}
	if err := r.c.hand(t.Context(), marked(1, 5), false); err != nil {
		t.Errorf("another partition waits for it: %v", err)
	}
	r.claimed(t)
	if lag := r.Lag(); lag.Count != mostUnclaimed+1 {
		t.Errorf("the lag of %d marks was told", lag.Count)
	}
}

// A batch that a slow fetch has cut short is not the end of what there is: a refresh for each of those would cost a backlog more
// than its documents.
func TestPartition_knows_the_end_of_what_there_is(t *testing.T) {
	d := entries()
	s, err := New(Config{Index: &countedIndex{}, Feed: newMemFeed(d), Datasets: []*catalog.Dataset{d}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		records int
		bytes   int
		behind  int64
		want    bool
	}{
		{1, 10, 0, true},
		{1, 10, batchRecords - 1, true}, // it goes on as fast as it comes
		{1, 10, batchRecords, false},
		{batchRecords - 1, 10, 1 << 40, false},
		{batchRecords, 10, 0, false}, // the next look tells
		{2, s.budget.batchBytes, 0, false},
	} {
		p := newPartition(s, s.sets[0], index.Watermark{}, newClaims())
		p.records, p.behind = make([]canal.Record, c.records), c.behind
		p.records[0].Value = make([]byte, c.bytes)
		if got := p.atHead(); got != c.want {
			t.Errorf("%d records of %d bytes, %d more behind them: %t", c.records, c.bytes, c.behind, got)
		}
	}
}

// After a refresh the index is left alone for a while, unless nobody has anything for it.
func TestClaims_rest_while_there_are_documents(t *testing.T) {
	c := newClaims()
	end := c.begin()
	if err := c.hand(t.Context(), marked(0, 1), true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.rest(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("no rest while a batch is in hand: %v", err)
	}
	over := make(chan time.Time)
	close(over)
	if err := c.rest(t.Context(), over); err != nil {
		t.Errorf("a rest that is over: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.rest(t.Context(), nil) }()
	end()
	if err := <-done; err != nil {
		t.Errorf("a rest that nobody needs: %v", err)
	}
}

func TestPace(t *testing.T) {
	now := catalog.At(time.Now())
	for behind, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Second, 0: time.Second, 10 * time.Second: time.Second, 30 * time.Second: 3 * time.Second, 4 * time.Minute: 24 * time.Second, time.Hour: 30 * time.Second,
	} {
		before := []claim{{frozen: "a gap"}, {made: []catalog.Instant{1, now - catalog.Instant(behind.Microseconds())}}}
		if got := pace(before, now); got != want {
			t.Errorf("%s behind: %s instead of %s", behind, got, want)
		}
	}
	if got := pace(nil, now); got != time.Second {
		t.Errorf("nothing claimed: %s", got)
	}
}

// What comes before a batch that fails is claimed all the same, though there was more to read.
func TestRun_claims_what_was_applied_before_a_failure(t *testing.T) {
	d := entries()
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	for range 4 * batchRecords {
		l.mark(time.Now())
	}
	const p = 0
	all := f.topics[d.Name][p]
	var good uint64 // of the last batch before the one that can't be read
	for i := range len(all) / batchRecords * batchRecords {
		if all[i].Header.Kind == canal.KindMark {
			good++
		}
	}
	l.send(p, 'X', 0, nil, nil, "", catalog.Hash{})
	r := run(t, openIndex(t), f, nil, d)
	if err := r.fails(t, d.Name, l.beat+1); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if st := r.Stats().Datasets[0]; st.Partitions[p].Heartbeat != good {
		t.Errorf("partition %d claims heartbeat %d instead of %d", p, st.Partitions[p].Heartbeat, good)
	}
	r.stop(t)
}
