package binlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	// Streams is how many streams of one Source may be open at a time, each under a server id of its own.
	Streams = 4

	defaultReadLimit = 10 * time.Second
	defaultMaxTxn    = 64 << 20
	defaultMaxRow    = 32 << 20
	heartbeatTable   = "strata_heartbeat"
	partTable        = "strata_part"
)

// Endpoint is one server of a replication tree.
type Endpoint struct {
	Name string // in messages and in the status
	// DSN has a login that may replicate; its schema is the captured one, the same for all endpoints.
	DSN string
	// ServerID and the three numbers after it are unique among all replicas and other readers of that server: two equal ids
	// throw each other out. The one main stream reads under ServerID itself.
	ServerID uint32
}

// Config is what a Source needs.
type Config struct {
	// Endpoints are servers of one replication tree, the best first. Each Open tries them in this order.
	Endpoints []Endpoint
	// Flavor is what all of them are; one that is something else is refused.
	Flavor   db.Flavor
	Datasets []*catalog.Dataset
	// SpillDir takes what doesn't fit into memory; it is made with mode 0700 where it is missing.
	SpillDir string
	Log      *slog.Logger
	// Dial opens an endpoint for the source, which closes it in Close. nil: db.Open as a Reader of live.
	Dial func(ctx context.Context, e Endpoint) (*db.DB, error)
	// Note is told of what an operator should know: another server at an address, a domain that was left out. nil: nobody.
	Note func(text string)
	// MaxTxnBytes of captured rows, as they lie in memory, a transaction keeps there, and so do all prepared XA transactions
	// together; the rest goes to SpillDir. 0: 64 MiB.
	MaxTxnBytes int64
	// MaxRowBytes is the largest image of a row, as the binlog has it; a larger one stops its dataset. 0: 32 MiB.
	MaxRowBytes int
	// ReadLimit is how long a connection may be silent; the server is asked for ten heartbeats in that time. 0: 10 s.
	ReadLimit time.Duration
}

// Source reads the binlog of the first of several servers that has it. It is safe for concurrent use.
type Source struct {
	cfg       Config
	endpoints []*endpoint
	schema    string
	flavor    string
	newSpill  func() (spillFile, error)
	forms     *forms // shared by all streams: the same table keeps its Form

	mu      sync.Mutex
	pools   []*db.DB      // by endpoint; nil: not dialed yet
	known   []db.Identity // by endpoint, as it was read last
	slots   [Streams]bool
	current int // endpoint of the main stream; -1: none yet
}

// New checks the configuration, makes SpillDir and removes what an earlier process left there; it doesn't connect.
func New(cfg Config) (*Source, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what+" is missing"))
		}
	}
	need(len(cfg.Endpoints) > 0, "Endpoints")
	need(len(cfg.Datasets) > 0, "Datasets")
	need(cfg.SpillDir != "", "SpillDir")
	need(cfg.Log != nil, "Log")
	s := &Source{cfg: cfg, flavor: mysql.MariaDBFlavor, current: -1, forms: newForms(), pools: make([]*db.DB, len(cfg.Endpoints)), known: make([]db.Identity, len(cfg.Endpoints))}
	if cfg.Flavor == db.MySQL {
		s.flavor = mysql.MySQLFlavor
	}
	names := map[string]bool{}
	for i, e := range cfg.Endpoints {
		p, err := parseEndpoint(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("endpoint %d, %s: %w", i+1, e.Name, err))
			continue
		}
		need(e.ServerID != 0, "ServerID of endpoint "+e.Name)
		need(e.Name != "" && !names[e.Name], fmt.Sprintf("a name of its own for endpoint %d", i+1))
		names[e.Name] = true
		if s.endpoints = append(s.endpoints, p); s.schema == "" {
			s.schema = p.login.DBName
		}
		if p.login.DBName == "" || p.login.DBName != s.schema {
			errs = append(errs, fmt.Errorf("endpoint %s: its schema is %q, where %q is captured", e.Name, p.login.DBName, s.schema))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, "configure binlog source", err)
	}
	s.defaults()
	s.newSpill = func() (spillFile, error) { return createSpill(cfg.SpillDir) }
	return s, sweepSpills(cfg.SpillDir)
}

func (s *Source) defaults() {
	c := &s.cfg
	if c.MaxTxnBytes <= 0 {
		c.MaxTxnBytes = defaultMaxTxn
	}
	if c.MaxRowBytes <= 0 {
		c.MaxRowBytes = defaultMaxRow
	}
	if c.ReadLimit <= 0 {
		c.ReadLimit = defaultReadLimit
	}
	if c.Note == nil {
		c.Note = func(string) {}
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, e Endpoint) (*db.DB, error) {
			return db.Open(ctx, db.Config{DSN: e.DSN, Name: e.Name, Store: catalog.Live, Purpose: db.Reader, MaxConns: 4})
		}
	}
}

// Close closes the pools. Streams must have been closed.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for i, d := range s.pools {
		if d != nil {
			errs = append(errs, d.Close())
			s.pools[i] = nil
		}
	}
	s.current = -1
	return errors.Join(errs...)
}

// Origin is part of canal.Source.
func (s *Source) Origin() canal.Origin { return canal.Origin{Connector: s.flavor, Schema: s.schema} }

// Current is the server that the main stream reads, or read last; nil before the first. It is the Source's: don't close it.
func (s *Source) Current() *db.DB {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current < 0 {
		return nil
	}
	return s.pools[s.current]
}

// CurrentEndpoint is Current's endpoint; the zero value before the first.
func (s *Source) CurrentEndpoint() Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current < 0 {
		return Endpoint{}
	}
	return s.cfg.Endpoints[s.current]
}

// Reads is the name of the endpoint that the main stream reads, or read last; "" before the first.
func (s *Source) Reads() string { return s.CurrentEndpoint().Name }

// Open is part of canal.Source. The endpoints are tried in order, from the first every time.
func (s *Source) Open(ctx context.Context, at canal.Position) (canal.Stream, error) {
	slot, err := s.acquire()
	if err != nil {
		return nil, err
	}
	var errs []error
	for i := range s.endpoints {
		st, err := s.try(ctx, i, slot, at)
		if err == nil {
			return st, nil
		}
		if ctx.Err() != nil {
			s.release(slot)
			return nil, ctx.Err()
		}
		if i+1 < len(s.endpoints) {
			s.cfg.Log.Warn("endpoint can't be read, trying the next", "source", s.endpoints[i].Name, "err", err)
		}
		errs = append(errs, err)
	}
	s.release(slot)
	return nil, verdict(errs)
}

// try opens a stream at one endpoint.
func (s *Source) try(ctx context.Context, i, slot int, at canal.Position) (_ canal.Stream, err error) {
	e := s.endpoints[i]
	d, err := s.pool(ctx, i)
	if err != nil {
		return nil, err
	}
	if err := d.CheckCapture(ctx); err != nil {
		return nil, err
	}
	if err := CheckCascades(ctx, d, s.cfg.Datasets); err != nil {
		return nil, err
	}
	chars, err := readCharsets(ctx, d, s.forms)
	if err != nil {
		return nil, err
	}
	from := at.GTID
	if at.Last.GTID != "" {
		from = at.Last.Before
	}
	set, err := s.place(ctx, d, at, from)
	if err != nil {
		return nil, err
	}
	where, err := newPosition(s.flavor, from)
	if err != nil {
		return nil, err
	}
	g := newGroup(s, chars, where, at)
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	id := e.ServerID + uint32(slot)
	if err := s.holdAgain(ctx, d, e, id, g, at); err != nil {
		return nil, err
	}
	l, err := s.connect(ctx, e, id, set)
	if err != nil {
		return nil, purged(err, d.Name(), from)
	}
	if slot == 0 {
		s.mu.Lock()
		s.current = i
		s.mu.Unlock()
	}
	s.cfg.Log.Info("reading binlog", "source", e.Name, "addr", e.login.Addr, "pos", from, "server_id", id)
	return &stream{source: s, link: l, group: g, on: d, slot: slot}, nil
}

// acquire takes the lowest server id that no stream of this source reads under.
func (s *Source) acquire() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, taken := range s.slots {
		if !taken {
			s.slots[i] = true
			return i, nil
		}
	}
	return 0, fault.New(fault.Busy, "open binlog", "%d streams of one source are open", Streams)
}

func (s *Source) release(slot int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots[slot] = false
}

// removeAll removes what matches, and tells what couldn't be.
func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
