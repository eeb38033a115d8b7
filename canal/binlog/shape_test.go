package binlog

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/go-mysql-org/go-mysql/replication"

	"strata/catalog"
)

func TestTableMap_that_is_cut_off_is_an_error(t *testing.T) {
	whole, err := hex.DecodeString("1700000000000100087432393837355f31000263310009038d8d8d8c8c8d030f0cff0000010101020215000c00fe0101014003070808082d3f3f2d0413026964016101620163016401650166016e01740801" + "00")
	if err != nil {
		t.Fatal(err)
	}
	at, ok := columnsAt(whole)
	if !ok {
		t.Fatal("no columns")
	}
	m, err := parseTableMap(whole[at:], true)
	if err != nil || len(m.names) != 9 || m.names[8] != "t" || m.collations[8] != 45 || !m.unsigned[7] || m.meta[6] != 21 {
		t.Fatalf("%+v %v", m, err)
	}
	for n := range len(whole) - 1 {
		_ = newShape(&replication.TableMapEvent{}, whole[:n], nil) // must not panic
		if at, ok := columnsAt(whole[:n]); ok && n < at+25 {
			if _, err := parseTableMap(whole[at:n], true); err == nil {
				t.Fatalf("%d bytes are enough", n)
			}
		}
	}
}

func TestShape_of_a_damaged_description_has_no_rows(t *testing.T) {
	s := newShape(&replication.TableMapEvent{}, []byte{1, 2, 3}, nil)
	if _, err := s.image([]byte{0, 0, 0}, nil); s.err == nil || !errors.Is(err, errWidth) {
		t.Fatal(s.err, err)
	}
}

func TestCompressed_values_are_read_or_refused(t *testing.T) {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, _ = w.Write(bytes.Repeat([]byte("ab"), 50))
	_ = w.Close()
	good := append([]byte{0x81, 100}, z.Bytes()...)
	for _, c := range []struct {
		in   []byte
		want string
		ok   bool
	}{{nil, "", true}, {[]byte{0, 'x'}, "x", true}, {good, string(bytes.Repeat([]byte("ab"), 50)), true}, {good[:len(good)-8], "", false},
		{append([]byte{0x81, 99}, z.Bytes()...), "", false}, {append([]byte{0x81, 101}, z.Bytes()...), "", false}, {[]byte{0x20, 1}, "", false}, {[]byte{0x84, 1}, "", false},
		{[]byte{0x89, 5, 1, 2, 3}, "", false}, {[]byte{0x84, 0xff, 0xff, 0xff, 0xff, 1}, "", false}} {
		got, err := inflate(c.in)
		if (err == nil) != c.ok || string(got) != c.want && c.ok {
			t.Errorf("%x: %q %v", c.in, got, err)
		}
	}
}

// ledger is a table of eight columns as the binlog describes it, and one row of it.
func ledger() (body, row []byte, d *catalog.Dataset) {
	kind := func(name string, t catalog.Type) catalog.Column { return catalog.Column{Name: name, Type: t} }
	number := catalog.Type{Kind: catalog.Int, Size: 8}
	d = &catalog.Dataset{Name: "entry", Table: "entry", Key: []string{"id"}, Columns: []catalog.Column{
		kind("id", number), kind("account", number), kind("amount", number), kind("unit", catalog.Type{Kind: catalog.Text}), kind("note", catalog.Type{Kind: catalog.Text}),
		kind("at", catalog.Type{Kind: catalog.DateTime, FSP: 6}), kind("rate", catalog.Type{Kind: catalog.Decimal, Scale: 6}), kind("state", catalog.Type{Kind: catalog.Enum})}}
	body = []byte{1, 0, 0, 0, 0, 0, 1, 0, 2, 'd', 'b', 0, 5, 'e', 'n', 't', 'r', 'y', 0,
		8, 8, 8, 8, 0xfe, 15, 18, 246, 0xfe, 9, 0xfe, 12, 0x90, 1, 6, 18, 6, 0xf7, 1, 0, // types and their metadata
		1, 1, 0, 2, 1, 45, 10, 1, 45, 8, 1, 0} // signedness, collations, primary key
	var names []byte
	for _, c := range d.Columns {
		names = append(append(names, byte(len(c.Name))), c.Name...)
	}
	body = append(append(body, 4, byte(len(names))), names...)
	body = append(body, 6, 9, 2, 3, 'n', 'e', 'w', 3, 'o', 'l', 'd')
	row = append(row, 0)
	for _, n := range []uint64{1234567890, 88, 150000} {
		row = binary.LittleEndian.AppendUint64(row, n)
	}
	row = append(row, 3, 'E', 'U', 'R', 14, 0)
	row = append(row, "salary January"...)
	row = append(row, 0x99, 0xb8, 0x42, 0x51, 0x05, 0x01, 0xe2, 0x40, 0x80, 0, 0, 0, 0, 1, 0x07, 0xa1, 0x20)
	return body, append(row, 1), d
}

func ledgerShape(tb testing.TB) (*shape, []byte) {
	tb.Helper()
	body, row, d := ledger()
	know := &knowledge{collations: map[uint64]collation{45: {"utf8mb4_general_ci", "utf8mb4"}}, forms: newForms(), ready: map[string]*charset{}}
	s := newShape(&replication.TableMapEvent{Table: []byte("entry")}, body, know)
	s.capture(d, "entry")
	if s.err != nil || s.form != nil {
		tb.Fatal(s.err, s.form)
	}
	return s, row
}

func TestShape_reads_a_row_without_allocating(t *testing.T) {
	s, row := ledgerShape(t)
	var to catalog.Row
	n, err := s.image(row, &to)
	if err != nil || n != len(row) {
		t.Fatal(n, err)
	}
	got := ""
	for i := range to.Len() {
		got += to.Text(i) + "|"
	}
	if got != "1234567890|88|150000|EUR|salary January|2025-12-01 05:04:05.123456|1.500000|new|" {
		t.Fatal(got)
	}
	if allocs := testing.AllocsPerRun(100, func() {
		to.Reset()
		_, _ = s.image(row, &to)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkShape(b *testing.B) {
	s, row := ledgerShape(b)
	var to catalog.Row
	b.SetBytes(int64(len(row)))
	for b.Loop() {
		to.Reset()
		if _, err := s.image(row, &to); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func FuzzTableMap_never_panics(f *testing.F) {
	f.Add([]byte{9, 3, 0x8d, 0x8d, 0x8d, 0x8c, 0x8c, 0x8d, 3, 15, 12, 255, 0, 0, 1, 1, 1, 2, 2, 21, 0, 12, 0, 254, 1}, []byte{0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, columns, row []byte) {
		body := append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 'd', 0, 1, 't', 0}, columns...)
		s := newShape(&replication.TableMapEvent{Table: []byte("t")}, body, nil)
		var to catalog.Row
		if s.m != nil {
			for i := range s.fields {
				s.fields[i].kind = s.fields[i].derive()
				s.fields[i].text = &charset{"x", appendUTF8}
			}
			for len(s.m.names) < len(s.fields) {
				s.m.names = append(s.m.names, "")
			}
		}
		_, _ = s.image(row, &to)
	})
}

func FuzzJSON_never_panics(f *testing.F) {
	f.Add([]byte{0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 7, 0, 'k'})
	f.Add([]byte{2, 2, 0, 10, 0, 5, 1, 0, 4, 1, 0})
	f.Fuzz(func(t *testing.T, raw []byte) { _, _ = appendJSON(nil, raw) })
}
