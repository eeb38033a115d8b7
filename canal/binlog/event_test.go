package binlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// feeder is a group that a test feeds by hand.
type feeder struct {
	*group
	d, other *catalog.Dataset
}

func newFeeder(t *testing.T, flavor string) *feeder {
	t.Helper()
	d := &catalog.Dataset{Name: "entry", Table: "entry", Key: []string{"id"}, Columns: []catalog.Column{{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 4}}}}
	other := &catalog.Dataset{Name: "other", Table: "other", Key: d.Key, Columns: d.Columns}
	where, err := newPosition(flavor, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &Source{flavor: flavor, schema: "shop", cfg: Config{Datasets: []*catalog.Dataset{d, other}}}
	s.defaults()
	return &feeder{newGroup(s, nil, where, canal.Position{}), d, other}
}

func (f *feeder) raw(typ replication.EventType, flags uint16, e replication.Event, body ...byte) error {
	data := append(make([]byte, replication.EventHeaderSize), body...)
	return f.feed(event{BinlogEvent: &replication.BinlogEvent{Header: &replication.EventHeader{EventType: typ, Flags: flags}, Event: e, RawData: data}})
}

func (f *feeder) start(t *testing.T, seq uint64) {
	t.Helper()
	if err := f.raw(replication.MARIADB_GTID_EVENT, 0, &replication.MariadbGTIDEvent{GTID: mysql.MariadbGTID{ServerID: 1, SequenceNumber: seq}}); err != nil {
		t.Fatal(err)
	}
}

func TestL11_an_event_that_may_hide_rows_ends_the_stream_and_one_that_may_be_ignored_passes(t *testing.T) {
	for typ := range 256 {
		f := newFeeder(t, mysql.MariaDBFlavor)
		f.start(t, 1)
		if err := f.raw(replication.EventType(typ), replication.LOG_EVENT_IGNORABLE_F, &replication.GenericEvent{}, make([]byte, 40)...); err != nil && typ != int(replication.INCIDENT_EVENT) {
			t.Errorf("type %d with the flag: %v", typ, err)
		}
	}
	for _, typ := range []replication.EventType{replication.STOP_EVENT, replication.ROTATE_EVENT, replication.PREVIOUS_GTIDS_EVENT, replication.ROWS_QUERY_EVENT,
		replication.MARIADB_ANNOTATE_ROWS_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT, replication.MARIADB_GTID_LIST_EVENT,
		replication.MARIADB_START_ENCRYPTION_EVENT, replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2, replication.VIEW_CHANGE_EVENT} {
		f := newFeeder(t, mysql.MariaDBFlavor)
		f.start(t, 1)
		if err := f.raw(typ, 0, &replication.GenericEvent{}); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
	for _, typ := range []replication.EventType{replication.INCIDENT_EVENT, replication.LOAD_EVENT, replication.EXEC_LOAD_EVENT, replication.SLAVE_EVENT, 60, 171, 255} {
		f := newFeeder(t, mysql.MariaDBFlavor)
		f.start(t, 1)
		if err := f.raw(typ, 0, &replication.GenericEvent{}); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" {
			t.Errorf("type %d: %v", typ, err)
		}
	}
}

func TestEvent_a_group_without_an_end_is_not_passed_over(t *testing.T) {
	f := newFeeder(t, mysql.MariaDBFlavor)
	f.start(t, 1)
	f.touch(f.d)
	err := f.raw(replication.MARIADB_GTID_EVENT, 0, &replication.MariadbGTIDEvent{GTID: mysql.MariadbGTID{ServerID: 1, SequenceNumber: 2}})
	if !fault.Is(err, fault.Unsafe) || !strings.Contains(err.Error(), "0-1-1") {
		t.Fatal(err)
	}
}

func TestL11_LOAD_DATA_as_a_statement_stops_its_dataset(t *testing.T) {
	f := newFeeder(t, mysql.MariaDBFlavor)
	f.start(t, 1)
	body := make([]byte, 26, 200)
	body[8] = 4                                 // length of the schema's name
	binary.LittleEndian.PutUint16(body[11:], 3) // status variables
	body = append(body, "abcshop\x00LOAD DATA LOCAL INFILE 'x' INTO TABLE `entry` FIELDS TERMINATED BY ','"...)
	ev := &replication.ExecuteLoadQueryEvent{}
	if err := ev.Decode(body); err != nil {
		t.Fatal(err)
	}
	if err := f.raw(replication.EXECUTE_LOAD_QUERY_EVENT, 0, ev, body...); err != nil {
		t.Fatal(err)
	}
	if len(f.x.Poison) != 1 || f.x.Poison[0].Dataset != f.d {
		t.Fatalf("%+v", f.x.Poison)
	}
	if err := f.raw(replication.EXECUTE_LOAD_QUERY_EVENT, 0, ev, body[:20]...); !fault.Is(err, fault.Unsafe) {
		t.Fatal(err)
	}
}

func TestEvent_a_statement_of_MySQL_without_BEGIN_is_a_whole_group(t *testing.T) {
	f := newFeeder(t, mysql.MySQLFlavor)
	gno := int64(0)
	group := func(queries ...string) bool {
		t.Helper()
		gno++
		if err := f.raw(replication.GTID_EVENT, 0, &replication.GTIDEvent{SID: make([]byte, 16), GNO: gno}); err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			if f.ready() != nil {
				t.Fatalf("%v ends before %q", queries, q)
			}
			if err := f.raw(replication.QUERY_EVENT, 0, &replication.QueryEvent{Schema: []byte("shop"), Query: []byte(q)}); err != nil {
				t.Fatal(err)
			}
		}
		return f.ready() != nil
	}
	for _, q := range []string{"ALTER TABLE entry ADD start INT", "CREATE TABLE x (start INT) COMMENT 'transaction'", "DROP TABLE entry", "GRANT ALL ON *.* TO x"} {
		if !group(q) {
			t.Errorf("%s has no end", q)
		}
	}
	if group("BEGIN", "DROP TEMPORARY TABLE x", "SAVEPOINT a") || group("CREATE TABLE x (id INT) START TRANSACTION") || group("XA START X'61',X'',1", "XA END X'61',X'',1") {
		t.Error("ended without an end")
	}
	if !group("BEGIN", "INSERT INTO foreign_one VALUES (1)", "COMMIT") {
		t.Error("no end at COMMIT")
	}
}

// payloadOf makes a TRANSACTION_PAYLOAD event of events without checksums.
func payloadOf(t *testing.T, compression byte, inner []byte, tail int) []byte {
	t.Helper()
	if compression == replication.ZSTD {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		inner = w.EncodeAll(inner, nil)
	}
	out := make([]byte, replication.EventHeaderSize)
	out[4] = byte(replication.TRANSACTION_PAYLOAD_EVENT)
	number := []byte{compression}
	if compression > 250 {
		number = []byte{252, compression, 0}
	}
	head := []byte{replication.OTW_PAYLOAD_COMPRESSION_TYPE_FIELD, byte(len(number))}
	return slices.Concat(out, head, number, []byte{replication.OTW_PAYLOAD_HEADER_END_MARK}, inner, make([]byte, tail))
}

func rawEvent(typ replication.EventType, body []byte) []byte {
	out := make([]byte, replication.EventHeaderSize, replication.EventHeaderSize+len(body))
	out[4] = byte(typ)
	binary.LittleEndian.PutUint32(out[9:], uint32(len(out)+len(body)))
	return append(out, body...)
}

func formatEvent() []byte {
	body := make([]byte, 57, 120)
	body[0] = 4
	copy(body[2:], "8.0.36")
	body[56] = replication.EventHeaderSize
	body = append(body, make([]byte, 45)...)
	return rawEvent(replication.FORMAT_DESCRIPTION_EVENT, append(body, 0, 0, 0, 0, 0))
}

func TestL9_a_compressed_transaction_is_taken_apart_without_being_held_whole(t *testing.T) {
	var inner bytes.Buffer
	const n, size = 40, 1 << 20
	for range n {
		inner.Write(rawEvent(replication.ROWS_QUERY_EVENT, append([]byte{1}, make([]byte, size)...)))
	}
	for _, compression := range []byte{replication.ZSTD, replication.NONE} {
		q := newQueue(mysql.MySQLFlavor)
		done := make(chan struct{})
		most := int64(0)
		go func() {
			defer close(done)
			header := func(raw []byte) *replication.BinlogEvent {
				h := &replication.EventHeader{}
				if err := h.Decode(raw); err != nil {
					t.Error(err)
				}
				return &replication.BinlogEvent{Header: h, RawData: raw}
			}
			format := formatEvent()
			if err := q.HandleEvent(header(format)); err != nil {
				t.Error(err)
			}
			raw := payloadOf(t, compression, inner.Bytes(), 0)
			binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
			for range 2 { // the second one uses the decoder again
				if err := q.HandleEvent(header(raw)); err != nil {
					t.Error(err)
				}
			}
		}()
		got := -1 // the format
		for {
			e, err := q.next(t.Context(), done)
			if err == errClosed {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got++
			most = max(most, q.held.Load())
			if got > 0 && len(e.RawData) != replication.EventHeaderSize+1+size {
				t.Fatalf("event %d has %d bytes", got, len(e.RawData))
			}
		}
		if got != 2*n || most > queueBytes {
			t.Fatalf("%d events, at most %d bytes of them waited", got, most)
		}
	}
}

func TestL9_no_more_events_wait_than_there_is_room_for(t *testing.T) {
	big := event{BinlogEvent: &replication.BinlogEvent{RawData: make([]byte, queueBytes/4)}}
	for range 20 {
		q := newQueue(mysql.MySQLFlavor)
		for range 4 {
			if err := q.put(big); err != nil {
				t.Fatal(err)
			}
		}
		fifth := make(chan error)
		go func() { fifth <- q.put(big) }()
		close(q.closed)
		if err := <-fifth; err != errClosed {
			t.Fatalf("a fifth quarter was taken: %v", err)
		}
	}
	q := newQueue(mysql.MySQLFlavor)
	huge := event{BinlogEvent: &replication.BinlogEvent{RawData: make([]byte, 2*queueBytes)}}
	if err := q.put(huge); err != nil { // one alone always goes
		t.Fatal(err)
	}
	second := make(chan error)
	go func() { second <- q.put(big) }()
	if _, err := q.next(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil { // there is room again
		t.Fatal(err)
	}
}

func TestEvent_a_damaged_payload_is_an_error(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(mysql.MySQLFlavor)
		q.format = formatEvent()
		raw := append(make([]byte, replication.EventHeaderSize), rapid.SliceOf(rapid.Byte()).Draw(t, "body")...)
		if err := q.payload(raw); err == nil && len(raw) > replication.EventHeaderSize+40 {
			t.Fatalf("taken: %x", raw)
		}
	})
}

func TestEvent_damaged_compressed_rows_are_an_error(t *testing.T) {
	for _, data := range [][]byte{nil, {1}, {4, 255, 255, 255, 255}, {7}, {1, 9, 1, 2, 3}, {2, 0, 9, 0x78, 0x9c}} {
		if _, err := decompress(data); err == nil {
			t.Errorf("%x is taken", data)
		}
	}
}

// memory is a spill file of a test.
type memory struct{ bytes.Buffer }

func (m *memory) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m.Bytes()).ReadAt(b, at)
}
func (m *memory) Close() error { return nil }
func (m *memory) Name() string { return "/dev/null/none" }

func TestSpill_gives_back_what_was_added(t *testing.T) {
	d := &catalog.Dataset{Name: "d"}
	forms := []*canal.Form{nil, {}, {}}
	rapid.Check(t, func(t *rapid.T) {
		f := newFeeder(&testing.T{}, mysql.MariaDBFlavor)
		file := &memory{}
		f.s.newSpill = func() (spillFile, error) { return file, nil }
		sp, err := f.s.spill(f.onDisk)
		if err != nil {
			t.Fatal(err)
		}
		row := func() (r catalog.Row) {
			for range rapid.IntRange(0, 5).Draw(t, "cells") {
				switch rapid.IntRange(0, 9).Draw(t, "kind") {
				case 0:
					r.AppendNull()
				case 1:
					r.Append(bytes.Repeat([]byte("x"), rapid.SampledFrom([]int{4095, 4096, spillBuffer - 1, spillBuffer, spillBuffer + 1, 3 * spillBuffer}).Draw(t, "long")))
				default:
					r.Append(append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "cell")...))
				}
			}
			return r
		}
		var want []canal.Change
		for range rapid.IntRange(0, 8).Draw(t, "changes") {
			c := canal.Change{Dataset: d, Form: rapid.SampledFrom(forms).Draw(t, "form"), Shard: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "shard"),
				Op: rapid.SampledFrom([]canal.Op{canal.Insert, canal.Update, canal.Delete}).Draw(t, "op"), Ordinal: rapid.Uint32().Draw(t, "ordinal")}
			if c.Op != canal.Insert {
				c.Before = row()
			}
			if c.Op != canal.Delete {
				c.After = row()
			}
			if err := sp.add(&c); err != nil {
				t.Fatal(err)
			}
			want = append(want, c)
		}
		if err := sp.flush(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			i := 0
			if err := sp.Each(func(c *canal.Change) error {
				w := &want[i]
				if c.Dataset != w.Dataset || c.Form != w.Form || c.Shard != w.Shard || c.Op != w.Op || c.Ordinal != w.Ordinal || !c.Before.Equal(&w.Before) || !c.After.Equal(&w.After) {
					return fmt.Errorf("change %d: %+v, not %+v", i, c, w)
				}
				i++
				return nil
			}); err != nil || i != len(want) {
				t.Fatal(i, err)
			}
		}
		if sp.Bytes() != int64(file.Len()) || f.onDisk.Load() != sp.Bytes() {
			t.Fatal(sp.Bytes(), file.Len(), f.onDisk.Load())
		}
		if n := file.Len(); n > 1 { // a file that was cut off is noticed, unless between two changes
			file.Truncate(n - 1)
			if err := sp.Each(func(*canal.Change) error { return nil }); !errors.Is(err, io.ErrUnexpectedEOF) || !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
		}
	})
}

func TestPosition_grows_by_tagged_and_plain_groups(t *testing.T) {
	f := newFeeder(t, mysql.MySQLFlavor)
	sid := bytes.Repeat([]byte{0x11}, 16)
	for _, g := range []struct {
		tag string
		gno int64
	}{{"", 1}, {"", 2}, {"blue", 1}, {"", 5}, {"blue", 2}, {"", 4}} {
		ev := replication.GTIDEvent{SID: sid, GNO: g.gno, Tag: mysql.NewTag(g.tag)}
		var e replication.Event = &ev
		if g.tag != "" {
			e = &replication.GtidTaggedLogEvent{GTIDEvent: ev}
		}
		if err := f.raw(replication.GTID_EVENT, 0, e); err != nil {
			t.Fatal(err)
		}
		if err := f.raw(replication.XID_EVENT, 0, &replication.XIDEvent{}); err != nil {
			t.Fatal(err)
		}
		x := f.ready()
		if want := "11111111-1111-1111-1111-111111111111:" + map[bool]string{true: g.tag + ":"}[g.tag != ""] + fmt.Sprint(g.gno); x.GTID != want {
			t.Fatal(x.GTID, want)
		}
	}
	if got := f.where.String(); got != "11111111-1111-1111-1111-111111111111:1-2:4-5:blue:1-2" {
		t.Fatal(got)
	}
	again, err := newPosition(mysql.MySQLFlavor, f.where.String())
	if err != nil || again.String() != f.where.String() {
		t.Fatal(again, err)
	}
}
