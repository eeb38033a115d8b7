package canal

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Statement is the text of a statement, cut into words: as much of SQL as tells which tables it names and what it may have
// done to them, for every dialect of MariaDB and MySQL.
type Statement struct {
	Verb  string // the first word in upper case; "" for nothing
	Text  string
	Line  int // where it begins, from 1
	words []word
	odd   bool // its strings may end elsewhere than it looks, depending on the session
	open  bool // a string, a name or a comment in it has no end
}

// TableName is a table as a statement names it; an empty Schema is the session's.
type TableName struct{ Schema, Name string }

// word is an identifier, a keyword, a string, or one other character.
type word struct {
	text   string
	upper  string // "" unless it is a bare word
	quoted bool   // `name` or "name"
	sign   bool   // one character such as a comma
	end    int    // in Text
}

// maxWords is enough for every list of tables; a longer DML text names its tables before that.
const maxWords = 20000

// ReadStatement cuts one statement into words. Comments are left out, but for the versioned ones' content and for MariaDB's
// SET STATEMENT … FOR in front.
func ReadStatement(text string) Statement {
	s, _ := scan(text, "")
	return s.ready()
}

// SplitStatements cuts a script of the command-line client into its statements, without the empty ones. It knows DELIMITER,
// \G and \g, and a byte order mark.
func SplitStatements(script string) []Statement {
	var out []Statement
	script = strings.TrimPrefix(script, "\ufeff")
	delimiter, at := ";", 0
	for at < len(script) {
		rest := strings.TrimLeft(script[at:], " \t\r\n")
		at = len(script) - len(rest)
		if lineComment(rest) {
			at += skipTo(rest, "\n") // a DELIMITER may follow
			continue
		}
		if len(rest) > 10 && strings.EqualFold(rest[:9], "DELIMITER") && (rest[9] == ' ' || rest[9] == '\t') {
			line, _, _ := strings.Cut(rest, "\n")
			at += len(line)
			if d := strings.TrimSpace(line[10:]); d != "" {
				delimiter = d
			}
			continue
		}
		s, n := scan(rest, delimiter)
		if len(s.words) > 0 || s.open {
			s.Line = 1 + strings.Count(script[:at], "\n") + strings.Count(rest[:s.begin()], "\n")
			out = append(out, s.ready())
		}
		at += n
	}
	return out
}

// begin is where the first word begins, comments in front of it aside.
func (s *Statement) begin() int {
	if len(s.words) == 0 {
		return 0
	}
	w := s.words[0]
	return max(0, strings.LastIndex(s.Text[:w.end], w.text))
}

// ready finds the verb.
func (s Statement) ready() Statement {
	s.odd = s.odd || !utf8.ValidString(s.Text)
	if s.At(0, "SET") && s.At(1, "STATEMENT") {
		if i := slices.IndexFunc(s.words, func(w word) bool { return w.upper == "FOR" }); i > 0 {
			s.words = s.words[i+1:]
		}
	}
	if len(s.words) > 0 {
		s.Verb = s.words[0].upper
	}
	return s
}

// scan reads up to a delimiter ("": to the end) and says how far it came, the delimiter included.
func scan(text, delimiter string) (Statement, int) {
	s := Statement{Line: 1}
	i := 0
	for i < len(text) {
		if delimiter != "" && strings.HasPrefix(text[i:], delimiter) {
			s.Text = text[:i]
			return s, i + len(delimiter)
		}
		c := text[i]
		if delimiter != "" && c == '\\' && i+1 < len(text) && (text[i+1] == 'G' || text[i+1] == 'g') {
			s.Text = text[:i]
			return s, i + 2
		}
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ';':
			i++
		case lineComment(text[i:]):
			i += skipTo(text[i:], "\n")
		case strings.HasPrefix(text[i:], "/*!") || strings.HasPrefix(text[i:], "/*M!"):
			i += strings.IndexByte(text[i:], '!') + 1
			for i < len(text) && text[i] >= '0' && text[i] <= '9' {
				i++
			}
		case strings.HasPrefix(text[i:], "/*"):
			s.open = s.open || !strings.Contains(text[i+2:], "*/")
			i += 2 + skipTo(text[i+2:], "*/")
		case strings.HasPrefix(text[i:], "*/"):
			i += 2
		case c == '`' || c == '"' || c == '\'':
			w, n, ends := quoted(text[i:])
			s.open = s.open || !ends
			s.odd = s.odd || c != '`' && strings.IndexByte(text[i:i+n], '\\') >= 0
			i += n
			s.add(word{text: w, quoted: c != '\'', end: i})
		case isWordByte(c):
			n := 1
			for i+n < len(text) && isWordByte(text[i+n]) && (delimiter == "" || !strings.HasPrefix(text[i+n:], delimiter)) {
				n++
			}
			i += n
			s.add(word{text: text[i-n : i], upper: strings.ToUpper(text[i-n : i]), end: i})
		default:
			i++
			s.add(word{text: text[i-1 : i], sign: true, end: i})
		}
	}
	s.Text = text
	return s, len(text)
}

func (s *Statement) add(w word) {
	if len(s.words) < maxWords {
		s.words = append(s.words, w)
		return
	}
	s.odd = true
}

// Open reports whether a string, a name or a comment in the statement has no end, so that what follows it was taken for part
// of it.
func (s Statement) Open() bool { return s.open }

// Has reports whether a bare word is in the statement; it is given in upper case.
func (s Statement) Has(upper string) bool {
	return slices.ContainsFunc(s.words, func(w word) bool { return w.upper == upper })
}

// At reports whether the i-th word, from 0, is this bare word, given in upper case.
func (s Statement) At(i int, upper string) bool { return i < len(s.words) && s.words[i].upper == upper }

// After is the text behind the i-th word.
func (s Statement) After(i int) string {
	if i >= len(s.words) {
		return ""
	}
	return strings.TrimSpace(s.Text[s.words[i].end:])
}

// DML reports whether the statement changes rows.
func (s Statement) DML() bool {
	switch s.Verb {
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL", "DO", "HANDLER":
		return true
	}
	return false
}

// Tables are the names in a statement that changes rows which may be tables: for INSERT, REPLACE and LOAD the target only,
// for the others every name, qualified where it is.
func (s Statement) Tables() []TableName {
	words := s.words
	switch s.Verb {
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
	}
	return names(words)
}

// Names are all names in the statement, qualified where they are: of tables, columns, functions and whatever else.
func (s Statement) Names() []TableName { return names(s.words) }

func names(words []word) []TableName {
	var out []TableName
	for i := 0; i < len(words); i++ {
		if !words[i].name() {
			continue
		}
		if i+2 < len(words) && words[i+1].is(".") && words[i+2].name() {
			out = append(out, TableName{words[i].text, words[i+2].text})
			i += 2
			continue
		}
		out = append(out, TableName{"", words[i].text})
	}
	return out
}

// is reports whether the word is this bare word, or this sign.
func (w word) is(s string) bool { return w.upper == s && s != "" || w.sign && w.text == s }

func (w word) name() bool { return w.quoted || w.upper != "" }

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// lineComment reports whether a comment begins that ends with its line.
func lineComment(s string) bool {
	return strings.HasPrefix(s, "#") || strings.HasPrefix(s, "--") && (len(s) == 2 || s[2] <= ' ')
}

// skipTo is the length up to and with end, or all.
func skipTo(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i + len(end)
	}
	return len(s)
}

// quoted reads a quoted name or string and its length; ends: it has a closing quote.
func quoted(s string) (text string, n int, ends bool) {
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
			return b.String(), i + 1, true
		}
	}
	return b.String(), len(s), false
}
