package dlq

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// mostKnown bounds a dataset's letters in memory.
const mostKnown = 200_000

// State is what has become of a letter.
type State string

// The states.
const (
	Open     State = "open"
	Outdated State = "outdated"
	Replayed State = "replayed"
	Dropped  State = "dropped"
)

// refused is a closing's state that closes nothing: a replay was refused.
const refused State = "refused"

// Letter is one letter, however often it was sent.
type Letter struct {
	Name      string          `json:"letter"`
	Dataset   string          `json:"dataset"`
	State     State           `json:"state"`
	Reason    string          `json:"reason"` // why it was sent, or why its last replay was refused
	Shard     string          `json:"shard"`
	Key       catalog.Key     `json:"key"`     // "" where it can't be read
	RawKey    json.RawMessage `json:"raw_key"` // as the letter has it
	Op        string          `json:"op"`      // c, u, d, r; "" where it can't be read
	Deleted   bool            `json:"deleted"`
	FromCanal bool            `json:"too_large"` // the row was too large for the topic, which has nothing in its place
	Partition int32           `json:"partition"` // of the record; -1 where there is none
	Offset    int64           `json:"offset"`
	Version   index.Version   `json:"-"`
	Term      uint32          `json:"term"`
	Seq       uint64          `json:"seq"`
	Hash      string          `json:"hash,omitempty"`
	GTID      string          `json:"gtid,omitempty"`
	Bytes     int             `json:"bytes"`
	Sent      int             `json:"sent"` // how often it stands in the topic
	At        time.Time       `json:"at"`
	Who       string          `json:"who,omitempty"` // closed it
	Why       string          `json:"why,omitempty"`
	place     int64           // offset in the dead-letter topic
}

// Indexer is what a Book needs of an index.
type Indexer interface {
	index.Writer
	// Get is index.Reader's.
	Get(ctx context.Context, dataset string, ids []string) ([]index.Stored, error)
}

// Repairs is where a row's key is given to the leader: canal's desk.
type Repairs interface {
	AddKeys(ctx context.Context, keys []canal.RepairKey, who, why string) error
	Record(ctx context.Context, e canal.Evidence) error
}

// Config of a Book.
type Config struct {
	Sink     canal.Sink
	Index    Indexer
	Datasets []*catalog.Dataset
	Repairs  Repairs // nil: nothing can be closed
	Now      func() time.Time
	// At is asked at every crash point of Replay and Drop. nil: none.
	At func(point string) error
}

// Book knows the letters of all datasets. It is safe for concurrent use.
type Book struct {
	cfg    Config
	outbox *Outbox
	mu     sync.Mutex
	topics map[string]*topic
}

// topic is what a Book knows of a dataset's letters.
type topic struct {
	d       *catalog.Dataset
	keys    *canal.KeyReader
	first   int64
	next    int64 // the next offset to read
	letters map[string]*Letter
	order   []string // names as they first came
}

// NewBook makes one; nothing is read yet.
func NewBook(cfg Config) *Book {
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	return &Book{cfg: cfg, outbox: NewOutbox(cfg.Sink), topics: map[string]*topic{}}
}

// Close ends what Replay and Drop have opened.
func (b *Book) Close() error { return b.outbox.Close() }

// Listing is the letters of a dataset, in the order in which they were first sent.
type Listing struct {
	Dataset string   `json:"dataset"`
	Open    int64    `json:"open"`
	Letters []Letter `json:"letters"`
	Lost    int64    `json:"lost"` // records that somebody deleted from the beginning of the topic
}

// List reads the dataset's letters, closed ones too. Errors: NotFound for an unknown dataset.
func (b *Book) List(ctx context.Context, dataset string) (Listing, error) {
	out := Listing{Dataset: dataset, Letters: []Letter{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	t, err := b.topic(dataset)
	if err != nil {
		return out, err
	}
	if err := b.read(ctx, t); err != nil {
		return out, err
	}
	out.Lost = t.first
	for _, name := range t.order {
		out.Letters = append(out.Letters, *t.letters[name])
	}
	if err := b.outdate(ctx, t, out.Letters); err != nil {
		return out, err
	}
	for i := range out.Letters {
		if out.Letters[i].State == Open {
			out.Open++
		}
	}
	return out, nil
}

// OpenLetters counts the open letters of a dataset and returns the lowest version of one; 0 where there is none. Above it no
// tombstone may be forgotten.
func (b *Book) OpenLetters(ctx context.Context, dataset string) (count int64, lowest index.Version, err error) {
	l, err := b.List(ctx, dataset)
	if err != nil {
		return 0, 0, err
	}
	for i := range l.Letters {
		if v := &l.Letters[i]; v.State == Open && (lowest == 0 || v.Version < lowest) {
			lowest = v.Version
		}
	}
	return l.Open, lowest, nil
}

func (b *Book) topic(dataset string) (*topic, error) {
	if t := b.topics[dataset]; t != nil {
		return t, nil
	}
	i := slices.IndexFunc(b.cfg.Datasets, func(d *catalog.Dataset) bool { return d.Name == dataset })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "read letters", "there is no dataset %q", dataset).WithHint("strata catalog show lists them")
	}
	t := &topic{d: b.cfg.Datasets[i], keys: canal.NewKeyReader(b.cfg.Datasets[i]), letters: map[string]*Letter{}}
	b.topics[dataset] = t
	return t, nil
}

// read goes on where it last ended. A topic that isn't there has no letters.
func (b *Book) read(ctx context.Context, t *topic) error {
	name := canal.DeadLetters(t.d.Name)
	err := b.cfg.Sink.Ensure(ctx, &catalog.Dataset{Name: name, Partitions: 1}, false)
	if fault.Is(err, fault.NotFound) {
		t.first, t.next, t.letters, t.order = 0, 0, map[string]*Letter{}, nil
		return nil
	}
	if err != nil {
		return err
	}
	first, next, err := b.cfg.Sink.Bounds(ctx, name, 0)
	if err != nil {
		return err
	}
	if next < t.next { // made anew
		t.next, t.letters, t.order = 0, map[string]*Letter{}, nil
	}
	t.first, t.next = first, max(t.next, first)
	return b.cfg.Sink.Read(ctx, name, 0, t.next, next, func(r *canal.Record) error {
		if err := t.take(r); err != nil {
			return err
		}
		t.next = r.Offset + 1
		return nil
	})
}

// take reads a record of the dead-letter topic.
func (t *topic) take(r *canal.Record) error {
	if r.Header.Kind == canal.KindClosing {
		var v canal.Closing
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return fault.New(fault.Invalid, "read letters of "+t.d.Name, "closing at offset %d: %w", r.Offset, err)
		}
		if l := t.letters[v.Letter]; l != nil && l.State == Open {
			if State(v.State) == refused {
				l.Reason = v.Reason
			} else {
				l.State, l.Who, l.Why = State(v.State), v.Who, v.Why
			}
		}
		return nil
	}
	if r.Header.Kind != canal.KindLetter {
		return fault.New(fault.Invalid, "read letters of "+t.d.Name, "a record of kind %q at offset %d", rune(r.Header.Kind), r.Offset).
			WithHint("a newer strata writes to this topic, or somebody else does")
	}
	var v canal.Letter
	if err := json.Unmarshal(canal.Payload(r.Value), &v); err != nil {
		return fault.New(fault.Invalid, "read letters of "+t.d.Name, "letter at offset %d: %w", r.Offset, err)
	}
	name := canal.LetterName(&r.Header, &v)
	l := t.letters[name]
	switch {
	case l == nil && len(t.order) >= mostKnown:
		return fault.New(fault.TooLarge, "read letters of "+t.d.Name, "there are more than %d", mostKnown).
			WithHint("so many are one mistake, not many: correct the dataset's declaration, delete topic %s and load the dataset anew", canal.Topic(canal.DeadLetters(t.d.Name)))
	case l == nil:
		t.order = append(t.order, name)
		l = &Letter{}
		t.letters[name] = l
	case l.State != Open && v.Record != nil: // the same record, read again
		l.Sent++
		return nil
	}
	sent := l.Sent + 1
	*l = Letter{Name: name, Dataset: t.d.Name, State: Open, Reason: v.Reason, Shard: v.Shard, RawKey: v.Key, Op: v.Op, Deleted: v.Op == "d",
		FromCanal: v.Record == nil, Partition: -1, Offset: -1, Version: index.MakeVersion(r.Header.Term, r.Header.Seq), Term: r.Header.Term,
		Seq: r.Header.Seq, GTID: v.GTID, Bytes: v.Bytes, Sent: sent, At: time.UnixMilli(v.TsMs).UTC(), place: r.Offset}
	if v.Record != nil {
		l.Partition, l.Offset, l.Hash = v.Record.Partition, v.Record.Offset, v.Record.Hash
	}
	if key, err := t.keys.Read(v.Key); err == nil {
		l.Key = key
	}
	return nil
}

// outdate marks the open letters whose rows the index has at their version or a later one.
func (b *Book) outdate(ctx context.Context, t *topic, letters []Letter) error {
	const most = 1000
	ids := map[string][]*Letter{}
	for i := range letters {
		if l := &letters[i]; l.State == Open && l.Key != "" {
			id := catalog.DocumentID(l.Shard, l.Key)
			ids[id] = append(ids[id], l)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := b.cfg.Index.Ensure(ctx, t.d); err != nil {
		return err
	}
	all := make([]string, 0, len(ids))
	for id := range ids {
		all = append(all, id)
	}
	for part := range slices.Chunk(all, most) {
		docs, err := b.cfg.Index.Get(ctx, t.d.Name, part)
		if err != nil {
			return err
		}
		for i := range docs {
			for _, l := range ids[catalog.DocumentID(docs[i].Shard, docs[i].Key)] {
				if docs[i].Version >= l.Version {
					l.State = Outdated
				}
			}
		}
	}
	return nil
}
