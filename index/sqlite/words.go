package sqlite

import (
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

// appendWords appends the columns of a document in table words, and reports whether it has any words.
func (f *file) appendWords(into *cells, row *catalog.Row) bool {
	list, some := len(into.list), false
	for _, at := range f.texts {
		from := len(into.text)
		into.text = catalog.AppendWords(into.text, row.Cell(at))
		if n := len(into.text) - from; n > 0 {
			into.list = append(into.list, cell{n: int64(from), size: int32(n), form: formText})
			some = true
		} else {
			into.null()
		}
	}
	if !some {
		into.list = into.list[:list]
	}
	return some
}

// wordWriter are the statements that keep table words; nil where the dataset has no text columns.
type wordWriter struct{ put, drop *stmt }

func prepareWords(c *conn, d *catalog.Dataset) (*wordWriter, error) {
	if len(d.Text) == 0 {
		return nil, nil
	}
	var w wordWriter
	var err error
	if w.put, err = c.prepare("REPLACE INTO words (rowid, " + columnList(d.Text) + ") VALUES (?" + strings.Repeat(",?", len(d.Text)) + ")"); err != nil {
		return nil, err
	}
	if w.drop, err = c.prepare("DELETE FROM words WHERE rowid=?"); err != nil {
		w.put.close()
		return nil, err
	}
	return &w, nil
}

// write makes the words of a document those of the image that was just written, whatever it had before. The words are held.
func (w *wordWriter) write(id int64, words []cell) error {
	s := w.put
	if words == nil {
		s = w.drop
	}
	if err := s.bind(1, []cell{{n: id, form: formInt}}); err != nil {
		return err
	}
	if err := s.bind(2, words); err != nil {
		return err
	}
	_, err := s.exec()
	return err
}

func (w *wordWriter) close() {
	if w != nil {
		w.put.close()
		w.drop.close()
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
