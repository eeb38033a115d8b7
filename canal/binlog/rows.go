package binlog

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// rowsEvent decodes the rows of a captured table and counts those of the others.
func (g *group) rowsEvent(typ replication.EventType, ev *replication.RowsEvent) error {
	if !g.open {
		return fault.New(fault.Unsafe, "read binlog", "rows without a GTID").WithHint("the binlog was written without GTIDs; start after that")
	}
	sh := g.shapes[ev.TableID]
	if sh == nil {
		return fault.New(fault.Unsafe, "read binlog", "%s: rows of table number %d, which was not described", g.x.GTID, ev.TableID)
	}
	data := ev.NdbData
	switch typ {
	case replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		var err error
		if data, err = decompress(data); err != nil {
			return fault.Wrap(fault.Unsafe, "decompress rows", err)
		}
	}
	g.hash([]byte{byte(ev.Type())})
	g.hash(data)
	if err := sh.readable(ev, typ); err != nil {
		g.images++
		return g.bad(sh, err)
	}
	first := g.images
	for len(data) > 0 {
		n, err := g.row(sh, ev, data)
		if err != nil {
			var spill spillError
			if errors.As(err, &spill) {
				return spill.err
			}
			if err := g.bad(sh, err); err != nil {
				return err
			}
			if errors.Is(err, errWidth) {
				g.images = first + 1
				return nil
			}
		}
		data = data[n:]
	}
	return nil
}

// bad stops the dataset whose rows can't be read. What strata_part says concerns all of them.
func (g *group) bad(sh *shape, err error) error {
	if sh.d != nil && sh.d == g.parts {
		return fault.New(fault.Unsafe, "read "+partTable, "%s: %w", g.x.GTID, err).
			WithHint("strata's own table was changed or written in another way than by strata; load the datasets anew, from a place after it")
	}
	if sh.d != nil && sh.d != g.beat {
		g.touch(sh.d)
	}
	g.poison(sh.d, err)
	return nil
}

// decompress undoes MariaDB's log_bin_compress.
func decompress(data []byte) ([]byte, error) {
	if len(data) < 1 || len(data) < 1+int(data[0]&7) || data[0]&7 > 4 || mysql.BFixedLengthInt(data[1:1+int(data[0]&7)]) > maxEvent {
		return nil, errors.New("the header of compressed rows is damaged")
	}
	return mysql.DecompressMariadbData(data)
}

// spillError is an error of the disk, which is no matter of one dataset.
type spillError struct{ err error }

func (e spillError) Error() string { return e.err.Error() }

// row takes one row change: one image, or two for an update.
func (g *group) row(sh *shape, ev *replication.RowsEvent, data []byte) (int, error) {
	ordinal := g.images
	update := ev.Type() == replication.EnumRowsEventTypeUpdate
	var c *canal.Change
	first := sh.err
	if sh.d != nil && first == nil && !g.poisoned(sh.d) {
		c = g.change(sh)
		c.Ordinal = ordinal
		switch {
		case update:
			c.Op = canal.Update
		case ev.Type() == replication.EnumRowsEventTypeInsert:
			c.Op = canal.Insert
		default:
			c.Op = canal.Delete
		}
	}
	total := 0
	for k := range 2 {
		if k == 1 && !update {
			break
		}
		var to *catalog.Row
		if c != nil {
			if to = &c.After; c.Op == canal.Delete || update && k == 0 {
				to = &c.Before
			}
		}
		n, err := sh.image(data[total:], to)
		if errors.Is(err, errWidth) {
			g.undo(c)
			return 0, err
		}
		if first == nil {
			if first = err; err == nil && to != nil && n > g.s.cfg.MaxRowBytes {
				first = g.tooLarge(sh, to, n)
			}
		}
		total += n
		g.images++
	}
	if c == nil {
		return total, first
	}
	if first != nil {
		g.undo(c)
		return total, first
	}
	return total, g.took(sh, c)
}

// tooLarge is the error of a row beyond MaxRowBytes.
func (g *group) tooLarge(sh *shape, r *catalog.Row, n int) error {
	var key catalog.Row
	for _, i := range sh.d.KeyIndexes() {
		key.Append(cellOf(sh, r, i))
	}
	at := make([]int, key.Len())
	for i := range at {
		at[i] = i
	}
	return fault.New(fault.TooLarge, "read rows of "+sh.table, "the row with key %.200q has %d bytes, more than %d", catalog.KeyOf(&key, at), n, g.s.cfg.MaxRowBytes).
		WithHint("keep such values out of the table, or raise the limit; then load the dataset anew")
}

// change makes room for a change, in memory that was used before where there is some.
func (g *group) change(sh *shape) *canal.Change {
	c := &g.own
	switch {
	case sh.d == g.beat || sh.d == g.parts:
	case g.spilling:
		c = &g.spare
	default:
		if n := len(g.x.Changes); n < cap(g.x.Changes) {
			g.x.Changes = g.x.Changes[:n+1]
		} else {
			g.x.Changes = append(g.x.Changes, canal.Change{})
		}
		c = &g.x.Changes[len(g.x.Changes)-1]
	}
	c.Dataset, c.Form, c.Shard = sh.d, formOf(sh), sh.table
	c.Before.Reset()
	c.After.Reset()
	return c
}

// undo takes a change out again.
func (g *group) undo(c *canal.Change) {
	if c != nil && c != &g.own && c != &g.spare {
		g.x.Changes = g.x.Changes[:len(g.x.Changes)-1]
	}
}

// took keeps the change; beyond MaxTxnBytes of them, on disk.
func (g *group) took(sh *shape, c *canal.Change) error {
	switch sh.d {
	case g.beat:
		if c.Op != canal.Delete {
			g.x.Beat = beatOf(&c.After)
		}
		return nil
	case g.parts:
		return g.part(sh, c)
	}
	g.touch(sh.d)
	if g.spilling {
		if err := g.spills[len(g.spills)-1].add(c); err != nil {
			return spillError{err}
		}
		return nil
	}
	size := c.Before.Size() + c.After.Size()
	g.big = g.big || size > keepRow
	if g.bytes += int64(changeBytes + size); g.bytes < g.s.cfg.MaxTxnBytes {
		return nil
	}
	sp, err := g.s.spill(g.onDisk)
	if err != nil {
		return spillError{err}
	}
	g.spills, g.spilling = append(g.spills, sp), true
	return nil
}

// touch notes that the group has changes of a dataset.
func (g *group) touch(d *catalog.Dataset) {
	for _, t := range g.touched {
		if t == d {
			return
		}
	}
	g.touched = append(g.touched, d)
}

// part keeps what strata_part says after the change.
func (g *group) part(sh *shape, c *canal.Change) error {
	if c.Op == canal.Delete {
		return nil
	}
	if len(g.x.Parts) >= maxParts {
		return fault.New(fault.TooLarge, "read "+partTable, "more than %d rows in one transaction", maxParts)
	}
	text := func(i int) string { return string(cellOf(sh, &c.After, i)) }
	p := catalog.Part{Dataset: text(0), Shard: text(1), Token: text(5)}
	var errs [4]error
	p.Range.From, errs[0] = instant(text(2))
	p.Range.To, errs[1] = instant(text(3))
	p.Epoch, errs[2] = strconv.ParseUint(text(4), 10, 64)
	switch p.State = catalog.State(text(6)); p.State {
	case catalog.Copying, catalog.Owned, catalog.Released:
	default:
		errs[3] = fmt.Errorf("a state %q", p.State)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return fault.Wrap(fault.Unsafe, "read "+partTable, err)
	}
	g.x.Parts = append(g.x.Parts, p)
	return nil
}

func instant(text string) (catalog.Instant, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return catalog.Instant(n), err
}

// formOf is the shape's columns where they aren't the dataset's own.
func formOf(sh *shape) *canal.Form { return sh.form }

// cellOf is the cell of the dataset's column i.
func cellOf(sh *shape, r *catalog.Row, i int) []byte {
	if f := formOf(sh); f != nil {
		if i = f.At[i]; i < 0 {
			return nil
		}
	}
	return r.Cell(i)
}
