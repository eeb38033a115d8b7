package binlog

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"sync/atomic"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

const (
	flagStandalone = 1   // the group is one event, without a commit
	changeBytes    = 384 // of a Change beside its cells: itself, and what its rows' memory has of offsets and of room
	keepChanges    = 4096
	keepBytes      = 16 << 20 // of all rows of a group, so that the next one uses its memory again
	keepRow        = 4 << 10  // of one row
	maxParts       = 100_000
)

// group collects the events of one group after the other into Txns.
type group struct {
	s      *Source
	chars  charsets
	where  position
	before string // where as text
	again  string // GTID of the group that is delivered a second time: its XA bookkeeping is done already
	shapes map[uint64]*shape
	beat   *catalog.Dataset
	parts  *catalog.Dataset

	tail       int // bytes of checksum behind the event in hand
	open       bool
	standalone bool
	begun      bool // a BEGIN was there, so a statement doesn't end the group
	seeking    bool // only a prepare is looked for
	ended      bool
	started    bool // the server was started since the last group
	x          canal.Txn
	own        canal.Change // of strata's own tables
	spare      canal.Change // on its way to disk
	touched    []*catalog.Dataset
	spills     spills // of x; the last one is being written
	spilling   bool
	finished   spills // of the Txn that was delivered
	images     uint32
	bytes      int64 // of x.Changes
	big        bool  // the memory of x.Changes is too much to keep
	digest     hash.Hash
	mariaGTID  mysql.MariadbGTID
	uuid       uuid.UUID
	tag        mysql.Tag
	gno        int64
	domains    []uint32
	indirect   map[canal.TableName]reach // nil: not asked yet

	held      map[string]*prepared
	heldBytes int64
	list      []canal.OpenXA
	over      []string // ids of the last XA transactions that ended
	onDisk    *atomic.Int64
}

func newGroup(s *Source, chars charsets, where position, at canal.Position) *group {
	g := &group{s: s, chars: chars, where: where, before: where.String(), again: at.Last.GTID, shapes: map[uint64]*shape{}, digest: sha256.New(),
		held: map[string]*prepared{}, over: at.EndedXA, domains: at.Domains, onDisk: &atomic.Int64{}}
	g.beat = &catalog.Dataset{Name: heartbeatTable, Table: heartbeatTable, Key: []string{"id"}, Columns: []catalog.Column{
		{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 1}}, {Name: "seq", Type: catalog.Type{Kind: catalog.Uint, Size: 8}},
		{Name: "at", Type: catalog.Type{Kind: catalog.Int, Size: 8}}}}
	text, number := catalog.Type{Kind: catalog.Text, Size: 64}, catalog.Type{Kind: catalog.Int, Size: 8}
	g.parts = &catalog.Dataset{Name: partTable, Table: partTable, Key: []string{"dataset", "shard"}, Columns: []catalog.Column{
		{Name: "dataset", Type: text}, {Name: "shard", Type: text}, {Name: "range_from", Type: number}, {Name: "range_to", Type: number},
		{Name: "epoch", Type: catalog.Type{Kind: catalog.Uint, Size: 8}}, {Name: "token", Type: text}, {Name: "state", Type: catalog.Type{Kind: catalog.Enum}}}}
	return g
}

func (g *group) maria() bool { return g.s.flavor == mysql.MariaDBFlavor }

// ready returns the transaction that the last event has completed, once.
func (g *group) ready() *canal.Txn {
	if !g.ended {
		return nil
	}
	g.ended = false
	return &g.x
}

// feed takes the next event.
func (g *group) feed(e event) error {
	g.tail = e.tail
	switch ev := e.Event.(type) {
	case *replication.MariadbGTIDEvent:
		g.mariaGTID = ev.GTID
		g.standalone = ev.Flags&flagStandalone != 0
		return g.begin(e, string(appendGTID(nil, ev.GTID)))
	case *replication.GTIDEvent:
		if e.Header.EventType == replication.ANONYMOUS_GTID_EVENT {
			return fault.New(fault.Unsafe, "read binlog", "a transaction without a GTID").WithHint("set gtid_mode=ON on the server and start after it")
		}
		return g.beginMySQL(e, ev)
	case *replication.GtidTaggedLogEvent:
		return g.beginMySQL(e, &ev.GTIDEvent)
	case *replication.FormatDescriptionEvent:
		// A file that a rotation began, and what a server sends in the middle of a file, have no time here.
		g.started = g.started || ev.CreateTimestamp != 0
		if g.open { // the server went down while it wrote this group, and began a new file
			g.open = false
			g.drop()
		}
	case *replication.TableMapEvent:
		g.shape(ev, e.body())
	case *replication.RowsEvent:
		return g.rowsEvent(e.Header.EventType, ev)
	case *replication.QueryEvent:
		return g.query(ev.Schema, ev.Query)
	case *replication.ExecuteLoadQueryEvent:
		return g.loadQuery(ev, e.body())
	case *replication.XIDEvent:
		return g.end()
	default:
		return g.other(e)
	}
	return nil
}

func (g *group) beginMySQL(e event, ev *replication.GTIDEvent) error {
	id, err := uuid.FromBytes(ev.SID)
	if err != nil {
		return fault.Wrap(fault.Unsafe, "read gtid", err)
	}
	g.uuid, g.tag, g.gno = id, ev.Tag, ev.GNO
	text := id.String() + ":"
	if ev.Tag != (mysql.Tag{}) {
		text += ev.Tag.String() + ":"
	}
	return g.begin(e, fmt.Sprint(text, ev.GNO))
}

// begin starts a group. One that had no end, and no end of its file either, was not understood.
func (g *group) begin(e event, gtid string) error {
	if g.open && (len(g.touched) > 0 || len(g.x.Poison) > 0 || len(g.x.Alarms) > 0) {
		return fault.New(fault.Unsafe, "read binlog", "%s has no end that this version knows", g.x.GTID).
			WithHint("report what that transaction did; load the datasets anew, from a place after it")
	}
	changes := g.x.Changes
	if g.big || g.bytes > keepBytes || len(changes) > keepChanges {
		changes = nil
	}
	g.finished.close()
	g.spills.close()
	g.spills, g.finished = nil, nil
	g.open, g.begun, g.ended, g.spilling, g.big = true, false, false, false, false
	g.images, g.bytes, g.touched = 0, 0, g.touched[:0]
	g.digest.Reset()
	g.hash([]byte(gtid))
	g.x = canal.Txn{GTID: gtid, ServerID: e.Header.ServerID, Time: int64(e.Header.Timestamp), Changes: changes[:0]}
	return nil
}

// hash adds a part, with its length, to the digest.
func (g *group) hash(b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	g.digest.Write(n[:])
	g.digest.Write(b)
}

// end completes the group as a transaction.
func (g *group) end() error {
	if !g.open {
		return nil
	}
	if len(g.spills) > 0 {
		if err := g.spills.flush(); err != nil {
			return err
		}
		g.x.Spill = g.spills
		g.finished, g.spills = g.spills, nil
	}
	g.open, g.ended = false, true
	g.x.Started, g.started = g.started, false
	if g.maria() {
		g.where.addMaria(g.mariaGTID.DomainID, g.mariaGTID.ServerID, g.mariaGTID.SequenceNumber)
		g.usesDomain(g.mariaGTID.DomainID)
	} else {
		g.where.addMySQL(g.uuid, g.tag, g.gno)
	}
	var sum catalog.Hash
	copy(sum[:], g.digest.Sum(nil))
	after := g.where.String()
	g.x.Position = canal.Position{GTID: after, Last: canal.Last{GTID: g.x.GTID, Before: g.before, Digest: sum}, XA: g.list, EndedXA: g.over, Domains: g.domains}
	g.before = after
	if g.x.GTID == g.again {
		g.again = ""
	}
	return nil
}

// usesDomain notes the domain of a group with captured changes.
func (g *group) usesDomain(domain uint32) {
	if len(g.touched) == 0 && len(g.x.Changes) == 0 && g.x.Spill == nil {
		return
	}
	if i, ok := slices.BinarySearch(g.domains, domain); !ok {
		g.domains = slices.Insert(slices.Clone(g.domains), i, domain) // the positions given out keep theirs
	}
}

// drop forgets the group's changes.
func (g *group) drop() {
	g.spills.close()
	g.spills, g.spilling = nil, false
	g.x.Changes, g.x.Beat, g.x.Parts, g.x.Poison = g.x.Changes[:0], nil, nil, nil
	g.bytes, g.touched = 0, g.touched[:0]
}

// close removes what is on disk.
func (g *group) close() {
	g.finished.close()
	g.spills.close()
	for _, p := range g.held {
		p.spills.close()
	}
	g.finished, g.spills, g.held = nil, nil, nil
}

// poison stops a dataset; once is enough.
func (g *group) poison(d *catalog.Dataset, err error) {
	if d == nil || d == g.beat || g.poisoned(d) {
		return
	}
	g.x.Poison = append(g.x.Poison, canal.Poison{Dataset: d, Err: fmt.Errorf("%s: %w", g.x.GTID, err)})
}

func (g *group) poisoned(d *catalog.Dataset) bool {
	for i := range g.x.Poison {
		if g.x.Poison[i].Dataset == d {
			return true
		}
	}
	return false
}

// poisonChanged stops every dataset that has changes in this group.
func (g *group) poisonChanged(err error) {
	for _, d := range g.touched {
		g.poison(d, err)
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
	sh := newShape(ev, body, g.chars)
	g.shapes[ev.TableID] = sh
	if string(ev.Schema) != g.s.schema {
		return
	}
	table := string(ev.Table)
	if table == heartbeatTable {
		sh.capture(g.beat, table)
	} else if table == partTable {
		sh.capture(g.parts, table)
	} else if d := g.captured(table); d != nil {
		sh.capture(d, table)
	}
}

// captured is the dataset that a physical table is a shard of; nil for none.
func (g *group) captured(table string) *catalog.Dataset { return shardOf(g.s.cfg.Datasets, table) }
