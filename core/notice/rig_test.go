package notice

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/local/localtest"
)

func start() time.Time { return time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC) }

// feed is a core.Feed in memory.
type feed struct {
	mu     sync.Mutex
	events []core.Event
	err    error // of the next call
}

func (f *feed) add(ids ...string) {
	for _, id := range ids {
		f.put(core.Transfer{ID: id, Kind: "payment", OrderTime: start(), Tenant: "shop", Order: "o-" + id, Memo: "午餐",
			Legs: []core.Leg{{Account: 1, Unit: "CNY", Amount: -100}, {Account: 2, Unit: "CNY", Amount: 100}}})
	}
}

func (f *feed) put(t core.Transfer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, core.Event{Transfer: t, AccountingDate: core.Date(start()), PostedAt: start()})
}

func (f *feed) Next(_ context.Context, limit int) ([]core.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	f.err = nil
	return slices.Clone(f.events[:min(limit, len(f.events))]), err
}

func (f *feed) Done(_ context.Context, ids []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = slices.DeleteFunc(f.events, func(e core.Event) bool { return slices.Contains(ids, e.Transfer.ID) })
	return nil
}

func (f *feed) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.events)
}

// got is one request that a merchant saw.
type got struct {
	id, path string
	header   http.Header
	body     []byte
}

// merchant is a receiver; answer says what it answers to the nth request (from 1) of an id.
type merchant struct {
	*httptest.Server
	mu   sync.Mutex
	got  []got
	seen chan string // ids as they come
}

func newMerchant(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, nth int)) *merchant {
	t.Helper()
	m := &merchant{seen: make(chan string, 1000)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		id := r.Header.Get(HeaderID)
		m.mu.Lock()
		m.got = append(m.got, got{id: id, path: r.URL.Path, header: r.Header.Clone(), body: body})
		nth := 0
		for _, g := range m.got {
			if g.id == id {
				nth++
			}
		}
		m.mu.Unlock()
		m.seen <- id
		answer(w, r, nth)
	}))
	t.Cleanup(m.Close)
	return m
}

func ok(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusNoContent) }

func status(code int) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		http.Error(w, "no\x1b[31m, "+http.StatusText(code), code)
	}
}

func (m *merchant) requests() []got {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

// ids are the ids that came, in order.
func (m *merchant) ids() []string {
	var out []string
	for _, g := range m.requests() {
		out = append(out, g.id)
	}
	return out
}

func keyA() Key { return Key{ID: "a", Secret: []byte("a secret of 24 bytes or so")} }
func keyB() Key { return Key{ID: "b", Secret: []byte("another secret of b, as long")} }

// rig is a database with a feed and a clock; notifiers come and go over it.
type rig struct {
	*testing.T
	dsn   string
	db    *db.DB
	feed  *feed
	clock *core.Clock
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, dsn: localtest.Schema(t, localtest.Shared(t)), feed: &feed{}, clock: &core.Clock{}}
	r.clock.Set(start())
	r.db = r.open()
	return r
}

func (r *rig) open() *db.DB {
	r.Helper()
	d, err := db.Open(r.Context(), db.Config{DSN: r.dsn, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = d.Close() })
	return d
}

// notifier makes one; edit may be nil.
func (r *rig) notifier(edit func(*Config), targets ...Target) *Notifier {
	r.Helper()
	cfg := Config{DB: r.db, Feed: r.feed, Targets: targets, Now: r.clock.Now, Poll: time.Hour}
	if edit != nil {
		edit(&cfg)
	}
	n, err := New(r.Context(), cfg)
	if err != nil {
		r.Fatal(err)
	}
	return n
}

func (r *rig) round(n *Notifier) Stats {
	r.Helper()
	s, err := n.Round(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return s
}

func (r *rig) pass(d time.Duration) { r.clock.Set(r.clock.Now().Add(d)) }

func (r *rig) want(n *Notifier, id string, state State, attempt int) Notice {
	r.Helper()
	x, err := n.Get(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	if x.State != state || x.Attempt != attempt {
		r.Fatalf("%s is %s after %d attempts instead of %s after %d: %+v", id, x.State, x.Attempt, state, attempt, x)
	}
	return x
}

func to(m *merchant) Target {
	return Target{Name: "shop", URL: m.URL + "/hook", Keys: []Key{keyA()}}
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("t%03d", i))
	}
	return out
}
