package binlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"strata/canal"
	"strata/db"
	"strata/fault"
)

const (
	// maxXA bounds what is held back; servers have far fewer sessions.
	maxXA = 1000
	// maxSeek bounds how many groups are read in search of a prepare: by a server that applies in parallel some others may
	// stand before it.
	maxSeek = 10_000
	// keptEnded is more than a server's sessions can be ending at one time.
	keptEnded = 256
)

// prepared is an XA transaction that waits for its outcome.
type prepared struct {
	open   canal.OpenXA
	txn    canal.Txn // Changes, Beat, Parts, Poison
	spills spills
	bytes  int64 // in memory
}

// xa handles the statements of two-phase transactions. The rows were in the group that ended in the prepare event.
func (g *group) xa(st canal.Statement) error {
	if st.At(1, "START") || st.At(1, "BEGIN") {
		g.begun = true
		return nil
	}
	if !st.At(1, "COMMIT") && !st.At(1, "ROLLBACK") {
		return nil // END
	}
	id := xaID(st.After(1))
	if strings.HasSuffix(strings.ToUpper(id), "ONE PHASE") {
		return g.end()
	}
	p, again := g.held[id], slices.Contains(g.over, id)
	g.forget(id)
	if p != nil {
		g.over = append(slices.Clone(g.over[max(0, len(g.over)-keptEnded+1):]), id) // positions share the old one
	}
	if st.At(1, "ROLLBACK") {
		if p != nil {
			g.x.Undone = p.txn.Changes
			p.spills.close()
		}
		return g.end()
	}
	switch {
	case p != nil:
		g.x.Changes, g.x.Beat, g.x.Parts, g.x.Poison = p.txn.Changes, p.txn.Beat, p.txn.Parts, p.txn.Poison
		g.spills, g.bytes = p.spills, p.bytes
		g.x.XACommit = p.open.Captured
	case again: // the server went down before it did what its binlog says, and somebody had to say it once more
	case g.x.GTID != g.again && !g.seeking:
		return fault.New(fault.Unsafe, "read binlog", "%s: XA COMMIT of %s, whose PREPARE was before the start", g.x.GTID, id).
			WithHint("start at a GTID set before that PREPARE, or after this commit")
	}
	return g.end()
}

// xaID is an id as the prepare event tells it: with a format of 32 bits, where the text may have more.
func xaID(text string) string {
	at := strings.LastIndexByte(text, ',')
	n, err := strconv.ParseInt(text[at+1:], 10, 64)
	if at < 0 || err != nil {
		return text
	}
	return text[:at+1] + strconv.Itoa(int(int32(n)))
}

// forget takes an XA transaction off the list.
func (g *group) forget(id string) {
	if p := g.held[id]; p != nil {
		g.heldBytes -= p.bytes
		delete(g.held, id)
		g.relist()
	}
}

// hold puts one on the list.
func (g *group) hold(p *prepared) {
	if old := g.held[p.open.ID]; old != nil {
		old.spills.close()
	}
	g.forget(p.open.ID)
	g.held[p.open.ID] = p
	g.heldBytes += p.bytes
	g.relist()
}

// relist makes the list for positions; each has its own, which nobody changes.
func (g *group) relist() {
	g.list = nil
	for _, p := range g.held {
		g.list = append(g.list, p.open)
	}
	slices.SortFunc(g.list, func(a, b canal.OpenXA) int { return strings.Compare(a.ID, b.ID) })
}

// prepared ends a group whose fate is decided later.
func (g *group) prepared(body []byte) error {
	if !g.open {
		return nil
	}
	if len(body) < 13 {
		return fault.New(fault.Unsafe, "read binlog", "%s: an XA prepare event of %d bytes", g.x.GTID, len(body))
	}
	onePhase := body[0] != 0
	format, ng, nb := binary.LittleEndian.Uint32(body[1:]), binary.LittleEndian.Uint32(body[5:]), binary.LittleEndian.Uint32(body[9:])
	if ng > 64 || nb > 64 || len(body) < 13+int(ng+nb) {
		return fault.New(fault.Unsafe, "read binlog", "%s: an XA prepare event with a bad id", g.x.GTID)
	}
	id := fmt.Sprintf("X'%x',X'%x',%d", body[13:13+ng], body[13+ng:13+ng+nb], int32(format))
	g.hash([]byte(id))
	if onePhase {
		return g.end()
	}
	if len(g.held) >= maxXA && g.held[id] == nil {
		return fault.New(fault.TooLarge, "read binlog", "more than %d prepared XA transactions are open", maxXA).
			WithHint("XA RECOVER on the server lists them; commit or roll them back")
	}
	p, err := g.setAside()
	if err != nil {
		return err
	}
	p.open.ID, p.open.GTID, p.open.Before = id, g.x.GTID, g.before
	g.hold(p)
	return g.end()
}

// setAside takes what the group has out of it; where all that is held wouldn't fit into memory, this one goes to disk.
func (g *group) setAside() (*prepared, error) {
	p := &prepared{txn: canal.Txn{Changes: g.x.Changes, Beat: g.x.Beat, Parts: g.x.Parts, Poison: g.x.Poison}, spills: g.spills, bytes: g.bytes}
	p.open.Captured = len(p.txn.Changes) > 0 || len(p.spills) > 0 || p.txn.Beat != nil || len(p.txn.Parts) > 0 || len(p.txn.Poison) > 0
	g.x.Changes, g.spills = nil, nil // the memory is the held one's now
	g.drop()
	if len(p.txn.Changes) > 0 && g.heldBytes+p.bytes > g.s.cfg.MaxTxnBytes {
		first, err := g.s.spill(g.onDisk)
		if err != nil {
			p.spills.close()
			return nil, err
		}
		p.spills = append(spills{first}, p.spills...)
		for i := range p.txn.Changes {
			if err = first.add(&p.txn.Changes[i]); err != nil {
				break
			}
		}
		p.txn.Changes, p.bytes = nil, 0
		if err == nil {
			err = first.flush()
		}
		if err != nil {
			p.spills.close()
			return nil, err
		}
	}
	return p, nil
}

// holdAgain reads the groups of the captured XA transactions that are open at a position again, each from its own place.
func (s *Source) holdAgain(ctx context.Context, d *db.DB, e *endpoint, id uint32, g *group, at canal.Position) error {
	for _, x := range at.XA {
		if !x.Captured || x.GTID == "" {
			g.hold(&prepared{open: x})
			continue
		}
		if x.GTID == at.Last.GTID {
			continue // the stream itself delivers it again
		}
		if err := s.seek(ctx, d, e, id, g, x, at.GTID); err != nil {
			if ctx.Err() != nil || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Denied) {
				return err
			}
			err = fault.New(fault.Unsafe, "read prepared XA transaction "+x.ID, "%w", err)
			if errors.Is(err, errPurged) {
				return fault.New(fault.Unsafe, "read prepared XA transaction "+x.ID, "%s no longer has %s, in which it was prepared", d.Name(), x.GTID).
					WithHint("commit it or roll it back (XA RECOVER FORMAT='SQL' lists it), then rewind the datasets to a place before it, or load them anew")
			}
			return err
		}
	}
	return nil
}

// seek reads one prepared XA transaction into g.
func (s *Source) seek(ctx context.Context, d *db.DB, e *endpoint, id uint32, g *group, x canal.OpenXA, until string) error {
	set, err := s.place(ctx, d, canal.Position{GTID: x.Before}, x.Before)
	if err != nil {
		return err
	}
	where, err := newPosition(s.flavor, x.Before)
	if err != nil {
		return err
	}
	l, err := s.connect(ctx, e, id, set)
	if err != nil {
		return purged(err, d.Name(), x.Before)
	}
	defer func() { _ = l.Close() }() // it was only read
	t := newGroup(s, g.chars, where, canal.Position{GTID: x.Before})
	t.onDisk, t.seeking = g.onDisk, true
	defer t.close()
	for range maxSeek {
		got, err := t.next(ctx, l)
		if err != nil {
			return err
		}
		if got.GTID == x.GTID {
			break
		}
		if past, err := s.passed(got, x, until); err != nil || past {
			return errors.Join(err, t.lost(x))
		}
	}
	p := t.held[x.ID]
	if p == nil || p.open.GTID != x.GTID || !p.open.Captured {
		return t.lost(x)
	}
	delete(t.held, x.ID) // its files are g's now
	p.open = x
	g.hold(p)
	return nil
}

// passed reports whether a prepared group can't come any more: another one stands where it was in its domain, or, on MySQL,
// all has come that was read when it was noted.
func (s *Source) passed(got *canal.Txn, x canal.OpenXA, until string) (bool, error) {
	if s.flavor != mysql.MariaDBFlavor {
		return s.Reached(got.Position.GTID, until)
	}
	a, err := parseMaria(got.GTID)
	if err != nil {
		return false, err
	}
	b, err := parseMaria(x.GTID)
	if err != nil || len(a) == 0 || len(b) == 0 {
		return true, err
	}
	return a[0].DomainID == b[0].DomainID && a[0].SequenceNumber >= b[0].SequenceNumber, nil
}

func (g *group) lost(x canal.OpenXA) error {
	return fault.New(fault.Unsafe, "read binlog", "%s is not where %s was prepared: %w", x.GTID, x.ID, canal.ErrLost).
		WithHint("the server has another history: it was restored, or writes were lost at a failover")
}

// next is the next group of a link.
func (g *group) next(ctx context.Context, l *link) (*canal.Txn, error) {
	for {
		e, err := l.take(ctx)
		if err != nil {
			return nil, err
		}
		if err := g.feed(e); err != nil {
			return nil, err
		}
		if x := g.ready(); x != nil {
			return x, nil
		}
	}
}
