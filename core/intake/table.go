package intake

import (
	"bufio"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"strata/fault"
)

const (
	maxRowBytes = 1 << 20 // a quote that is never closed would take the rest of the file into memory
	shown       = 50      // problems in words
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	Line, Column int // from 1; in characters of the file as encoding/csv counts: bytes
	Field        string
	Message      string
}

// ProblemsError is all that is wrong with a file.
type ProblemsError struct {
	Name     string
	Problems []Problem // the first ones
	Count    int       // all
}

// Error names each as file:line:column: field: message.
func (e *ProblemsError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s:%d:%d: ", e.Name, p.Line, p.Column)
		if p.Field != "" {
			b.WriteString(p.Field + ": ")
		}
		b.WriteString(p.Message)
	}
	if more := e.Count - len(e.Problems); more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return b.String()
}

// table reads the rows of a file by the names of its columns.
type table struct {
	name  string
	csv   *csv.Reader
	bound *bounded
	hash  hash.Hash
	names []string
	index map[string]int
	cells []string
	last  int // the line of the last row
	rows  int64
	bad   ProblemsError
}

// newTable reads the header. required columns must be there, optional ones may.
func newTable(name string, r io.Reader, required, optional []string) (*table, error) {
	t := &table{name: name, hash: sha256.New(), index: map[string]int{}, bad: ProblemsError{Name: name}}
	t.bound = &bounded{r: io.TeeReader(r, t.hash), limit: maxRowBytes}
	buffered := bufio.NewReader(t.bound)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = buffered.Discard(3) // they are in the buffer
	}
	t.csv = csv.NewReader(buffered)
	t.csv.ReuseRecord = true
	header, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		t.problemAt(1, 1, "", "the file is empty; its first row names the columns")
		return t, t.problems()
	}
	if err != nil {
		return t, t.broken(err)
	}
	t.bound.limit = t.csv.InputOffset() + maxRowBytes
	for i, name := range header {
		line, column := t.csv.FieldPos(i)
		_, twice := t.index[name]
		switch {
		case twice:
			t.problemAt(line, column, name, "the column is there twice")
		case !slices.Contains(required, name) && !slices.Contains(optional, name):
			t.problemAt(line, column, name, "no such column; possible are "+strings.Join(append(slices.Clone(required), optional...), ", "))
		}
		t.index[name] = i
		t.names = append(t.names, name)
	}
	for _, name := range required {
		if _, ok := t.index[name]; !ok {
			t.problemAt(1, 1, name, "the column is missing; the first row names the columns, separated by commas")
		}
	}
	return t, t.problems()
}

// next reads a row; false at the end. Rows with too few or too many cells are problems, and passed over.
func (t *table) next() (bool, error) {
	for {
		cells, err := t.csv.Read()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		t.bound.limit = t.csv.InputOffset() + maxRowBytes
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := t.csv.FieldPos(0)
			t.problemAt(line, 1, "", fmt.Sprintf("%d fields instead of %d", len(cells), len(t.names)))
			continue
		}
		if err != nil {
			return false, t.broken(err)
		}
		t.last, _ = t.csv.FieldPos(0)
		if t.rows++; t.rows > maxRows {
			return false, fault.New(fault.TooLarge, "read "+t.name, "more than %d rows", maxRows).WithHint("split the file")
		}
		t.cells = cells
		return true, nil
	}
}

// broken is an error after which the rest of the file can't be read.
func (t *table) broken(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		t.problemAt(p.Line, p.Column, "", p.Err.Error())
		return t.problems()
	}
	if errors.Is(err, errRowTooLong) {
		t.problemAt(max(t.last, 1), 1, "", fmt.Sprintf("after this row one is longer than %d bytes; is a quote not closed?", maxRowBytes))
		return t.problems()
	}
	return &fault.Error{Kind: fault.KindOf(err), Op: "read " + t.name, Err: err}
}

// cell is the row's cell in a column; "" where the column is missing.
func (t *table) cell(column string) string {
	if i, ok := t.index[column]; ok {
		return t.cells[i]
	}
	return ""
}

// line is where the row begins.
func (t *table) line() int { return t.last }

// problem notes what is wrong with the row's cell in a column, or ("") with the row.
func (t *table) problem(column, message string) {
	i := t.index[column] // 0, the row's begin, where there is no such column
	line, at := t.csv.FieldPos(i)
	t.problemAt(line, at, column, message)
}

func (t *table) problemAt(line, column int, field, message string) {
	t.bad.Count++
	if len(t.bad.Problems) < shown {
		t.bad.Problems = append(t.bad.Problems, Problem{Line: line, Column: column, Field: field, Message: message})
	}
}

// problems is what is wrong so far, as an error; nil: nothing.
func (t *table) problems() error {
	if t.bad.Count == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Op: "check file", Err: &t.bad, Hint: "nothing of the file was imported"}
}

// content is the SHA-256 of what was read, in hex: of the file, after its end.
func (t *table) content() string { return hex.EncodeToString(t.hash.Sum(nil)) }

var errRowTooLong = errors.New("a row is too long")

// bounded reads up to limit, which rises with every row.
type bounded struct {
	r           io.Reader
	read, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.read >= b.limit {
		return 0, errRowTooLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.limit-b.read)])
	b.read += int64(n)
	return n, err
}
