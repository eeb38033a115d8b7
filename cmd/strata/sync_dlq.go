package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/node"
	"strata/sync/dlq"
)

// SyncDlqCmd is `sync dlq`.
type SyncDlqCmd struct {
	List   DlqListCmd   `cmd:"" help:"Letters of a dataset, and which are open; exit code 0 whatever there is."`
	Show   DlqShowCmd   `cmd:"" help:"Letters whole, with their records."`
	Replay DlqReplayCmd `cmd:"" help:"Apply letters with their own versions, and close those that the index has then."`
	Drop   DlqDropCmd   `cmd:"" help:"Close letters without applying them: a decision, kept as evidence."`
}

// withLetters opens the dead letters.
func withLetters(ctx context.Context, m *Main, cli *CLI, f func(context.Context, *node.Node, *node.Letters) error) (err error) {
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	l, err := s.node.OpenLetters(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := l.Close(); err == nil {
			err = cerr
		}
	}()
	return f(ctx, s.node, l)
}

// DlqListCmd is `sync dlq list`.
type DlqListCmd struct {
	Dataset string   `arg:"" help:"Dataset."`
	Key     []string `help:"Only letters of these rows; the cells of a composite key joined by commas." placeholder:"KEY" sep:"none"`
	All     bool     `help:"Closed and outdated ones too."`
	Limit   int      `default:"100" help:"At most so many, the oldest first; 0: all."`
}

// Run lists them.
func (c *DlqListCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withLetters(ctx, m, cli, func(ctx context.Context, n *node.Node, l *node.Letters) error {
		list, err := l.List(ctx, c.Dataset)
		if err != nil {
			return err
		}
		keys, err := typedKeys(n, c.Dataset, c.Key)
		if err != nil {
			return err
		}
		list.Letters = slices.DeleteFunc(list.Letters, func(v dlq.Letter) bool {
			return len(keys) > 0 && !slices.Contains(keys, v.Key) || !c.All && v.State != dlq.Open
		})
		matched := len(list.Letters)
		if c.Limit > 0 && matched > c.Limit {
			list.Letters = list.Letters[:c.Limit]
		}
		if cli.JSON {
			return m.printJSON(list)
		}
		return printLetters(m.Stdout, &list, matched)
	})
}

func printLetters(out io.Writer, list *dlq.Listing, matched int) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if len(list.Letters) > 0 {
		fmt.Fprintln(w, "LETTER\tSTATE\tSHARD\tKEY\tOP\tBYTES\tSENT\tAT\tREASON")
	}
	for i := range list.Letters {
		v := &list.Letters[i]
		state := string(v.State)
		if v.Who != "" {
			state += " by " + v.Who
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", plainLine(v.Name), plainLine(state), plainLine(v.Shard), letterKey(v), v.Op, v.Bytes, v.Sent,
			v.At.Format(time.RFC3339), shorten(plainLine(v.Reason)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d letters of %s are open; %d of %d are shown\n", list.Open, list.Dataset, len(list.Letters), matched)
	if list.Lost > 0 {
		fmt.Fprintf(out, "somebody has deleted %d records from the beginning of topic %s: letters among them can't be known\n", list.Lost, canal.Topic(canal.DeadLetters(list.Dataset)))
	}
	return nil
}

func letterKey(v *dlq.Letter) string {
	if v.Key != "" {
		return plainLine(string(v.Key))
	}
	return shorten(plainLine(string(v.RawKey)))
}

// shorten keeps a line of a table readable.
func shorten(s string) string {
	const most = 160
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func typedKeys(n *node.Node, dataset string, typed []string) ([]catalog.Key, error) {
	d, err := n.Dataset(dataset)
	if err != nil {
		return nil, err
	}
	out := make([]catalog.Key, 0, len(typed))
	for _, text := range typed {
		key, err := readKey(d, text)
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

// chosen says which letters a command is about.
type chosen struct {
	Dataset string   `arg:"" help:"Dataset."`
	Letter  []string `arg:"" optional:"" help:"Letters, as strata sync dlq list names them."`
	Key     []string `help:"Open letters of these rows; the cells of a composite key joined by commas." placeholder:"KEY" sep:"none"`
	All     bool     `help:"All open letters."`
}

// pick returns the letters that are named, or that are open and have one of the keys, or all that are open.
func (c *chosen) pick(ctx context.Context, n *node.Node, l *node.Letters) ([]dlq.Letter, error) {
	ways := 0
	for _, used := range []bool{len(c.Letter) > 0, len(c.Key) > 0, c.All} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return nil, fault.New(fault.Invalid, "read flags", "name letters, or --key, or --all").WithHint("strata sync dlq list %s names them", c.Dataset)
	}
	keys, err := typedKeys(n, c.Dataset, c.Key)
	if err != nil {
		return nil, err
	}
	list, err := l.List(ctx, c.Dataset)
	if err != nil {
		return nil, err
	}
	for _, name := range c.Letter {
		if !slices.ContainsFunc(list.Letters, func(v dlq.Letter) bool { return v.Name == name }) {
			return nil, fault.New(fault.NotFound, "look for letter", "%s has no letter %q", c.Dataset, name).WithHint("strata sync dlq list %s --all names them", c.Dataset)
		}
	}
	out := slices.DeleteFunc(list.Letters, func(v dlq.Letter) bool {
		if len(c.Letter) > 0 {
			return !slices.Contains(c.Letter, v.Name)
		}
		return v.State != dlq.Open || !c.All && !slices.Contains(keys, v.Key)
	})
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "look for letters", "none of %s is open that was asked for", c.Dataset).WithHint("strata sync dlq list %s --all has the closed ones too", c.Dataset)
	}
	return out, nil
}

// DlqShowCmd is `sync dlq show`.
type DlqShowCmd struct{ chosen }

// shownLetter is a letter with its record.
type shownLetter struct {
	dlq.Letter
	Value string `json:"value,omitempty"` // of the record
	Note  string `json:"note,omitempty"`  // why there is none
}

// Run prints them.
func (c *DlqShowCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withLetters(ctx, m, cli, func(ctx context.Context, n *node.Node, l *node.Letters) error {
		letters, err := c.pick(ctx, n, l)
		if err != nil {
			return err
		}
		shown := []shownLetter{}
		for i := range letters {
			one := shownLetter{Letter: letters[i]}
			r, _, err := l.Record(ctx, &letters[i])
			switch {
			case fault.Is(err, fault.NotFound):
				one.Note = err.Error()
			case err != nil:
				return err
			case r == nil:
				one.Note = "the row was too large for a record; it is in its table"
			default:
				one.Value = string(r.Value)
			}
			shown = append(shown, one)
		}
		if cli.JSON {
			return m.printJSON(shown)
		}
		for i := range shown {
			v := &shown[i]
			fmt.Fprintf(m.Stdout, "letter   %s, %s\nrow      %s %s\nversion  term %d seq %d, %s\n", plainLine(v.Name), v.State, plainLine(v.Shard), letterKey(&v.Letter), v.Term, v.Seq, orNone(v.GTID))
			if !v.FromCanal {
				fmt.Fprintf(m.Stdout, "record   partition %d offset %d, hash %s, deleted %t\n", v.Partition, v.Offset, v.Hash, v.Deleted)
			}
			fmt.Fprintf(m.Stdout, "reason   %s\n", plainLine(v.Reason))
			if v.Who != "" {
				fmt.Fprintf(m.Stdout, "closed   by %s: %s\n", plainLine(v.Who), plainLine(v.Why))
			}
			fmt.Fprintf(m.Stdout, "value    %s\n\n", plainLine(v.Value+v.Note))
		}
		return nil
	})
}

// closeFlags are those of the commands that close.
type closeFlags struct {
	chosen
	Why    string `required:"" help:"Why, for the evidence."`
	Who    string `help:"Who wants it. Default: user@host." placeholder:"NAME"`
	DryRun bool   `help:"Print which letters it would be, and stop."`
}

func (c *closeFlags) run(ctx context.Context, m *Main, cli *CLI, do func(*node.Letters, []dlq.Letter, string) ([]dlq.Result, error)) error {
	by := who(m, c.Who)
	if err := checkWords(by, c.Why); err != nil {
		return err
	}
	return withLetters(ctx, m, cli, func(ctx context.Context, n *node.Node, l *node.Letters) error {
		letters, err := c.pick(ctx, n, l)
		if err != nil {
			return err
		}
		if c.DryRun {
			list := dlq.Listing{Dataset: c.Dataset, Letters: letters, Open: int64(len(letters))}
			if cli.JSON {
				return m.printJSON(list)
			}
			return printLetters(m.Stdout, &list, len(letters))
		}
		results, err := do(l, letters, by)
		if cli.JSON && (err == nil || len(results) > 0) { // what was closed before an error is the answer
			return errors.Join(m.printJSON(append([]dlq.Result{}, results...)), err)
		}
		for _, r := range results {
			fmt.Fprintf(m.Stdout, "%s is %s: %s\n", plainLine(r.Letter), r.State, plainLine(r.Detail))
		}
		return err
	})
}

// DlqReplayCmd is `sync dlq replay`.
type DlqReplayCmd struct{ closeFlags }

// Run applies them.
func (c *DlqReplayCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.run(ctx, m, cli, func(l *node.Letters, letters []dlq.Letter, by string) ([]dlq.Result, error) {
		return l.Replay(ctx, letters, by, c.Why)
	})
}

// DlqDropCmd is `sync dlq drop`.
type DlqDropCmd struct{ closeFlags }

// Run closes them.
func (c *DlqDropCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.run(ctx, m, cli, func(l *node.Letters, letters []dlq.Letter, by string) ([]dlq.Result, error) {
		return l.Drop(ctx, letters, by, c.Why)
	})
}
