package node

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
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
	Offline Server `yaml:"offline,omitempty"`
	// Archive is the database that takes closed shards. Required for the roles router and archive.
	Archive Server `yaml:"archive"`
	// Control keeps checkpoints, terms and segments. Defaults to schema strata_control on the archive's server.
	Control Server `yaml:"control,omitempty"`
	// Kafka names the brokers. Required for the roles canal and sync.
	Kafka Kafka `yaml:"kafka"`
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
	// CaptureServerID is the replication server id under which the binlog is read; it must be unique among the replicas.
	// Default 4290.
	CaptureServerID uint32 `yaml:"capture_server_id,omitempty"`
}

// Server is one database.
type Server struct {
	// DSN as go-sql-driver writes it: user:password@tcp(host:port)/schema.
	DSN string `yaml:"dsn"`
	// PasswordFile is a file whose first line is the password; it replaces the DSN's.
	PasswordFile string `yaml:"password_file,omitempty"`
}

// Kafka names a Kafka cluster.
type Kafka struct {
	Brokers []string `yaml:"brokers"`
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
	var c Config
	dec := yaml.NewDecoder(bytes.NewReader(src), yaml.Strict())
	if err := dec.Decode(&c); err != nil && len(bytes.TrimSpace(src)) > 0 {
		// Not the lines themselves: they may hold passwords.
		return Config{}, fault.New(fault.Invalid, "parse configuration", "%w", catalog.YAMLError(name, err)).
			WithHint("strata.example.yaml has every key")
	}
	c.Environment(getenv)
	if err := c.complete(); err != nil {
		return Config{}, fault.Wrap(fault.Invalid, "check "+name, err)
	}
	return c, nil
}

// Environment overrides the servers from the environment names STRATA_LIVE_DSN, STRATA_OFFLINE_DSN, STRATA_ARCHIVE_DSN,
// STRATA_CONTROL_DSN, STRATA_KAFKA (brokers, by commas) and STRATA_DATA. A DSN with a password replaces the password file
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
	server("STRATA_OFFLINE_DSN", &c.Offline)
	server("STRATA_ARCHIVE_DSN", &c.Archive)
	server("STRATA_CONTROL_DSN", &c.Control)
	if v := getenv("STRATA_DATA"); v != "" {
		c.Data = v
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
func (c *Config) complete() error {
	c.defaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Data == "" {
		bad("data: the data folder is missing")
	}
	for _, s := range []struct {
		name   string
		server *Server
	}{{"live", &c.Live}, {"offline", &c.Offline}, {"archive", &c.Archive}, {"control", &c.Control}} {
		if err := s.server.check(); err != nil {
			bad("%s: %w", s.name, err)
		}
	}
	if len(c.Kafka.Brokers) == 0 {
		bad("kafka: brokers are missing")
	}
	for _, v := range []struct {
		name  string
		value int64
	}{{"heartbeat_ms", int64(c.HeartbeatMs)}, {"scan_rows", c.ScanRows}, {"query_timeout_ms", int64(c.QueryTimeoutMs)}} {
		if v.value < 0 {
			bad("%s: %d is negative", v.name, v.value)
		}
	}
	errs = append(errs, c.checkDatasets()...)
	errs = append(errs, c.Core.check()...)
	errs = append(errs, c.Core.Across.sameDatabase(c.Live)...)
	if err := checkLoopback(c.HTTP); err != nil {
		bad("http: %w", err)
	}
	return errors.Join(errs...)
}

// checkDatasets checks the datasets, the ledger's among them, and the policies that name them.
func (c *Config) checkDatasets() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !c.Ledger && len(c.Datasets) == 0 {
		bad("datasets: there is none; declare one, or set ledger: true for the core's own tables")
	}
	specs := append(c.ledgerSpecs(), c.Datasets...)
	if err := catalog.CheckSpecs(specs); err != nil {
		errs = append(errs, err)
	}
	seen := map[string]bool{}
	for _, p := range c.Policies {
		at := slices.IndexFunc(specs, func(s catalog.Spec) bool { return s.Name == p.Dataset })
		switch {
		case at < 0:
			bad("archive_policies: dataset %q is not declared", p.Dataset)
		case !specs[at].Sharded():
			bad("archive_policies: dataset %s has no shards, so nothing of it moves", p.Dataset)
		case seen[p.Dataset]:
			bad("archive_policies: dataset %s stands there twice", p.Dataset)
		}
		if p.OlderThanDays < 1 {
			bad("archive_policies: %s: older_than_days must be at least 1", p.Dataset)
		}
		seen[p.Dataset] = true
	}
	return errs
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
	if c.Offline.DSN == "" {
		c.Offline = c.Live
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
	if c.CaptureServerID == 0 {
		c.CaptureServerID = 4290
	}
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
