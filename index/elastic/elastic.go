package elastic

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	es "github.com/olivere/elastic/v7"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// Config of an index.
type Config struct {
	// URL of a node or of what stands before the nodes; several by commas are asked in turn.
	URL string
	// User and Password for basic authentication; "": none.
	User, Password string
	// Prefix begins every index's name: lower-case letters, digits, underscore. "" means strata. Two pipelines in one
	// Elasticsearch need two.
	Prefix string
	// Shards is how many parts an index has that is made from now on, each for as many rows as a node searches in time; 0 means 1.
	Shards int
	// Replicas is how many copies an index has that is made from now on; nil: one where there is a second node.
	Replicas *int
	// HTTP is the client that connects, with its TLS and its proxies; nil: one of its own.
	HTTP *http.Client
	// Log gets what a person should know although no call failed; nil discards.
	Log *slog.Logger
	// Now tells which period is the current one; nil: time.Now.
	Now func() time.Time
	// Pause waits before a bulk is sent again, and ends early with an error when ctx does; nil: a timer.
	Pause func(ctx context.Context, d time.Duration) error
	// RequestLimit bounds one request; 0 means a minute. After it, a bulk is sent again.
	RequestLimit time.Duration
	// Observe is told of every request when it is over; nil: nobody wants it. It must not block.
	Observe func(Request)
}

// Index is an index in Elasticsearch. It fulfils index.Index.
type Index struct {
	c     *client
	cfg   Config
	names names

	mu       sync.Mutex
	datasets map[string]*dataset
	closed   bool

	batches sync.Pool // of *batch, to be used again
}

var _ index.Index = (*Index)(nil)

// Open asks the server who it is. Errors: Invalid (URL or prefix), Unavailable (no answer), Denied, Unsafe (not an
// Elasticsearch 7.17).
func Open(ctx context.Context, cfg Config) (*Index, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "strata"
	}
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_]{0,39}$`).MatchString(cfg.Prefix) {
		return nil, fault.New(fault.Invalid, "open index", "prefix %q: at most 40 of a-z, 0-9 and _ make one", cfg.Prefix)
	}
	if cfg.Shards < 0 || cfg.Shards > MaxParts || cfg.Replicas != nil && (*cfg.Replicas < 0 || *cfg.Replicas > MaxParts) {
		return nil, fault.New(fault.Invalid, "open index", "shards are 1 to %d, replicas 0 to %[1]d", MaxParts)
	}
	if cfg.Shards == 0 {
		cfg.Shards = 1
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Pause == nil {
		cfg.Pause = pause
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Request) {}
	}
	if cfg.RequestLimit <= 0 {
		cfg.RequestLimit = time.Minute
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	x := &Index{c: c, cfg: cfg, names: names{prefix: cfg.Prefix}, datasets: map[string]*dataset{}}
	if err := x.checkServer(ctx); err != nil {
		c.close()
		return nil, err
	}
	return x, nil
}

// Close lets idle connections go. Calls after it are fault.Unavailable.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	x.c.close()
	return nil
}

// MaxParts bounds shards and replicas: each is a Lucene index in some node's memory.
const MaxParts = 64

// minMinor is the oldest 7.x that is supported: the last line, the only one that is still mended.
const minMinor = 17

// checkServer refuses what is not an Elasticsearch 7.17.
func (x *Index) checkServer(ctx context.Context) error {
	var about struct {
		Version struct {
			Number       string `json:"number"`
			Distribution string `json:"distribution"`
		} `json:"version"`
	}
	if err := x.c.call(ctx, "ask index server", request{method: http.MethodGet, path: "/"}, &about); err != nil {
		return err
	}
	parts := strings.Split(about.Version.Number, ".")
	minor := -1
	if len(parts) > 1 {
		if n, err := strconv.Atoi(parts[1]); err == nil {
			minor = n
		}
	}
	if parts[0] != "7" || minor < minMinor || about.Version.Distribution != "" {
		return fault.New(fault.Unsafe, "ask index server", "it is %s %q, not Elasticsearch 7.17", about.Version.Distribution, about.Version.Number).
			WithHint("point STRATA_ELASTIC at an Elasticsearch 7.17")
	}
	return nil
}

// dataset is one dataset that the state has.
type dataset struct {
	d      *catalog.Dataset // as it was first declared: name, table, columns, key, text
	keys   []int
	fields []field // by column
	bulk   bulkSize
	// partitions that watermarks are known to be looked for of; there may be more
	partitions atomic.Int64

	mu     sync.Mutex
	shards map[string]*shard // those known to be there
	looked time.Time         // when they were all found to be what they were
	making chan struct{}     // who holds its one place makes an index
}

func newDataset(d *catalog.Dataset) *dataset {
	ds := &dataset{d: d, keys: d.KeyIndexes(), shards: map[string]*shard{}, making: make(chan struct{}, 1)}
	for _, c := range d.Columns {
		f := fieldOf(c)
		f.words = slices.Contains(d.Text, c.Name)
		ds.fields = append(ds.fields, f)
	}
	ds.bulk.size.Store(maxBulkDocs)
	return ds
}

// known returns a shard that this process knows, or nil.
func (ds *dataset) known(name string) *shard {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.shards[name]
}

// learn keeps a shard; the one kept first stays, as it counts what was written.
func (ds *dataset) learn(s *shard) *shard {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if have := ds.shards[s.name]; have != nil {
		return have
	}
	ds.shards[s.name] = s
	return s
}

// dataset returns a dataset, reading its declaration from the state where this process has not seen it yet.
func (x *Index) dataset(ctx context.Context, name string) (*dataset, error) {
	x.mu.Lock()
	ds, closed := x.datasets[name], x.closed
	x.mu.Unlock()
	if closed {
		return nil, errClosed()
	}
	if ds != nil {
		return ds, nil
	}
	rec, err := x.datasetRecord(ctx, name)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, fault.New(fault.NotFound, "open index", "no dataset %q", name)
	}
	return x.keep(rec.Shape), nil
}

func (x *Index) keep(d *catalog.Dataset) *dataset {
	x.mu.Lock()
	defer x.mu.Unlock()
	if have := x.datasets[d.Name]; have != nil {
		return have
	}
	ds := newDataset(d)
	x.datasets[d.Name] = ds
	return ds
}

func errClosed() error { return fault.New(fault.Unavailable, "open index", "the index is closed") }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// obj is a JSON object that is sent.
type obj = map[string]any

// client is olivere's, with limits and with errors that have a kind.
type client struct {
	es      *es.Client
	http    *http.Client
	limit   time.Duration
	now     func() time.Time
	observe func(Request)
}

func newClient(cfg Config) (*client, error) {
	if cfg.URL == "" {
		return nil, fault.New(fault.Invalid, "open index", "no URL given").WithHint("set STRATA_ELASTIC, such as http://127.0.0.1:9200")
	}
	h := cfg.HTTP
	if h == nil {
		t, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			t = &http.Transport{}
		}
		t = t.Clone()
		t.MaxIdleConnsPerHost = 64  // partitions write in parallel
		t.DisableCompression = true // it costs both sides more than the network between them saves
		h = &http.Client{Transport: t}
	}
	options := []es.ClientOptionFunc{es.SetURL(strings.Split(cfg.URL, ",")...), es.SetHttpClient(h)}
	if cfg.User != "" || cfg.Password != "" {
		options = append(options, es.SetBasicAuth(cfg.User, cfg.Password))
	}
	c, err := es.NewSimpleClient(options...) // it neither looks for other nodes nor tries again
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "open index", err)
	}
	return &client{es: c, http: h, limit: cfg.RequestLimit, now: cfg.Now, observe: cfg.Observe}, nil
}

func (c *client) close() {
	c.es.Stop()
	c.http.CloseIdleConnections()
}

// decode reads an answer; numbers in `any` keep their digits.
func decode(op string, raw []byte, into any) error {
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fault.New(fault.Unavailable, op, "the answer is no JSON that was expected: %w", err)
	}
	return nil
}
