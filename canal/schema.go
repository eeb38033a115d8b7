package canal

import (
	"bytes"
	"encoding/json"

	"strata/catalog"
)

// schema is Kafka Connect's, as its JsonConverter writes it.
type schema struct {
	Type     string   `json:"type"`
	Fields   []schema `json:"fields,omitempty"`
	Items    *schema  `json:"items,omitempty"`
	Optional bool     `json:"optional"`
	Name     string   `json:"name,omitempty"`
	Version  int      `json:"version,omitempty"`
	Field    string   `json:"field,omitempty"`
}

// addSchemas makes the heads of keys and values.
func (s *shape) addSchemas(d *catalog.Dataset, form *Form, connector string) {
	columns := d.Columns
	if form != nil {
		columns = form.Columns
	}
	topic := Topic(d.Name)
	key := schema{Type: "struct", Name: topic + ".Key"}
	for i, f := range s.key {
		key.Fields = append(key.Fields, connectSchema(f.typ, false, d.Key[i]))
	}
	row := schema{Type: "struct", Name: topic + ".Value", Optional: true}
	for _, f := range s.cols {
		c := columns[f.at]
		row.Fields = append(row.Fields, connectSchema(c.Type, c.Nullable, c.Name))
	}
	before, after := row, row
	before.Field, after.Field = "before", "after"
	value := schema{Type: "struct", Name: topic + ".Envelope", Version: 1, Fields: []schema{before, after, sourceSchema(connector),
		{Type: "string", Field: "op"}, {Type: "int64", Optional: true, Field: "ts_ms"},
		{Type: "struct", Name: "event.block", Version: 1, Optional: true, Field: "transaction", Fields: []schema{
			{Type: "string", Field: "id"}, {Type: "int64", Field: "total_order"}, {Type: "int64", Field: "data_collection_order"}}}}}
	s.keyHead, s.valueHead = schemaHead(key), schemaHead(value)
}

// schemaHead is what stands before a payload; '}' closes it.
func schemaHead(s schema) []byte {
	return append(append([]byte(`{"schema":`), jsonValue(s)...), `,"payload":`...)
}

// sourceSchema is of the source block.
func sourceSchema(connector string) schema {
	return schema{Type: "struct", Name: "io.debezium.connector." + connector + ".Source", Field: "source", Fields: []schema{
		{Type: "string", Field: "version"}, {Type: "string", Field: "connector"}, {Type: "string", Field: "name"},
		{Type: "string", Field: "db"}, {Type: "string", Optional: true, Field: "table"},
		{Type: "string", Optional: true, Field: "snapshot"}, {Type: "int64", Field: "ts_ms"}, {Type: "int64", Field: "server_id"},
		{Type: "string", Optional: true, Field: "gtid"}, {Type: "int32", Field: "row"}}}
}

// connectSchema is a column's, as Debezium's connectors for MariaDB and MySQL have it with decimal.handling.mode=string and
// binary.handling.mode=hex; dates and times are strings, and so are BIT and spatial values. An unsigned BIGINT is an int64,
// Debezium's default: readers of the schema wrap above 2^63-1, the text has all digits.
func connectSchema(t catalog.Type, nullable bool, name string) schema {
	s := schema{Type: "string", Optional: nullable, Field: name}
	switch t.Kind {
	case catalog.Int:
		s.Type = integer(t.Size, 2, 4)
	case catalog.Uint:
		s.Type = integer(t.Size, 1, 3)
	case catalog.Float:
		s.Type = "float"
	case catalog.Double:
		s.Type = "double"
	case catalog.Year:
		s.Type, s.Name, s.Version = "int32", "io.debezium.time.Year", 1
	case catalog.JSON:
		s.Name, s.Version = "io.debezium.data.Json", 1
	default:
	}
	return s
}

// integer is the type of an integer column: small and medium are the most bytes that fit into 16 and 32 bits.
func integer(size, small, medium int) string {
	switch {
	case size == 0 || size > medium:
		return "int64"
	case size <= small:
		return "int16"
	default:
		return "int32"
	}
}

// payloadMark is what a value with a schema begins with. No plain key or value does: the cell of a column named schema is
// never an object.
var payloadMarks = [...]string{`{"schema":{`, `{"schema":null`}

// Payload is what a record's key or value says: itself, or what stands beside its schema. Both forms may be in one topic.
func Payload(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte(payloadMarks[0])) && !bytes.HasPrefix(text, []byte(payloadMarks[1])) {
		return text
	}
	var v struct {
		Payload json.RawMessage `json:"payload"`
	}
	if json.Unmarshal(text, &v) != nil {
		return text
	}
	return v.Payload
}
