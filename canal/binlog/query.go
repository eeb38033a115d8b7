package binlog

import (
	"bytes"

	"github.com/go-mysql-org/go-mysql/replication"

	"strata/canal"
	"strata/fault"
)

// query handles a statement: the end of a group, DDL, or rows changed without row events.
func (g *group) query(schema, query []byte) error {
	if !g.open {
		return nil // the server's own remarks
	}
	g.hash(schema)
	g.hash(query)
	st := canal.ReadStatement(string(query))
	switch st.Verb {
	case "BEGIN", "START":
		g.begun = true
		return nil
	case "SAVEPOINT", "RELEASE":
		return nil
	case "COMMIT":
		return g.end()
	case "ROLLBACK":
		if st.Has("TO") {
			// Written only beside tables that can't roll back: which of the rows before it hold is not said.
			g.poisonChanged(fault.New(fault.Unsafe, "read binlog", "rows before a ROLLBACK TO SAVEPOINT").
				WithHint("don't mix InnoDB with other engines in one transaction; load the dataset anew"))
			return nil
		}
		g.drop()
		return g.end()
	case "XA":
		return g.xa(st)
	}
	if err := g.statement(st, string(schema)); err != nil {
		return err
	}
	if g.maria() {
		if g.standalone {
			return g.end()
		}
		return nil
	}
	if bytes.HasSuffix(bytes.TrimRight(bytes.ToUpper(tail(query)), "; \t\r\n"), []byte("START TRANSACTION")) {
		g.begun = true // CREATE TABLE … SELECT
	}
	if !g.begun {
		return g.end()
	}
	return nil
}

// tail is the last bytes, enough for START TRANSACTION.
func tail(b []byte) []byte { return b[max(0, len(b)-64):] }

// loadQuery handles LOAD DATA INFILE as a statement; its post-header has 26 bytes, then status variables, schema and text.
func (g *group) loadQuery(ev *replication.ExecuteLoadQueryEvent, body []byte) error {
	at := 26 + int(ev.StatusVars)
	if len(body) < at+int(ev.SchemaLength)+1 {
		return fault.New(fault.Unsafe, "read binlog", "%s: a LOAD DATA event of %d bytes", g.x.GTID, len(body))
	}
	schema := body[at : at+int(ev.SchemaLength)]
	return g.query(schema, body[at+len(schema)+1:])
}

// other handles events without a type of their own.
func (g *group) other(e event) error {
	h := e.Header
	switch h.EventType {
	case replication.INCIDENT_EVENT:
		return fault.New(fault.Unsafe, "read binlog", "the server says that its binlog lacks changes (incident event)").
			WithHint("load the datasets anew, from a place after it")
	case replication.XA_PREPARE_LOG_EVENT:
		return g.prepared(e.body())
	case replication.STOP_EVENT, replication.ROTATE_EVENT, replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2,
		replication.PREVIOUS_GTIDS_EVENT, replication.ROWS_QUERY_EVENT, replication.IGNORABLE_EVENT,
		replication.INTVAR_EVENT, replication.RAND_EVENT, replication.USER_VAR_EVENT, // of the statement that follows
		replication.BEGIN_LOAD_QUERY_EVENT, replication.APPEND_BLOCK_EVENT, replication.DELETE_FILE_EVENT, // of the LOAD DATA that follows
		replication.TRANSACTION_CONTEXT_EVENT, replication.VIEW_CHANGE_EVENT,
		replication.MARIADB_ANNOTATE_ROWS_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT, replication.MARIADB_GTID_LIST_EVENT,
		replication.MARIADB_START_ENCRYPTION_EVENT: // the server decrypts what it sends
		return nil
	}
	if h.Flags&replication.LOG_EVENT_IGNORABLE_F != 0 {
		return nil
	}
	return fault.New(fault.Unsafe, "read binlog", "%s: an event of type %d, which this version doesn't know and which may carry rows", g.x.GTID, h.EventType).
		WithHint("switch off the server's feature that writes it, or use a version of strata that knows it; then load the datasets anew, from a place after it")
}

// body is the event without header and checksum.
func (e event) body() []byte {
	from := replication.EventHeaderSize
	return e.RawData[min(from, len(e.RawData)):max(min(from, len(e.RawData)), len(e.RawData)-e.tail)]
}
