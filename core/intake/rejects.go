package intake

import (
	"encoding/csv"
	"fmt"
	"io"
)

// rejects is the file of what was refused; the zero value isn't open yet.
type rejects struct {
	to  io.WriteCloser
	csv *csv.Writer
}

func (r *rejects) open(open func(more bool) (io.WriteCloser, error), more bool) error {
	if r.to != nil {
		return nil
	}
	to, err := open(more)
	if err != nil {
		return fmt.Errorf("open rejects: %w", err)
	}
	r.to, r.csv = to, csv.NewWriter(to)
	if more {
		return nil
	}
	return r.write("line", "id", "code", "field", "message")
}

func (r *rejects) write(cells ...string) error {
	if err := r.csv.Write(cells); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

// flush makes durable what was written.
func (r *rejects) flush() error {
	if r.to == nil {
		return nil
	}
	r.csv.Flush()
	err := r.csv.Error()
	if s, ok := r.to.(interface{ Sync() error }); ok && err == nil {
		err = s.Sync()
	}
	if err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

func (r *rejects) close() error {
	if r.to == nil {
		return nil
	}
	if err := r.to.Close(); err != nil {
		return fmt.Errorf("close rejects: %w", err)
	}
	return nil
}

// guard keeps a spreadsheet from running a text as a formula.
func guard(s string) string {
	if s != "" && (s[0] == '=' || s[0] == '+' || s[0] == '-' || s[0] == '@' || s[0] == '\t' || s[0] == '\r') {
		return "'" + s
	}
	return s
}
