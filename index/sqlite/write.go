package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

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
	stored *cells  // of the documents that aren't refused: shard, version, deleted, hash, raw, columns; words
	rows   []int32 // where each document's begin
	words  []int32 // where its row in table words begins; -1: it has none
	out    []index.Outcome
	newest index.Version
}

// writer is the only writer of a file in this process. Whoever holds turn uses the connection.
type writer struct {
	f     *file
	at    func(string) error
	turn  chan struct{}
	mu    sync.Mutex
	queue []*request
	spare sync.Pool // *cells

	conn   *conn // nil: closed
	upsert *stmt
	stored *stmt // version and _id by shard and key
	raise  *stmt // the highest version
	mark   *stmt // the watermark
	words  *wordWriter
	shards map[string]int64

	checkpoints *checkpointer
	logged      int // pages since it was last woken
}

func openWriter(f *file, path string, at func(string) error) (*writer, error) {
	w := &writer{f: f, at: at, turn: make(chan struct{}, 1), shards: map[string]int64{}, spare: sync.Pool{New: func() any { return new(cells) }}}
	var err error
	if w.conn, err = openConn(path, append(everyPragma(), "journal_mode(WAL)", "synchronous(FULL)", "cache_size(-65536)", fmt.Sprintf("wal_autocheckpoint(%d)", logPages))...); err != nil {
		return nil, classify("open "+path, err)
	}
	if err = w.prepare(); err == nil {
		w.checkpoints, err = startCheckpointer(path)
	}
	if err != nil {
		w.close()
		return nil, classify("open "+path, err)
	}
	return w, nil
}

func (w *writer) prepare() (err error) {
	d := w.f.d
	cols := columnList(d.Names())
	sets := []string{"_version=excluded._version", "_deleted=excluded._deleted", "_hash=excluded._hash", "_raw=excluded._raw"}
	same := []string{"_shard=?"}
	for _, name := range d.Names() {
		sets = append(sets, quote(name)+"=excluded."+quote(name))
	}
	for _, name := range d.Key {
		same = append(same, quote(name)+"=?")
	}
	w.upsert, err = w.conn.prepare("INSERT INTO doc (_shard, _version, _deleted, _hash, _raw, " + cols + ") VALUES (?" +
		strings.Repeat(",?", fixedColumns-1+len(d.Columns)) + ") ON CONFLICT (_shard, " + columnList(d.Key) + ") DO UPDATE SET " +
		strings.Join(sets, ",") + " WHERE excluded._version > doc._version")
	if err != nil {
		return err
	}
	if w.stored, err = w.conn.prepare("SELECT _version, _id FROM doc WHERE " + strings.Join(same, " AND ")); err != nil {
		return err
	}
	if w.raise, err = w.conn.prepare("UPDATE meta SET value=max(value, ?) WHERE name='max_version'"); err != nil {
		return err
	}
	if w.mark, err = w.conn.prepare(putMark); err != nil {
		return err
	}
	w.words, err = prepareWords(w.conn, d)
	return err
}

func (w *writer) close() {
	w.turn <- struct{}{} // wait for the group that runs; who comes after it finds the connection closed
	defer func() { <-w.turn }()
	if w.conn == nil {
		return
	}
	w.words.close()
	for _, s := range []*stmt{w.upsert, w.stored, w.raise, w.mark} {
		s.close()
	}
	if w.checkpoints != nil {
		w.checkpoints.close()
	}
	w.conn.close()
	w.conn = nil
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
	w := f.writer
	b := &batch{docs: docs, out: make([]index.Outcome, len(docs)), stored: w.spare.Get().(*cells)}
	defer w.spare.Put(b.stored)
	b.encode(f)
	if err := w.commit("sqlite.apply", "sqlite.applied", func() error { return w.run(b) }); err != nil {
		return nil, classify("apply to "+dataset, err)
	}
	return b.out, nil
}

// encode turns the documents into stored forms and refuses those that can't be.
func (b *batch) encode(f *file) {
	b.stored.reset()
	b.rows, b.words = make([]int32, len(b.docs)), make([]int32, len(b.docs))
	e := encoder{f: f, into: b.stored}
	for i := range b.docs {
		list, text := len(e.into.list), len(e.into.text)
		b.rows[i], b.words[i] = int32(list), -1
		words, err := e.document(&b.docs[i])
		if err != nil {
			e.into.cut(list, text)
			b.out[i] = index.Outcome{Status: index.Refused, Reason: err.Error()}
			continue
		}
		if words {
			b.words[i] = int32(list + fixedColumns + len(f.types))
		}
		b.newest = max(b.newest, b.docs[i].Version)
	}
}

// row are a document's columns in table doc, wordsOf those in table words.
func (b *batch) row(i int, f *file) []cell {
	return b.stored.list[b.rows[i]:][:fixedColumns+len(f.types)]
}

func (b *batch) wordsOf(i int, f *file) []cell {
	if b.words[i] < 0 {
		return nil
	}
	return b.stored.list[b.words[i]:][:len(f.texts)]
}

// encoder makes stored forms of documents; its memory is reused.
type encoder struct {
	f    *file
	into *cells
	row  catalog.Row
	key  []byte
}

// document appends a document's stored forms, and those of its words; words is whether it has any.
func (e *encoder) document(doc *index.Document) (words bool, err error) {
	if doc.Shard == "" || strings.Contains(doc.Shard, "/") || doc.Version == 0 {
		return false, fault.New(fault.Invalid, "encode document", "shard %q version %d", doc.Shard, doc.Version)
	}
	state := alive
	switch {
	case doc.Deleted && doc.After == nil:
		state = imageless
	case doc.After == nil:
		return false, fault.New(fault.Invalid, "encode document", "no image")
	case doc.Deleted:
		state = tombstone
	}
	e.into.int(0) // the shard's number, which the writer knows
	e.into.int(int64(doc.Version))
	e.into.int(state)
	e.into.bytes(doc.Hash[:], formBlob)
	raw := len(e.into.list)
	e.into.null()
	if state == imageless {
		return false, e.keyAlone(doc.Key)
	}
	if err := e.image(doc); err != nil {
		return false, err
	}
	loosely, err := e.columns()
	if err != nil {
		return false, err
	}
	if loosely {
		e.into.bytes(doc.After, formBlob)
		last := len(e.into.list) - 1
		e.into.list[raw] = e.into.list[last]
		e.into.list = e.into.list[:last]
	}
	if state == alive {
		words = e.f.appendWords(e.into, &e.row)
	}
	return words, nil
}

// image reads the document's row, which must have its key.
func (e *encoder) image(doc *index.Document) error {
	e.row.Reset()
	asDeclared, err := catalog.ParseImage(e.f.d, doc.After, &e.row)
	if err != nil {
		return err
	}
	if !asDeclared {
		if h, _ := e.row.Hash(nil); h != doc.Hash {
			return fault.New(fault.Invalid, "encode document", "the image has other columns than the dataset, and its hash is another row's").
				WithHint("does the topic belong to this dataset? were its columns declared otherwise when it was written?")
		}
	}
	if e.key = catalog.AppendKey(e.key[:0], &e.row, e.f.keys); string(e.key) != string(doc.Key) {
		return fault.New(fault.Invalid, "encode document", "the image has key %s, the document %s", e.key, doc.Key)
	}
	return nil
}

// columns appends the row's cells; loosely is whether one of them doesn't come back byte for byte.
func (e *encoder) columns() (loosely bool, err error) {
	for c, t := range e.f.types {
		switch e.into.encoded(t, e.row.Cell(c)) {
		case exact:
		case loose:
			loosely = true
		default:
			return false, fault.New(fault.Invalid, "encode column "+e.f.d.Columns[c].Name, "%.80q is not a cell of type %s", e.row.Cell(c), t.Kind)
		}
	}
	for _, k := range e.f.keys {
		if e.row.Null(k) {
			return false, fault.New(fault.Invalid, "encode document", "key column %s is NULL", e.f.d.Columns[k].Name)
		}
	}
	return loosely, nil
}

// keyAlone fills the columns of a tombstone without an image: the key, and NULL.
func (e *encoder) keyAlone(key catalog.Key) error {
	vals, err := e.f.keyValues(key)
	if err != nil {
		return err
	}
	for c := range e.f.types {
		if i := slices.Index(e.f.keys, c); i >= 0 {
			e.into.value(vals[i])
		} else {
			e.into.null()
		}
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

// run applies one batch inside the open transaction.
func (w *writer) run(b *batch) error {
	if err := w.numberShards(b); err != nil {
		return err
	}
	w.conn.hold(b.stored.text)
	name, number := "", int64(0)
	for i := range b.docs {
		if b.out[i].Status == index.Refused {
			continue
		}
		if b.docs[i].Shard != name {
			name = b.docs[i].Shard
			number = w.shards[name]
		}
		row := b.row(i, w.f)
		row[0].n = number
		if err := w.upsert.bind(1, row); err != nil {
			return err
		}
		n, err := w.upsert.exec()
		if err != nil {
			return err
		}
		b.out[i] = index.Outcome{}
		if n > 0 && w.words == nil {
			continue
		}
		version, id, err := w.there(row)
		if err != nil {
			return err
		}
		if n == 0 {
			b.out[i] = index.Outcome{Status: index.Newer, StoredVersion: index.Version(version)}
		} else if err := w.words.write(id, b.wordsOf(i, w.f)); err != nil {
			return err
		}
	}
	if b.newest == 0 { // all were refused
		return nil
	}
	_, err := w.raise.run(int64(b.newest))
	return err
}

// there reads the version and the _id of a document that is there.
func (w *writer) there(row []cell) (version, id int64, err error) {
	if err := w.stored.bind(1, row[:1]); err != nil {
		return 0, 0, err
	}
	for i, k := range w.f.keys {
		if err := w.stored.bind(2+i, row[fixedColumns+k:][:1]); err != nil {
			return 0, 0, err
		}
	}
	ok, err := w.stored.integers(&version, &id)
	if err == nil && !ok {
		err = fault.New(fault.Internal, "read stored version", "the document is not there")
	}
	return version, id, err
}

// numberShards looks up the numbers of the batch's shards, making those that are new.
func (w *writer) numberShards(b *batch) error {
	for i := range b.docs {
		name := b.docs[i].Shard
		if b.out[i].Status == index.Refused || i > 0 && name == b.docs[i-1].Shard && b.out[i-1].Status != index.Refused {
			continue
		}
		if _, ok := w.shards[name]; ok {
			continue
		}
		if _, err := w.conn.exec("INSERT OR IGNORE INTO shard (name) VALUES (?)", name); err != nil {
			return err
		}
		var id int64
		if err := w.conn.integer(&id, "SELECT id FROM shard WHERE name=?", name); err != nil {
			return fmt.Errorf("read shard %s: %w", name, err)
		}
		w.shards[name] = id
	}
	return nil
}
