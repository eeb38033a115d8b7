package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/goccy/go-yaml"

	"strata/catalog"
	"strata/core"
	"strata/fault"
)

// Config is what `strata.yaml` holds. Unknown keys are refused with their line. The environment (see Environment)
// overrides it.
type Config struct {
	// Data is the folder of what strata keeps itself: the embedded index. Required.
	Data string `yaml:"data"`
	// Live is the database that the ledger writes to. Required.
	Live Server `yaml:"live"`
	// Offline is the replica whose binlog is captured and which verify reads. Defaults to Live.
	Offline Offline `yaml:"offline,omitempty"`
	// Archive is the database that takes closed shards. Required for the roles router and archive.
	Archive Server `yaml:"archive"`
	// Control keeps checkpoints, terms and segments. Defaults to schema strata_control on the archive's server.
	Control Server `yaml:"control,omitempty"`
	// Kafka names the brokers. Required for the roles canal and sync.
	Kafka Kafka `yaml:"kafka"`
	// Capture says how the binlog becomes records.
	Capture Capture `yaml:"capture,omitempty"`
	// Index says where the search copy is. Default: embedded, in Data.
	Index Index `yaml:"index,omitempty"`
	// Sync says how records become documents.
	Sync SyncConfig `yaml:"sync,omitempty"`
	// Verify says how role sync proves the index all the time.
	Verify Verify `yaml:"verify,omitempty"`
	// Ledger says that the core's own tables (account, transfer, entry) are datasets too. Default false.
	Ledger bool `yaml:"ledger,omitempty"`
	// Core says how that ledger runs.
	Core Core `yaml:"core,omitempty"`
	// TransferShards and EntryShards are the intervals of the ledger's time shards. Default month.
	TransferShards catalog.Scheme `yaml:"transfer_shards,omitempty"`
	EntryShards    catalog.Scheme `yaml:"entry_shards,omitempty"`
	// Datasets are the tables of the user.
	Datasets []catalog.Spec `yaml:"datasets,omitempty"`
	// Policies say which shards leave live.
	Policies []Policy `yaml:"archive_policies,omitempty"`
	// HTTP is the address of the HTTP listener. Default 127.0.0.1:8080. Only loopback is allowed: there is no login yet.
	HTTP string `yaml:"http,omitempty"`
	// HeartbeatMs is the interval of the heartbeat rows on live, milliseconds. Default 1000.
	HeartbeatMs int `yaml:"heartbeat_ms,omitempty"`
	// ScanRows is how many rows of a store may be read without an index before a query turns to the search index. Default
	// 100000.
	ScanRows int64 `yaml:"scan_rows,omitempty"`
	// QueryTimeoutMs limits a query, on the servers too, milliseconds. Default 30000.
	QueryTimeoutMs int `yaml:"query_timeout_ms,omitempty"`
}

// Server is one database.
type Server struct {
	// DSN as go-sql-driver writes it: user:password@tcp(host:port)/schema.
	DSN string `yaml:"dsn"`
	// PasswordFile is a file whose first line is the password; it replaces the DSN's.
	PasswordFile string `yaml:"password_file,omitempty"`
}

// Policy says when shards of a dataset leave live: closed shards whose end is at least OlderThanDays ago.
type Policy struct {
	Dataset       string `yaml:"dataset"`
	OlderThanDays int    `yaml:"older_than_days"`
}

// Load reads a configuration file and applies the environment. Every problem is named at once, unknown keys with their
// line.
func Load(path string, getenv func(string) string) (Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fault.New(fault.Invalid, "read configuration", "%w", err).
			WithHint("name the file with --config, or copy strata.example.yaml to strata.yaml and adapt it")
	}
	return Parse(src, path, getenv)
}

// Parse is Load for text that was read already; name is used in messages.
func Parse(src []byte, name string, getenv func(string) string) (Config, error) {
	c, list, _ := parse(src, getenv)
	if len(list) == 0 {
		return c, nil
	}
	e := fault.Wrap(fault.Invalid, "check "+name, list.joined(name)).(*fault.Error)
	if e.Hint = fault.HintOf(e.Err); e.Hint == "" {
		e.Hint = "strata check-config lists what is wrong; strata.example.yaml has every key"
	}
	return Config{}, e
}

// parse reads and completes a configuration, with everything that is wrong with it, and where.
func parse(src []byte, getenv func(string) string) (Config, problems, document) {
	var c Config
	src = bytes.TrimPrefix(src, []byte("\ufeff")) // editors on Windows put it there
	doc, err := readDocument(src)
	if err != nil {
		var p *Problem
		if !errors.As(err, &p) {
			p = &Problem{Err: err}
		}
		return c, problems{p}, doc
	}
	var list problems
	decode := func(o ...yaml.DecodeOption) error {
		c = Config{}
		if len(bytes.TrimSpace(src)) == 0 {
			return nil
		}
		err := yaml.NewDecoder(bytes.NewReader(src), o...).Decode(&c)
		if errors.Is(err, io.EOF) { // nothing but comments
			return nil
		}
		return err
	}
	if err := decode(yaml.Strict()); err != nil {
		if doc.body != nil {
			list = unknown(doc.body, reflect.TypeFor[Config](), "")
		}
		if len(list) > 0 {
			err = decode() // what else?
		}
		if err != nil {
			list = append(list, doc.misread(err)...)
			slices.SortStableFunc(list, func(a, b *Problem) int { return a.Line - b.Line })
			return c, list, doc
		}
	}
	c.Environment(getenv)
	list = append(list, c.complete()...)
	doc.locate(list)
	slices.SortStableFunc(list, func(a, b *Problem) int { return a.Line - b.Line })
	list = slices.CompactFunc(list, func(a, b *Problem) bool { return a.Line == b.Line && a.Error() == b.Error() })
	return c, list, doc
}

// errorLine is the line of a decoder's error, 0 where it has none.
func errorLine(err error) int {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return 0
	}
	return at.GetToken().Position.Line
}

// messageOf is a decoder's error without the lines of the file that it shows: they may hold passwords.
func messageOf(err error) error {
	var at yaml.Error
	if !errors.As(err, &at) {
		return err
	}
	return errors.New(at.GetMessage())
}

// Environment overrides the servers from the environment names STRATA_LIVE_DSN, STRATA_OFFLINE_DSN, STRATA_ARCHIVE_DSN,
// STRATA_CONTROL_DSN, STRATA_KAFKA (brokers, by commas), STRATA_ELASTIC (URL) and STRATA_DATA. A DSN with a password replaces the password file
// too.
func (c *Config) Environment(getenv func(string) string) {
	server := func(name string, to *Server) {
		v := getenv(name)
		if v == "" {
			return
		}
		to.DSN = v
		if cfg, err := mysql.ParseDSN(v); err == nil && cfg.Passwd != "" {
			to.PasswordFile = ""
		}
	}
	server("STRATA_LIVE_DSN", &c.Live)
	if one := (Server{c.Offline.DSN, c.Offline.PasswordFile}); getenv("STRATA_OFFLINE_DSN") != "" {
		server("STRATA_OFFLINE_DSN", &one)
		c.Offline = Offline{DSN: one.DSN, PasswordFile: one.PasswordFile}
	}
	server("STRATA_ARCHIVE_DSN", &c.Archive)
	server("STRATA_CONTROL_DSN", &c.Control)
	if v := getenv("STRATA_DATA"); v != "" {
		c.Data = v
	}
	if v := getenv("STRATA_ELASTIC"); v != "" {
		one := Elastic{URL: v}
		if e := c.Index.Elastic; e != nil {
			one = *e
			one.URL = v
		}
		c.Index.Elastic = &one
	}
	if v := getenv("STRATA_KAFKA"); v != "" {
		c.Kafka.Brokers = nil
		for broker := range strings.SplitSeq(v, ",") {
			if broker = strings.TrimSpace(broker); broker != "" {
				c.Kafka.Brokers = append(c.Kafka.Brokers, broker)
			}
		}
	}
}

// complete fills in defaults and checks everything that can be checked without a connection.
func (c *Config) complete() (list problems) {
	c.defaults()
	if c.Data == "" {
		list.add("data", "data: the data folder is missing")
	}
	for _, s := range []struct {
		name   string
		server *Server
	}{{"live", &c.Live}, {"archive", &c.Archive}, {"control", &c.Control}} {
		if err := s.server.check(); err != nil {
			list.add(s.name+".dsn", "%s: %w", s.name, err)
		}
	}
	c.Offline.check(&list)
	c.Kafka.check(&list)
	c.Capture.check(&list)
	c.Index.check(&list)
	c.Verify.check(&list)
	for _, v := range []struct {
		name  string
		value int64
	}{{"heartbeat_ms", int64(c.HeartbeatMs)}, {"scan_rows", c.ScanRows}, {"query_timeout_ms", int64(c.QueryTimeoutMs)}} {
		if v.value < 0 {
			list.add(v.name, "%s: %d is negative", v.name, v.value)
		}
	}
	c.checkDatasets(&list)
	list.addAll("core", c.Core.check()...)
	list.addAll("core.across", c.Core.Across.sameDatabase(c.Live)...)
	if err := checkLoopback(c.HTTP); err != nil {
		list.add("http", "http: %w", err)
	}
	return list
}

// checkDatasets checks the datasets, the ledger's among them, and the policies that name them.
func (c *Config) checkDatasets(list *problems) {
	if !c.Ledger && len(c.Datasets) == 0 {
		list.add("datasets", "datasets: there is none; declare one, or set ledger: true for the core's own tables")
	}
	specs := append(c.ledgerSpecs(), c.Datasets...)
	for _, err := range each(catalog.CheckSpecs(specs)) {
		list.addAll(c.datasetPath(err), err)
	}
	for i, s := range c.Datasets {
		for j, m := range s.Masks {
			if m.Mask == catalog.MaskHash && c.Capture.MaskKey == (Secret{}) {
				list.add(fmt.Sprintf("datasets[%d].masks[%d]", i, j), "dataset %s: column %s is hashed, so capture: mask_key is needed", s.Name, m.Column)
			}
		}
	}
	seen := map[string]bool{}
	for i, p := range c.Policies {
		path := fmt.Sprintf("archive_policies[%d]", i)
		at := slices.IndexFunc(specs, func(s catalog.Spec) bool { return s.Name == p.Dataset })
		switch {
		case at < 0:
			list.add(path+".dataset", "archive_policies: dataset %q is not declared", p.Dataset)
		case !specs[at].Sharded():
			list.add(path+".dataset", "archive_policies: dataset %s has no shards, so nothing of it moves", p.Dataset)
		case seen[p.Dataset]:
			list.add(path+".dataset", "archive_policies: dataset %s stands there twice", p.Dataset)
		}
		if p.OlderThanDays < 1 {
			list.add(path+".older_than_days", "archive_policies: %s: older_than_days must be at least 1", p.Dataset)
		}
		seen[p.Dataset] = true
	}
}

// each are the errors that were joined.
func each(err error) (out []error) {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			out = append(out, each(e)...)
		}
		return out
	}
	return []error{err}
}

// datasetPath is the dataset that an error of the catalog is about: the last of that name, which is the one too many where
// two have it.
func (c *Config) datasetPath(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		for i := len(c.Datasets) - 1; i >= 0; i-- {
			if e.Op == "check dataset "+c.Datasets[i].Name {
				return fmt.Sprintf("datasets[%d]", i)
			}
		}
	}
	return "datasets"
}

// ledgerSpecs are the built-in datasets, where the configuration has a ledger.
func (c *Config) ledgerSpecs() []catalog.Spec {
	if !c.Ledger {
		return nil
	}
	return core.Datasets(c.TransferShards, c.EntryShards)
}

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not a loopback address; there is no login yet, so nothing else is served", addr)
	}
	return nil
}

// WithDefaults returns the configuration with its empty fields filled in.
func (c Config) WithDefaults() Config {
	c.defaults()
	return c
}

func (c *Config) defaults() {
	if c.Offline.DSN == "" && len(c.Offline.Endpoints) == 0 {
		c.Offline = Offline{DSN: c.Live.DSN, PasswordFile: c.Live.PasswordFile}
	}
	if c.Control.DSN == "" && c.Archive.DSN != "" {
		if cfg, err := mysql.ParseDSN(c.Archive.DSN); err == nil {
			cfg.DBName = "strata_control"
			c.Control = Server{DSN: cfg.FormatDSN(), PasswordFile: c.Archive.PasswordFile}
		}
	}
	def := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	c.Core.defaults()
	def(&c.HeartbeatMs, 1000)
	def(&c.QueryTimeoutMs, 30_000)
	if c.ScanRows == 0 {
		c.ScanRows = 100_000
	}
	c.Kafka.defaults()
	c.Capture.defaults(c.Data)
	c.Verify.defaults(c.HeartbeatMs)
	for _, scheme := range []*catalog.Scheme{&c.TransferShards, &c.EntryShards} {
		if len(*scheme) == 0 {
			*scheme = catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}
		}
	}
	if c.HTTP == "" {
		c.HTTP = "127.0.0.1:8080"
	}
	for i := range c.Datasets {
		c.Datasets[i] = c.Datasets[i].WithDefaults()
	}
}

// QueryTimeout is QueryTimeoutMs as a duration.
func (c *Config) QueryTimeout() time.Duration {
	return time.Duration(c.QueryTimeoutMs) * time.Millisecond
}

func (s *Server) check() error {
	if s.DSN == "" {
		return errors.New("dsn is missing")
	}
	cfg, err := mysql.ParseDSN(s.DSN)
	if err != nil {
		return fmt.Errorf("parse dsn: %w", err)
	}
	if cfg.DBName == "" {
		return errors.New("the dsn names no schema: user:password@tcp(host:port)/schema")
	}
	if s.PasswordFile == "" {
		return nil
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return fmt.Errorf("read password file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	cfg.Passwd = strings.TrimSpace(line)
	s.DSN, s.PasswordFile = cfg.FormatDSN(), ""
	return nil
}
