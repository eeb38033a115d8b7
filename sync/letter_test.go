package syncer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// memLetters is dead-letter topics in memory.
type memLetters struct {
	mu   sync.Mutex
	sent []canal.Record
	away int // how often Send fails, after it has written
	seen func()
}

func newMemLetters() *memLetters { return &memLetters{} }

func (m *memLetters) Send(_ context.Context, dataset string, letters []canal.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen != nil {
		m.seen()
	}
	for _, r := range letters {
		if r.Dataset != canal.DeadLetters(dataset) || r.Header.Kind != canal.KindLetter {
			return fault.New(fault.Internal, "send letter", "%+v", r)
		}
		r.Value = bytes.Clone(r.Value)
		m.sent = append(m.sent, r)
	}
	if m.away--; m.away >= 0 {
		return fault.New(fault.Unavailable, "send letter", "away")
	}
	return nil
}

// letters returns what was sent, by name.
func (m *memLetters) letters(t testing.TB) map[string]canal.Letter {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]canal.Letter{}
	for i := range m.sent {
		var v canal.Letter
		if err := json.Unmarshal(m.sent[i].Value, &v); err != nil {
			t.Fatal(err)
		}
		out[canal.LetterName(&m.sent[i].Header, &v)] = v
	}
	return out
}

func (m *memLetters) names(t testing.TB) []string {
	t.Helper()
	var out []string
	for name := range m.letters(t) {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// poison sends an image that no index takes.
func (l *leader) poison(account, seq int) int32 {
	key := []byte(fmt.Sprintf(`{"account_id":%d,"seq":%d}`, account, seq))
	p := canal.PartitionOf(key, l.d.Partitions)
	l.numbers[p]++
	l.send(p, canal.KindChange, l.numbers[p], key,
		[]byte(fmt.Sprintf(`{"before":null,"after":{"account_id":%d,"seq":%d,"amount":"<many>"},"op":"c"}`, account, seq)), "entry_202611", catalog.Hash{1})
	return p
}

// TestL3_what_the_index_refuses_becomes_a_letter_before_the_watermark_passes_it
func TestL3_what_the_index_refuses_becomes_a_letter_before_the_watermark_passes_it(t *testing.T) {
	d, x, box := entries(), openIndex(t), newMemLetters()
	box.away = 3
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	l.change('c', entry(1, 1, 10))
	before := l.mark(time.Now())
	y := &watched{Index: x}
	r := runWith(t, func(c *Config) { c.Index, c.Letters = y, box }, f, d)
	r.reach(t, d.Name, before)
	passed := 0
	box.seen = func() {
		for _, w := range y.marks() {
			if w.Partition == 3 && w.Heartbeat > before {
				passed++
			}
		}
	}
	p := l.poison(2, 2)
	if p != 3 {
		t.Fatalf("the poison is in partition %d", p)
	}
	l.numbers[p]++
	l.send(p, canal.KindChange, l.numbers[p], []byte(`{"account_id":3,"seq":3}`), []byte(`{"after":`), "entry_202611", catalog.Hash{})
	l.numbers[p]++
	l.send(p, canal.KindChange, l.numbers[p], []byte(`not a key`), []byte(`{"before":null,"after":{},"op":"c"}`), "entry_202611", catalog.Hash{})
	last := l.mark(time.Now())
	r.reach(t, d.Name, last)
	r.stop(t)
	if passed != 0 {
		t.Errorf("a watermark had passed a letter that was not acknowledged")
	}
	got := box.letters(t)
	if len(got) != 3 || len(box.sent) <= 3 {
		t.Fatalf("%d letters of %d sent", len(got), len(box.sent))
	}
	for name, v := range got {
		offset := v.Record.Offset
		rec := f.topics[d.Name][p][offset]
		if name != fmt.Sprintf("%d@%d:1.%d", p, offset, rec.Header.Seq) || v.Reason == "" || v.Shard != "entry_202611" || v.Record.Partition != p || v.Bytes != len(rec.Value) {
			t.Errorf("letter %s: %+v", name, v)
		}
		switch string(v.Key) {
		case `{"account_id":2,"seq":2}`:
			if v.Op != "c" || !bytes.Equal(v.Record.Value, rec.Value) || v.Record.Hash != rec.Header.Hash.String() || !strings.Contains(v.Reason, "entry_202611/2,2: ") {
				t.Errorf("letter %s: %+v", name, v)
			}
		case `{"account_id":3,"seq":3}`:
			if v.Op != "" || !bytes.Equal(v.Record.Raw, rec.Value) {
				t.Errorf("letter %s: %+v", name, v)
			}
		case `"not a key"`:
		default:
			t.Errorf("letter %s of key %s", name, v.Key)
		}
	}
	if st := r.Stats().Datasets[0]; st.Letters != 3 {
		t.Errorf("stats %+v", st)
	}
}

// watched notes the watermarks that are written.
type watched struct {
	index.Index
	mu      sync.Mutex
	puts    []index.Watermark
	ensured chan struct{} // one for each try; nil: nobody counts
}

func (w *watched) Ensure(ctx context.Context, d *catalog.Dataset) error {
	if w.ensured != nil {
		select {
		case w.ensured <- struct{}{}:
		default:
		}
	}
	return w.Index.Ensure(ctx, d)
}

func (w *watched) PutWatermark(ctx context.Context, m index.Watermark) error {
	w.mu.Lock()
	w.puts = append(w.puts, m)
	w.mu.Unlock()
	return w.Index.PutWatermark(ctx, m)
}

func (w *watched) marks() []index.Watermark {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.puts)
}

// TestL11_a_wrong_declaration_stops_the_dataset_instead_of_a_million_letters
func TestL11_a_wrong_declaration_stops_the_dataset_instead_of_a_million_letters(t *testing.T) {
	d, x, box := entries(), openIndex(t), newMemLetters()
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	for i := range 2 * fewLetters {
		l.poison(7, i)
	}
	beat := l.mark(time.Now())
	r := runWith(t, func(c *Config) {
		c.Index, c.Letters, c.StoppedPause = &watched{Index: x, ensured: make(chan struct{}, 100)}, box, time.Millisecond
	}, f, d)
	w := r.cfg.Index.(*watched)
	for range 20 { // trying again makes it no better
		<-w.ensured
	}
	err := r.fails(t, d.Name, beat)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "declaration") || !strings.Contains(fault.HintOf(err), "strata sync resume entry") {
		t.Errorf("%v: %s", err, fault.HintOf(err))
	}
	r.stop(t)
	if n := len(box.letters(t)); n > fewLetters {
		t.Errorf("%d letters were sent", n)
	}
}

// TestLetter_bounds: a letter is not larger than the broker takes, whatever the record.
func TestLetter_bounds(t *testing.T) {
	image := func(n int) []byte { return []byte(`{"after":{"memo":"` + strings.Repeat("x", n) + `"},"op":"c"}`) }
	for name, c := range map[string]struct {
		value      []byte
		whole, raw bool
	}{
		"an envelope":        {image(100), true, false},
		"a large envelope":   {image(letterBytes - 100), true, false},
		"too large":          {image(letterBytes), false, false},
		"no JSON":            {[]byte("\xff{"), false, true},
		"no JSON, too large": {bytes.Repeat([]byte{0xff}, letterBytes-1), false, false},
	} {
		r := canal.Record{Dataset: "entry", Partition: 3, Offset: 77, Key: []byte("{}"), Value: c.value}
		out := letter(&r, strings.Repeat("é", reasonBytes), 1)
		var v canal.Letter
		if err := json.Unmarshal(out.Value, &v); err != nil {
			t.Fatal(err)
		}
		if (v.Record.Value != nil) != c.whole || (v.Record.Raw != nil) != c.raw || v.Bytes != len(c.value) || v.Record.Offset != 77 {
			t.Errorf("%s: value %t raw %t of %d bytes", name, v.Record.Value != nil, v.Record.Raw != nil, v.Bytes)
		}
		if len(out.Value) > letterBytes+(16<<10) {
			t.Errorf("%s: a letter of %d bytes", name, len(out.Value))
		}
	}
}
