package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"strata/canal/ddlcheck"
	"strata/fault"
)

// ddlLimit bounds a script; a migration is some kilobytes.
const ddlLimit = 16 << 20

// CanalDDLCheckCmd is `canal ddl-check`.
type CanalDDLCheckCmd struct {
	File string `arg:"" help:"SQL script that is about to be run; - reads stdin."`
}

// Help is what --help says beyond the flags.
func (c *CanalDDLCheckCmd) Help() string {
	return "Runs nothing. Exit code 0 where every statement can be followed, 1 where a shard will have to be sent anew or a dataset will stop."
}

// ddlFinding is a finding as --json prints it.
type ddlFinding struct {
	Line      int    `json:"line"`
	Severity  string `json:"severity"`
	Dataset   string `json:"dataset,omitempty"`
	Table     string `json:"table,omitempty"`
	Statement string `json:"statement"`
	Topic     string `json:"topic,omitempty"`
	Index     string `json:"index,omitempty"`
	Why       string `json:"why,omitempty"`
}

// Run reads the script and says what capture will make of it.
func (c *CanalDDLCheckCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	script, err := readScript(c.File)
	if err != nil {
		return err
	}
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	list, err := s.node.CheckDDL(ctx, script)
	if err != nil {
		return err
	}
	out := make([]ddlFinding, len(list))
	worst := 0
	for i, f := range list {
		out[i] = ddlFinding{f.Line, f.Severity.String(), f.Dataset, f.Table, f.Statement, f.Topic, f.Index, f.Why}
		if f.Severity >= ddlcheck.Repair {
			worst++
		}
	}
	if cli.JSON {
		err = m.printJSON(out)
	} else {
		printDDL(m.Stdout, c.File, out)
	}
	if err == nil && worst > 0 {
		return fault.New(fault.Proof, "check "+c.File, "%d statements can't simply be followed", worst).
			WithHint("each says why; after it was run: strata canal backfill DATASET --shard TABLE --why …")
	}
	return err
}

func printDDL(out io.Writer, file string, list []ddlFinding) {
	for _, f := range list {
		fmt.Fprintf(out, "%s:%d: %s: %s\n", file, f.Line, f.Severity, plainLine(f.Statement))
		for _, l := range []struct{ name, text string }{{"table", f.Table}, {"topic", f.Topic}, {"index", f.Index}, {"why", f.Why}} {
			if l.text != "" {
				fmt.Fprintf(out, "  %s: %s\n", l.name, plainLine(l.text))
			}
		}
	}
}

// readScript reads a file, or stdin, up to the limit.
func readScript(path string) (_ string, err error) {
	from := os.Stdin
	if path != "-" {
		if from, err = os.Open(path); err != nil {
			return "", fault.New(fault.Invalid, "read script", "%w", err)
		}
		defer func() { _ = from.Close() }()
	}
	b, err := io.ReadAll(io.LimitReader(from, ddlLimit+1))
	switch {
	case err != nil:
		return "", fault.New(fault.Invalid, "read script "+path, "%w", err)
	case len(b) > ddlLimit:
		return "", fault.New(fault.TooLarge, "read script "+path, "it has over %d MiB", ddlLimit>>20)
	case bytes.IndexByte(b, 0) >= 0:
		return "", fault.New(fault.Invalid, "read script "+path, "it is no text: there is a zero byte in it").WithHint("UTF-8 is wanted, not UTF-16")
	}
	return string(b), nil
}
