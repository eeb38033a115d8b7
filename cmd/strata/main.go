// Command strata is the one binary of strata: it keeps a payment ledger's live database small and everything in it
// queryable. See README.md; `strata --help` lists the commands.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	_ "time/tzdata" // jobs name time zones, whatever the machine has

	"github.com/alecthomas/kong"

	"strata/fault"
)

// Main holds what the process gives to the commands, so that tests run the same code with their own.
type Main struct {
	Args   []string
	Stdout io.Writer
	Stderr *os.File
	Getenv func(string) string
	Log    *slog.Logger

	answered bool // the one JSON object of --json has been printed
}

func main() {
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // not under nohup: a closed terminal must not leave servers behind
		stops = append(stops, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), stops...)
	m := &Main{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	code := m.Run(ctx)
	stop()
	os.Exit(code)
}

// CLI is the command line.
type CLI struct {
	Config  string `short:"c" help:"Configuration file." placeholder:"FILE" type:"path"`
	Data    string `help:"Folder of a demo, running or not, to work on instead of a configuration." placeholder:"DIR" type:"path"`
	JSON    bool   `help:"Print JSON."`
	Verbose bool   `short:"v" help:"Log what the rooms do to stderr."`

	Demo        DemoCmd        `cmd:"" help:"Run the whole path on private servers, prove it, serve it."`
	Init        InitCmd        `cmd:"" help:"Read a live schema and write a strata.yaml for it, with comments."`
	CheckConfig CheckConfigCmd `cmd:"" help:"Check a configuration file and ask every server that it names; lists all that is wrong, by line."`
	Serve       ServeCmd       `cmd:"" help:"Run the roles of strata until ctrl-C."`
	Query       QueryCmd       `cmd:"" help:"Answer a SELECT over a dataset, wherever its rows are."`
	Explain     ExplainCmd     `cmd:"" help:"Show how a SELECT would be answered, without running it."`
	Statement   StatementCmd   `cmd:"" help:"Write an account's statement as CSV, with proof."`
	Verify      VerifyCmd      `cmd:"" help:"Prove index, archive and ledger; exit code 1 names what differs."`
	Archive     ArchiveCmd     `cmd:"" help:"Move closed shards to the archive."`
	Ledger      LedgerCmd      `cmd:"" help:"The transactional core: accounts, transfers, limits, days, proofs."`
	Jobs        JobsCmd        `cmd:"" help:"What runs on a schedule: day cut, shards, expiry, purge, archive."`
	Canal       CanalCmd       `cmd:"" help:"Capture: who leads, how far; backfill, repair, rewind."`
	Sync        SyncCmd        `cmd:"" help:"Index: how far, how fresh."`
	Catalog     CatalogCmd     `cmd:"" help:"Datasets, and who owns which shard."`
}

const epilogue = `Exit codes: 0 done and proven, 1 a proof failed, 2 usage or configuration, 3 a server refused or is away, 4 busy,
130 interrupted.`

// Run parses the arguments, runs the command and returns the exit code. Errors are printed here and nowhere else.
func (m *Main) Run(ctx context.Context) int {
	var cli CLI
	exit := -1
	parser, err := kong.New(&cli, kong.Name("strata"),
		kong.Description("Keeps a payment ledger's live database small and everything in it queryable, with proof.\n\n"+epilogue),
		kong.Writers(m.Stdout, m.Stderr), kong.Vars{"today": fmt.Sprint(demoToday)}, kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}))
	if err != nil {
		return m.fail(&cli, fault.Wrap(fault.Internal, "build command line", err))
	}
	k, err := parser.Parse(m.Args)
	if exit >= 0 {
		return exit // --help has been printed
	}
	if err != nil {
		cli.JSON = slices.Contains(m.Args, "--json") // a command line that can't be read sets nothing
		return m.fail(&cli, fault.New(fault.Invalid, "parse arguments", "%w", err).WithHint("strata --help lists the commands and their flags"))
	}
	level := slog.LevelWarn
	if cli.Verbose {
		level = slog.LevelDebug
	}
	m.Log = slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: level}))
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run(m, &cli)
	if err != nil && ctx.Err() != nil && !fault.Is(err, fault.Proof) {
		err = fault.Wrap(fault.Interrupted, "stopped", err) // whatever came first of what a stop breaks off
	}
	return m.fail(&cli, err)
}

// fail prints err, with its hint on a line of its own, and returns the exit code; 0 for nil. With --json it is the one
// object on stdout, unless the command has answered: the answer says itself what does not hold, and err goes to stderr.
func (m *Main) fail(cli *CLI, err error) int {
	if err == nil {
		return 0
	}
	kind, hint := fault.KindOf(err), fault.HintOf(err)
	if errors.Is(err, context.Canceled) {
		kind = fault.Interrupted
	}
	if cli.JSON && !m.answered {
		_ = json.NewEncoder(m.Stdout).Encode(map[string]any{"error": map[string]string{
			"kind": kind.String(), "message": err.Error(), "hint": hint}})
	} else {
		fmt.Fprintf(m.Stderr, "strata: %v\n", err)
		if hint != "" {
			fmt.Fprintf(m.Stderr, "hint: %s\n", hint)
		}
	}
	return kind.Code().Exit
}

// printJSON writes v as one indented JSON object: the command's answer.
func (m *Main) printJSON(v any) error {
	m.answered = true
	enc := json.NewEncoder(m.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
