package canal

// Boundary is the JSON value of a record in the topic of transactions' boundaries, by Debezium's names.
type Boundary struct {
	Status string `json:"status"` // BEGIN or END
	ID     string `json:"id"`     // the GTID
	TsMs   int64  `json:"ts_ms"`  // when the source committed it
	// EventCount and DataCollections are null in a BEGIN. They count the records of rows, an update of a key being two.
	EventCount      *uint32           `json:"event_count"`
	DataCollections []CollectionCount `json:"data_collections"`
}

// CollectionCount counts a table's events in a transaction.
type CollectionCount struct {
	DataCollection string `json:"data_collection"` // schema.table
	EventCount     uint32 `json:"event_count"`
}

// begin queues the begin of the transaction, once, before its first event.
func (t *term) begin(x *Txn) {
	if t.cfg.Boundaries && !t.env.begun {
		t.env.begun = true
		t.boundary(&Boundary{Status: "BEGIN", ID: x.GTID, TsMs: t.env.time})
	}
}

// end queues the end of a transaction that had a begin.
func (t *term) end(x *Txn) {
	if !t.env.begun {
		return
	}
	n := t.env.events
	b := &Boundary{Status: "END", ID: x.GTID, TsMs: t.env.time, EventCount: &n, DataCollections: []CollectionCount{}}
	for _, s := range t.env.touched {
		if s.events > 0 {
			b.DataCollections = append(b.DataCollections, CollectionCount{t.env.origin.Schema + "." + s.table, s.events})
		}
	}
	t.boundary(b)
}

func (t *term) boundary(b *Boundary) {
	key, value := []byte(`{"id":`+text(b.ID)+`}`), jsonValue(b)
	if t.env.schemas {
		key, value = append(append(boundaryKeyHead(), key...), '}'), append(append(boundaryHead(), value...), '}')
	}
	t.queue(Record{Dataset: Boundaries, Key: key, Value: value, Header: Header{Kind: KindBoundary, GTID: b.ID}})
}

func boundaryKeyHead() []byte {
	return schemaHead(schema{Type: "struct", Name: "io.debezium.connector.common.TransactionMetadataKey", Version: 1,
		Fields: []schema{{Type: "string", Field: "id"}}})
}

func boundaryHead() []byte {
	return schemaHead(schema{Type: "struct", Name: "io.debezium.connector.common.TransactionMetadataValue", Version: 1, Fields: []schema{
		{Type: "string", Field: "status"}, {Type: "string", Field: "id"}, {Type: "int64", Field: "ts_ms"},
		{Type: "int64", Optional: true, Field: "event_count"},
		{Type: "array", Optional: true, Field: "data_collections", Items: &schema{Type: "struct", Name: "event.collection", Version: 1, Fields: []schema{
			{Type: "string", Field: "data_collection"}, {Type: "int64", Field: "event_count"}}}}}})
}
