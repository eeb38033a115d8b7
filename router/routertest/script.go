package routertest

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/router"
)

// Script runs a text script over a router. Lines with # at their start are comments. The commands, each with the lines
// that follow it, up to the next command:
//
//	load SHARD               rows for a shard of live, cells with | between, \N for NULL
//	archive SHARD            moves a shard to the archive
//	restore SHARD            moves it back
//	query SQL                runs a query; what follows must be the expectation
//	page                     the next page of the last query, by its cursor
//	explain SQL              plans a query
//	expect                   the rows, in order
//	expect sources TEXT      as Proof prints it, after the rows
//	expect more|end          whether there is a cursor
//	expect error KIND TEXT   the error's kind, and a part of its text or hint
//	expect plan TEXT         a line of the plan holds TEXT
func Script(t *testing.T, file string, r *router.Router, w World, d *catalog.Dataset, parse func(string) (router.Query, error)) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, r: r, w: w, d: d, parse: parse}
	lines := strings.Split(string(raw), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s.at = fmt.Sprintf("%s:%d", file, i+1)
		var body []string
		for i+1 < len(lines) && !command(lines[i+1]) {
			i++
			if b := strings.TrimSpace(lines[i]); b != "" && !strings.HasPrefix(b, "#") {
				body = append(body, b)
			}
		}
		s.run(line, body)
	}
}

func command(line string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch word {
	case "load", "archive", "restore", "query", "page", "explain", "expect":
		return true
	}
	return false
}

// script is a running script with the last answer.
type script struct {
	t      *testing.T
	r      *router.Router
	w      World
	d      *catalog.Dataset
	parse  func(string) (router.Query, error)
	at     string
	q      router.Query
	rows   []string
	proof  string
	cursor string
	plan   string
	err    error
}

func (s *script) run(line string, body []string) {
	s.t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "load":
		var rows []catalog.Row
		for _, b := range body {
			rows = append(rows, ParseRow(b))
		}
		sh, ok := s.d.ShardOf(rest)
		if !ok {
			s.t.Fatalf("%s: %s is no shard", s.at, rest)
		}
		s.w.Load(s.t, s.d, sh, rows)
	case "archive":
		s.w.Archive(s.t, s.d, rest)
	case "restore":
		s.w.Restore(s.t, s.d, rest)
	case "query":
		s.q, s.err = s.parse(strings.Join(append([]string{rest}, body...), " "))
		s.answer()
	case "page":
		s.q.Cursor = s.cursor
		s.answer()
	case "explain":
		s.q, s.err = s.parse(strings.Join(append([]string{rest}, body...), " "))
		if s.err == nil {
			var p *router.Plan
			if p, s.err = s.r.Explain(s.t.Context(), s.q); s.err == nil {
				s.plan = p.String()
			}
		}
	case "expect":
		s.expect(rest, body)
	default:
		s.t.Fatalf("%s: unknown command %s", s.at, word)
	}
}

// answer runs the query to its end.
func (s *script) answer() {
	s.rows, s.proof, s.cursor, s.plan = nil, "", "", ""
	if s.err != nil {
		return
	}
	var rows []catalog.Row
	var served router.Served
	rows, served, s.cursor, s.err = Answer(s.t.Context(), s.r, s.q)
	for i := range rows {
		s.rows = append(s.rows, Text(&rows[i]))
	}
	s.proof = Proof(served)
}

// Answer runs a query to its end.
func Answer(ctx context.Context, r *router.Router, q router.Query) (rows []catalog.Row, served router.Served, cursor string, err error) {
	x, err := r.Query(ctx, q)
	if err != nil {
		return nil, served, "", err
	}
	defer func() { _ = x.Close() }() // nothing is left to say
	for {
		row, err := x.Next(ctx)
		if err == io.EOF {
			return rows, x.Served(), x.Cursor(), nil
		}
		if err != nil {
			return rows, x.Served(), "", err
		}
		rows = append(rows, row.Clone())
	}
}

// Proof prints what scripts expect of Served: per source its name, its rows, and its shards with epochs.
func Proof(s router.Served) string {
	var out []string
	for _, src := range s.Sources {
		var shards []string
		for _, sh := range src.Shards {
			shards = append(shards, fmt.Sprintf("%s@%d", sh.Shard, sh.Epoch))
		}
		out = append(out, fmt.Sprintf("%s %d (%s)", src.Source, src.Rows, strings.Join(shards, " ")))
	}
	return strings.Join(out, ", ")
}

func (s *script) expect(rest string, body []string) {
	s.t.Helper()
	what, arg, _ := strings.Cut(rest, " ")
	if what == "error" {
		kind, text, _ := strings.Cut(arg, " ")
		said := fmt.Sprintf("%v\n%s", s.err, fault.HintOf(s.err))
		if s.err == nil || fault.KindOf(s.err).String() != kind || !strings.Contains(said, text) {
			s.t.Errorf("%s: the error is\n%v (%s)\n%s", s.at, s.err, fault.KindOf(s.err), fault.HintOf(s.err))
		}
		s.err = nil
		return
	}
	if s.err != nil {
		s.t.Errorf("%s: %v\n%s", s.at, s.err, fault.HintOf(s.err))
		s.err = nil
		return
	}
	switch what {
	case "":
		want := make([]string, len(body))
		for i, b := range body {
			row := ParseRow(b)
			want[i] = Text(&row)
		}
		if got := strings.Join(s.rows, "\n"); got != strings.Join(want, "\n") {
			s.t.Errorf("%s: the rows are\n%s", s.at, got)
		}
	case "sources":
		if s.proof != arg {
			s.t.Errorf("%s: the sources are\n%s", s.at, s.proof)
		}
	case "more", "end":
		if (s.cursor != "") != (what == "more") {
			s.t.Errorf("%s: the cursor is %q", s.at, s.cursor)
		}
	case "plan":
		if !strings.Contains(s.plan, arg) {
			s.t.Errorf("%s: the plan is\n%s", s.at, s.plan)
		}
	default:
		s.t.Fatalf("%s: unknown expectation %s", s.at, what)
	}
}
