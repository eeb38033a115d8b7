package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"strata/fault"
)

// Benchmark is one entry of the list.
type Benchmark struct {
	Name string
	Help string
	Run  func(ctx context.Context, s *Session) error
}

// benchmarks is the list, in the order in which it is printed.
func benchmarks() []Benchmark {
	return []Benchmark{
		{"pipeline", "rows per second, and time from commit to search, embedded and with Elasticsearch", pipeline},
		{"index", "documents per second from Kafka to the index against bare loaders of SQLite and Elasticsearch; memory of sync over a backlog", indexBench},
		{"verify", "rows per second at which the index is proven equal to its sources, embedded and with Elasticsearch", verifyBench},
		{"capture", "rows per second from the binlog to acknowledged records in Kafka, against the bare decoder and Debezium; one large transaction, wide rows, backfill, cost on the source", captureBench},
		{"core", "transfers per second of the ledger core against conditional UPDATE, SELECT FOR UPDATE and a stored procedure", coreBench},
		{"query", "pages of the router over live and archive against one plain table", query},
	}
}

// Main holds what the process gives to a benchmark, so that tests run the same code with their own.
type Main struct {
	Args       []string
	Stdout     io.Writer
	Stderr     io.Writer
	Benchmarks []Benchmark
}

// CLI is the command line.
type CLI struct {
	Name       string `arg:"" optional:"" help:"Benchmark; without one the list is printed."`
	Quick      bool   `help:"Smaller sizes and 2 rounds: ends within 50 s, index within 100 s."`
	JSON       bool   `help:"End standard output with one line of JSON."`
	Seed       uint64 `default:"1" help:"Equal seeds give equal rows."`
	Verbose    bool   `short:"v" help:"Log what the rooms do to stderr."`
	CPUProfile string `name:"cpuprofile" type:"path" placeholder:"FILE" help:"Write a CPU profile of this process."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if order := os.Getenv(drainChild); order != "" {
		err := runDrain(ctx, order, os.Stdout)
		stop()
		os.Exit((&Main{Stderr: os.Stderr}).fail(err))
	}
	m := &Main{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Benchmarks: benchmarks()}
	code := m.Run(ctx)
	stop()
	os.Exit(code)
}

// Run parses the arguments, runs the benchmark and returns the exit code: 0 done, 2 usage, else by the error's kind.
func (m *Main) Run(ctx context.Context) int {
	var cli CLI
	exit := -1
	parser, err := kong.New(&cli, kong.Name("bench"), kong.Description("Measures strata on this machine."),
		kong.Writers(m.Stdout, m.Stderr), kong.Exit(func(code int) { exit = code }))
	if err != nil {
		return m.fail(fault.Wrap(fault.Internal, "build command line", err))
	}
	_, err = parser.Parse(m.Args)
	if exit >= 0 {
		return exit // --help has been printed
	}
	if err != nil {
		return m.fail(fault.New(fault.Invalid, "parse arguments", "%w", err).WithHint("bench --help lists the flags"))
	}
	if cli.Name == "" {
		m.list(m.Stdout)
		return 0
	}
	for _, b := range m.Benchmarks {
		if b.Name == cli.Name {
			return m.fail(m.run(ctx, &cli, b))
		}
	}
	fmt.Fprintf(m.Stderr, "bench: there is no benchmark %q\n", cli.Name)
	m.list(m.Stderr)
	return fault.Invalid.Code().Exit
}

// run runs one benchmark in a temporary folder and prints its report.
func (m *Main) run(ctx context.Context, cli *CLI, b Benchmark) (err error) {
	level := slog.LevelError
	if cli.Verbose {
		level = slog.LevelDebug
	}
	s := newSession(b.Name, cli.Quick, cli.Seed)
	s.stderr, s.log = m.Stderr, slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: level}))
	if s.dir, err = os.MkdirTemp("", "strata-bench-"); err != nil {
		return fault.Wrap(fault.Denied, "make folder", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	if s.report.Machine.FsyncMs, err = fsyncMs(s.dir); err != nil {
		return err
	}
	if cli.CPUProfile != "" {
		f, err := os.Create(cli.CPUProfile)
		if err != nil {
			return fault.Wrap(fault.Denied, "write profile", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fault.Wrap(fault.Busy, "start profile", err)
		}
		defer pprof.StopCPUProfile()
	}
	if err := b.Run(ctx, s); err != nil {
		return fmt.Errorf("bench %s: %w", b.Name, err)
	}
	if err := s.report.Print(m.Stdout); err != nil {
		return err
	}
	if cli.JSON {
		return s.report.PrintJSON(m.Stdout)
	}
	return nil
}

func (m *Main) list(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "go run ./bench NAME [--quick] [--json]; NAME is one of")
	for _, b := range m.Benchmarks {
		fmt.Fprintf(t, "  %s\t%s\n", b.Name, b.Help)
	}
	_ = t.Flush() // to the terminal
}

// fail prints err, with its hint on a line of its own, and returns the exit code; 0 for nil.
func (m *Main) fail(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(m.Stderr, "bench: %v\n", err)
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintf(m.Stderr, "hint: %s\n", hint)
	}
	kind := fault.KindOf(err)
	if errors.Is(err, context.Canceled) {
		kind = fault.Interrupted
	}
	return kind.Code().Exit
}
