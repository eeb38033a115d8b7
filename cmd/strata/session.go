package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"strata/fault"
	"strata/local"
	"strata/node"
)

// need says what a command needs running beside itself.
type need uint8

const (
	// attachOnly: the servers.
	attachOnly need = iota
	// withPipeline: capture and index must go on, because the command waits for them. Where no other process does that
	// (a demo's folder that nobody runs) this one does.
	withPipeline
	// controlOnly: the control database.
	controlOnly
	// indexAndControl: these, and Kafka.
	indexAndControl
	// setUp: strata's own tables are made where they are missing.
	setUp
)

// session is a command's connection to what it works on: a configuration's servers, or a demo's folder.
type session struct {
	node   *node.Node
	stack  *local.Stack // nil where another process runs the servers
	cancel context.CancelFunc
	done   chan error // the roles' end; nil where none run here
}

// addressFile is the name of the file in a demo's folder that says where its servers are.
const addressFile = "addresses.json"

// addressBook is its content.
type addressBook struct {
	PID int `json:"pid"`
	local.Addresses
	Index   string `json:"index"`   // the folder of the embedded index's SQLite files
	HTTP    string `json:"http"`    // "" until it serves
	GraphQL string `json:"graphql"` // ""
}

// open is openWith without options of the command's own.
func (m *Main) open(ctx context.Context, cli *CLI, want need) (*session, error) {
	return m.openWith(ctx, cli, want, node.Options{})
}

// openWith finds what to work on: --config, --data, ./strata.yaml, in this order. o carries what the command adds to the
// node's options.
func (m *Main) openWith(ctx context.Context, cli *CLI, want need, o node.Options) (*session, error) {
	o.Log, o.Now, o.At = m.Log, time.Now, local.CrashFromEnv(m.Getenv)
	switch {
	case cli.Config != "" && cli.Data != "":
		return nil, fault.New(fault.Invalid, "read flags", "--config and --data exclude each other")
	case cli.Data != "":
		return m.openFolder(ctx, cli.Data, want, o)
	}
	path := cli.Config
	if path == "" {
		path = "strata.yaml"
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, fault.New(fault.Invalid, "find configuration", "there is no strata.yaml here").
				WithHint("name one with --config FILE, or a demo's folder with --data DIR")
		}
	}
	var err error
	if o.Config, err = node.Load(path, m.Getenv); err != nil {
		return nil, err
	}
	return openNode(ctx, o, nil, want)
}

// openFolder works on a demo's folder: beside the running demo, or by starting its servers again.
func (m *Main) openFolder(ctx context.Context, dir string, want need, o node.Options) (*session, error) {
	if _, err := os.Stat(filepath.Join(dir, "version")); err != nil {
		return nil, fault.New(fault.Invalid, "open data folder", "%s is not a demo's folder", dir).
			WithHint("make one: strata demo --data %s", dir)
	}
	stack, err := local.Start(ctx, local.Config{Dir: dir, Log: m.Log, Getenv: m.Getenv})
	if fault.Is(err, fault.Busy) {
		book, rerr := readAddresses(dir)
		if rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		if want == withPipeline {
			want = attachOnly // the process that runs the folder goes on capturing
		}
		o.Config = folderConfig(dir, book.Addresses)
		return openNode(ctx, o, nil, want)
	}
	if err != nil {
		return nil, err
	}
	o.Config, o.Place = folderConfig(dir, stack.Addresses), stack.Home.Dir()
	return openNode(ctx, o, stack, want)
}

func openNode(ctx context.Context, o node.Options, stack *local.Stack, want need) (*session, error) {
	s := &session{stack: stack, cancel: func() {}}
	if want == withPipeline {
		o.Config.Verify.Every = "off" // what a command compares is not repaired under its eyes
	}
	open := node.Open
	switch want {
	case setUp:
		open = node.OpenAndSetup
	case indexAndControl:
		open = node.OpenIndex
	case controlOnly:
		open = func(_ context.Context, o node.Options) (*node.Node, error) { return node.OpenControl(o) }
	}
	n, err := open(ctx, o)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.node = n
	if stack != nil && want == withPipeline {
		run, cancel := context.WithCancel(ctx)
		s.cancel, s.done = cancel, make(chan error, 1)
		go func() { s.done <- n.Run(run, node.Roles{Canal: true, Sync: true}) }()
	}
	return s, nil
}

// close stops what open started, in the order front doors, readers, writers, stores.
func (s *session) close() error {
	var errs []error
	s.cancel()
	if s.done != nil {
		errs = append(errs, <-s.done)
	}
	if s.node != nil {
		errs = append(errs, s.node.Close())
	}
	if s.stack != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		errs = append(errs, s.stack.Stop(ctx))
	}
	return errors.Join(errs...)
}

// folderConfig is the configuration of a demo's folder.
func folderConfig(dir string, a local.Addresses) node.Config {
	return node.Config{
		Data: dir, Ledger: true,
		Live: node.Server{DSN: a.Live.DSN}, Offline: node.Offline{DSN: a.Offline.DSN},
		Archive: node.Server{DSN: a.Archive.DSN}, Control: node.Server{DSN: a.Control.DSN},
		Kafka: node.Kafka{Brokers: a.Kafka},
		Policies: []node.Policy{
			{Dataset: "transfer", OlderThanDays: demoArchiveDays},
			{Dataset: "entry", OlderThanDays: demoArchiveDays},
		},
		ScanRows: demoScanRows,
	}.WithDefaults()
}

func readAddresses(dir string) (addressBook, error) {
	var book addressBook
	b, err := os.ReadFile(filepath.Join(dir, addressFile))
	if err != nil {
		return book, fault.Wrap(fault.Unavailable, "read addresses", err)
	}
	if err := json.Unmarshal(b, &book); err != nil {
		return book, fault.Wrap(fault.Invalid, "parse "+addressFile, err)
	}
	return book, nil
}

// writeAddresses replaces the address file at once; it holds passwords, so only the owner may read it.
func writeAddresses(dir string, book addressBook) error {
	b, err := json.MarshalIndent(book, "", "  ")
	if err != nil {
		return fmt.Errorf("encode addresses: %w", err)
	}
	return replaceFile(filepath.Join(dir, addressFile), append(b, '\n'))
}

// replaceFile puts the file in place in one step: a reader, and a start after a crash, sees the old one or the new.
func replaceFile(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fault.Wrap(fault.Denied, "write "+filepath.Base(path), err)
	}
	return fault.Wrap(fault.Denied, "write "+filepath.Base(path), os.Rename(path+".new", path))
}
