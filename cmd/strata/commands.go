package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"strata/fault"
	"strata/node"
)

func joinClose(err error, s *session) error { return errors.Join(err, s.close()) }

func jsonLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// ServeCmd is `serve`.
type ServeCmd struct {
	Roles []string `help:"Of canal, sync, router, archive, core." default:"canal,sync,router"`
	HTTP  string   `help:"Where to serve HTTP, in place of http: of the configuration; port 0 picks a free one." placeholder:"ADDRESS"`
}

// Run runs the roles until ctrl-C.
func (c *ServeCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	roles, err := node.ParseRoles(c.Roles)
	if err != nil {
		return err
	}
	roles.HTTP = true // health and metrics, whatever runs
	s, err := m.openWith(ctx, cli, setUp, node.Options{HTTP: c.HTTP})
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	return s.node.Run(ctx, roles)
}

// StatementCmd is `statement`.
type StatementCmd struct {
	Account int64  `required:"" help:"Account id."`
	From    string `help:"First accounting date. Default: the account's beginning." placeholder:"DATE"`
	To      string `help:"Accounting date after the last. Default: tomorrow." placeholder:"DATE"`
	Out     string `short:"o" help:"File to write. Default: stdout." placeholder:"FILE" type:"path"`
}

// Run writes the statement; the proof goes to stderr.
func (c *StatementCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	req := node.StatementRequest{Account: c.Account, From: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		To: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)}
	for _, d := range []struct {
		text string
		to   *time.Time
	}{{c.From, &req.From}, {c.To, &req.To}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = time.Parse(time.DateOnly, d.text); err != nil {
			return fault.New(fault.Invalid, "read flags", "%q is not a date such as 2006-01-02", d.text)
		}
	}
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	out := m.Stdout
	if c.Out != "" {
		f, ferr := os.CreateTemp(filepath.Dir(c.Out), filepath.Base(c.Out)+".*")
		if ferr != nil {
			return fault.Wrap(fault.Denied, "write statement", ferr)
		}
		defer func() { err = place(f, c.Out, err) }()
		out = f
	} else if cli.JSON {
		out = io.Discard
	}
	st, err := s.node.Statement(ctx, req, out)
	if err != nil {
		return err
	}
	if cli.JSON {
		return m.printJSON(st)
	}
	fmt.Fprintf(m.Stderr, "%d entries, balanced %v, sha256 %s; %s\n", st.Rows, st.Balanced, st.SHA256, describeServed(st.Served))
	return nil
}

// place puts a written file at its path, or removes it where err says that it isn't whole: what was at the path stays.
func place(f *os.File, path string, err error) error {
	if err = errors.Join(err, f.Close()); err == nil {
		err = fault.Wrap(fault.Denied, "write "+path, os.Rename(f.Name(), path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// CatalogCmd is `catalog`.
type CatalogCmd struct {
	Show CatalogShowCmd `cmd:"" help:"Datasets, their shards, and which store owns each."`
}

// CatalogShowCmd is `catalog show`.
type CatalogShowCmd struct{}

type catalogLine struct {
	Dataset string `json:"dataset"`
	Shard   string `json:"shard"`
	From    string `json:"from"`
	To      string `json:"to"`
	Store   string `json:"store"`
	Epoch   uint64 `json:"epoch"`
}

// Run prints the view of every dataset.
func (c *CatalogShowCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	lines := []catalogLine{}
	for _, d := range s.node.Datasets() {
		v, err := s.node.View(ctx, d)
		if err != nil {
			return err
		}
		for _, h := range v.Holdings {
			lines = append(lines, catalogLine{d.Name, h.Shard.Table, h.Shard.Range.From.String(), h.Shard.Range.To.String(), string(h.Store), h.Epoch})
		}
	}
	if cli.JSON {
		return m.printJSON(lines)
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DATASET\tSHARD\tFROM\tTO\tOWNER\tEPOCH")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", l.Dataset, l.Shard, l.From, l.To, l.Store, l.Epoch)
	}
	return w.Flush()
}
