package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strata/fault"
)

// Offline is where the binlog is read, and what verify reads: one server, or several in the order in which they are tried.
type Offline struct {
	// DSN and PasswordFile are those of the only server. Default: live.
	DSN          string `yaml:"dsn,omitempty"`
	PasswordFile string `yaml:"password_file,omitempty"`
	// Endpoints are servers of one replication tree, the best first, in place of DSN: when one is away, or is not what it
	// was, the next is taken at the same place.
	Endpoints []Endpoint `yaml:"endpoints,omitempty"`
}

// Endpoint is one of several servers with the same rows.
type Endpoint struct {
	// Name is how it is called in messages and in `strata canal status`.
	Name   string `yaml:"name"`
	Server `yaml:",inline"`
}

// Capture says how the binlog becomes records.
type Capture struct {
	// ServerID is the replication server id under which the binlog is read; it and the three numbers after it must be unique
	// among the replicas. Default 4290.
	ServerID uint32 `yaml:"server_id,omitempty"`
	// Envelope is plain, or schema for consumers that want Kafka Connect's schema in every record. Default plain.
	Envelope string `yaml:"envelope,omitempty"`
	// Boundaries writes begins and ends of transactions to a topic of their own. Default false.
	Boundaries bool `yaml:"boundaries,omitempty"`
	// MaxRowBytes is the largest value of a record; a larger one becomes a dead letter. Default 8 MiB.
	MaxRowBytes int `yaml:"max_row_bytes,omitempty"`
	// MaskKey is the secret of masks of kind hash; needed where a dataset has one.
	MaskKey Secret `yaml:"mask_key,omitempty"`
	// SpillDir takes transactions that don't fit into memory. Default: spill in the data folder.
	SpillDir string `yaml:"spill_dir,omitempty"`
	// BackfillRowsPerSecond bounds what a backfill reads from the source where it names no bound itself. 0: none.
	BackfillRowsPerSecond int `yaml:"backfill_rows_per_second,omitempty"`
}

// Kafka names a Kafka cluster.
type Kafka struct {
	Brokers []string `yaml:"brokers"`
	// TLS encrypts the connections. Default: plain text.
	TLS *TLS `yaml:"tls,omitempty"`
	// SASL is the login.
	SASL *SASL `yaml:"sasl,omitempty"`
	// Compression of what is written: none, snappy, lz4, zstd. Default lz4.
	Compression string `yaml:"compression,omitempty"`
	// ReplicationFactor of topics that strata makes. 0: 3, or 1 where there are fewer than three brokers.
	ReplicationFactor int `yaml:"replication_factor,omitempty"`
}

// TLS is how servers are recognised, and how this process proves itself. Empty: by the system's certificates.
type TLS struct {
	CA         string `yaml:"ca,omitempty"`          // file of the authorities, PEM
	Cert       string `yaml:"cert,omitempty"`        // file of this process's certificate
	Key        string `yaml:"key,omitempty"`         // file of its key
	ServerName string `yaml:"server_name,omitempty"` // in place of the address's host
}

// SASL is a login to Kafka.
type SASL struct {
	// Mechanism is SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN. Default SCRAM-SHA-512.
	Mechanism string `yaml:"mechanism,omitempty"`
	User      string `yaml:"user"`
	Password  Secret `yaml:"password"`
}

// Secret says where a secret stands: an environment variable or a file, of which the first line counts.
type Secret struct {
	Env  string `yaml:"env,omitempty"`
	File string `yaml:"file,omitempty"`
}

// minMaskKey is the least length of a key that is not guessed.
const minMaskKey = 16

// envelopes and the others are what the keys may say.
func envelopes() []string    { return []string{"plain", "schema"} }
func compressions() []string { return []string{"none", "snappy", "lz4", "zstd"} }
func mechanisms() []string   { return []string{"SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"} }

// Servers are the endpoints in order; at least one in a configuration with defaults.
func (o *Offline) Servers() []Endpoint {
	if len(o.Endpoints) > 0 {
		return o.Endpoints
	}
	return []Endpoint{{Name: "offline", Server: Server{DSN: o.DSN, PasswordFile: o.PasswordFile}}}
}

// check reports everything that is wrong, and reads passwords.
func (o *Offline) check(list *problems) {
	bad := func(at, format string, args ...any) { list.add("offline."+at, "offline: "+format, args...) }
	if len(o.Endpoints) == 0 {
		s := Server{o.DSN, o.PasswordFile}
		if err := s.check(); err != nil {
			bad("dsn", "%w", err)
		}
		o.DSN, o.PasswordFile = s.DSN, s.PasswordFile
		return
	}
	if o.DSN != "" || o.PasswordFile != "" {
		bad("endpoints", "dsn and endpoints exclude each other: the dsn is the first of the endpoints")
	}
	seen := map[string]bool{}
	for i := range o.Endpoints {
		e, place := &o.Endpoints[i], fmt.Sprintf("endpoints[%d]", i)
		switch {
		case e.Name == "":
			bad(place, "%s: a name is missing", place)
		case seen[e.Name]:
			bad(place+".name", "%s: the name %s is there twice", place, e.Name)
		}
		seen[e.Name] = true
		if err := e.check(); err != nil {
			bad(place+".dsn", "%s: %w", place, err)
		}
	}
}

func (c *Capture) defaults(data string) {
	if c.ServerID == 0 {
		c.ServerID = 4290
	}
	if c.Envelope == "" {
		c.Envelope = "plain"
	}
	if c.MaxRowBytes == 0 {
		c.MaxRowBytes = 8 << 20
	}
	if c.SpillDir == "" && data != "" {
		c.SpillDir = filepath.Join(data, "spill")
	}
}

func (c *Capture) check(list *problems) {
	bad := func(at, format string, args ...any) { list.add("capture."+at, "capture: "+at+": "+format, args...) }
	if !slices.Contains(envelopes(), c.Envelope) {
		bad("envelope", "%q is not one of %s", c.Envelope, strings.Join(envelopes(), ", "))
	}
	if c.MaxRowBytes < 64<<10 || c.MaxRowBytes > 256<<20 {
		bad("max_row_bytes", "%d is not between 64 KiB and 256 MiB", c.MaxRowBytes)
	}
	if c.BackfillRowsPerSecond < 0 {
		bad("backfill_rows_per_second", "%d is negative", c.BackfillRowsPerSecond)
	}
	if err := c.MaskKey.check(); err != nil {
		bad("mask_key", "%w", err)
	}
}

func (k *Kafka) defaults() {
	if k.Compression == "" {
		k.Compression = "lz4"
	}
	if k.SASL != nil && k.SASL.Mechanism == "" {
		s := *k.SASL
		s.Mechanism = mechanisms()[0]
		k.SASL = &s
	}
}

func (k *Kafka) check(list *problems) {
	bad := func(at, format string, args ...any) { list.add("kafka."+at, "kafka: "+at+": "+format, args...) }
	if len(k.Brokers) == 0 {
		bad("brokers", "none is named")
	}
	if !slices.Contains(compressions(), k.Compression) {
		bad("compression", "%q is not one of %s", k.Compression, strings.Join(compressions(), ", "))
	}
	if k.ReplicationFactor < 0 || k.ReplicationFactor > 99 {
		bad("replication_factor", "%d is not between 0 and 99", k.ReplicationFactor)
	}
	if t := k.TLS; t != nil {
		if (t.Cert == "") != (t.Key == "") {
			bad("tls", "cert and key belong together")
		}
		for _, f := range []struct{ name, path string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
			if f.path == "" {
				continue
			}
			if _, err := os.Stat(f.path); err != nil {
				bad("tls."+f.name, "%w", err)
			}
		}
	}
	if s := k.SASL; s != nil {
		if !slices.Contains(mechanisms(), s.Mechanism) {
			bad("sasl.mechanism", "%q is not one of %s", s.Mechanism, strings.Join(mechanisms(), ", "))
		}
		if s.User == "" {
			bad("sasl.user", "it is missing")
		}
		if err := s.Password.check(); err != nil {
			bad("sasl.password", "%w", err)
		} else if s.Password == (Secret{}) {
			bad("sasl.password", "env or file is missing")
		}
	}
}

func (s Secret) check() error {
	if s.Env != "" && s.File != "" {
		return errors.New("env and file exclude each other")
	}
	return nil
}

// Read returns the secret; nil where none is named. Errors: fault.Invalid.
func (s Secret) Read(what string, getenv func(string) string) ([]byte, error) {
	op := "read " + what
	var text string
	switch {
	case s.Env != "":
		if text = getenv(s.Env); text == "" {
			return nil, fault.New(fault.Invalid, op, "environment variable %s is not set", s.Env)
		}
	case s.File != "":
		b, err := os.ReadFile(s.File)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, op, err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if text = strings.TrimSpace(line); text == "" {
			return nil, fault.New(fault.Invalid, op, "the first line of %s is empty", s.File)
		}
	default:
		return nil, nil
	}
	return []byte(text), nil
}

// maskKey reads the secret of masks.
func (c *Capture) maskKey(getenv func(string) string) ([]byte, error) {
	key, err := c.MaskKey.Read("capture: mask_key", getenv)
	if err == nil && key != nil && len(key) < minMaskKey {
		return nil, fault.New(fault.Invalid, "read capture: mask_key", "it has %d bytes; at least %d are needed", len(key), minMaskKey).
			WithHint("make one: openssl rand -hex 32")
	}
	return key, err
}
