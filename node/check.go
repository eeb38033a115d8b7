package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"strata/canal"
	"strata/canal/binlog"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// clockLimit is how far a server's clock may be from this one: marks, leases and the ages of shards are compared by it.
const clockLimit = 5 * time.Second

// CheckRequest is a configuration to be checked.
type CheckRequest struct {
	Source  []byte // the file's text
	Name    string // for messages
	Getenv  func(string) string
	Offline bool // don't ask any server
	Now     func() time.Time
	Log     *slog.Logger
}

// Checked is what Check found.
type Checked struct {
	Config   Config // as far as it could be read
	Problems []*Problem
	Datasets int
	Servers  []string // what was asked, with their versions
}

// Check reads a configuration and asks every server that it names, and lists everything that is wrong, by line. It changes
// nothing, on no server and in no folder.
func Check(ctx context.Context, r CheckRequest) Checked {
	c, list, doc := parse(r.Source, r.Getenv)
	out := Checked{Config: c, Problems: list}
	if len(list) > 0 || r.Offline {
		return out
	}
	k := &checker{cfg: &c, r: r}
	k.run(ctx)
	doc.locate(k.list)
	slices.SortStableFunc(k.list, func(a, b *Problem) int { return a.Line - b.Line })
	out.Problems, out.Datasets, out.Servers = k.list, len(k.datasets), k.servers
	return out
}

// checker asks the servers of one configuration.
type checker struct {
	cfg      *Config
	r        CheckRequest
	list     problems
	datasets []*catalog.Dataset
	places   []string // of the datasets, in the file
	servers  []string
}

func (k *checker) run(ctx context.Context) {
	k.folders()
	live := k.server(ctx, place{"live", k.cfg.Live.DSN, catalog.Live, "live.dsn", needsLive()}, (*db.DB).CheckCapture, (*db.DB).CheckDurable)
	defer closeAll(live)
	endpoints := k.cfg.Offline.Servers()
	for i, e := range endpoints {
		path := "offline.dsn"
		if len(k.cfg.Offline.Endpoints) > 0 {
			path = fmt.Sprintf("offline.endpoints[%d].dsn", i)
		}
		if e.DSN == k.cfg.Live.DSN {
			k.replicates(ctx, live, "live.dsn")
			continue // live itself
		}
		d := k.server(ctx, place{e.Name, e.DSN, catalog.Live, path, needsOffline()}, (*db.DB).CheckCapture)
		k.replicates(ctx, d, path)
		closeAll(d)
	}
	arch := k.server(ctx, place{"archive", k.cfg.Archive.DSN, catalog.Archive, "archive.dsn", needsArchive()}, (*db.DB).CheckDurable)
	k.apart(ctx, live, arch)
	closeAll(arch)
	control := k.server(ctx, place{"control", k.cfg.Control.DSN, catalog.Archive, "control.dsn", needsControl()})
	closeAll(control)
	if live != nil {
		k.tables(ctx, live)
	}
	k.kafka(ctx)
	k.index(ctx)
}

// closeAll closes what was opened; the check is over, so nobody waits for its error.
func closeAll(d *db.DB) {
	if d != nil {
		_ = d.Close()
	}
}

// place is a server of the configuration.
type place struct {
	name, dsn string
	store     catalog.Store
	path      string
	needs     []string // privileges on the schema
}

func needsLive() []string {
	return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "TRIGGER"}
}
func needsOffline() []string { return []string{"SELECT"} }
func needsArchive() []string {
	return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP"}
}
func needsControl() []string { return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"} }

// server opens a server and asks what all are asked; nil where it can't be opened.
func (k *checker) server(ctx context.Context, p place, checks ...func(*db.DB, context.Context) error) *db.DB {
	d, err := db.Open(ctx, db.Config{DSN: p.dsn, Name: p.name, Store: p.store, Purpose: db.Reader, MaxConns: 4, StatementLimit: k.cfg.QueryTimeout()})
	if err != nil {
		k.list = append(k.list, &Problem{Path: p.path, Err: err, Login: fault.Is(err, fault.Denied)})
		return nil
	}
	k.servers = append(k.servers, fmt.Sprintf("%s: %s %s at %s/%s", p.name, d.Flavor(), d.Version(), d.Addr(), d.Schema()))
	for _, check := range checks {
		for _, err := range each(check(d, ctx)) {
			k.list.addAll(p.path, settings(p.name, err)...)
		}
	}
	k.clock(ctx, d, p.path)
	k.grants(ctx, d, p.path, p.needs)
	return d
}

// settings makes one error of each setting that a check found wrong.
func settings(name string, err error) []error {
	var wrong *db.SettingsError
	if !errors.As(err, &wrong) {
		return []error{err}
	}
	out := make([]error, len(wrong.Settings))
	for i, s := range wrong.Settings {
		want := s.Want
		if want == "" {
			want = "empty"
		}
		out[i] = fault.New(fault.Unsafe, "check settings of "+name, "%s is %s instead of %s", s.Name, s.Have, want).WithHint("%s", s.Fix)
	}
	return out
}

// clock compares the server's clock with this one.
func (k *checker) clock(ctx context.Context, d *db.DB, path string) {
	before := k.r.Now()
	var micros int64
	err := d.SQL().QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS SIGNED)").Scan(&micros)
	after := k.r.Now()
	if err != nil {
		k.list.addAll(path, db.Classify("read clock of "+d.Name(), err))
		return
	}
	there := time.UnixMicro(micros)
	switch {
	case there.Before(before.Add(-clockLimit)):
		k.list.add(path, "the clock of %s is %s behind this machine's", d.Name(), before.Sub(there).Round(time.Second))
	case there.After(after.Add(clockLimit)):
		k.list.add(path, "the clock of %s is %s ahead of this machine's", d.Name(), there.Sub(after).Round(time.Second))
	}
}

// replicates checks what reading the binlog needs: the privilege, and a server id of our own.
func (k *checker) replicates(ctx context.Context, d *db.DB, path string) {
	if d == nil {
		return
	}
	first := uint64(k.cfg.Capture.ServerID)
	if id, err := d.Identity(ctx); err == nil && id.ServerID >= first && id.ServerID < first+binlog.Streams {
		k.list.add("capture.server_id", "capture: server_id: %d to %d are read under, and %d is %s itself: two equal ids throw each other out",
			first, first+binlog.Streams-1, id.ServerID, d.Name())
	}
	g, err := readGrants(ctx, d)
	if err != nil || g.unclear {
		return
	}
	if !g.global("REPLICATION SLAVE") {
		k.list.addAll(path, fault.New(fault.Denied, "check privileges on "+d.Name(), "REPLICATION SLAVE is missing").
			WithHint("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO %s;", g.user))
	}
}

// apart refuses an archive that is live itself.
func (k *checker) apart(ctx context.Context, live, arch *db.DB) {
	if live == nil || arch == nil || live.Schema() != arch.Schema() {
		return
	}
	a, errA := live.Identity(ctx)
	b, errB := arch.Identity(ctx)
	if errA == nil && errB == nil && a == b {
		k.list.addAll("archive.dsn", fault.New(fault.Invalid, "compare live and archive", "both are schema %s of one server", arch.Schema()).
			WithHint("what is moved to the archive is deleted from live: give the archive a server, or at least a schema, of its own"))
	}
}

// folders checks that what this process keeps can be written.
func (k *checker) folders() {
	for _, f := range []struct{ path, dir string }{{"data", k.cfg.Data}, {"capture.spill_dir", k.cfg.Capture.SpillDir}} {
		if err := writable(f.dir); err != nil {
			k.list.addAll(f.path, fault.New(fault.Denied, "write to folder "+f.dir, "%w", err).WithHint("make it, or let this user write there"))
		}
	}
	if _, err := k.cfg.Capture.maskKey(k.r.Getenv); err != nil {
		k.list.addAll("capture.mask_key", err)
	}
}

// writable reports why nothing could be made in dir or, where it isn't there yet, in the folder that it would be made in.
func writable(dir string) error {
	at, err := filepath.Abs(dir)
	for err == nil {
		var info os.FileInfo
		info, err = os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is no folder", at)
		case err == nil:
			return os.NewSyscallError("access "+at, syscall.Access(at, 2|1)) // write and search
		case errors.Is(err, os.ErrNotExist) && filepath.Dir(at) != at:
			at, err = filepath.Dir(at), nil
		}
	}
	return err
}

// tables completes every dataset from the live schema.
func (k *checker) tables(ctx context.Context, live *db.DB) {
	for i, s := range k.cfg.ledgerSpecs() {
		d, err := db.Resolve(ctx, live, s.WithDefaults())
		if err == nil {
			k.datasets, k.places = append(k.datasets, d), append(k.places, "ledger")
		} else if i == 0 && !fault.Is(err, fault.NotFound) {
			k.list.addAll("ledger", err) // a new ledger's tables are made when it is first opened
		}
	}
	for i, s := range k.cfg.Datasets {
		path := fmt.Sprintf("datasets[%d]", i)
		d, err := db.Resolve(ctx, live, s)
		if err == nil {
			k.datasets, k.places = append(k.datasets, d), append(k.places, path)
			continue
		}
		errs := each(err)
		at := k.blame(ctx, live, s, errs)
		for j, err := range errs {
			k.list.addAll(path+at[j], err)
		}
	}
	for i, d := range k.datasets {
		k.list.addAll(k.places[i], shardsAlike(ctx, live, d)...)
		k.list.addAll(k.places[i], each(binlog.CheckCascades(ctx, live, []*catalog.Dataset{d}))...)
		k.list.addAll(k.places[i], each(binlog.CheckTables(ctx, live, d))...)
	}
}

// shardsAlike names the shards whose rows can't be named, or put into their time, as the dataset does it. Other columns may
// differ.
func shardsAlike(ctx context.Context, live *db.DB, d *catalog.Dataset) (errs []error) {
	if !d.Sharded() {
		return nil
	}
	tables, err := db.Tables(ctx, live, d.Table+"_")
	if err != nil {
		return []error{err}
	}
	for _, t := range tables {
		if _, ok := d.ShardOf(t); !ok {
			continue
		}
		columns, key, err := db.Describe(ctx, live, t)
		bad := func(format string, args ...any) {
			errs = append(errs, fault.New(fault.Invalid, "compare shards of "+d.Name, format, args...).
				WithHint("give it the key and the time column of the other shards, or rename it"))
		}
		switch {
		case fault.Is(err, fault.NotFound): // it went meanwhile
		case err != nil:
			errs = append(errs, err)
		case len(key) == 0:
			bad("shard %s has no primary key", t)
		case !slices.Equal(key, d.Key):
			bad("shard %s has the primary key (%s), the dataset (%s)", t, strings.Join(key, ", "), strings.Join(d.Key, ", "))
		case !slices.ContainsFunc(columns, func(c catalog.Column) bool { return c.Name == d.Time }):
			bad("shard %s has no column %s", t, d.Time)
		}
	}
	return errs
}

// blame finds the key of the spec that each error is about: with another value there, the error is gone.
func (k *checker) blame(ctx context.Context, live *db.DB, s catalog.Spec, errs []error) []string {
	at := make([]string, len(errs))
	const other = "\x00"
	try := func(key string, change func(*catalog.Spec)) {
		if !slices.Contains(at, "") {
			return
		}
		changed := s
		changed.Money = slices.Clone(s.Money)
		change(&changed)
		_, err := db.Resolve(ctx, live, changed)
		left := each(err)
		for i := range errs {
			same := func(e error) bool { return e.Error() == errs[i].Error() }
			if at[i] == "" && !slices.ContainsFunc(left, same) {
				at[i] = key
			}
		}
	}
	if fault.Is(errs[0], fault.NotFound) {
		return fill(at, ".table")
	}
	if len(s.Key) > 0 {
		try(".key", func(c *catalog.Spec) { c.Key = nil })
	}
	if s.Account != "" {
		try(".account", func(c *catalog.Spec) { c.Account = "" })
	}
	for i := range s.Money {
		try(fmt.Sprintf(".money[%d]", i), func(c *catalog.Spec) { c.Money = slices.Delete(c.Money, i, i+1) })
	}
	if s.Sharded() {
		try(".time", func(c *catalog.Spec) { c.Time = other })
		if len(errs) == 1 {
			fill(at, ".shards") // no shard of that scheme
		}
	}
	return at
}

// fill sets what is empty.
func fill(at []string, key string) []string {
	for i := range at {
		if at[i] == "" {
			at[i] = key
		}
	}
	return at
}

// kafka asks for the topics that are there; those that aren't are made by capture.
func (k *checker) kafka(ctx context.Context) {
	sink, err := openSink(k.cfg, k.r.Getenv, k.r.Log, "strata-check")
	if err != nil {
		k.list.addAll("kafka.brokers", err)
		return
	}
	defer func() { _ = sink.Close() }()
	k.servers = append(k.servers, "kafka: "+strings.Join(k.cfg.Kafka.Brokers, ", "))
	for i, d := range k.datasets {
		err := sink.Check(ctx, d)
		switch {
		case err == nil || fault.Is(err, fault.NotFound):
		case fault.Is(err, fault.Unsafe):
			k.list.addAll(k.places[i]+".partitions", err)
		default:
			k.list.addAll("kafka.brokers", fmt.Errorf("topic %s: %w", canal.Topic(d.Name), err))
		}
	}
}
