package sqlite

import (
	"database/sql/driver"
	"strings"

	"strata/catalog"
)

// wordsSchema makes table words: one column per text column, one row per document with words, under the document's _id. It
// keeps no copy of them, and splits at spaces only: what words are, catalog has told.
func wordsSchema(d *catalog.Dataset) []string {
	if len(d.Text) == 0 {
		return nil
	}
	return []string{"CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(" + columnList(d.Text) + ", content='', contentless_delete=1, tokenize='ascii')"}
}

// wordsOf are the columns of a document in table words; nil where it has none.
func (f *file) wordsOf(row *catalog.Row) []driver.Value {
	var out []driver.Value
	for i, at := range f.texts {
		words := catalog.AppendWords(nil, row.Cell(at))
		if len(words) == 0 {
			continue
		}
		if out == nil {
			out = make([]driver.Value, len(f.texts))
		}
		out[i] = string(words)
	}
	return out
}

// wordWriter are the statements that keep table words; nil where the dataset has no text columns.
type wordWriter struct{ put, drop driver.Stmt }

func prepareWords(c driver.Conn, d *catalog.Dataset) (*wordWriter, error) {
	if len(d.Text) == 0 {
		return nil, nil
	}
	var w wordWriter
	var err error
	if w.put, err = c.Prepare("REPLACE INTO words (rowid, " + columnList(d.Text) + ") VALUES (?" + strings.Repeat(",?", len(d.Text)) + ")"); err != nil {
		return nil, err
	}
	if w.drop, err = c.Prepare("DELETE FROM words WHERE rowid=?"); err != nil {
		_ = w.put.Close()
		return nil, err
	}
	return &w, nil
}

// write makes the words of a document those of the image that was just written, whatever it had before.
func (w *wordWriter) write(id int64, words []driver.Value) error {
	var err error
	if words == nil {
		_, err = w.drop.Exec([]driver.Value{id}) //nolint:staticcheck // the form without a context is the one without a goroutine
	} else {
		_, err = w.put.Exec(append([]driver.Value{id}, words...)) //nolint:staticcheck // as above
	}
	return err
}

func (w *wordWriter) close() {
	if w != nil {
		_, _ = w.put.Close(), w.drop.Close()
	}
}

// match adds the condition that a document's words are those of a Match. Outside of any Not false does for unknown, and the
// plain form lets SQLite begin with the words.
func (s *sqlText) match(column, value string) error {
	phrases, err := catalog.Phrases(value)
	if err != nil {
		return err
	}
	col := quote(column)
	if s.negated > 0 {
		s.add("CASE WHEN " + col + " IS NOT NULL THEN ")
	}
	s.add("_id IN (SELECT rowid FROM words WHERE words MATCH ")
	s.bind(col + ` : ("` + strings.Join(phrases, `" AND "`) + `")`)
	s.add(")")
	if s.negated > 0 {
		s.add(" END")
	}
	return nil
}
