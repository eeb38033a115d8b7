package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/survey"
)

// surveyLimit bounds one statement of the look at a schema.
const surveyLimit = time.Minute

// InitCmd is `init`.
type InitCmd struct {
	Live    string   `help:"Live database, user:password@tcp(host:port)/schema. Default: STRATA_LIVE_DSN." placeholder:"DSN"`
	Schema  string   `help:"Schema, in place of the DSN's." placeholder:"NAME"`
	Offline string   `help:"Replica to capture from. Default: STRATA_OFFLINE_DSN, else live." placeholder:"DSN"`
	Archive string   `help:"Archive database. Default: STRATA_ARCHIVE_DSN, else a guess to be corrected." placeholder:"DSN"`
	Control string   `help:"Control database. Default: STRATA_CONTROL_DSN, else schema strata_control on the archive's server." placeholder:"DSN"`
	Kafka   []string `help:"Brokers. Default: STRATA_KAFKA, else 127.0.0.1:9092." placeholder:"HOST:PORT"`
	Dir     string   `help:"strata's own folder." default:"./data" placeholder:"DIR"`
	Out     string   `short:"o" help:"File to write; - prints it. Default: --config, else strata.yaml." placeholder:"FILE"`
	Force   bool     `help:"Replace files that are there."`
}

// Help is what --help says beyond the flags.
func (c *InitCmd) Help() string {
	return "Reads names, types, keys and indexes, and compares the times of a few rows with the names of the shards; no value of a row is " +
		"printed. Passwords of flags go to files beside the configuration, readable by you only; those of the environment stay there. " +
		"Look at every CHECK, then run strata check-config."
}

// initFile is a file to be written.
type initFile struct {
	path string
	text []byte
}

// Run reads the schema and writes the configuration.
func (c *InitCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	out := c.Out
	if out == "" {
		if out = cli.Config; out == "" {
			out = "strata.yaml"
		}
	}
	file, secrets, live, err := c.file(m, out)
	if err != nil {
		return err
	}
	if out != "-" && !c.Force {
		for _, f := range append([]initFile{{path: out}}, secrets...) {
			if _, err := os.Lstat(f.path); err == nil {
				return fault.New(fault.Conflict, "write "+f.path, "it is there already").WithHint("name another with --out, or replace it with --force")
			}
		}
	}
	d, err := db.Open(ctx, db.Config{DSN: live, Name: "live", Store: catalog.Live, Purpose: db.Reader, MaxConns: 2, StatementLimit: surveyLimit})
	if err != nil {
		return err
	}
	s, err := survey.Read(ctx, d)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	if err := s.Plain(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := s.Write(&text, file); err != nil {
		return err
	}
	if out == "-" {
		_, err := m.Stdout.Write(text.Bytes())
		return err
	}
	for _, f := range append(secrets, initFile{out, text.Bytes()}) {
		if err := c.write(f); err != nil {
			return err
		}
	}
	return c.report(m, cli, out, s)
}

// file is the configuration's servers, the secrets that go beside it, and the live database's whole DSN.
func (c *InitCmd) file(m *Main, out string) (f survey.File, secrets []initFile, live string, err error) {
	beside, err := filepath.Abs(strings.TrimSuffix(out, filepath.Ext(out)))
	if err != nil {
		return f, nil, "", fault.Wrap(fault.Invalid, "find "+out, err)
	}
	// server is a flag's or a variable's DSN without its password.
	server := func(name, flag, variable string) (survey.Server, *mysql.Config, error) {
		text, remark := flag, ""
		if text == "" {
			if text = m.Getenv(variable); text == "" {
				return survey.Server{}, nil, nil
			}
			remark = "from " + variable
		}
		mc, err := mysql.ParseDSN(text)
		if err != nil {
			return survey.Server{}, nil, fault.New(fault.Invalid, "read flags", "%s: parse dsn: %w", name, err).
				WithHint("a DSN looks like user:password@tcp(127.0.0.1:3306)/schema")
		}
		s := survey.Server{Remark: remark}
		if flag != "" && mc.Passwd != "" && out != "-" {
			s.PasswordFile = beside + "." + name + ".password"
			secrets = append(secrets, initFile{s.PasswordFile, []byte(mc.Passwd + "\n")})
		}
		if name == "live" && c.Schema != "" {
			mc.DBName = c.Schema
		}
		public := mc.Clone()
		public.Passwd = ""
		s.DSN = public.FormatDSN()
		return s, mc, nil
	}
	f = survey.File{Day: time.Now().UTC().Format(time.DateOnly), Data: c.Dir, Brokers: c.Kafka}
	var mc *mysql.Config
	var errs [4]error
	f.Live, mc, errs[0] = server("live", c.Live, "STRATA_LIVE_DSN")
	f.Offline, _, errs[1] = server("offline", c.Offline, "STRATA_OFFLINE_DSN")
	f.Archive, _, errs[2] = server("archive", c.Archive, "STRATA_ARCHIVE_DSN")
	f.Control, _, errs[3] = server("control", c.Control, "STRATA_CONTROL_DSN")
	if err := errors.Join(errs[:]...); err != nil {
		return f, nil, "", err
	}
	if mc == nil || mc.DBName == "" {
		return f, nil, "", fault.New(fault.Invalid, "read flags", "no live database, or no schema in it, is named").
			WithHint("strata init --live 'user:password@tcp(127.0.0.1:3306)/schema'")
	}
	if f.Archive.DSN == "" {
		guess := mc.Clone()
		guess.Passwd, guess.DBName = "", mc.DBName+"_archive"
		f.Archive = survey.Server{DSN: guess.FormatDSN(), PasswordFile: f.Live.PasswordFile, Remark: "CHECK: guessed; closed shards belong on a server of their own"}
	}
	if len(f.Brokers) == 0 {
		for k := range strings.SplitSeq(m.Getenv("STRATA_KAFKA"), ",") {
			if k = strings.TrimSpace(k); k != "" {
				f.Brokers = append(f.Brokers, k)
			}
		}
	}
	if len(f.Brokers) == 0 {
		f.Brokers, f.Remark = []string{"127.0.0.1:9092"}, "CHECK: guessed"
	}
	return f, secrets, mc.FormatDSN(), nil
}

// write puts a file in place, readable by the owner only.
func (c *InitCmd) write(f initFile) error {
	if c.Force {
		return replaceFile(f.path, f.text)
	}
	to, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Conflict, "write "+f.path, "it is there already").WithHint("name another with --out, or replace it with --force")
	}
	if err != nil {
		return fault.Wrap(fault.Denied, "write "+f.path, err)
	}
	_, err = to.Write(f.text)
	return fault.Wrap(fault.Denied, "write "+f.path, errors.Join(err, to.Close()))
}

// initReport is what --json prints.
type initReport struct {
	File     string           `json:"file"`
	Schema   string           `json:"schema"`
	Tables   int              `json:"tables"`
	Datasets []initDataset    `json:"datasets"`
	Refused  []survey.Refused `json:"refused"`
}

type initDataset struct {
	Name   string   `json:"name"`
	Tables []string `json:"tables"`
	Checks []string `json:"checks"`
}

// report says what was found and what was not.
func (c *InitCmd) report(m *Main, cli *CLI, out string, s *survey.Survey) error {
	rep := initReport{File: out, Schema: s.Schema, Tables: s.Tables, Refused: append([]survey.Refused{}, s.Refused...)}
	checks := 0
	for _, f := range s.Found {
		rep.Datasets = append(rep.Datasets, initDataset{f.Spec.Name, f.Tables, append([]string{}, f.Check...)})
		checks += len(f.Check)
	}
	if cli.JSON {
		return m.printJSON(rep)
	}
	for _, r := range s.Refused {
		fmt.Fprintf(m.Stderr, "not declared: %s: %s\n", plainLine(r.Table), plainLine(r.Reason))
	}
	fmt.Fprintf(m.Stdout, "%s: %d datasets of %d tables, %d refused, %d to check\n", out, len(s.Found), s.Tables, len(s.Refused), checks)
	fmt.Fprintf(m.Stderr, "next: look at every CHECK in it, then strata check-config -c %s\n", out)
	return nil
}
