package canal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/fault"
)

// table is what DDL has made of a dataset's table: a form, and a row with a value of its own in every column.
type table struct {
	form *Form
	row  catalog.Row
	own  catalog.Row // the row as the dataset declares it
}

// altered drops, renames, adds and moves columns of a dataset's table.
func altered(rt *rapid.T, d *catalog.Dataset) table {
	type column struct {
		catalog.Column
		of int // of the dataset; -1: none
	}
	var cols []column
	for i, c := range d.Columns {
		fate := rapid.IntRange(0, 5).Draw(rt, "fate of "+c.Name)
		switch {
		case i < 2 || fate > 1: // the key stays
			cols = append(cols, column{c, i})
		case fate == 1:
			c.Name += "_renamed"
			cols = append(cols, column{c, -1})
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(rt, "added") {
		cols = append(cols, column{catalog.Column{Name: fmt.Sprintf("added %d\"", i), Type: catalog.Type{Kind: catalog.Text}}, -1})
	}
	cols = rapid.Permutation(cols).Draw(rt, "order")
	t := table{form: &Form{At: make([]int, len(d.Columns))}}
	own := make([][]byte, len(d.Columns))
	for i := range t.form.At {
		t.form.At[i] = -1
	}
	for i, c := range cols {
		t.form.Columns = append(t.form.Columns, c.Column)
		cell := []byte(fmt.Sprint(100 + i))
		if c.of >= 2 && rapid.IntRange(0, 5).Draw(rt, "null") == 0 {
			cell = nil
		}
		t.row.Append(cell)
		if c.of >= 0 {
			t.form.At[c.of], own[c.of] = i, cell
		}
	}
	for _, cell := range own {
		t.own.Append(cell)
	}
	return t
}

func wide() *catalog.Dataset {
	d := &catalog.Dataset{Name: "wide", Key: []string{"b", "a"}, Partitions: 5}
	for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
		kind := []catalog.Kind{catalog.Int, catalog.Text}[i%2]
		d.Columns = append(d.Columns, catalog.Column{Name: name, Type: catalog.Type{Kind: kind, Size: 8}, Nullable: true})
	}
	return d
}

func TestL1_every_value_stands_under_its_own_columns_name(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := wide()
		tab := altered(rt, d)
		tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}, Envelope: EnvelopeForm(rapid.IntRange(0, 1).Draw(rt, "form"))})
		x := &Txn{GTID: "0-1-1", Changes: []Change{{Dataset: d, Form: tab.form, Shard: "wide", Op: Insert, After: tab.row},
			{Dataset: d, Form: tab.form, Shard: "wide", Op: Update, Ordinal: 1, Before: tab.row, After: tab.row},
			{Dataset: d, Form: tab.form, Shard: "wide", Op: Delete, Ordinal: 3, Before: tab.row},
			{Dataset: d, Shard: "wide", Op: Insert, Ordinal: 4, After: tab.own}}} // as if the table were as declared
		send(rt, tm, x)
		declared := k.records[len(k.records)-1]
		for _, r := range k.records {
			if r.Header.Hash != declared.Header.Hash && r.Value != nil {
				rt.Fatal("another hash than the row's with the dataset's columns")
			}
			if !bytes.Equal(Payload(r.Key), Payload(declared.Key)) || r.Partition != declared.Partition {
				rt.Fatalf("key %s in partition %d, not %s in %d", r.Key, r.Partition, declared.Key, declared.Partition)
			}
			if r.Value == nil {
				continue
			}
			if tm.env.schemas {
				connectReads(t, r.Value)
			}
			var e Envelope
			if err := json.Unmarshal(Payload(r.Value), &e); err != nil {
				rt.Fatalf("%v: %s", err, r.Value)
			}
			for _, image := range []json.RawMessage{e.Before, e.After} {
				if r.Header.Ordinal < 4 && string(image) != "null" {
					hasCells(rt, image, tab.form.Columns, &tab.row)
				}
			}
			var back catalog.Row // as an index reads it
			if image := e.After; string(image) != "null" {
				if _, err := catalog.ParseImage(d, image, &back); err != nil || !back.Equal(&tab.own) {
					rt.Fatalf("%s is read as another row: %v", image, err)
				}
			}
		}
	})
}

func hasCells(t rapid.TB, image []byte, columns []catalog.Column, row *catalog.Row) {
	t.Helper()
	var got map[string]json.RawMessage
	if err := json.Unmarshal(image, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(columns) {
		t.Fatalf("%s has not the columns %v", image, columns)
	}
	for i, c := range columns {
		want := string(catalog.AppendJSONCell(nil, c.Type, row.Cell(i)))
		if string(got[c.Name]) != want {
			t.Fatalf("%s: %s is not %s", image, c.Name, want)
		}
	}
}

func TestForms_that_make_no_sense_stop_their_dataset_alone(t *testing.T) {
	for name, form := range map[string]*Form{"no key": {Columns: wide().Columns, At: []int{-1, 1, 2, 3, 4, 5}}, "too few": {Columns: wide().Columns, At: []int{0}},
		"beyond": {Columns: wide().Columns[:2], At: []int{0, 1, 2, 3, 4, 5}}} {
		d := wide()
		s, err := newShape(d, form, nil)
		if s != nil || err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestShapes_are_made_once_for_a_form(t *testing.T) {
	d := wide()
	tm, _ := keeping(t, Config{Datasets: []*catalog.Dataset{d}})
	form := func() *Form { return &Form{Columns: d.Columns, At: []int{0, 1, 2, 3, 4, 5}} }
	same := form()
	first, err := tm.shapeOf(tm.lanes[0], same)
	if err != nil || first.at != nil {
		t.Fatal("the table is as declared", err)
	}
	for range 3 * maxShapes {
		if _, err := tm.shapeOf(tm.lanes[0], form()); err != nil {
			t.Fatal(err)
		}
		if again, err := tm.shapeOf(tm.lanes[0], nil); again == first || err != nil {
			t.Fatal("no form is not that form", err)
		}
	}
	if n := len(tm.lanes[0].shapes); n > maxShapes {
		t.Errorf("%d shapes are kept", n)
	}
}

// secrets returns everything of the records that could hold a row's value.
func secrets(records []Record) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s %s %s\n", r.Key, r.Value, r.Header.Hash)
	}
	return b.String()
}

func TestL11_masked_values_never_leave_the_process(t *testing.T) {
	d := customers()
	d.Columns = append(d.Columns, catalog.Column{Name: "card", Type: catalog.Type{Kind: catalog.Text}})
	d.Masks = []catalog.Mask{{Column: "first_name", Kind: catalog.MaskDrop}, {Column: "email", Kind: catalog.MaskHash}, {Column: "card", Kind: catalog.MaskLast4}}
	key := []byte("0123456789abcdef")
	row := cells("7", "topsecret", "topsecret@x", "topsecret9876")
	moved := &Form{Columns: []catalog.Column{d.Columns[3], {Name: "new", Type: d.Columns[1].Type}, d.Columns[1], d.Columns[0], d.Columns[2]}, At: []int{3, 2, 4, 0}}
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}, MaskKey: key})
	send(t, tm, &Txn{GTID: "0-1-1", Changes: []Change{
		{Dataset: d, Shard: "customers", Op: Insert, After: row},
		{Dataset: d, Shard: "customers", Op: Update, Ordinal: 1, Before: row, After: row},
		{Dataset: d, Shard: "customers", Op: Delete, Ordinal: 3, Before: row},
		{Dataset: d, Form: moved, Shard: "customers", Op: Insert, Ordinal: 4, After: cells("topsecret9876", "seen", "topsecret", "7", "topsecret@x")}}})
	if err := tm.sendRow(tm.lanes[0], "customers", nil, &row, 1); err != nil {
		t.Fatal(err)
	}
	tm.cfg.MaxRecordBytes = 10
	send(t, tm, &Txn{GTID: "0-1-2", Changes: []Change{{Dataset: d, Shard: "customers", Op: Insert, After: row}}})
	if text := secrets(k.records); strings.Contains(text, "topsecret") || strings.Contains(text, "first_name") || !strings.Contains(text, `"new":"seen"`) || !strings.Contains(text, `"card":"****9876"`) {
		t.Fatal(text)
	}
	m, err := catalog.NewMasker(d, key)
	if err != nil {
		t.Fatal(err)
	}
	var masked catalog.Row
	m.Apply(&row, &masked)
	want, _ := masked.Hash(nil)
	n := 0
	for _, r := range k.records {
		if r.Value != nil && r.Header.Kind != KindLetter {
			if n++; r.Header.Hash != want {
				t.Errorf("the hash of %s is not the masked row's", r.Value)
			}
		}
	}
	if n != 5 {
		t.Errorf("%d images", n)
	}
}

func TestL11_a_masked_column_that_may_have_another_name_now_stops_its_dataset(t *testing.T) {
	d, good := customers(), customers()
	good.Name = "good"
	d.Masks = []catalog.Mask{{Column: "email", Kind: catalog.MaskDrop}}
	renamed := &Form{Columns: []catalog.Column{d.Columns[0], d.Columns[1], {Name: "mail", Type: d.Columns[2].Type}}, At: []int{0, 1, -1}}
	dropped := &Form{Columns: d.Columns[:2], At: []int{0, 1, -1}}
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d, good}})
	send(t, tm, &Txn{GTID: "0-1-1", Changes: []Change{{Dataset: d, Form: dropped, Shard: "customers", Op: Insert, After: cells("1", "x")},
		{Dataset: d, Form: renamed, Shard: "customers", Op: Insert, Ordinal: 1, After: cells("1", "x", "topsecret")},
		{Dataset: good, Form: renamed, Shard: "customers", Op: Insert, Ordinal: 2, After: cells("1", "x", "fine")}}})
	s := tm.lanes[0].stopped
	if s == nil || s.Kind != fault.Unsafe.String() || s.Hint == "" || tm.lanes[1].stopped != nil {
		t.Fatalf("%+v", s)
	}
	if strings.Contains(secrets(k.records), "topsecret") || len(k.of("customers")) != 1 || len(k.of("good")) != 1 {
		t.Error(secrets(k.records))
	}
}

func TestNew_refuses_masks_that_can_not_be_applied(t *testing.T) {
	d := customers()
	d.Masks = []catalog.Mask{{Column: "email", Kind: catalog.MaskHash}}
	v := void{}
	_, err := New(Config{Name: "a", Holder: "a", Datasets: []*catalog.Dataset{d}, Source: v, Sink: v, Control: v, Lease: v})
	if err == nil || !strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestSendRow_stops_nothing_and_numbers_on(t *testing.T) {
	d := customers()
	d.Partitions = 1
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}})
	tm.lanes[0].parts[0].number = 41
	row := cells("1", "x", "NULL")
	for range 2 {
		if err := tm.sendRow(tm.lanes[0], "customers", nil, &row, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := tm.sendAbsent(tm.lanes[0], "customers", "1", 1); err != nil {
		t.Fatal(err)
	}
	if err := tm.send(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, r := range k.records[:3] {
		if r.Header.Number != uint64(42+i) || r.Header.Kind != KindBackfill {
			t.Errorf("%+v", r.Header)
		}
	}
}
