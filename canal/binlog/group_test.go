package binlog

import (
	"net"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"strata/canal"
	"strata/catalog"
)

func TestL1_a_group_that_rolls_back_or_breaks_off_leaves_nothing(t *testing.T) {
	where, err := newPosition(mysql.MariaDBFlavor, "0-1-1")
	if err != nil {
		t.Fatal(err)
	}
	g := newGroup(&Source{flavor: mysql.MariaDBFlavor}, nil, where, canal.Position{})
	feed := func(e replication.Event) {
		t.Helper()
		if err := g.feed(event{BinlogEvent: &replication.BinlogEvent{Header: &replication.EventHeader{}, Event: e}}); err != nil {
			t.Fatal(err)
		}
	}
	begin := func(seq uint64) {
		t.Helper()
		feed(&replication.MariadbGTIDEvent{GTID: mysql.MariadbGTID{ServerID: 1, SequenceNumber: seq}})
		g.x.Changes = append(g.x.Changes, canal.Change{Op: canal.Insert})
		g.touch(&catalog.Dataset{Name: "d"})
	}
	begin(2)
	if g.ready() != nil {
		t.Fatal("delivered before its end")
	}
	feed(&replication.QueryEvent{Query: []byte("ROLLBACK")})
	if x := g.ready(); x == nil || len(x.Changes) != 0 || x.Position.GTID != "0-1-2" {
		t.Fatalf("%+v", x)
	}
	begin(3)
	feed(&replication.FormatDescriptionEvent{}) // 3 broke off, a new file begins
	begin(4)
	if x := g.ready(); x != nil {
		t.Fatalf("%+v", x)
	}
	feed(&replication.XIDEvent{})
	if x := g.ready(); x == nil || len(x.Changes) != 1 || x.GTID != "0-1-4" || x.Position.Last.Before != "0-1-2" {
		t.Fatalf("%+v", x)
	}
}

func TestPatient_reads_on_after_a_long_wait_of_its_own(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	p := patient{a, time.Minute}
	if err := p.SetReadDeadline(time.Now().Add(-time.Hour)); err != nil { // as if the last packet was long ago
		t.Fatal(err)
	}
	go func() { _, _ = b.Write([]byte("x")) }()
	if n, err := p.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}
