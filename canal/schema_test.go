package canal

import (
	"encoding/json"
	"strings"
	"testing"

	"strata/catalog"
)

// connectReads checks a text as Kafka Connect's JsonConverter with schemas.enable reads it: schema and payload and nothing
// else, every field of the schema in the payload with a value of its type, and no other.
func connectReads(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var v struct {
		Schema  *schema
		Payload any
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if v.Schema == nil {
		return nil
	}
	conforms(t, v.Schema, v.Payload)
	m, _ := v.Payload.(map[string]any)
	return m
}

func conforms(t *testing.T, s *schema, v any) {
	t.Helper()
	ok := false
	switch x := v.(type) {
	case nil:
		ok = s.Optional
	case float64:
		ok = strings.HasPrefix(s.Type, "int") && x == float64(int64(x)) || s.Type == "float" || s.Type == "double"
	case string:
		ok = s.Type == "string"
	case []any:
		ok = s.Type == "array"
		for _, one := range x {
			conforms(t, s.Items, one)
		}
	case map[string]any:
		ok = s.Type == "struct" && len(x) == len(s.Fields)
		for i := range s.Fields {
			conforms(t, &s.Fields[i], x[s.Fields[i].Field])
		}
	}
	if !ok {
		t.Errorf("%s %s (optional %t) is %v", s.Type, s.Field, s.Optional, v)
	}
}

func TestSchemas_are_those_of_Debezium(t *testing.T) {
	d := customers()
	d.Columns = append(d.Columns, catalog.Column{Name: "born", Type: catalog.Type{Kind: catalog.Year}, Nullable: true})
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d}, Envelope: WithSchema})
	send(t, tm, &Txn{GTID: "0-1-9", Time: 1, Changes: []Change{{Dataset: d, Shard: "customers", Op: Insert, After: cells("1004", "Anne", "NULL", "0000")}}})
	row := `{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},{"type":"string","optional":false,"field":"first_name"},` +
		`{"type":"string","optional":true,"field":"email"},{"type":"int32","optional":true,"name":"io.debezium.time.Year","version":1,"field":"born"}],` +
		`"optional":true,"name":"strata.customers.Value","field":`
	r := k.records[0]
	if want := `{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":false,"name":"strata.customers.Key"},` +
		`"payload":{"id":1004}}`; string(r.Key) != want {
		t.Errorf("key\n%s\n%s", r.Key, want)
	}
	for _, part := range []string{`{"schema":{"type":"struct","fields":[` + row + `"before"},` + row + `"after"},{"type":"struct","fields":[{"type":"string","optional":false,"field":"version"},`,
		`"optional":false,"name":"io.debezium.connector.mariadb.Source","field":"source"}`, `"optional":true,"name":"event.block","version":1,"field":"transaction"}`,
		`"optional":false,"name":"strata.customers.Envelope","version":1},"payload":{"before":null,"after":{"id":1004,"first_name":"Anne","email":null,"born":0}`} {
		if !strings.Contains(string(r.Value), part) {
			t.Errorf("%s\nhas no %s", r.Value, part)
		}
	}
}

func TestSchemas_fit_every_record(t *testing.T) {
	d := payments()
	var all catalog.Dataset
	all.Name, all.Key, all.Partitions = "all", []string{"u4"}, 2
	row := catalog.Row{}
	add := func(name string, typ catalog.Type, cell string) {
		all.Columns = append(all.Columns, catalog.Column{Name: name, Type: typ})
		row.AppendString(cell)
	}
	for _, size := range []int{1, 2, 3, 4, 8} {
		add("i"+string(rune('0'+size)), catalog.Type{Kind: catalog.Int, Size: size}, "-1")
		add("u"+string(rune('0'+size)), catalog.Type{Kind: catalog.Uint, Size: size}, "1")
	}
	for kind, cell := range map[catalog.Kind]string{catalog.Decimal: "0.50", catalog.Float: "1.5", catalog.Double: "-1e+30", catalog.Date: "0000-00-00", catalog.Time: "-838:59:59",
		catalog.Year: "2026", catalog.Text: "ü\n", catalog.Enum: "a", catalog.Set: "a,b", catalog.JSON: `{"a":1}`, catalog.UUID: "x", catalog.INET: "::1", catalog.Binary: "00ff",
		catalog.Bit: "01", catalog.Spatial: "00"} {
		add(kind.String(), catalog.Type{Kind: kind}, cell)
	}
	tm, k := keeping(t, Config{Datasets: []*catalog.Dataset{d, &all}, Envelope: WithSchema})
	send(t, tm, &Txn{GTID: "0-1-9", Time: 1, Changes: []Change{{Dataset: d, Shard: "payment", Op: Update, Before: payment(1), After: payment(2)},
		{Dataset: &all, Shard: "all", Op: Update, Before: row, After: row}}})
	if err := tm.sendRow(tm.lanes[1], "all", nil, &row, 1); err != nil {
		t.Fatal(err)
	}
	if err := tm.sendAbsent(tm.lanes[1], "all", "1", 1); err != nil {
		t.Fatal(err)
	}
	tm.queue(Record{Dataset: "all", Value: tm.control(Mark{GTID: "x"})})
	if err := tm.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, s := range tm.lanes[1].shape.cols {
		types[all.Columns[s.at].Name] = connectSchema(s.typ, false, "").Type
	}
	for name, want := range map[string]string{"i1": "int16", "i2": "int16", "i3": "int32", "i4": "int32", "i8": "int64", "u1": "int16", "u2": "int32", "u3": "int32", "u4": "int64", "u8": "int64",
		"decimal": "string", "float": "float", "double": "double"} {
		if types[name] != want {
			t.Errorf("%s is %s, not %s", name, types[name], want)
		}
	}
	plain, p := keeping(t, Config{Datasets: []*catalog.Dataset{d, &all}})
	send(t, plain, &Txn{GTID: "0-1-9", Time: 1, Changes: []Change{{Dataset: d, Shard: "payment", Op: Update, Before: payment(1), After: payment(2)}}})
	for i, r := range k.records {
		if r.Key != nil {
			connectReads(t, r.Key)
		}
		if r.Value != nil {
			connectReads(t, r.Value)
		}
		if i < len(p.records) && (string(Payload(r.Value)) != string(p.records[i].Value) || string(Payload(r.Key)) != string(p.records[i].Key) ||
			r.Partition != p.records[i].Partition || r.Header != p.records[i].Header) {
			t.Errorf("record %d has another payload, partition or header than without schemas", i)
		}
	}
	for _, same := range []string{`{"schema":"a","payload":1}`, `{"id":1}`, `{"schema":{`, ``, `{"before":null}`} {
		if string(Payload([]byte(same))) != same {
			t.Errorf("%s has a payload", same)
		}
	}
}
