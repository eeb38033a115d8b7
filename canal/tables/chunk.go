package tables

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	statementRows = 20_000 // of one statement: what is thrown away at worst when nobody goes on
	parkedLimit   = 4      // snapshots that wait for another chunk; each has a connection
	ageRows       = 64     // rows between two looks at the clock
)

// queryer is a connection or a pool.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// cursor is a snapshot with an open statement, where the next chunk goes on.
type cursor struct {
	d       *catalog.Dataset
	h       catalog.Holding
	pool    *db.DB
	at, to  catalog.Key // at: of the last row given out
	keys    []int
	beat    uint64
	begun   time.Time
	snap    *db.Snapshot
	ctx     context.Context // of the statements: it outlives the call that began them
	cancel  context.CancelFunc
	rows    *db.Rows
	n       int // rows of this statement
	shape   shape
	members members
	row     catalog.Row
	expiry  *time.Timer // while parked
}

// Chunk is part of canal.Tables. The chunk is the caller's.
func (t *Tables) Chunk(ctx context.Context, d *catalog.Dataset, h catalog.Holding, after, to catalog.Key, rows, bytes int) (canal.Chunk, error) {
	if rows <= 0 || bytes <= 0 {
		return canal.Chunk{}, fault.New(fault.Invalid, "read chunk", "%d rows and %d bytes", rows, bytes)
	}
	if err := ctx.Err(); err != nil {
		return canal.Chunk{}, db.Classify("read chunk of "+h.Shard.Table, err)
	}
	c, err := t.cursor(ctx, d, h, after, to)
	if err != nil {
		return canal.Chunk{}, err
	}
	stop := context.AfterFunc(ctx, c.cancel)
	chunk, err := c.read(t, rows, bytes)
	if !stop() && err != nil { // the caller's reason, not the cursor's
		err = db.Classify("read chunk of "+h.Shard.Table, ctx.Err())
	}
	if err != nil {
		return canal.Chunk{}, errors.Join(err, c.close())
	}
	if chunk.End || ctx.Err() != nil || t.old(c) {
		return chunk, c.close()
	}
	return chunk, t.park(c)
}

func (t *Tables) old(c *cursor) bool { return t.cfg.Now().Sub(c.begun) >= t.cfg.SnapshotLimit }

// cursor takes the parked one that goes on after the key, or begins a new one.
func (t *Tables) cursor(ctx context.Context, d *catalog.Dataset, h catalog.Holding, after, to catalog.Key) (*cursor, error) {
	pool, err := t.store(h.Store)
	if err != nil {
		return nil, err
	}
	if c := t.unpark(place{d.Name, h.Shard.Table}); c != nil {
		if c.d == d && c.h == h && c.pool == pool && c.at == after && c.to == to && !t.old(c) {
			return c, nil
		}
		if err := c.close(); err != nil {
			return nil, err
		}
	}
	begun := t.cfg.Now()
	snap, err := pool.Snapshot(ctx, d, []catalog.Holding{h})
	if err != nil {
		return nil, err
	}
	c := &cursor{d: d, h: h, pool: pool, at: after, to: to, begun: begun, snap: snap}
	if h.Store == catalog.Live {
		c.beat = snap.Heartbeat().Seq
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	// The snapshot holds the table's definition: as it is now it stays until the end.
	if c.shape, err = t.shapeOf(ctx, snap.Conn(), pool.Schema(), d, h.Shard.Table); err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.keys = c.shape.d.KeyIndexes()
	if c.members, err = readMembers(ctx, snap.Conn(), d, h.Shard.Table); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// park keeps the cursor until the next chunk or the end of its time.
func (t *Tables) park(c *cursor) error {
	at := place{c.d.Name, c.h.Shard.Table}
	t.mu.Lock()
	if t.closed || t.parked[at] != nil || len(t.parked) >= parkedLimit {
		t.mu.Unlock()
		return c.close()
	}
	defer t.mu.Unlock()
	t.parked[at] = c
	c.expiry = time.AfterFunc(max(0, t.cfg.SnapshotLimit-t.cfg.Now().Sub(c.begun)), func() {
		t.mu.Lock()
		mine := t.parked[at] == c
		if mine {
			delete(t.parked, at)
		}
		t.mu.Unlock()
		if mine {
			_ = c.close() // its connection is dropped; nobody waits for an answer
		}
	})
	return nil
}

func (t *Tables) unpark(at place) *cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.parked[at]
	if c != nil {
		delete(t.parked, at)
		c.expiry.Stop()
	}
	return c
}

// close ends statement and snapshot.
func (c *cursor) close() error {
	err := c.end()
	err = errors.Join(err, c.snap.Close())
	c.cancel()
	return err
}

func (c *cursor) end() error {
	if c.rows == nil {
		return nil
	}
	err := c.rows.Close()
	c.rows = nil
	return err
}

// read reads the next rows.
func (c *cursor) read(t *Tables, rows, bytes int) (canal.Chunk, error) {
	chunk := canal.Chunk{Beat: c.beat, Form: c.shape.form, Last: c.at, Rows: make([]catalog.Row, 0, min(rows, statementRows))}
	for size := 0; len(chunk.Rows) < rows && size < bytes; {
		if c.rows == nil {
			if err := c.open(); err != nil {
				return chunk, err
			}
		}
		ok, err := c.rows.Next(&c.row)
		if err != nil {
			return chunk, err
		}
		if !ok {
			whole := c.n < statementRows
			if err := c.end(); err != nil {
				return chunk, err
			}
			if whole {
				chunk.End = true
				break
			}
			c.mark(&chunk)
			continue
		}
		c.n++
		size += c.row.Size()
		chunk.Rows = append(chunk.Rows, c.row.Clone())
		if len(chunk.Rows)%ageRows == 0 && t.old(c) {
			break
		}
	}
	c.mark(&chunk)
	return chunk, nil
}

// mark notes the place after the chunk's last row.
func (c *cursor) mark(chunk *canal.Chunk) {
	if n := len(chunk.Rows); n > 0 {
		c.at = catalog.KeyOf(&chunk.Rows[n-1], c.keys)
		chunk.Last = c.at
	}
}

// open begins the next statement.
func (c *cursor) open() error {
	var err error
	c.n = 0
	c.rows, err = c.query()
	return err
}

func (c *cursor) query() (*db.Rows, error) {
	q := selectRows(c.shape.d, c.h.Shard.Table)
	var args []any
	word := " WHERE "
	for _, b := range []struct {
		key catalog.Key
		op  string
	}{{c.at, ">"}, {c.to, "<="}} {
		if b.key == "" {
			continue
		}
		cond, more, err := bound(c.d, c.members, b.key, b.op)
		if err != nil {
			return nil, err
		}
		q, args, word = q+word+cond, append(args, more...), " AND "
	}
	return c.snap.Rows(c.ctx, c.shape.d, nil, q+" ORDER BY "+orderBy(c.d)+" LIMIT "+strconv.Itoa(statementRows), args...)
}
