package binlog

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"strata/catalog"
	"strata/fault"
)

// handle gives a queue raw events and returns the last one, decoded.
func handle(t *testing.T, raws ...[]byte) (event, error) {
	t.Helper()
	q := newQueue(mysql.MySQLFlavor)
	var e event
	for _, raw := range raws {
		h := &replication.EventHeader{}
		if err := h.Decode(raw); err != nil {
			t.Fatal(err)
		}
		if err := q.HandleEvent(&replication.BinlogEvent{Header: h, RawData: raw}); err != nil {
			return e, err
		}
		var err error
		if e, err = q.next(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return e, nil
}

func TestL11_an_image_that_lacks_columns_is_not_read_before_or_after(t *testing.T) {
	body, _, _ := ledger()
	s, _ := ledgerShape(t)
	for images, complete := range map[[2]byte]bool{{0xff, 0xff}: true, {0xff, 0x7f}: false, {0xfe, 0xff}: false} {
		rows := []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 8, images[0], images[1]}
		e, err := handle(t, formatEvent(), rawEvent(replication.TABLE_MAP_EVENT, body), rawEvent(replication.UPDATE_ROWS_EVENTv2, rows))
		if err != nil {
			t.Fatal(err)
		}
		err = s.readable(e.Event.(*replication.RowsEvent), e.Header.EventType)
		if complete != (err == nil) || err != nil && (!fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "") {
			t.Errorf("%x: %v", images, err)
		}
	}
}

func TestEvent_that_is_cut_off_is_an_error(t *testing.T) {
	body, _, _ := ledger()
	rows := append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 8}, 0xff, 0xff)
	for typ, whole := range map[replication.EventType][]byte{replication.TABLE_MAP_EVENT: body, replication.UPDATE_ROWS_EVENTv2: rows, replication.WRITE_ROWS_EVENTv1: rows[:6],
		replication.GTID_EVENT: make([]byte, 42), replication.MARIADB_GTID_EVENT: make([]byte, 13), replication.QUERY_EVENT: {1, 0, 0, 0, 9, 0, 0, 0, 200, 0, 0, 9, 9}, replication.XID_EVENT: make([]byte, 8)} {
		for n := range len(whole) {
			_, err := handle(t, formatEvent(), rawEvent(replication.TABLE_MAP_EVENT, body), rawEvent(typ, whole[:n]))
			if err != nil && !fault.Is(streamError("read", err), fault.Unsafe) && !fault.Is(streamError("read", err), fault.Unavailable) {
				t.Errorf("%s of %d bytes: %v", typ, n, err)
			}
		}
	}
}

func TestL9_no_more_than_a_thousand_XA_transactions_are_held(t *testing.T) {
	f := newFeeder(t, mysql.MariaDBFlavor)
	prepare := func(n uint32) error {
		f.start(t, uint64(n))
		return f.prepared(binary.BigEndian.AppendUint32([]byte{0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0}, n))
	}
	for n := range uint32(maxXA) {
		if err := prepare(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := prepare(7); err != nil { // again, under its id
		t.Fatal(err)
	}
	if err := prepare(maxXA); !fault.Is(err, fault.TooLarge) || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
}

func TestDigest_tells_apart_what_was_done_and_where_parts_end(t *testing.T) {
	body, row, _ := ledger()
	digest := func(typ replication.EventType) catalog.Hash {
		f := newFeeder(t, mysql.MariaDBFlavor)
		f.start(t, 1)
		e, err := handle(t, formatEvent(), rawEvent(replication.TABLE_MAP_EVENT, body), rawEvent(typ, append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 8, 0xff}, row...)))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := ledgerShape(t)
		f.shapes[1] = s
		s.d = nil
		if err := f.feed(e); err != nil {
			t.Fatal(err)
		}
		if err := f.end(); err != nil {
			t.Fatal(err)
		}
		return f.ready().Position.Last.Digest
	}
	if digest(replication.WRITE_ROWS_EVENTv2) == digest(replication.DELETE_ROWS_EVENTv2) {
		t.Error("an insert and a delete of the same row are the same")
	}
	sum := func(parts ...string) string {
		f := newFeeder(t, mysql.MariaDBFlavor)
		for _, p := range parts {
			f.hash([]byte(p))
		}
		return string(f.digest.Sum(nil))
	}
	if sum("a", "bc") == sum("ab", "c") || sum("") == sum() {
		t.Error("the ends of the parts don't count")
	}
}

func TestPosition_given_out_keeps_its_domains(t *testing.T) {
	f := newFeeder(t, mysql.MariaDBFlavor)
	var given [][]uint32
	for n, domain := range []uint32{9, 8, 7, 5, 6, 1} {
		if err := f.raw(replication.MARIADB_GTID_EVENT, 0, &replication.MariadbGTIDEvent{GTID: mysql.MariadbGTID{DomainID: domain, ServerID: 1, SequenceNumber: uint64(n + 1)}}); err != nil {
			t.Fatal(err)
		}
		f.touch(f.d)
		if err := f.end(); err != nil {
			t.Fatal(err)
		}
		given = append(given, f.ready().Position.Domains)
	}
	if got := fmt.Sprint(given); got != "[[9] [8 9] [7 8 9] [5 7 8 9] [5 6 7 8 9] [1 5 6 7 8 9]]" {
		t.Error(got)
	}
}
