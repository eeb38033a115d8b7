package dlq_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/indextest"
	"strata/index/sqlite"
	syncer "strata/sync"
	"strata/sync/dlq"
)

// sinkFeed reads canaltest's topics.
type sinkFeed struct{ *canaltest.Sink }

func (f sinkFeed) Bounds(ctx context.Context, d *catalog.Dataset, p int32) (int64, int64, error) {
	return f.Sink.Bounds(ctx, d.Name, p)
}

func (f sinkFeed) Open(_ context.Context, d *catalog.Dataset, p int32, offset int64) (syncer.Stream, error) {
	return &sinkStream{f.Sink, d.Name, p, offset}, nil
}

func (sinkFeed) Commit(context.Context, string, int32, int64, uint32) error { return nil }

type sinkStream struct {
	sink    *canaltest.Sink
	dataset string
	p       int32
	next    int64
}

func (s *sinkStream) Wait(ctx context.Context) error {
	for {
		if _, next, err := s.sink.Bounds(ctx, s.dataset, s.p); err != nil || next > s.next {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *sinkStream) Next(ctx context.Context, _ syncer.Batch, dst []canal.Record) ([]canal.Record, error) {
	if err := s.Wait(ctx); err != nil {
		return dst, err
	}
	_, next, err := s.sink.Bounds(ctx, s.dataset, s.p)
	if err != nil {
		return dst, err
	}
	err = s.sink.Read(ctx, s.dataset, s.p, s.next, next, func(r *canal.Record) error {
		dst = append(dst, *r)
		return nil
	})
	s.next = next
	return dst, err
}

func (*sinkStream) Behind() int64 { return 0 }

func (s *sinkStream) Close() error { return nil }

// picky is an index that refuses some rows for a while.
type picky struct {
	index.Index
	mu     sync.Mutex
	refuse map[string]string // id to reason
}

func (x *picky) say(id, reason string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.refuse[id] = reason; reason == "" {
		delete(x.refuse, id)
	}
}

func (x *picky) Apply(ctx context.Context, dataset string, docs []index.Document) ([]index.Outcome, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]index.Outcome, len(docs))
	for i := range docs {
		if reason := x.refuse[docs[i].ID()]; reason != "" {
			out[i] = index.Outcome{Status: index.Refused, Reason: reason}
			continue
		}
		got, err := x.Index.Apply(ctx, dataset, docs[i:i+1])
		if err != nil {
			return nil, err
		}
		out[i] = got[0]
	}
	return out, nil
}

// desk is where keys and evidence go.
type desk struct {
	mu       sync.Mutex
	keys     []canal.RepairKey
	evidence []canal.Evidence
}

func (d *desk) AddKeys(_ context.Context, keys []canal.RepairKey, _, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys = append(d.keys, keys...)
	return nil
}

func (d *desk) Record(_ context.Context, e canal.Evidence) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.evidence = append(d.evidence, e)
	return nil
}

// rig is a topic with one partition, an index, and what applies the one to the other.
type rig struct {
	t      *testing.T
	d      *catalog.Dataset
	sink   *canaltest.Sink
	out    canal.Producer
	x      *picky
	desk   desk
	seq    uint64
	number uint64
	at     func(string) error // of the Book
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, d: indextest.Entries(), sink: canaltest.NewSink()}
	r.d.Partitions = 1
	x, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	r.ok(err)
	t.Cleanup(func() { _ = x.Close() })
	r.x = &picky{Index: x, refuse: map[string]string{}}
	r.ok(r.sink.Ensure(t.Context(), r.d, true))
	r.out, err = r.sink.Producer(t.Context())
	r.ok(err)
	r.send(canal.KindOpen, 0, nil, canal.Open{Term: 1}, catalog.Hash{})
	r.send(canal.KindResume, 0, nil, canal.Resume{}, catalog.Hash{})
	return r
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err, fault.HintOf(err))
	}
}

func (r *rig) send(kind canal.RecordKind, number uint64, key []byte, value any, hash catalog.Hash) {
	r.t.Helper()
	r.seq++
	h := canal.Header{Term: 1, Seq: r.seq, Kind: kind, Number: number, Hash: hash}
	if kind == canal.KindChange {
		h.Shard, h.GTID = "entry_202611", "0-1-1"
	}
	b, err := json.Marshal(value)
	r.ok(err)
	r.ok(r.out.Send(r.t.Context(), []canal.Record{{Dataset: r.d.Name, Key: key, Value: b, Header: h}}))
	r.ok(r.out.Flush(r.t.Context()))
}

// change sends a row's image and returns its id in the index and its version.
func (r *rig) change(account, amount int) (string, index.Version) {
	r.t.Helper()
	row := indextest.Entry(account, 1, amount, "2026-11-02", nil)
	hash, _ := row.Hash(nil)
	r.number++
	r.send(canal.KindChange, r.number, canal.RecordKey(r.d, &row, r.d.KeyIndexes()),
		map[string]any{"before": nil, "after": json.RawMessage(catalog.AppendJSON(nil, r.d, &row)), "op": "u"}, hash)
	return catalog.DocumentID("entry_202611", catalog.KeyOf(&row, r.d.KeyIndexes())), index.MakeVersion(1, r.seq)
}

// sync applies what there is, up to a new mark; at is asked at its crash points.
func (r *rig) sync(at func(string) error) error {
	r.t.Helper()
	r.number++
	beat := r.number
	r.send(canal.KindMark, r.number, nil, canal.Mark{GTID: "0-1-1", Heartbeat: beat, At: catalog.At(time.Now())}, catalog.Hash{})
	box := dlq.NewOutbox(r.sink)
	defer func() { r.ok(box.Close()) }()
	s, err := syncer.New(syncer.Config{Index: r.x, Feed: sinkFeed{r.sink}, Datasets: []*catalog.Dataset{r.d}, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), At: at, Pause: time.Millisecond, Letters: box})
	r.ok(err)
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	run, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(run) }()
	reached := make(chan error, 1)
	go func() { reached <- s.WaitFor(run, r.d.Name, beat) }()
	select {
	case err := <-ended:
		return err
	case err := <-reached:
		r.ok(err)
	}
	stop()
	return <-ended
}

func (r *rig) book() *dlq.Book {
	b := dlq.NewBook(dlq.Config{Sink: r.sink, Index: r.x, Datasets: []*catalog.Dataset{r.d}, Repairs: &r.desk, Now: time.Now, At: r.at})
	r.t.Cleanup(func() { r.ok(b.Close()) })
	return b
}

// letters are those of the dataset, as a new Book and one that has read before say; both must say the same.
func (r *rig) letters(b *dlq.Book) []dlq.Letter {
	r.t.Helper()
	got, err := b.List(r.t.Context(), r.d.Name)
	r.ok(err)
	fresh, err := r.book().List(r.t.Context(), r.d.Name)
	r.ok(err)
	if len(got.Letters) != len(fresh.Letters) || got.Open != fresh.Open {
		r.t.Fatalf("one book has %+v, another %+v", got, fresh)
	}
	for i := range got.Letters {
		if got.Letters[i].Name != fresh.Letters[i].Name || got.Letters[i].State != fresh.Letters[i].State || got.Letters[i].Reason != fresh.Letters[i].Reason {
			r.t.Fatalf("one book has %+v, another %+v", got.Letters[i], fresh.Letters[i])
		}
	}
	return got.Letters
}

// stored is the version and amount of a document; 0 where there is none.
func (r *rig) stored(id string) (index.Version, string) {
	r.t.Helper()
	docs, err := r.x.Get(r.t.Context(), r.d.Name, []string{id})
	r.ok(err)
	if len(docs) == 0 {
		return 0, ""
	}
	for i, c := range r.d.Columns {
		if c.Name == "amount" {
			return docs[0].Version, string(docs[0].Row.Cell(i))
		}
	}
	return docs[0].Version, ""
}
