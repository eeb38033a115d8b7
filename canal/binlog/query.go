package binlog

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"

	"strata/canal"
	"strata/fault"
)

// query handles a statement: the end of a group, DDL, or rows changed without row events.
func (g *group) query(ev *replication.QueryEvent) error {
	if !g.open {
		return nil // the server's own remarks
	}
	g.hash(ev.Schema)
	g.hash(ev.Query)
	text := string(ev.Query)
	st := parseStatement(text)
	switch st.verb {
	case "BEGIN", "SAVEPOINT", "RELEASE", "START":
		return nil
	case "COMMIT":
		g.end()
		return nil
	case "ROLLBACK":
		if st.has("TO") {
			// Written only beside tables that can't roll back: which of the rows before it hold is not said.
			g.poisonChanged(fault.New(fault.Unsafe, "read binlog", "rows before a ROLLBACK TO SAVEPOINT").
				WithHint("don't mix InnoDB with other engines in one transaction; load the dataset anew"))
			return nil
		}
		g.drop()
		g.end()
		return nil
	case "XA":
		return g.xa(st, text)
	}
	g.statement(st, string(ev.Schema))
	if g.standalone || g.s.flavor != "mariadb" && len(g.x.Changes) == 0 && g.images == 0 && !st.has("START") && !st.dml() {
		g.end()
	}
	return nil
}

// statement looks at DDL and DML text for captured tables.
func (g *group) statement(st statement, schema string) {
	for _, t := range st.tables() {
		if t.schema == "" {
			t.schema = schema
		}
		d := g.captured(t.name)
		if t.schema != g.s.cfg.DB.Schema() || d == nil {
			continue
		}
		if st.dml() {
			g.poison(d, fault.New(fault.Unsafe, "read binlog", "%s on table %s is in the binlog as a statement, not as rows", st.verb, t.name).
				WithHint("somebody sets binlog_format in a session; take that right away, and load the dataset anew"))
			continue
		}
		if what := st.alarm(); what != "" {
			g.x.Alarms = append(g.x.Alarms, canal.Alarm{Dataset: d.Name, Table: t.name, What: what})
		}
	}
}

// xa handles the statements of two-phase transactions. The rows were in the group that ended in the prepare event.
func (g *group) xa(st statement, text string) error {
	if len(st.words) < 2 || st.words[1].upper != "COMMIT" && st.words[1].upper != "ROLLBACK" {
		return nil // START and END
	}
	id := strings.TrimSpace(text[strings.Index(strings.ToUpper(text), st.words[1].upper)+len(st.words[1].upper):])
	if strings.HasSuffix(strings.ToUpper(id), "ONE PHASE") {
		g.end()
		return nil
	}
	held, known := g.held[id], g.others[id]
	delete(g.held, id)
	delete(g.others, id)
	if st.words[1].upper == "COMMIT" {
		switch {
		case held != nil:
			g.x.Changes, g.x.Poison, g.x.Beat = held.Changes, held.Poison, held.Beat
		case !known && g.x.GTID != g.again:
			return fault.New(fault.Unsafe, "read binlog", "%s: XA COMMIT of %s, whose PREPARE was before the start", g.x.GTID, id).
				WithHint("start at a GTID set before that PREPARE, or after this commit")
		}
	}
	g.end()
	return nil
}

// other handles events without a type of their own.
func (g *group) other(e *replication.BinlogEvent) error {
	switch e.Header.EventType {
	case replication.INCIDENT_EVENT:
		return fault.New(fault.Unsafe, "read binlog", "the server says that its binlog lacks changes (incident event)").
			WithHint("load the datasets anew, from a place after it")
	case replication.XA_PREPARE_LOG_EVENT:
		return g.prepared(e.RawData[replication.EventHeaderSize:])
	}
	return nil
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
		g.end()
		return nil
	}
	if len(g.x.Changes) == 0 && len(g.x.Poison) == 0 && g.x.Beat == nil {
		g.others[id] = true
	} else {
		g.held[id] = &canal.Txn{Changes: g.x.Changes, Poison: g.x.Poison, Beat: g.x.Beat}
		g.x.Changes = nil // the memory is the held one's now
	}
	if len(g.held)+len(g.others) > maxXA {
		return fault.New(fault.TooLarge, "read binlog", "more than %d prepared XA transactions are open", maxXA).
			WithHint("XA RECOVER on the server lists them; commit or roll them back")
	}
	g.drop()
	g.end()
	return nil
}

// maxXA bounds what is held back; servers have far fewer sessions.
const maxXA = 1000

// word is a token: an identifier or keyword, or one other character.
type word struct {
	text   string
	upper  string // "" for quoted identifiers and strings
	quoted bool
}

// statement is the text of a QueryEvent, cut into words as far as it is needed.
type statement struct {
	verb  string
	words []word
}

type table struct{ schema, name string }

// maxWords is enough for every DROP and RENAME list; a longer DML text names its tables before that.
const maxWords = 20000

func (s statement) has(upper string) bool {
	return slices.ContainsFunc(s.words, func(w word) bool { return w.upper == upper })
}

// dml reports whether the statement changes rows.
func (s statement) dml() bool {
	switch s.verb {
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL", "DO", "HANDLER":
		return true
	}
	return false
}

// alarm is what a statement does to a captured table that rows don't tell; "" for nothing.
func (s statement) alarm() string {
	switch s.verb {
	case "TRUNCATE", "RENAME", "ALTER":
		for _, w := range s.words {
			if strings.Contains(w.text, "__strata_") {
				return "" // strata's own move
			}
		}
		return strings.ToLower(s.verb)
	case "DROP":
		if !s.has("TEMPORARY") && s.at(1, "TABLE") {
			return "drop"
		}
	case "CREATE":
		if s.at(1, "OR") && s.at(3, "TABLE") {
			return "replace"
		}
	}
	return ""
}

func (s statement) at(i int, upper string) bool { return i < len(s.words) && s.words[i].upper == upper }

// tables are the names in the statement that may be tables: for INSERT and REPLACE only the target, for CREATE only the
// first; for the others every name, qualified where it is.
func (s statement) tables() []table {
	words := s.words
	switch s.verb {
	case "INSERT", "REPLACE", "LOAD":
		if i := slices.IndexFunc(words, func(w word) bool { return w.upper == "INTO" }); i >= 0 {
			words = words[i+1:]
			if len(words) > 0 && words[0].upper == "TABLE" {
				words = words[1:]
			}
		} else {
			words = words[1:]
			for len(words) > 1 && slices.Contains([]string{"IGNORE", "DELAYED", "LOW_PRIORITY", "HIGH_PRIORITY"}, words[0].upper) {
				words = words[1:]
			}
		}
		words = words[:min(3, len(words))]
	case "CREATE":
		i := slices.IndexFunc(words, func(w word) bool { return w.upper == "TABLE" })
		if i < 0 {
			return nil
		}
		words = words[i+1 : min(i+8, len(words))]
	}
	var out []table
	for i := 0; i < len(words); i++ {
		if !words[i].name() {
			continue
		}
		if i+2 < len(words) && words[i+1].text == "." && words[i+2].name() {
			out = append(out, table{words[i].text, words[i+2].text})
			i += 2
			continue
		}
		out = append(out, table{"", words[i].text})
	}
	return out
}

func (w word) name() bool { return w.quoted || len(w.upper) > 0 }

// parseStatement cuts a statement into words. Comments are left out, but for the versioned ones' content and for
// MariaDB's SET STATEMENT … FOR in front.
func parseStatement(text string) statement {
	var s statement
	for i := 0; i < len(text) && len(s.words) < maxWords; {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ';':
			i++
		case c == '#' || strings.HasPrefix(text[i:], "-- "):
			i += skipTo(text[i:], "\n")
		case strings.HasPrefix(text[i:], "/*!") || strings.HasPrefix(text[i:], "/*M!"):
			i += strings.IndexByte(text[i:], '!') + 1
			for i < len(text) && text[i] >= '0' && text[i] <= '9' {
				i++
			}
		case strings.HasPrefix(text[i:], "/*"):
			i += skipTo(text[i:], "*/")
		case strings.HasPrefix(text[i:], "*/"):
			i += 2
		case c == '`' || c == '"' || c == '\'':
			w, n := quoted(text[i:])
			s.words = append(s.words, word{text: w, quoted: c != '\''})
			i += n
		case isWordByte(c):
			n := 1
			for i+n < len(text) && isWordByte(text[i+n]) {
				n++
			}
			s.words = append(s.words, word{text: text[i : i+n], upper: strings.ToUpper(text[i : i+n])})
			i += n
		default:
			s.words = append(s.words, word{text: text[i : i+1]})
			i++
		}
	}
	if s.at(0, "SET") && s.at(1, "STATEMENT") {
		if i := slices.IndexFunc(s.words, func(w word) bool { return w.upper == "FOR" }); i > 0 {
			s.words = s.words[i+1:]
		}
	}
	if len(s.words) > 0 {
		s.verb = s.words[0].upper
	}
	return s
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// skipTo is the length up to and with end, or all.
func skipTo(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i + len(end)
	}
	return len(s)
}

// quoted reads a quoted name or string and its length.
func quoted(s string) (string, int) {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && q != '`' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] != q:
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == q:
			i++
			b.WriteByte(q)
		default:
			return b.String(), i + 1
		}
	}
	return b.String(), len(s)
}
