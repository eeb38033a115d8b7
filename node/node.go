package node

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/canal"
	canalkafka "strata/canal/kafka"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/index"
	"strata/router"
	routermysql "strata/router/mysql"
	syncer "strata/sync"
	synckafka "strata/sync/kafka"
	"strata/sync/verify"
)

// Options is what Open needs.
type Options struct {
	Config Config // complete: from Load, Parse or WithDefaults
	Log    *slog.Logger
	Now    func() time.Time
	// At is asked at every named crash point of every room; nil: none.
	At func(point string) error
	// LedgerClock is the clock of the ledger's lane; nil: Now. A load of the past runs on its own.
	LedgerClock func() time.Time
	// FirstDay is the accounting date of an empty ledger; zero: the day of LedgerClock.
	FirstDay time.Time
	// Place names what this process alone may lead from, such as a locked folder: a process that comes after a crash of the
	// one before it takes over its lease at once. "": the process itself, and its successor waits until the lease is over.
	Place string
	// HTTP is the address of the listener in place of the configuration's; "": that.
	HTTP string
}

// Node is one process's rooms.
type Node struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	at       func(point string) error
	live     *db.DB // Reader
	offline  *db.DB // Reader; the first of the configured endpoints that answered
	archive  *db.DB // Reader
	datasets []*catalog.Dataset
	metrics  *metrics
	viewer   *routermysql.Viewer
	index    *index.Generations
	router   *router.Router

	ledgerClock func() time.Time
	firstDay    time.Time
	place       string

	mu        sync.Mutex
	pools     map[string]*db.DB // opened when needed
	indexKind string            // in the name of the consumer group
	absent    map[string]error  // datasets that are left out, and why
	leader    *canal.Leader     // while its role runs
	sink      *canalkafka.Sink  // the same
	sync      *syncer.Sync      // the same
	feed      *synckafka.Feed   // the same
	verifier  *verify.Runner    // the same
	closed    bool
}

// Open connects to the servers and completes the datasets. Errors: fault.Unavailable, Denied (a server), Unsafe (its
// settings), Invalid (configuration, datasets), all of one step at once.
func Open(ctx context.Context, o Options) (*Node, error) {
	n, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := n.resolve(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// OpenAndSetup is Open after Setup: it makes strata's own tables where they are missing.
func OpenAndSetup(ctx context.Context, o Options) (*Node, error) {
	n, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := n.setup(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if err := n.resolve(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// OpenControl connects to nothing: only Desk, CaptureState and Close may be called, which need no more than the control
// database. So what it knows can be told while the other servers are away.
func OpenControl(o Options) (*Node, error) {
	n := &Node{cfg: o.Config, log: o.Log, now: o.Now, at: o.At, pools: map[string]*db.DB{},
		ledgerClock: o.LedgerClock, firstDay: o.FirstDay, place: o.Place}
	if n.ledgerClock == nil {
		n.ledgerClock = n.now
	}
	if n.log == nil || n.now == nil {
		return nil, fault.New(fault.Internal, "open node", "no logger or no clock")
	}
	if o.HTTP != "" {
		n.cfg.HTTP = o.HTTP
	}
	n.metrics = newMetrics(n)
	return n, nil
}

func connect(ctx context.Context, o Options) (*Node, error) {
	n, err := OpenControl(o)
	if err != nil {
		return nil, err
	}
	limit := n.cfg.QueryTimeout()
	var g errgroup.Group
	open := func(into **db.DB, name, dsn string, store catalog.Store) {
		g.Go(func() (err error) {
			*into, err = db.Open(ctx, db.Config{DSN: dsn, Name: name, Store: store, Purpose: db.Reader, MaxConns: 16, StatementLimit: limit})
			return err
		})
	}
	open(&n.live, "live", n.cfg.Live.DSN, catalog.Live)
	g.Go(func() (err error) {
		n.offline, err = openFirst(ctx, n.cfg.Offline.Servers(), limit)
		return err
	})
	open(&n.archive, "archive", n.cfg.Archive.DSN, catalog.Archive)
	if err := g.Wait(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.viewer = routermysql.NewViewer(n.live, n.archive)
	if err := n.checkServers(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// openFirst opens the first endpoint that answers. Errors: those of all, where none does.
func openFirst(ctx context.Context, list []Endpoint, limit time.Duration) (*db.DB, error) {
	var errs []error
	for _, e := range list {
		d, err := db.Open(ctx, db.Config{DSN: e.DSN, Name: e.Name, Store: catalog.Live, Purpose: db.Reader, MaxConns: 16, StatementLimit: limit})
		if err == nil {
			return d, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// checkServers reports the settings of all servers that would lose data, in one error whose hint has every cure.
func (n *Node) checkServers(ctx context.Context) error {
	var errs []error
	var hints []string
	for _, c := range []struct {
		on    *db.DB
		check func(*db.DB, context.Context) error
	}{{n.live, (*db.DB).CheckCapture}, {n.live, (*db.DB).CheckDurable}, {n.offline, (*db.DB).CheckCapture}, {n.archive, (*db.DB).CheckDurable}} {
		err := c.check(c.on, ctx)
		errs = append(errs, err)
		if h := fault.HintOf(err); h != "" {
			hints = append(hints, "on "+c.on.Name()+":\n"+h)
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	return fault.New(fault.KindOf(err), "check servers", "%w", err).WithHint("%s", strings.Join(hints, "\n"))
}

// pool returns the pool of a name, opening it at first use; Close closes it.
func (n *Node) pool(ctx context.Context, name, dsn string, store catalog.Store, purpose db.Purpose) (*db.DB, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.pools[name]; p != nil {
		return p, nil
	}
	p, err := db.Open(ctx, db.Config{DSN: dsn, Name: name, Store: store, Purpose: purpose})
	if err != nil {
		return nil, err
	}
	n.pools[name] = p
	return p, nil
}

func (n *Node) liveWriter(ctx context.Context) (*db.DB, error) {
	return n.pool(ctx, "live writer", n.cfg.Live.DSN, catalog.Live, db.Writer)
}

func (n *Node) liveAdmin(ctx context.Context) (*db.DB, error) {
	return n.pool(ctx, "live admin", n.cfg.Live.DSN, catalog.Live, db.Admin)
}

func (n *Node) archiveAdmin(ctx context.Context) (*db.DB, error) {
	return n.pool(ctx, "archive admin", n.cfg.Archive.DSN, catalog.Archive, db.Admin)
}

func (n *Node) control(ctx context.Context) (*db.DB, error) {
	return n.pool(ctx, "control", n.cfg.Control.DSN, catalog.Archive, db.Writer)
}

// setup makes what strata keeps on the servers.
func (n *Node) setup(ctx context.Context) error {
	live, err := n.liveAdmin(ctx)
	if err != nil {
		return err
	}
	arch, err := n.archiveAdmin(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(db.EnsureTables(ctx, live), db.EnsureTables(ctx, arch)); err != nil {
		return err
	}
	if !n.cfg.Ledger {
		return nil
	}
	_, err = n.Ledger(ctx)
	return err
}

// resolve completes the datasets and opens the index and the router.
func (n *Node) resolve(ctx context.Context) error {
	specs := append(n.cfg.ledgerSpecs(), n.cfg.Datasets...)
	if err := catalog.CheckSpecs(specs); err != nil {
		return err
	}
	var errs []error
	for i, s := range specs {
		d, err := db.Resolve(ctx, n.live, s.WithDefaults())
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
			if i >= len(n.cfg.ledgerSpecs()) && n.wasCaptured(ctx, s.Name) {
				n.leaveOut(s.Name, err)
				continue
			}
			if i < len(n.cfg.ledgerSpecs()) {
				err = fault.New(fault.KindOf(err), "look for the ledger's tables", "%w", err).
					WithHint("strata serve --roles core makes those of a new ledger, and so does every strata ledger command")
			}
		}
		errs = append(errs, err)
		n.datasets = append(n.datasets, d)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := n.openIndex(ctx)
	if err != nil {
		return err
	}
	n.router, err = n.newRouter()
	return err
}

// wasCaptured reports whether a dataset's tables were all right at some time: then what became of them stops that dataset
// alone (law L11). One that never was is a mistake in the configuration, which is refused as a whole.
func (n *Node) wasCaptured(ctx context.Context, dataset string) bool {
	desk, err := n.Desk(ctx)
	if err != nil {
		return false
	}
	st, err := desk.Load(ctx)
	if err != nil || st.Checkpoint == nil {
		return false
	}
	_, was := st.Checkpoint.Parts[dataset]
	return was
}

// leaveOut goes on without a dataset.
func (n *Node) leaveOut(dataset string, err error) {
	if n.absent == nil {
		n.absent = map[string]error{}
	}
	n.absent[dataset] = fault.New(fault.KindOf(err), "use dataset "+dataset, "its tables are not what it needs: %w", err).
		WithHint("mend the tables, or take the dataset out of the configuration, and start again; it is loaded anew then")
	n.log.Error("dataset is left out, the others go on", "dataset", dataset, "err", err, "hint", fault.HintOf(n.absent[dataset]))
}

// IndexDir is the folder of the embedded index.
func (n *Node) IndexDir() string { return filepath.Join(n.cfg.Data, "index") }

// Datasets are all datasets, the ledger's own first, without those whose tables went away.
func (n *Node) Datasets() []*catalog.Dataset { return n.datasets }

// Dataset returns one dataset, or fault.NotFound.
func (n *Node) Dataset(name string) (*catalog.Dataset, error) {
	if err := n.absent[name]; err != nil {
		return nil, err
	}
	return n.router.Dataset(name)
}

// Router answers queries.
func (n *Node) Router() *router.Router { return n.router }

// Index is the search copy.
func (n *Node) Index() index.Index { return n.index }

// Config is the effective configuration.
func (n *Node) Config() Config { return n.cfg }

// Close closes the index and the pools. Idempotent.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	var errs []error
	if n.index != nil {
		errs = append(errs, n.index.Close())
	}
	for _, p := range n.pools {
		errs = append(errs, p.Close())
	}
	for _, p := range []*db.DB{n.live, n.offline, n.archive} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// View asks every store who owns the dataset's shards. It fulfils router.Viewer.
func (n *Node) View(ctx context.Context, d *catalog.Dataset) (*catalog.View, error) {
	return n.viewer.View(ctx, d)
}

// key reads the signing key of a name from the data folder, making it at first use.
func (n *Node) key(name string) ([]byte, error) {
	path := filepath.Join(n.cfg.Data, name)
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 32 {
		return b, nil
	}
	if err == nil {
		return nil, fault.New(fault.Invalid, "read key "+path, "%d bytes instead of 32", len(b)).WithHint("delete the file to get a new key; what the old one signed is then refused")
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(fault.Denied, "read key", err)
	}
	b = make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return nil, fault.Wrap(fault.Internal, "make key", err)
	}
	if err := os.MkdirAll(n.cfg.Data, 0o755); err != nil {
		return nil, fault.Wrap(fault.Denied, "make data folder", err)
	}
	// Written beside and linked into place: of two processes that start together, one key wins for both.
	tmp, err := os.CreateTemp(n.cfg.Data, name+".*")
	if err != nil {
		return nil, fault.Wrap(fault.Denied, "write key", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "write key", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fault.Wrap(fault.Denied, "write key", err)
	}
	b, err = os.ReadFile(path)
	return b, fault.Wrap(fault.Denied, "read key", err)
}
