package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"math"
	"strings"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"

	"strata/fault"
)

// conn is the writer's connection: SQLite's own interface, without the driver of database/sql, which takes a mutex, an
// allocation and a copy for each value. One goroutine at a time uses it, and what it has prepared: SQLite holds no mutex for it.
type conn struct {
	tls  *libc.TLS
	db   uintptr
	out  uintptr // memory of SQLite's side for what a call answers with
	room room
}

// room is memory of SQLite's side. What is bound to a statement lies there until the statement is done.
type room struct {
	at   uintptr
	size int
}

// keptRoom is how much of it stays when what needed more is done.
const keptRoom = 4 << 20

// stmt is a prepared statement.
type stmt struct {
	c  *conn
	at uintptr
}

// failure is an error of SQLite.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

// openConn opens a file that is there. Errors are failures.
func openConn(path string, pragmas ...string) (*conn, error) {
	tls := libc.NewTLS()
	c := &conn{tls: tls, out: libc.Xcalloc(tls, 1, 8)}
	name, err := libc.CString(path)
	if err != nil {
		c.close()
		return nil, fault.Wrap(fault.TooLarge, "open "+path, err)
	}
	defer libc.Xfree(tls, name)
	rc := sqlite3.Xsqlite3_open_v2(tls, name, c.out, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_NOMUTEX, 0)
	c.db = libc.AtomicLoadPUintptr(c.out)
	err = c.check(rc)
	for _, p := range pragmas {
		if err == nil {
			_, err = c.exec("PRAGMA " + p)
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close ends the connection, whose statements must have been closed.
func (c *conn) close() {
	sqlite3.Xsqlite3_close_v2(c.tls, c.db)
	libc.Xfree(c.tls, c.room.at)
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
}

// check makes an error of a result code.
func (c *conn) check(rc int32) error {
	if rc == sqlite3.SQLITE_OK || rc == sqlite3.SQLITE_ROW || rc == sqlite3.SQLITE_DONE {
		return nil
	}
	f := &failure{code: int(rc), text: libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))}
	if c.db != 0 {
		f.code = int(sqlite3.Xsqlite3_extended_errcode(c.tls, c.db))
		if more := libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)); !strings.HasPrefix(f.text, more) {
			f.text += ": " + more
		}
	}
	return f
}

func (c *conn) prepare(q string) (*stmt, error) {
	text, err := libc.CString(q)
	if err != nil {
		return nil, fault.Wrap(fault.TooLarge, "prepare statement", err)
	}
	defer libc.Xfree(c.tls, text)
	if err := c.check(sqlite3.Xsqlite3_prepare_v2(c.tls, c.db, text, -1, c.out, 0)); err != nil {
		return nil, err
	}
	return &stmt{c: c, at: libc.AtomicLoadPUintptr(c.out)}, nil
}

// exec runs a statement once, and returns how many rows it changed.
func (c *conn) exec(q string, args ...driver.Value) (int64, error) {
	s, err := c.prepare(q)
	if err != nil {
		return 0, err
	}
	defer s.close()
	return s.run(args...)
}

// integer runs a query once, and reads the one integer of its first row.
func (c *conn) integer(into *int64, q string, args ...driver.Value) error {
	s, err := c.prepare(q)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.bindValues(args); err != nil {
		return err
	}
	ok, err := s.integers(into)
	if err == nil && !ok {
		err = sql.ErrNoRows
	}
	return err
}

// written is how many pages were written since it was last asked.
func (c *conn) written() int {
	sqlite3.Xsqlite3_db_status(c.tls, c.db, sqlite3.SQLITE_DBSTATUS_CACHE_WRITE, c.out, c.out+4, 1)
	return int(libc.AtomicLoadPInt32(c.out))
}

// hold puts texts where SQLite finds them: cells that are bound to them are so until the next hold.
func (c *conn) hold(text []byte) {
	need := max(len(text), 1) // an empty text needs an address, too
	if need > c.room.size || need <= keptRoom && c.room.size > keptRoom {
		libc.Xfree(c.tls, c.room.at)
		c.room.size = max(need, 64<<10)
		c.room.at = libc.Xmalloc(c.tls, types.Size_t(c.room.size))
	}
	copy(libc.GoBytes(c.room.at, len(text)), text)
}

func (s *stmt) close() {
	if s != nil {
		sqlite3.Xsqlite3_finalize(s.c.tls, s.at)
	}
}

// run runs the statement with values of its own, in place of those that are held, and returns how many rows it changed.
func (s *stmt) run(args ...driver.Value) (int64, error) {
	if err := s.bindValues(args); err != nil {
		return 0, err
	}
	return s.exec()
}

// bindValues holds values in place of what is held, and binds them.
func (s *stmt) bindValues(args []driver.Value) error {
	var row cells
	for _, a := range args {
		row.value(a)
	}
	s.c.hold(row.text)
	return s.bind(1, row.list)
}

// bind binds cells to the parameters from the first on; their texts are held.
func (s *stmt) bind(first int, row []cell) error {
	tls, at, base := s.c.tls, s.at, s.c.room.at
	for i := range row {
		c, n := &row[i], int32(first+i)
		var rc int32
		switch c.form {
		case formNull:
			rc = sqlite3.Xsqlite3_bind_null(tls, at, n)
		case formInt:
			rc = sqlite3.Xsqlite3_bind_int64(tls, at, n, c.n)
		case formFloat:
			rc = sqlite3.Xsqlite3_bind_double(tls, at, n, math.Float64frombits(uint64(c.n)))
		case formText:
			rc = sqlite3.Xsqlite3_bind_text(tls, at, n, base+uintptr(c.n), c.size, sqlite3.SQLITE_STATIC)
		case formBlob:
			rc = sqlite3.Xsqlite3_bind_blob(tls, at, n, base+uintptr(c.n), c.size, sqlite3.SQLITE_STATIC)
		}
		if rc != sqlite3.SQLITE_OK {
			return s.c.check(rc)
		}
	}
	return nil
}

// exec runs the statement with what is bound, and returns how many rows it changed.
func (s *stmt) exec() (int64, error) {
	for {
		switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.at); rc {
		case sqlite3.SQLITE_ROW:
		case sqlite3.SQLITE_DONE:
			sqlite3.Xsqlite3_reset(s.c.tls, s.at)
			return int64(sqlite3.Xsqlite3_changes(s.c.tls, s.c.db)), nil
		default:
			err := s.c.check(rc)
			sqlite3.Xsqlite3_reset(s.c.tls, s.at)
			return 0, err
		}
	}
}

// integers runs the statement with what is bound and reads the columns of its first row, which are integers; ok is whether there
// is one.
func (s *stmt) integers(into ...*int64) (ok bool, err error) {
	rc := sqlite3.Xsqlite3_step(s.c.tls, s.at)
	if rc == sqlite3.SQLITE_ROW {
		for i := range into {
			*into[i] = sqlite3.Xsqlite3_column_int64(s.c.tls, s.at, int32(i))
		}
	}
	err = s.c.check(rc)
	sqlite3.Xsqlite3_reset(s.c.tls, s.at)
	return rc == sqlite3.SQLITE_ROW, err
}
