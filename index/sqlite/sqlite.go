package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	sqlite3 "modernc.org/sqlite"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// formatVersion of the files, in PRAGMA user_version.
const formatVersion = 2

// suffix of a dataset's file.
const suffix = ".db"

// Config of an index.
type Config struct {
	// Dir holds the files; it is made where it is missing.
	Dir string
	// Readers is the number of connections that read one dataset at the same time; 0 means 4.
	Readers int
	// At is asked at every crash point; nil: none.
	At func(point string) error
}

// CrashPoints are the names that Config.At is asked with.
func CrashPoints() []string {
	return []string{"sqlite.apply", "sqlite.applied", "sqlite.watermark", "sqlite.watermarked", "sqlite.sweep", "sqlite.swept"}
}

// Index is the embedded index. It fulfils index.Index.
type Index struct {
	cfg    Config
	mu     sync.RWMutex
	files  map[string]*file
	closed bool

	register *sql.DB // which generations there are; nil until first needed
}

var _ index.Index = (*Index)(nil)

// Open opens the folder with every dataset that is in it. Errors: Invalid (no Dir), Unavailable (the folder can't be
// read), Unsafe (a file that isn't an index, or is of another version).
func Open(ctx context.Context, cfg Config) (*Index, error) {
	if cfg.Dir == "" {
		return nil, fault.New(fault.Invalid, "open index", "no folder given")
	}
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "make index folder", err)
	}
	x := &Index{cfg: cfg, files: map[string]*file{}}
	if err := x.openAll(ctx); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// openAll opens every file of the folder that is not open yet: another process may have made it since.
func (x *Index) openAll(ctx context.Context) error {
	names, err := filepath.Glob(filepath.Join(x.cfg.Dir, "*"+suffix))
	if err != nil {
		return fault.Wrap(fault.Invalid, "list index folder", err)
	}
	for _, path := range names {
		if err := x.open(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// open opens a file that is there, where it is not open yet and is finished.
func (x *Index) open(ctx context.Context, path string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return errClosed()
	}
	name := strings.TrimSuffix(filepath.Base(path), suffix)
	if x.files[name] != nil {
		return nil
	}
	f, err := openFile(ctx, path, x.cfg)
	if err != nil || f == nil {
		return err
	}
	x.files[name] = f
	return nil
}

// Close ends the writers and closes every file. Calls after it are fault.Unavailable.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	var errs []error
	for _, f := range x.files {
		errs = append(errs, f.close())
	}
	x.files = map[string]*file{}
	if x.register != nil {
		errs = append(errs, x.register.Close())
		x.register = nil
	}
	return errors.Join(errs...)
}

// Ensure fulfils index.Writer.
func (x *Index) Ensure(ctx context.Context, d *catalog.Dataset) error {
	if err := index.CheckColumns(d); err != nil {
		return err
	}
	f, err := x.file(ctx, d.Name)
	if err == nil {
		return f.sameShape(d)
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := x.lostRegister(ctx, d.Name); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return errClosed()
	}
	if f := x.files[d.Name]; f != nil { // another goroutine was first
		return f.sameShape(d)
	}
	path := filepath.Join(x.cfg.Dir, d.Name+suffix)
	if err := createFile(ctx, path, d); err != nil {
		return err
	}
	if f, err = openFile(ctx, path, x.cfg); err != nil {
		return err
	}
	x.files[d.Name] = f
	return f.sameShape(d)
}

// Refresh fulfils index.Writer: what is committed is visible.
func (x *Index) Refresh(ctx context.Context, dataset string) error {
	if _, err := x.file(ctx, dataset); err != nil {
		return err
	}
	return ctx.Err()
}

// file returns a dataset's file. One that another process has made since Open is opened here.
func (x *Index) file(ctx context.Context, dataset string) (*file, error) {
	f, err := x.opened(dataset)
	if f != nil || err != nil {
		return f, err
	}
	path := filepath.Join(x.cfg.Dir, dataset+suffix)
	if _, err := os.Stat(path); err == nil { // opening would make it
		if err := x.open(ctx, path); err != nil {
			return nil, err
		}
		if f, err := x.opened(dataset); f != nil || err != nil {
			return f, err
		}
	}
	return nil, fault.New(fault.NotFound, "open index", "no dataset %q", dataset)
}

// opened is nil for a dataset whose file this process has not opened.
func (x *Index) opened(dataset string) (*file, error) {
	x.mu.RLock()
	f, closed := x.files[dataset], x.closed
	x.mu.RUnlock()
	if closed {
		return nil, errClosed()
	}
	return f, nil
}

func errClosed() error { return fault.New(fault.Unavailable, "open index", "the index is closed") }

// file is one dataset's database.
type file struct {
	d      *catalog.Dataset // as stored: name, columns, key, time, account, text
	keys   []int
	texts  []int // positions of the text columns
	types  []catalog.Type
	reads  *sql.DB
	writer *writer
}

// everyPragma is of every connection, which waits 5 s for another process's write.
func everyPragma() []string { return []string{"busy_timeout(5000)", "temp_store(MEMORY)"} }

// dsn of a file, for the driver of database/sql.
func dsn(path string, pragmas ...string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	q := url.Values{}
	for _, p := range append(everyPragma(), pragmas...) {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String()
}

func openFile(ctx context.Context, path string, cfg Config) (*file, error) {
	reads, err := sql.Open("sqlite", dsn(path, "query_only(1)", "cache_size(-16384)"))
	if err != nil {
		return nil, classify("open "+path, err)
	}
	reads.SetMaxOpenConns(cfg.Readers)
	reads.SetMaxIdleConns(cfg.Readers)
	d, err := readShape(ctx, reads, path)
	if err != nil || d == nil {
		return nil, errors.Join(err, reads.Close())
	}
	f := &file{d: d, keys: d.KeyIndexes(), reads: reads}
	for _, c := range d.Columns {
		f.types = append(f.types, c.Type)
	}
	for _, name := range d.Text {
		f.texts = append(f.texts, d.Index(name))
	}
	if f.writer, err = openWriter(f, path, cfg.At); err != nil {
		return nil, errors.Join(err, reads.Close())
	}
	return f, nil
}

func (f *file) close() error {
	f.writer.close()
	return f.reads.Close()
}

// readShape returns nil for a file that was created and never finished: Ensure starts it again.
func readShape(ctx context.Context, db *sql.DB, path string) (*catalog.Dataset, error) {
	var v int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v); err != nil {
		return nil, classify("open "+path, err)
	}
	if v == 0 {
		return nil, nil
	}
	if v != formatVersion {
		return nil, fault.New(fault.Unsafe, "open "+path, "format %d, this program writes %d", v, formatVersion).
			WithHint("move the file away and rebuild the index")
	}
	var raw []byte
	if err := db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name='shape'").Scan(&raw); err != nil {
		return nil, classify("read shape of "+path, err)
	}
	d := new(catalog.Dataset)
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fault.Wrap(fault.Unsafe, "read shape of "+path, err)
	}
	return d, nil
}

// createFile makes the tables in one transaction; user_version is set in it, so a crash leaves nothing half made.
func createFile(ctx context.Context, path string, d *catalog.Dataset) error {
	shape, err := json.Marshal(shapeOf(d))
	if err != nil {
		return fault.Wrap(fault.Internal, "encode shape of "+d.Name, err)
	}
	db, err := sql.Open("sqlite", dsn(path, "journal_mode(WAL)", "synchronous(FULL)"))
	if err != nil {
		return classify("create "+path, err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return classify("create "+path, err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, q := range schema(d) {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return classify("create "+path, err)
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO meta(name, value) VALUES ('shape', ?), ('max_version', 0)", shape); err != nil {
		return classify("create "+path, err)
	}
	return classify("create "+path, tx.Commit())
}

// shapeOf is what of a dataset the file depends on.
func shapeOf(d *catalog.Dataset) *catalog.Dataset {
	return &catalog.Dataset{Name: d.Name, Columns: d.Columns, Key: d.Key, Time: d.Time, Account: d.Account, Text: d.Text}
}

func (f *file) sameShape(d *catalog.Dataset) error {
	return index.SameShape(f.d, d)
}

func schema(d *catalog.Dataset) []string {
	cols := make([]string, len(d.Columns))
	for i, c := range d.Columns {
		cols[i] = quote(c.Name)
	}
	out := []string{
		"CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
		"CREATE TABLE IF NOT EXISTS shard (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
		`CREATE TABLE IF NOT EXISTS watermark (part INTEGER PRIMARY KEY, version INTEGER NOT NULL, term INTEGER NOT NULL,
			number INTEGER NOT NULL, next INTEGER NOT NULL, gtid TEXT NOT NULL, heartbeat INTEGER NOT NULL, at INTEGER NOT NULL,
			frozen TEXT NOT NULL)`,
		"CREATE TABLE IF NOT EXISTS doc (_id INTEGER PRIMARY KEY, _shard, _version, _deleted, _hash, _raw, " + strings.Join(cols, ", ") + ")",
		"CREATE UNIQUE INDEX IF NOT EXISTS doc_key ON doc (_shard, " + columnList(d.Key) + ")",
		"CREATE INDEX IF NOT EXISTS dead ON doc (_version) WHERE _deleted<>0",
		"ANALYZE", // of nothing: it makes sqlite_stat1
		statistics("doc_key", 300, len(d.Key)),
	}
	for _, by := range []string{d.Time, d.Account} {
		if by == "" || by == d.Key[0] {
			continue
		}
		cols := append([]string{by}, slices.DeleteFunc(slices.Clone(d.Key), func(k string) bool { return k == by })...)
		rows := 300
		if by == d.Time {
			rows = 10_000
		} else if d.Time != "" {
			cols = slices.Insert(slices.DeleteFunc(cols, func(k string) bool { return k == d.Time }), 1, d.Time)
		}
		out = append(out, fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON doc (_shard, %s)", quote("by_"+by), columnList(cols)),
			statistics("c_by_"+by, rows, len(cols)))
	}
	out = append(out, wordsSchema(d)...)
	return append(out, fmt.Sprintf("PRAGMA user_version = %d", formatVersion))
}

// statistics tells SQLite's planner what a large dataset looks like, so that it plans the same from the first row on: a
// shard has very many rows, its first column that many of each value, and each further column half as many.
func statistics(index string, rows, columns int) string {
	stat := "10000000 300000"
	for range columns - 1 {
		stat += fmt.Sprintf(" %d", max(rows, 2))
		rows /= 2
	}
	return fmt.Sprintf("INSERT INTO sqlite_stat1 (tbl, idx, stat) SELECT 'doc', '%s', '%s 1' WHERE NOT EXISTS (SELECT 1 FROM sqlite_stat1 WHERE idx='%[1]s')",
		strings.ReplaceAll(index, "'", "''"), stat)
}

// quote makes a column's name in the file: no name of a dataset can meet one of the index's own.
func quote(column string) string { return `"c_` + strings.ReplaceAll(column, `"`, `""`) + `"` }

func columnList(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = quote(n)
	}
	return strings.Join(q, ", ")
}

// classify gives an error of SQLite its kind.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	var of *sqlite3.Error // of the driver, under what reads
	var own *failure      // of what writes
	code := 0
	if errors.As(err, &of) {
		code = of.Code()
	} else if errors.As(err, &own) {
		code = own.code
	}
	switch code & 0xff {
	case 5, 6: // BUSY, LOCKED
		return fault.Wrap(fault.Busy, op, err)
	case 9: // INTERRUPT
		return fault.Wrap(fault.Interrupted, op, err)
	case 10, 13, 14: // IOERR, FULL, CANTOPEN
		return fault.New(fault.Unavailable, op, "%w", err).WithHint("look at the disk of the index folder")
	case 11, 26: // CORRUPT, NOTADB
		return fault.New(fault.Unsafe, op, "%w", err).WithHint("move the file away and rebuild the index")
	}
	return fault.Wrap(fault.KindOf(err), op, err)
}
