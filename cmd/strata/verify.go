package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/node"
	"strata/sync/verify"
)

// VerifyCmd is `verify`.
type VerifyCmd struct {
	Part    []string `help:"Of index, archive, ledger. Default: all; index where a part of it is named." placeholder:"PART"`
	Dataset string   `help:"Only this dataset's index." placeholder:"NAME"`
	Shard   string   `help:"Only this physical table." placeholder:"TABLE"`
	FromKey string   `help:"Only keys after this one, in the order of the primary key." aliases:"from" placeholder:"KEY"`
	ToKey   string   `help:"Only keys up to this one." aliases:"to" placeholder:"KEY"`
	Mode    string   `help:"full: every cell; fast: the stored hash of each row, and a sample by cell." enum:"full,fast" default:"full"`
	Repair  bool     `help:"Have the leader send anew what differs, and look again."`

	Status   bool   `xor:"ask" help:"Show how far the verifier of role sync is."`
	Findings bool   `xor:"ask" help:"List what the verifier of role sync found."`
	State    string `help:"With --findings: only those that are open, repaired or gone." enum:"open,repaired,gone,all" default:"all"`
	Report   bool   `xor:"ask" help:"Print a day's report and check its signature."`
	Date     string `arg:"" optional:"" help:"With --report: the day, as 2026-01-31. Default: the last one."`
}

// Help is what --help says beyond the flags.
func (c *VerifyCmd) Help() string {
	return `Exit code 1 where something differs and was not repaired. --status, --findings and --report ask the control database only, and
exit with 1 where a dataset can't be verified, a finding is open, or a report isn't signed by this configuration's key.`
}

// Run proves, and returns fault.Proof where something differs.
func (c *VerifyCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if c.Date != "" && !c.Report {
		return fault.New(fault.Invalid, "read arguments", "%q stands there without --report", c.Date)
	}
	asked := c.Dataset != "" || c.Shard != "" || c.FromKey != "" || c.ToKey != ""
	if (c.Shard != "" || c.FromKey != "" || c.ToKey != "") && c.Dataset == "" {
		return fault.New(fault.Invalid, "read flags", "a shard or keys without --dataset").WithHint("name the dataset that they are of")
	}
	switch {
	case c.Status:
		return c.status(ctx, m, cli)
	case c.Findings:
		return c.findings(ctx, m, cli)
	case c.Report:
		return c.report(ctx, m, cli)
	case asked && len(c.Part) == 0:
		c.Part = []string{"index"}
	case asked && !slices.Equal(c.Part, []string{"index"}):
		return fault.New(fault.Invalid, "read flags", "--dataset, --shard and keys are of part index")
	}
	return c.prove(ctx, m, cli)
}

func (c *VerifyCmd) prove(ctx context.Context, m *Main, cli *CLI) (err error) {
	s, err := m.open(ctx, cli, withPipeline)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	req := node.VerifyRequest{Parts: c.Part, Dataset: c.Dataset, Mode: verify.Mode(c.Mode), Repair: c.Repair}
	if req.Part, err = c.part(s.node); err != nil {
		return err
	}
	progress := NewProgress(m.Stderr, cli.JSON)
	t := progress.Start("verify", 0)
	req.Progress = t.Set
	rep, err := s.node.Verify(ctx, req)
	if err != nil {
		t.Abort()
		return err
	}
	t.End("%d rows compared, %d differences", rep.RowsCompared, rep.Differences)
	progress.Wait()
	if cli.JSON {
		err = m.printJSON(rep)
	} else {
		printProof(m.Stdout, &rep)
	}
	if err == nil && !rep.OK {
		e := fault.New(fault.Proof, "verify", "%d differences", rep.Open)
		if e.Hint = "each is named above; the search copy can be wrong, or a row was changed by hand"; rep.Index != nil && !c.Repair {
			e.Hint += "; what differs in the index is mended with --repair"
		}
		return e
	}
	return err
}

// part reads the keys.
func (c *VerifyCmd) part(n *node.Node) (verify.Part, error) {
	p := verify.Part{Shard: c.Shard}
	if c.FromKey == "" && c.ToKey == "" {
		return p, nil
	}
	d, err := n.Dataset(c.Dataset)
	if err != nil {
		return p, err
	}
	for _, k := range []struct {
		typed string
		to    *catalog.Key
	}{{c.FromKey, &p.From}, {c.ToKey, &p.To}} {
		if k.typed == "" {
			continue
		}
		if *k.to, err = readKey(d, k.typed); err != nil {
			return p, err
		}
	}
	if p.From != "" && p.To != "" {
		err = checkRange(d, p.From, p.To)
	}
	return p, err
}

func printProof(out io.Writer, rep *node.Report) {
	for _, line := range rep.Findings {
		fmt.Fprintln(out, plainLine(line))
	}
	equal := fmt.Sprint(rep.MoneySumsEqual)
	if x := rep.Index; x != nil && len(x.Datasets) > 0 && x.Datasets[0].SumsOf == verify.OfSource {
		equal = "not compared: mode fast sums the source alone"
	}
	fmt.Fprintf(out, "%d rows compared, %d differences", rep.RowsCompared, rep.Differences)
	if rep.Differences > rep.Open {
		fmt.Fprintf(out, " (%d repaired, %d open)", rep.Differences-rep.Open, rep.Open)
	}
	fmt.Fprintf(out, ", money sums equal: %s\n", equal)
	if a := rep.Archive; a != nil {
		fmt.Fprintf(out, "%d archived shards of %d rows hold what their manifests say, but for %d findings\n", a.Segments, a.Rows, len(a.Findings))
	}
	if l := rep.Ledger; l != nil {
		fmt.Fprintf(out, "trial balance over %d transfers and %d entries: %d problems\n", l.Transfers, l.Entries, l.Problems)
	}
}

// withControl runs f with no more than the control database.
func withControl(ctx context.Context, m *Main, cli *CLI, f func(*node.Node) error) (err error) {
	s, err := m.open(ctx, cli, controlOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	return f(s.node)
}

func (c *VerifyCmd) status(ctx context.Context, m *Main, cli *CLI) error {
	return withControl(ctx, m, cli, func(n *node.Node) error {
		st, err := n.VerifierState(ctx)
		if err != nil {
			return err
		}
		if cli.JSON {
			err = m.printJSON(st)
		} else {
			err = printVerifier(m.Stdout, &st, time.Now())
		}
		if err != nil {
			return err
		}
		return verified(&st)
	})
}

// verified says what keeps the index from being proven: fault.Proof, or nil.
func verified(st *node.VerifierState) error {
	for _, name := range slices.Sorted(maps.Keys(st.Skipped)) {
		return fault.New(fault.Proof, "verifier", "dataset %s can't be verified: %s", name, plainLine(st.Skipped[name].Why)).WithHint("%s", st.Skipped[name].Hint)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Findings)) {
		if n := st.Findings[name].Open; n > 0 {
			return fault.New(fault.Proof, "verifier", "%d findings of %s are open", n, name).WithHint("strata verify --findings --state open names them")
		}
	}
	return nil
}

func printVerifier(out io.Writer, st *node.VerifierState, now time.Time) error {
	if st.Pass == 0 {
		fmt.Fprintln(out, "nobody has verified yet: strata serve --roles sync does")
		return nil
	}
	fmt.Fprintf(out, "pass      %d, %s, since %s\n", st.Pass, st.Mode, when(st.BeganAt))
	fmt.Fprintf(out, "rows      %d of about %d\n", st.Rows, max(st.Total, st.Rows))
	if !st.EndedAt.IsZero() {
		fmt.Fprintf(out, "ended     %s\n", when(st.EndedAt))
	}
	fmt.Fprintf(out, "by        %s, %s ago\n", plainLine(st.Holder), ago(now.Sub(st.SavedAt)))
	if st.Held != "" {
		fmt.Fprintf(out, "waits     %s\n", plainLine(st.Held))
	}
	names := slices.Collect(maps.Keys(st.Last))
	for _, m := range []map[string]bool{keysOf(st.Places), keysOf(st.Skipped), keysOf(st.Findings)} {
		names = slices.AppendSeq(names, maps.Keys(m))
	}
	slices.Sort(names)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DATASET\tSTATE\tSHARD\tROWS\tOF\tLAST\tFOUND\tREPAIRED\tOPEN\tSWEPT")
	for _, name := range slices.Compact(names) {
		printVerified(w, st, name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(st.Skipped)) {
		k := st.Skipped[name]
		fmt.Fprintf(out, "SKIPPED   %s at %s: %s\n", name, when(k.At), plainLine(k.Why))
		if k.Hint != "" {
			fmt.Fprintf(out, "  hint: %s\n", plainLine(k.Hint))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(st.Swept)) {
		if why := st.Swept[name].Why; why != "" {
			fmt.Fprintf(out, "NOT SWEPT %s: %s\n", name, plainLine(why))
		}
	}
	return nil
}

func keysOf[V any](m map[string]V) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

func printVerified(w io.Writer, st *node.VerifierState, name string) {
	last, place, f := st.Last[name], st.Places[name], st.Findings[name]
	state, shard, rows, of := "waits", "-", last.Rows, last.Rows
	switch _, skipped := st.Skipped[name]; {
	case skipped:
		state = "skipped"
	case st.Now == name:
		state = "compared"
	case slices.Contains(st.Done, name):
		state = "done"
	}
	if place != nil {
		shard, rows, of = orNone(place.Shard), place.Report.Rows+place.Rows, place.Total
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%d\t%d\t%d\n", name, state, shard, rows, max(of, rows), when(last.At), f.Found, f.Repaired, f.Open, st.Swept[name].Removed)
}

// findingsPage is how many findings are asked for at once.
const findingsPage = 1000

func (c *VerifyCmd) findings(ctx context.Context, m *Main, cli *CLI) error {
	state := verify.State(c.State)
	if c.State == "all" {
		state = ""
	}
	return withControl(ctx, m, cli, func(n *node.Node) error {
		book, err := n.Book(ctx)
		if err != nil {
			return err
		}
		all, open := []verify.Finding{}, 0
		for after := int64(0); ; {
			page, err := book.Findings(ctx, c.Dataset, state, after, findingsPage)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].ID
			for i := range page {
				if page[i].State == verify.Open {
					open++
				}
			}
			if cli.JSON {
				all = append(all, page...)
				continue
			}
			if err := printFindings(m.Stdout, page); err != nil {
				return err
			}
		}
		if cli.JSON {
			if err := m.printJSON(all); err != nil {
				return err
			}
		}
		if open > 0 {
			return fault.New(fault.Proof, "verifier", "%d findings are open", open).WithHint("strata verify --repair mends what the leader can mend")
		}
		return nil
	})
}

func printFindings(out io.Writer, page []verify.Finding) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "FOUND\tSTATE\tSETTLED\tDATASET\tSHARD\tKEY\tWHAT\tSOURCE\tINDEX\tNOTE")
	for _, f := range page {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", when(f.FoundAt), f.State, when(f.SettledAt), f.Dataset, f.Shard, plainLine(f.Key),
			plainLine(f.What), plainLine(f.Source), plainLine(f.Index), plainLine(f.Hint))
	}
	return w.Flush()
}

func (c *VerifyCmd) report(ctx context.Context, m *Main, cli *CLI) error {
	if c.Date != "" {
		if _, err := time.Parse(time.DateOnly, c.Date); err != nil {
			return fault.New(fault.Invalid, "read arguments", "%q is not a date such as 2006-01-02", c.Date)
		}
	}
	return withControl(ctx, m, cli, func(n *node.Node) error {
		rep, err := n.VerifierReport(ctx, c.Date)
		if err != nil {
			return err
		}
		if cli.JSON {
			err = m.printJSON(rep)
		} else {
			err = printDaily(m.Stdout, &rep)
		}
		if err == nil && !rep.Signed {
			err = fault.New(fault.Proof, "check report of "+rep.Date, "its signature is not of this key, or it was changed").
				WithHint("the key is manifest.key in the data folder of who made it")
		}
		return err
	})
}

func printDaily(out io.Writer, rep *node.VerifierReport) error {
	fmt.Fprintf(out, "report of %s, made %s, pass %d: ok %v\n", rep.Date, when(rep.MadeAt), rep.Pass, rep.OK)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DATASET\tOK\tCOMPARED\tMODE\tPOSITION\tROWS\tDOCUMENTS\tDIFFERENCES\tREPAIRED\tOPEN\tLETTERS")
	for _, d := range rep.Datasets {
		fmt.Fprintf(w, "%s\t%v\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", d.Dataset, d.OK, when(d.At), d.Mode, d.Position, d.Rows, d.Documents, d.Differences,
			d.Repaired, d.Open, d.Letters)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, d := range rep.Datasets {
		for _, s := range d.Sums {
			index := s.Index
			if d.SumsOf == verify.OfSource {
				index = "not read"
			}
			fmt.Fprintf(out, "sum       %s.%s in %s: source %s, index %s\n", d.Dataset, s.Column, s.Unit, s.Source, index)
		}
	}
	for _, name := range rep.Missing {
		fmt.Fprintf(out, "MISSING   %s was never compared whole\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(rep.Skipped)) {
		fmt.Fprintf(out, "SKIPPED   %s: %s\n", name, plainLine(rep.Skipped[name].Why))
	}
	for _, name := range slices.Sorted(maps.Keys(rep.Findings)) {
		f := rep.Findings[name]
		fmt.Fprintf(out, "findings  %s: %d found, %d repaired, %d gone that day; %d open\n", name, f.Found, f.Repaired, f.Gone, f.Open)
	}
	fmt.Fprintf(out, "signature %s, %s\n", rep.Signature, map[bool]string{true: "valid", false: "NOT VALID"}[rep.Signed])
	return nil
}
