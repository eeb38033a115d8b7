package binlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

const (
	flagStandalone = 1   // the group is one event, without a commit
	changeBytes    = 256 // of a Change beside its rows
	keepChanges    = 8192
)

// group collects the events of one group after the other into Txns.
type group struct {
	s      *Source
	where  position
	before string // where as text
	again  string // GTID of the group that is delivered a second time: its XA bookkeeping is done already
	shapes map[uint64]*shape
	beat   *catalog.Dataset

	checksum   int // bytes at the end of each event
	open       bool
	standalone bool
	ended      bool
	x          canal.Txn
	rows       canal.Change // of the heartbeat
	images     uint32
	bytes      int64
	size       error // MaxTxnBytes was passed
	digest     hash.Hash
	offsets    []span
	maria      mysql.MariadbGTID
	uuid       uuid.UUID
	gno        int64

	held   map[string]*canal.Txn // prepared XA transactions with captured changes
	others map[string]bool       // prepared XA transactions without
}

func newGroup(s *Source, where position, at canal.Position) *group {
	g := &group{s: s, where: where, before: where.String(), again: at.Last.GTID, shapes: map[uint64]*shape{}, digest: sha256.New(),
		held: map[string]*canal.Txn{}, others: map[string]bool{}}
	g.beat = &catalog.Dataset{Name: heartbeatTable, Table: heartbeatTable, Key: []string{"id"}, Columns: []catalog.Column{
		{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 1}}, {Name: "seq", Type: catalog.Type{Kind: catalog.Uint, Size: 8}},
		{Name: "at", Type: catalog.Type{Kind: catalog.Int, Size: 8}}}}
	for _, x := range at.XA {
		g.others[x.ID] = true
	}
	return g
}

// ready returns the transaction that the last event has completed, once.
func (g *group) ready() *canal.Txn {
	if !g.ended {
		return nil
	}
	g.ended = false
	return &g.x
}

// feed takes the next event.
func (g *group) feed(e *replication.BinlogEvent) error {
	switch ev := e.Event.(type) {
	case *replication.MariadbGTIDEvent:
		g.maria = ev.GTID
		g.begin(e, string(appendGTID(nil, ev.GTID)))
		g.standalone = ev.Flags&flagStandalone != 0
	case *replication.GTIDEvent:
		if e.Header.EventType == replication.ANONYMOUS_GTID_EVENT {
			return fault.New(fault.Unsafe, "read binlog", "a transaction without a GTID").WithHint("set gtid_mode=ON on the server and start after it")
		}
		id, err := uuid.FromBytes(ev.SID)
		if err != nil {
			return fault.Wrap(fault.Unsafe, "read gtid", err)
		}
		g.uuid, g.gno = id, ev.GNO
		g.begin(e, fmt.Sprintf("%s:%d", id, ev.GNO))
	case *replication.GtidTaggedLogEvent:
		return fault.New(fault.Unsafe, "read binlog", "a GTID with a tag").WithHint("tagged GTIDs are not supported: don't set a tag in gtid_next")
	case *replication.FormatDescriptionEvent:
		g.checksum = 0
		if ev.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32 {
			g.checksum = 4
		}
	case *replication.TransactionPayloadEvent:
		outer := g.checksum
		g.checksum = 0 // the events inside have none
		defer func() { g.checksum = outer }()
		for _, inner := range ev.Events {
			if err := g.feed(inner); err != nil {
				return err
			}
		}
	case *replication.TableMapEvent:
		g.shape(ev, e.RawData[replication.EventHeaderSize:len(e.RawData)-g.checksum])
	case *replication.RowsEvent:
		return g.rowsEvent(e, ev)
	case *replication.QueryEvent:
		return g.query(ev)
	case *replication.XIDEvent:
		g.end()
	default:
		return g.other(e)
	}
	return nil
}

// begin starts a group; one that was not ended is dropped.
func (g *group) begin(e *replication.BinlogEvent, gtid string) {
	changes := g.x.Changes
	if len(changes) > keepChanges {
		changes = nil // let go of the memory of a big one
	}
	g.open, g.standalone, g.ended = true, false, false
	g.images, g.bytes, g.size = 0, 0, nil
	g.digest.Reset()
	g.hash([]byte(gtid))
	g.x = canal.Txn{GTID: gtid, ServerID: e.Header.ServerID, Time: int64(e.Header.Timestamp), Changes: changes[:0]}
}

// hash adds a part, with its length, to the digest.
func (g *group) hash(b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	g.digest.Write(n[:])
	g.digest.Write(b)
}

// end completes the group as a transaction.
func (g *group) end() {
	if !g.open {
		return
	}
	g.open, g.ended = false, true
	if g.s.flavor == mysql.MariaDBFlavor {
		g.where.addMaria(g.maria.DomainID, g.maria.ServerID, g.maria.SequenceNumber)
	} else {
		g.where.addMySQL(g.uuid, g.gno)
	}
	var sum catalog.Hash
	copy(sum[:], g.digest.Sum(nil))
	after := g.where.String()
	g.x.Position = canal.Position{GTID: after, Last: canal.Last{GTID: g.x.GTID, Before: g.before, Digest: sum}, XA: g.openXA()}
	g.before = after
	if g.x.GTID == g.again {
		g.again = ""
	}
}

// openXA lists what is prepared.
func (g *group) openXA() []canal.OpenXA {
	out := make([]canal.OpenXA, 0, len(g.others)+len(g.held))
	for id := range g.others {
		out = append(out, canal.OpenXA{ID: id})
	}
	for id := range g.held {
		out = append(out, canal.OpenXA{ID: id, Captured: true})
	}
	slices.SortFunc(out, func(a, b canal.OpenXA) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// drop forgets the group's changes.
func (g *group) drop() { g.x.Changes, g.x.Beat, g.x.Poison = g.x.Changes[:0], nil, nil }

// poison stops a dataset; once is enough.
func (g *group) poison(d *catalog.Dataset, err error) {
	if d == nil || d == g.beat || slices.ContainsFunc(g.x.Poison, func(p canal.Poison) bool { return p.Dataset == d }) {
		return
	}
	g.x.Poison = append(g.x.Poison, canal.Poison{Dataset: d, Err: fmt.Errorf("%s: %w", g.x.GTID, err)})
}

// poisonChanged stops every dataset that has changes in this group.
func (g *group) poisonChanged(err error) {
	for i := range g.x.Changes {
		g.poison(g.x.Changes[i].Dataset, err)
	}
}

// shape remembers what the table behind a table number looks like, for the row events that follow.
func (g *group) shape(ev *replication.TableMapEvent, body []byte) {
	g.hash(ev.Schema)
	g.hash(ev.Table)
	if old := g.shapes[ev.TableID]; old != nil && old.same(body) {
		return
	}
	if len(g.shapes) > 10000 { // table numbers are never reused; forget all rather than grow
		clear(g.shapes)
	}
	sh := newShape(ev, body, g.s.charsets)
	g.shapes[ev.TableID] = sh
	if string(ev.Schema) != g.s.cfg.DB.Schema() {
		return
	}
	table := string(ev.Table)
	if table == heartbeatTable {
		sh.capture(g.beat, table)
	} else if d := g.captured(table); d != nil {
		sh.capture(d, table)
	}
}

// captured is the dataset that a physical table is a shard of; nil for none.
func (g *group) captured(table string) *catalog.Dataset {
	if strings.Contains(table, "__strata_") {
		return nil // the name of one attempt to move a shard away
	}
	for _, d := range g.s.cfg.Datasets {
		if _, ok := d.ShardOf(table); ok {
			return d
		}
	}
	return nil
}

// rowsEvent decodes the rows of a captured table and counts those of the others.
func (g *group) rowsEvent(e *replication.BinlogEvent, ev *replication.RowsEvent) error {
	if !g.open {
		return fault.New(fault.Unsafe, "read binlog", "rows without a GTID").WithHint("the binlog was written without GTIDs; start after that")
	}
	sh := g.shapes[ev.TableID]
	if sh == nil {
		return fault.New(fault.Unsafe, "read binlog", "%s: rows of table number %d, which was not described", g.x.GTID, ev.TableID)
	}
	data := ev.NdbData
	switch e.Header.EventType {
	case replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		var err error
		if data, err = mysql.DecompressMariadbData(data); err != nil {
			return fault.Wrap(fault.Unsafe, "decompress rows", err)
		}
	}
	g.hash([]byte{byte(ev.Type())})
	g.hash(data)
	if err := sh.readable(ev, e.Header.EventType); err != nil {
		g.poison(sh.d, err)
		g.images++
		return nil
	}
	first := g.images
	for row := 0; len(data) > 0; row++ {
		n, err := g.row(sh, ev, data, &row)
		if err != nil {
			g.poison(sh.d, err)
			if errors.Is(err, errWidth) {
				g.images = first + 1
				return nil
			}
		}
		data = data[n:]
	}
	return nil
}

// row takes one row change: one image, or two for an update. row is the index of its first image in the event.
func (g *group) row(sh *shape, ev *replication.RowsEvent, data []byte, row *int) (int, error) {
	ordinal := g.images
	update := ev.Type() == replication.EnumRowsEventTypeUpdate
	var c *canal.Change
	first := sh.err
	if first == nil && sh.d != nil && sh.d != g.beat {
		first = g.size
	}
	if sh.d != nil && first == nil {
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
		*row += k
		n, err := sh.image(data[total:], to, &g.offsets, jsonOf(ev, *row))
		if errors.Is(err, errWidth) {
			return 0, err
		}
		if first == nil {
			first = err
		}
		total += n
		g.images++
	}
	if c != nil {
		g.took(sh, c, first)
	}
	return total, first
}

// jsonOf is the library's decoding of an image, where it made one.
func jsonOf(ev *replication.RowsEvent, row int) []any {
	if row < len(ev.Rows) {
		return ev.Rows[row]
	}
	return nil
}

// change makes room for a change, in memory that was used before where there is some.
func (g *group) change(sh *shape) *canal.Change {
	c := &g.rows
	if sh.d != g.beat {
		if n := len(g.x.Changes); n < cap(g.x.Changes) {
			g.x.Changes = g.x.Changes[:n+1]
		} else {
			g.x.Changes = append(g.x.Changes, canal.Change{})
		}
		c = &g.x.Changes[len(g.x.Changes)-1]
	}
	c.Dataset, c.Shard = sh.d, sh.table
	c.Before.Reset()
	c.After.Reset()
	return c
}

// took keeps the change, or takes it out again, and minds the transaction's size.
func (g *group) took(sh *shape, c *canal.Change, err error) {
	if sh.d == g.beat {
		if err == nil && c.Op != canal.Delete {
			g.x.Beat = beatOf(&c.After)
		}
		return
	}
	if err != nil {
		g.x.Changes = g.x.Changes[:len(g.x.Changes)-1]
		return
	}
	g.bytes += int64(changeBytes + c.Before.Size() + c.After.Size())
	if g.bytes <= g.s.cfg.MaxTxnBytes {
		return
	}
	g.size = fault.New(fault.TooLarge, "buffer transaction", "it has more than %d bytes of captured rows", g.s.cfg.MaxTxnBytes).
		WithHint("make smaller transactions; to take this one, raise the limit and load the dataset anew")
	g.poisonChanged(g.size) // and those whose rows are still to come
	g.x.Changes = nil
}
