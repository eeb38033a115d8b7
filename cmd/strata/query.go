package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/router"
)

// QueryCmd answers a SELECT.
type QueryCmd struct {
	SQL     string        `arg:"" help:"SELECT columns|*|count(*)|sum(column) FROM dataset WHERE … GROUP BY … ORDER BY … LIMIT n"`
	Format  string        `enum:"table,csv,json" default:"table" help:"table, csv, or json (one object a row, then the proof)."`
	Cursor  string        `help:"Go on after an earlier page of the same query."`
	Strong  bool          `help:"One snapshot per server, on its primary; never the index."`
	Bounded time.Duration `help:"Sources may lag at most this long."`
	AtLeast uint64        `help:"Every source must have reached this position."`
	Timeout time.Duration `help:"Limit of the whole query, on the servers too."`
}

// query is the router's query for the command's text and flags.
func (c *QueryCmd) query(s *session) (router.Query, error) {
	q, err := s.node.ParseSQL(c.SQL)
	if err != nil {
		return q, err
	}
	q.Cursor, q.Timeout = c.Cursor, c.Timeout
	q.Freshness = router.Freshness{Strong: c.Strong, Bounded: c.Bounded, AtLeast: c.AtLeast}
	return q, nil
}

// Run prints rows to stdout as they come and the proof to stderr (with json: as the last line).
func (c *QueryCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	if cli.JSON {
		c.Format = "json"
	}
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	q, err := c.query(s)
	if err != nil {
		return err
	}
	res, err := s.node.Router().Query(ctx, q)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	w := newRowWriter(c.Format, m.Stdout, res.Columns())
	n, err := copyRows(ctx, res, w)
	if err != nil {
		return err
	}
	return c.proof(m, res, n)
}

func (c *QueryCmd) proof(m *Main, res *router.Result, n int64) error {
	served, cursor := res.Served(), res.Cursor()
	if c.Format == "json" {
		return jsonLine(m.Stdout, map[string]any{"rows": n, "served": served, "cursor": cursor})
	}
	fmt.Fprintf(m.Stderr, "%d rows; %s\n", n, describeServed(served))
	if cursor != "" {
		fmt.Fprintf(m.Stderr, "more: --cursor %s\n", cursor)
	}
	return nil
}

// copyRows moves every row of res to w. An answer that ends without io.EOF is an error.
func copyRows(ctx context.Context, res *router.Result, w rowWriter) (int64, error) {
	var n int64
	for {
		row, err := res.Next(ctx)
		if errors.Is(err, io.EOF) {
			return n, w.end()
		}
		if err != nil {
			return n, errors.Join(err, w.end())
		}
		if err := w.row(row); err != nil {
			return n, fault.Wrap(fault.Internal, "write row", err)
		}
		n++
	}
}

func describeServed(s router.Served) string {
	parts := make([]string, len(s.Sources))
	for i, src := range s.Sources {
		parts[i] = fmt.Sprintf("%s: %d rows of %d shards", src.Source, src.Rows, len(src.Shards))
		if src.Heartbeat > 0 {
			parts[i] += fmt.Sprintf(" at position %d (%d ms old)", src.Heartbeat, src.LagMs)
		}
		if src.Why != "" {
			parts[i] += " (" + src.Why + ")"
		}
	}
	out := strings.Join(parts, "; ")
	if !s.Complete {
		out += "; NOT COMPLETE: " + s.Reason
	}
	return out
}

// ExplainCmd shows the plan of a SELECT.
type ExplainCmd struct{ QueryCmd }

// Run prints the plan.
func (c *ExplainCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	q, err := c.query(s)
	if err != nil {
		return err
	}
	plan, err := s.node.Router().Explain(ctx, q)
	if err != nil {
		return err
	}
	if cli.JSON {
		return m.printJSON(plan)
	}
	_, err = fmt.Fprintln(m.Stdout, plan.String())
	return err
}

// rowWriter prints rows in one format.
type rowWriter interface {
	row(r *catalog.Row) error
	end() error
}

func newRowWriter(format string, out io.Writer, columns []catalog.Column) rowWriter {
	switch format {
	case "csv":
		w := &csvRows{out: csv.NewWriter(out), cells: make([]string, len(columns))}
		_ = w.out.Write(names(columns))
		return w
	case "json":
		return &jsonRows{out: out, dataset: &catalog.Dataset{Columns: columns}}
	}
	w := &tableRows{out: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
	fmt.Fprintln(w.out, strings.Join(names(columns), "\t"))
	return w
}

func names(columns []catalog.Column) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.Name
	}
	return out
}

type csvRows struct {
	out   *csv.Writer
	cells []string
}

func (w *csvRows) row(r *catalog.Row) error {
	for i := range w.cells {
		w.cells[i] = r.Text(i)
	}
	return w.out.Write(w.cells)
}

func (w *csvRows) end() error {
	w.out.Flush()
	return w.out.Error()
}

type jsonRows struct {
	out     io.Writer
	dataset *catalog.Dataset
	buf     []byte
}

func (w *jsonRows) row(r *catalog.Row) error {
	w.buf = append(catalog.AppendJSON(w.buf[:0], w.dataset, r), '\n')
	_, err := w.out.Write(w.buf)
	return err
}

func (w *jsonRows) end() error { return nil }

// tableRows aligns columns in groups of rows, so that memory stays flat for an answer of any length.
type tableRows struct {
	out *tabwriter.Writer
	n   int
}

func (w *tableRows) row(r *catalog.Row) error {
	for i := range r.Len() {
		if i > 0 {
			fmt.Fprint(w.out, "\t")
		}
		if r.Null(i) {
			fmt.Fprint(w.out, "NULL")
			continue
		}
		fmt.Fprint(w.out, strings.NewReplacer("\t", " ", "\n", " ", "\x1b", "?").Replace(r.Text(i)))
	}
	w.n++
	if _, err := fmt.Fprintln(w.out); err != nil || w.n%1000 != 0 {
		return err
	}
	return w.out.Flush()
}

func (w *tableRows) end() error { return w.out.Flush() }
