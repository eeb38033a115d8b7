package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// maxGroup bounds the batches that share one transaction, so that the first of them doesn't wait for ever.
const maxGroup = 8

// States of a document in column _deleted.
const (
	alive     = int64(0)
	tombstone = int64(1)
	imageless = int64(2)
)

// fixedColumns come before the dataset's columns in the upsert.
const fixedColumns = 5

// batch is one Apply on its way through the writer.
type batch struct {
	docs   []index.Document
	cells  []driver.Value   // per document that isn't refused: version, deleted, hash, raw, columns
	words  [][]driver.Value // per document: its row in table words; nil: none
	out    []index.Outcome
	newest index.Version
	err    error
	done   chan struct{}
}

// writer is the only writer of a file in this process. Whoever holds turn uses the connection.
type writer struct {
	f     *file
	at    func(string) error
	db    *sql.DB
	conn  *sql.Conn
	turn  chan struct{}
	mu    sync.Mutex
	queue []*batch

	raw    driver.Conn // conn's own, with the statements below
	upsert driver.Stmt
	stored driver.Stmt // version and _id by shard and key
	words  *wordWriter
	args   []driver.NamedValue
	shards map[string]int64
}

func openWriter(ctx context.Context, f *file, path string, at func(string) error) (*writer, error) {
	db, err := sql.Open("sqlite", dsn(path, "journal_mode(WAL)", "synchronous(FULL)", "cache_size(-65536)", "wal_autocheckpoint(8000)"))
	if err != nil {
		return nil, classify("open "+path, err)
	}
	db.SetMaxOpenConns(1)
	w := &writer{f: f, at: at, db: db, turn: make(chan struct{}, 1), shards: map[string]int64{}}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, errors.Join(classify("open "+path, err), db.Close())
	}
	err = w.conn.Raw(func(dc any) error {
		c, ok := dc.(driver.Conn)
		if !ok {
			return fault.New(fault.Internal, "open "+path, "the driver has no connections")
		}
		w.raw = c
		if w.upsert, w.stored, err = prepare(c, f.d); err != nil {
			return err
		}
		w.words, err = prepareWords(c, f.d)
		return err
	})
	if err != nil {
		return nil, errors.Join(classify("open "+path, err), w.close())
	}
	w.args = make([]driver.NamedValue, fixedColumns+len(f.d.Columns))
	for i := range w.args {
		w.args[i].Ordinal = i + 1
	}
	return w, nil
}

func prepare(c driver.Conn, d *catalog.Dataset) (upsert, stored driver.Stmt, err error) {
	cols := columnList(d.Names())
	sets := []string{"_version=excluded._version", "_deleted=excluded._deleted", "_hash=excluded._hash", "_raw=excluded._raw"}
	same := []string{"_shard=?"}
	for _, name := range d.Names() {
		sets = append(sets, quote(name)+"=excluded."+quote(name))
	}
	for _, name := range d.Key {
		same = append(same, quote(name)+"=?")
	}
	upsert, err = c.Prepare("INSERT INTO doc (_shard, _version, _deleted, _hash, _raw, " + cols + ") VALUES (?" +
		strings.Repeat(",?", fixedColumns-1+len(d.Columns)) + ") ON CONFLICT (_shard, " + columnList(d.Key) + ") DO UPDATE SET " +
		strings.Join(sets, ",") + " WHERE excluded._version > doc._version")
	if err != nil {
		return nil, nil, err
	}
	stored, err = c.Prepare("SELECT _version, _id FROM doc WHERE " + strings.Join(same, " AND "))
	return upsert, stored, err
}

func (w *writer) close() error {
	w.turn <- struct{}{} // wait for the group that runs; who comes after it finds the connection closed
	defer func() { <-w.turn }()
	w.words.close()
	for _, s := range []driver.Stmt{w.upsert, w.stored} {
		if s != nil {
			_ = s.Close()
		}
	}
	err := w.conn.Close()
	return errors.Join(err, w.db.Close())
}

// Apply fulfils index.Writer.
func (x *Index) Apply(ctx context.Context, dataset string, docs []index.Document) ([]index.Outcome, error) {
	f, err := x.file(ctx, dataset)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "apply to "+dataset, err)
	}
	b := &batch{docs: docs, out: make([]index.Outcome, len(docs)), done: make(chan struct{})}
	b.encode(f)
	f.writer.commit(b)
	if b.err != nil {
		return nil, classify("apply to "+dataset, b.err)
	}
	return b.out, nil
}

// encode turns the documents into stored forms and refuses those that can't be.
func (b *batch) encode(f *file) {
	width := fixedColumns - 1 + len(f.d.Columns)
	b.cells = make([]driver.Value, 0, len(b.docs)*width)
	b.words = make([][]driver.Value, len(b.docs))
	var row catalog.Row
	for i := range b.docs {
		from := len(b.cells)
		if err := b.encodeOne(f, i, &row); err != nil {
			b.cells = b.cells[:from]
			b.out[i] = index.Outcome{Status: index.Refused, Reason: err.Error()}
			continue
		}
		b.newest = max(b.newest, b.docs[i].Version)
	}
}

func (b *batch) encodeOne(f *file, i int, row *catalog.Row) error {
	doc := &b.docs[i]
	if doc.Shard == "" || strings.Contains(doc.Shard, "/") || doc.Version == 0 {
		return fault.New(fault.Invalid, "encode document", "shard %q version %d", doc.Shard, doc.Version)
	}
	hash := append([]byte(nil), doc.Hash[:]...)
	if doc.After == nil {
		if !doc.Deleted {
			return fault.New(fault.Invalid, "encode document", "no image")
		}
		b.cells = append(b.cells, int64(doc.Version), imageless, hash, nil)
		return b.encodeKey(f, doc.Key)
	}
	row.Reset()
	asDeclared, err := catalog.ParseImage(f.d, doc.After, row)
	if err != nil {
		return err
	}
	if !asDeclared {
		if h, _ := row.Hash(nil); h != doc.Hash {
			return fault.New(fault.Invalid, "encode document", "the image has other columns than the dataset, and its hash is another row's").
				WithHint("does the topic belong to this dataset? were its columns declared otherwise when it was written?")
		}
	}
	if key := catalog.KeyOf(row, f.keys); key != doc.Key {
		return fault.New(fault.Invalid, "encode document", "the image has key %s, the document %s", key, doc.Key)
	}
	state := alive
	if doc.Deleted {
		state = tombstone
	}
	raw := len(b.cells) + 3
	b.cells = append(b.cells, int64(doc.Version), state, hash, nil)
	for c, t := range f.types {
		v, fit := encode(t, row.Cell(c))
		switch fit {
		case exact:
		case loose:
			b.cells[raw] = append([]byte(nil), doc.After...)
		default:
			return fault.New(fault.Invalid, "encode column "+f.d.Columns[c].Name, "%.80q is not a cell of type %s", row.Cell(c), t.Kind)
		}
		b.cells = append(b.cells, v)
	}
	for _, k := range f.keys {
		if row.Null(k) {
			return fault.New(fault.Invalid, "encode document", "key column %s is NULL", f.d.Columns[k].Name)
		}
	}
	if !doc.Deleted {
		b.words[i] = f.wordsOf(row)
	}
	return nil
}

// encodeKey fills the columns of a tombstone without an image: the key, and NULL.
func (b *batch) encodeKey(f *file, key catalog.Key) error {
	vals, err := f.keyValues(key)
	if err != nil {
		return err
	}
	from := len(b.cells)
	b.cells = append(b.cells, make([]driver.Value, len(f.types))...)
	for i, k := range f.keys {
		b.cells[from+k] = vals[i]
	}
	return nil
}

// keyValues are the stored forms of a key's cells.
func (f *file) keyValues(key catalog.Key) ([]driver.Value, error) {
	cells, err := key.Cells()
	if err != nil {
		return nil, err
	}
	if len(cells) != len(f.keys) {
		return nil, fault.New(fault.Invalid, "parse key "+string(key), "%d cells instead of %d", len(cells), len(f.keys))
	}
	out := make([]driver.Value, len(cells))
	for i, c := range cells {
		v, fit := encode(f.types[f.keys[i]], []byte(c))
		if fit == bad || fit == floor {
			return nil, fault.New(fault.Invalid, "parse key "+string(key), "%q is not a cell of the column", c)
		}
		out[i] = v
	}
	return out, nil
}

// commit puts a batch through: the first caller that gets the turn commits for everybody who waits.
func (w *writer) commit(b *batch) {
	w.mu.Lock()
	w.queue = append(w.queue, b)
	w.mu.Unlock()
	for {
		select {
		case <-b.done:
			return
		case w.turn <- struct{}{}:
			select {
			case <-b.done:
			default:
				w.runGroup()
			}
			<-w.turn
		}
	}
}

func (w *writer) runGroup() {
	w.mu.Lock()
	n := min(len(w.queue), maxGroup)
	group := append([]*batch(nil), w.queue[:n]...)
	w.queue = append(w.queue[:0], w.queue[n:]...)
	w.mu.Unlock()
	err := w.transaction("sqlite.apply", "sqlite.applied", func() error {
		newest := index.Version(0)
		for _, b := range group {
			if err := w.run(b); err != nil {
				return err
			}
			newest = max(newest, b.newest)
		}
		return w.exec("UPDATE meta SET value=max(value, ?) WHERE name='max_version'", int64(newest))
	})
	for _, b := range group {
		b.err = err
		close(b.done)
	}
}

// transaction runs f in a transaction of its own; the caller holds the turn. before and after are crash points around
// the commit.
func (w *writer) transaction(before, after string, f func() error) error {
	return w.conn.Raw(func(any) error {
		if err := w.exec("BEGIN IMMEDIATE"); err != nil {
			return err
		}
		err := f()
		if err == nil {
			err = w.at(before)
		}
		if err == nil {
			err = w.exec("COMMIT")
		}
		if err != nil {
			clear(w.shards) // some may have been made in this transaction
			_ = w.exec("ROLLBACK")
			return err
		}
		return w.at(after)
	})
}

// run applies one batch inside the open transaction. Statements get no context: a cancelled one would leave the
// transaction half done, and a batch is short.
func (w *writer) run(b *batch) error {
	ctx := context.Background()
	width := fixedColumns - 1 + len(w.f.types)
	upsert, ok := w.upsert.(driver.StmtExecContext)
	if !ok {
		return fault.New(fault.Internal, "apply", "the driver has no statements with context")
	}
	at := 0
	for i := range b.docs {
		if b.out[i].Status == index.Refused {
			continue
		}
		shard, err := w.shard(b.docs[i].Shard)
		if err != nil {
			return err
		}
		w.args[0].Value = shard
		cells := b.cells[at : at+width]
		at += width
		for c, v := range cells {
			w.args[c+1].Value = v
		}
		res, err := upsert.ExecContext(ctx, w.args)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		b.out[i] = index.Outcome{}
		if n > 0 && w.words == nil {
			continue
		}
		version, id, err := w.there(shard, cells[fixedColumns-1:])
		if err != nil {
			return err
		}
		if n == 0 {
			b.out[i] = index.Outcome{Status: index.Newer, StoredVersion: version}
		} else if err := w.words.write(id, b.words[i]); err != nil {
			return err
		}
	}
	return nil
}

// there reads the version and the _id of a document that is there.
func (w *writer) there(shard int64, cells []driver.Value) (v index.Version, id int64, err error) {
	args := []driver.Value{shard}
	for _, k := range w.f.keys {
		args = append(args, cells[k])
	}
	err = w.row(w.stored, args, func(dest []driver.Value) {
		stored, _ := dest[0].(int64)
		v = index.Version(stored)
		id, _ = dest[1].(int64)
	})
	return v, id, err
}

// row reads exactly one row.
func (w *writer) row(s driver.Stmt, args []driver.Value, f func([]driver.Value)) error {
	rows, err := s.Query(args) //nolint:staticcheck // the form without a context is the one without a goroutine
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	dest := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(dest); err != nil {
		if errors.Is(err, io.EOF) {
			return sql.ErrNoRows
		}
		return err
	}
	f(dest)
	return nil
}

// shard returns the number of a shard, making it where it is new.
func (w *writer) shard(name string) (int64, error) {
	if id, ok := w.shards[name]; ok {
		return id, nil
	}
	if err := w.exec("INSERT OR IGNORE INTO shard (name) VALUES (?)", name); err != nil {
		return 0, err
	}
	s, err := w.raw.Prepare("SELECT id FROM shard WHERE name=?")
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	var id int64
	if err := w.row(s, []driver.Value{name}, func(dest []driver.Value) { id, _ = dest[0].(int64) }); err != nil {
		return 0, fmt.Errorf("read shard %s: %w", name, err)
	}
	w.shards[name] = id
	return id, nil
}

func (w *writer) exec(q string, args ...driver.Value) error {
	_, err := w.change(q, args...)
	return err
}

// change is exec with the number of rows that were changed.
func (w *writer) change(q string, args ...driver.Value) (int64, error) {
	c, ok := w.raw.(driver.ExecerContext)
	if !ok {
		return 0, fault.New(fault.Internal, "execute", "the driver can't execute")
	}
	named := make([]driver.NamedValue, len(args))
	for i, v := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	res, err := c.ExecContext(context.Background(), q, named)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
