package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"strata/fault"
	"strata/node"
)

// CheckConfigCmd is `check-config`.
type CheckConfigCmd struct {
	File    string `arg:"" optional:"" help:"Configuration file. Default: --config, else strata.yaml." type:"path"`
	Offline bool   `help:"Only read the file; ask no server."`
}

// Help is what --help says beyond the flags.
func (c *CheckConfigCmd) Help() string {
	return "Prints what is wrong, each with its line and its cure: settings, logins and privileges of every server, datasets and their " +
		"columns, topics, clocks, folders. Where nothing is, the configuration in force, without its secrets. Nothing is changed anywhere. " +
		"Exit code 2 where something is wrong, 3 where a server is away or refuses the login, 0 otherwise."
}

// problemLine is a problem as --json prints it.
type problemLine struct {
	Line    int    `json:"line,omitempty"`
	Path    string `json:"path,omitempty"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Run checks, and prints the problems or the configuration.
func (c *CheckConfigCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	path := c.File
	switch {
	case path != "" && cli.Config != "":
		return fault.New(fault.Invalid, "read flags", "the file is named twice, as an argument and by --config")
	case path == "" && cli.Config != "":
		path = cli.Config
	case path == "":
		path = "strata.yaml"
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return fault.New(fault.Invalid, "read configuration", "%w", err).
			WithHint("make one with strata init, or copy strata.example.yaml to strata.yaml and adapt it")
	}
	res := node.Check(ctx, node.CheckRequest{Source: src, Name: path, Getenv: m.Getenv, Offline: c.Offline, Now: time.Now, Log: m.Log})
	if ctx.Err() != nil {
		return fault.Wrap(fault.Interrupted, "check "+path, ctx.Err())
	}
	if len(res.Problems) == 0 {
		return c.printSound(m, cli, path, res)
	}
	lines := make([]problemLine, len(res.Problems))
	for i, p := range res.Problems {
		lines[i] = problemLine{p.Line, p.Path, problemKind(p).String(), p.Error(), fault.HintOf(p.Err)}
	}
	sum := problemSum(path, res.Problems)
	if cli.JSON {
		// The same place as any other refusal's, for programs that only look there.
		texts := make([]string, len(lines))
		hints := make([]string, 0, len(lines))
		for i, l := range lines {
			texts[i] = res.Problems[i].At(path) + ": " + l.Message
			if l.Hint != "" {
				hints = append(hints, l.Hint)
			}
		}
		err := m.printJSON(map[string]any{"ok": false, "problems": lines, "error": map[string]string{
			"kind": fault.KindOf(sum).String(), "message": strings.Join(texts, "\n"), "hint": strings.Join(hints, "\n")}})
		if err != nil {
			return err
		}
		return sum
	}
	for i, l := range lines {
		fmt.Fprintf(m.Stdout, "%s: %s\n", res.Problems[i].At(path), l.Message)
		for hint := range strings.SplitSeq(l.Hint, "\n") {
			if hint != "" {
				fmt.Fprintf(m.Stdout, "  hint: %s\n", hint)
			}
		}
	}
	return sum
}

// problemKind is the problem's kind; what nobody classified is the file's fault.
func problemKind(p *node.Problem) fault.Kind {
	if k := fault.KindOf(p.Err); k != fault.Internal {
		return k
	}
	return fault.Invalid
}

// problemSum is the error that says how many there are: fault.Unavailable or Denied where a server could not be asked, else
// fault.Invalid.
func problemSum(path string, list []*node.Problem) error {
	kind := fault.Invalid
	for _, p := range list {
		switch k := problemKind(p); k {
		case fault.Unavailable, fault.Timeout:
			kind = fault.Unavailable
		case fault.Denied:
			if kind == fault.Invalid && p.Login {
				kind = fault.Denied
			}
		}
	}
	if len(list) == 1 {
		return fault.New(kind, "check "+path, "1 problem")
	}
	return fault.New(kind, "check "+path, "%d problems", len(list))
}

// printSound prints the configuration in force.
func (c *CheckConfigCmd) printSound(m *Main, cli *CLI, path string, res node.Checked) error {
	if cli.JSON {
		b, err := res.Config.EffectiveJSON()
		if err != nil {
			return err
		}
		return m.printJSON(map[string]any{"ok": true, "problems": []problemLine{}, "servers": res.Servers, "config": json.RawMessage(b)})
	}
	text, err := res.Config.Effective()
	if err != nil {
		return err
	}
	fmt.Fprint(m.Stdout, text)
	for _, s := range res.Servers {
		fmt.Fprintf(m.Stderr, "%s\n", s)
	}
	asked := fmt.Sprintf("%d datasets, %d servers asked", res.Datasets, len(res.Servers))
	if c.Offline {
		asked = "no server was asked"
	}
	fmt.Fprintf(m.Stderr, "%s: nothing is wrong; %s\n", path, asked)
	return nil
}
