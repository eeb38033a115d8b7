package node_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"strata/fault"
	"strata/node"
)

const secret = "s3cret-of-live"

// goodConfig is the least that a configuration needs.
const goodConfig = `data: /var/lib/strata
live: {dsn: "app:` + secret + `@tcp(10.0.0.1:3306)/bank"}
archive: {dsn: "app:` + secret + `@tcp(10.0.0.2:3306)/bank_archive"}
kafka: {brokers: ["10.0.0.3:9092"]}
datasets:
  - name: orders
`

func nothing(string) string { return "" }

func parse(t *testing.T, text string) node.Config {
	t.Helper()
	c, err := node.Parse([]byte(text), "strata.yaml", nothing)
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	return c
}

func TestConfig(t *testing.T) {
	t.Run("defaults follow from what is given", func(t *testing.T) {
		c := parse(t, goodConfig)
		if c.Offline.DSN != c.Live.DSN || len(c.Offline.Servers()) != 1 || c.Control.DSN != strings.Replace(c.Archive.DSN, "bank_archive", "strata_control", 1) {
			t.Errorf("offline %s, control %s", c.Offline.DSN, c.Control.DSN)
		}
		if c.HTTP != "127.0.0.1:8080" || c.HeartbeatMs != 1000 || c.ScanRows != 100_000 || c.QueryTimeoutMs != 30_000 {
			t.Errorf("%+v", c.Public())
		}
		if p := c.Capture; p.ServerID != 4290 || p.Envelope != "plain" || p.Boundaries || p.MaxRowBytes != 8<<20 || p.SpillDir != "/var/lib/strata/spill" || c.Kafka.Compression != "lz4" {
			t.Errorf("%+v", p)
		}
		if d := c.Datasets[0]; d.Table != "orders" || d.Partitions != 4 {
			t.Errorf("%+v", d)
		}
	})
	t.Run("the ledger needs no dataset", func(t *testing.T) {
		c := parse(t, strings.Split(goodConfig, "datasets:")[0]+"ledger: true\narchive_policies: [{dataset: entry, older_than_days: 90}]\n")
		if !c.Ledger || len(c.Datasets) != 0 {
			t.Errorf("%+v", c.Public())
		}
	})
	t.Run("both are possible", func(t *testing.T) { parse(t, goodConfig+"ledger: true\n") })
	for _, c := range []struct {
		name, text string
		want       []string // in the message
	}{
		{"an unknown key is named with its line", goodConfig + "sacn_rows: 5\n", []string{"strata.yaml:7", "sacn_rows"}},
		{"an unknown key of a dataset is named with its line", goodConfig + "    tabel: x\n", []string{"strata.yaml:7", "tabel"}},
		{"a wrong type is named with its line", goodConfig + "scan_rows: many\n", []string{"strata.yaml:7", "ScanRows"}},
		{"text that is no YAML is refused", "data: [\n", []string{"strata.yaml:"}},
		{"an empty file lacks everything, said at once", "", []string{"data", "live: dsn", "archive: dsn", "kafka", "datasets"}},
		{"a key without a value is like no key", "data:\n", []string{"data", "live: dsn"}},
		{"a DSN without a schema is refused", strings.Replace(goodConfig, "/bank\"", "/\"", 1), []string{"live", "schema"}},
		{"what is no DSN is refused", strings.Replace(goodConfig, "@tcp(10.0.0.1:3306)/bank\"", "\"", 1), []string{"live", "parse dsn"}},
		{"a policy of an undeclared dataset is refused", goodConfig + "archive_policies: [{dataset: order, older_than_days: 90}]\n", []string{"order", "not declared"}},
		{"the ledger's policies need the ledger", goodConfig + "archive_policies: [{dataset: entry, older_than_days: 90}]\n", []string{"entry", "not declared"}},
		{"the unsharded account never moves", goodConfig + "ledger: true\narchive_policies: [{dataset: account, older_than_days: 90}]\n", []string{"account"}},
		{"an unsharded dataset never moves", goodConfig + "archive_policies: [{dataset: orders, older_than_days: 90}]\n", []string{"orders", "shards"}},
		{"a policy without an age is refused", goodConfig + "    time: t\n    shards: month\narchive_policies: [{dataset: orders}]\n", []string{"older_than_days"}},
		{"two policies of one dataset are refused", goodConfig + "    time: t\n    shards: month\narchive_policies: [{dataset: orders, older_than_days: 9}, {dataset: orders, older_than_days: 8}]\n", []string{"orders", "twice"}},
		{"an address that others reach is refused", goodConfig + "http: 0.0.0.0:8080\n", []string{"http", "loopback"}},
		{"an address of all interfaces is refused", goodConfig + "http: :8080\n", []string{"http", "loopback"}},
		{"a name that only looks like loopback is refused", goodConfig + "http: 127.0.0.1.example.org:8080\n", []string{"http", "loopback"}},
		{"negative numbers are refused", goodConfig + "heartbeat_ms: -1\nquery_timeout_ms: -5\nscan_rows: -2\n", []string{"heartbeat_ms", "query_timeout_ms", "scan_rows"}},
		{"an unknown key of capture is named with its line", goodConfig + "capture:\n  server_di: 5\n", []string{"strata.yaml:8", "server_di"}},
		{"an unknown key of an endpoint is named with its line", goodConfig + "offline:\n  endpoints:\n    - {name: a, dns: x}\n", []string{"strata.yaml:9", "dns"}},
		{"two forms of offline are refused", goodConfig + "offline: {dsn: \"a@tcp(h:1)/s\", endpoints: [{name: a, dsn: \"a@tcp(h:1)/s\"}]}\n", []string{"offline", "exclude each other"}},
		{"endpoints without names or servers are refused", goodConfig + "offline: {endpoints: [{dsn: \"a@tcp(h:1)/s\"}, {name: b}]}\n", []string{"endpoints[0]: a name", "endpoints[1]: dsn"}},
		{"two endpoints of one name are refused", goodConfig + "offline: {endpoints: [{name: a, dsn: \"a@tcp(h:1)/s\"}, {name: a, dsn: \"a@tcp(h:2)/s\"}]}\n", []string{"a is there twice"}},
		{"an unknown envelope is refused", goodConfig + "capture: {envelope: avro, max_row_bytes: 5, backfill_rows_per_second: -1}\n", []string{"avro", "plain, schema", "max_row_bytes", "backfill_rows_per_second"}},
		{"a hashed column without a key is refused", goodConfig + "    masks:\n      - {column: card, mask: hash}\n", []string{"strata.yaml:8", "mask_key"}},
		{"a secret in two places is refused", goodConfig + "capture: {mask_key: {env: A, file: /b}}\n", []string{"mask_key", "exclude each other"}},
		{"a secret in the file itself is refused", goodConfig + "capture:\n  mask_key: " + secret + "\n", []string{"strata.yaml:8"}},
		{"an unknown compression is refused", strings.Replace(goodConfig, "kafka: {", "kafka: {compression: brotli, replication_factor: -1, ", 1), []string{"brotli", "replication_factor"}},
		{"half a certificate is refused", strings.Replace(goodConfig, "kafka: {", "kafka: {tls: {cert: /no/such/cert}, ", 1), []string{"belong together", "/no/such/cert"}},
		{"a login without a password is refused", strings.Replace(goodConfig, "kafka: {", "kafka: {sasl: {mechanism: GSSAPI}, ", 1), []string{"GSSAPI", "sasl.user", "sasl.password"}},
		{"an index at no URL is refused", goodConfig + "index: {elastic: {url: \"es1:9200:" + secret + "\", user: a}}\n", []string{"index.elastic", "no URL", "user and password go together"}},
		{"an index of no parts is refused", goodConfig + "index: {elastic: {url: \"http://es1:9200\", shards: -1, replicas: 65}}\n", []string{"index.elastic", "shards are 1 to 64", "replicas are 0 to 64"}},
		{"a URL with a password is refused", goodConfig + "index: {elastic: {url: \"ftp://a:" + secret + "@es1\"}}\n", []string{"index.elastic", "keys of their own"}},
		{"an index of another kind is refused", goodConfig + "index: {solr: {}}\n", []string{"strata.yaml:7", "solr"}},
		{"a verifier's numbers and words are checked", goodConfig + "verify: {every: often, mode: quick, rows_per_second: -1, sweep_days: -7}\n", []string{"often", "quick", "fast and full", "rows_per_second", "sweep_days"}},
		{"an unknown key of verify is named with its line", goodConfig + "verify:\n  repairs: true\n", []string{"strata.yaml:8", "repairs"}},
		{"a pass can't begin all the time", goodConfig + "verify: {every: 1ms}\n", []string{"verify: every"}},
		{"a dataset named like the ledger's is refused", goodConfig + "  - name: entry\nledger: true\n", []string{"entry"}},
		{"a password file that is not there is named", strings.Replace(goodConfig, "archive: {", "archive: {password_file: /no/such/file, ", 1), []string{"archive", "/no/such/file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := node.Parse([]byte(c.text), "strata.yaml", nothing)
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v", err)
			}
			text := err.Error() + fault.HintOf(err)
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("%q is not in: %s", w, text)
				}
			}
			if strings.Contains(text, secret) {
				t.Errorf("the message has a password: %s", text)
			}
		})
	}
}

const endpoints = `offline:
  endpoints:
    - {name: one, dsn: "app:` + secret + `@tcp(10.0.0.7:3306)/bank"}
    - {name: two, dsn: "app:` + secret + `@tcp(10.0.0.8:3306)/bank"}
`

func TestCaptureConfig(t *testing.T) {
	t.Run("endpoints keep their order, and their passwords to themselves", func(t *testing.T) {
		c := parse(t, goodConfig+endpoints)
		if s := c.Offline.Servers(); len(s) != 2 || s[0].Name != "one" || s[1].Name != "two" || !strings.Contains(s[1].DSN, "10.0.0.8") {
			t.Fatalf("%+v", c.Offline)
		}
		shown, err := c.Effective()
		if err != nil || strings.Contains(shown, secret) || !strings.Contains(shown, "10.0.0.8") {
			t.Errorf("%v\n%s", err, shown)
		}
		if again := parse(t, shown); again.Offline.Servers()[1].Name != "two" || again.Capture != c.Capture {
			t.Errorf("%+v", again.Public())
		}
		if !strings.Contains(c.Offline.Endpoints[0].DSN, secret) {
			t.Error("the configuration itself lost its password")
		}
	})
	t.Run("an endpoint's password may stand in a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte("of-the-file\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := parse(t, goodConfig+"offline: {endpoints: [{name: a, dsn: \"u@tcp(h:1)/s\", password_file: "+file+"}]}\n")
		if got := c.Offline.Servers()[0].DSN; got != "u:of-the-file@tcp(h:1)/s" {
			t.Error(got)
		}
	})
	t.Run("kafka's security is read", func(t *testing.T) {
		c := parse(t, strings.Replace(goodConfig, "kafka: {", "kafka: {tls: {}, sasl: {user: u, password: {env: KPW}}, compression: zstd, replication_factor: 3, ", 1))
		k := c.Kafka
		if k.TLS == nil || k.SASL == nil || k.SASL.Mechanism != "SCRAM-SHA-512" || k.Compression != "zstd" || k.ReplicationFactor != 3 {
			t.Errorf("%+v", k)
		}
	})
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(" of-the-file \nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string { return map[string]string{"SET": "of-the-environment"}[name] }
	for name, c := range map[string]struct {
		secret node.Secret
		want   string
		ok     bool
	}{
		"none":             {node.Secret{}, "", true},
		"an environment's": {node.Secret{Env: "SET"}, "of-the-environment", true},
		"a file's":         {node.Secret{File: file}, "of-the-file", true},
		"one not set":      {node.Secret{Env: "UNSET"}, "", false},
		"a file not there": {node.Secret{File: file + "x"}, "", false},
		"an empty one":     {node.Secret{File: empty}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.secret.Read("secret", env)
			if string(got) != c.want || (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	env := map[string]string{
		"STRATA_LIVE_DSN": "a@tcp(env:1)/live", "STRATA_OFFLINE_DSN": "a@tcp(env:2)/live", "STRATA_ARCHIVE_DSN": "a@tcp(env:3)/arch",
		"STRATA_CONTROL_DSN": "a@tcp(env:4)/ctl", "STRATA_KAFKA": "k1:9092, k2:9092", "STRATA_DATA": "/env",
		"STRATA_ELASTIC": "http://env:9200",
	}
	c, err := node.Parse([]byte(goodConfig), "strata.yaml", func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if c.Live.DSN != env["STRATA_LIVE_DSN"] || c.Offline.DSN != env["STRATA_OFFLINE_DSN"] || c.Archive.DSN != env["STRATA_ARCHIVE_DSN"] ||
		c.Control.DSN != env["STRATA_CONTROL_DSN"] || c.Index.Elastic == nil || c.Index.Elastic.URL != env["STRATA_ELASTIC"] || c.Data != "/env" || !reflect.DeepEqual(c.Kafka.Brokers, []string{"k1:9092", "k2:9092"}) {
		t.Errorf("%+v", c)
	}
	t.Run("one server takes the place of all endpoints", func(t *testing.T) {
		c, err := node.Parse([]byte(goodConfig+endpoints), "strata.yaml", func(name string) string { return env[name] })
		if err != nil || len(c.Offline.Endpoints) != 0 || c.Offline.DSN != env["STRATA_OFFLINE_DSN"] {
			t.Errorf("%+v, %v", c.Offline, err)
		}
	})
	t.Run("alone it is enough beside the datasets", func(t *testing.T) {
		if _, err := node.Parse([]byte("datasets: [{name: orders}]\n"), "strata.yaml", func(name string) string { return env[name] }); err != nil {
			t.Error(err)
		}
	})
}

func TestPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(" of-the-file\t \nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(goodConfig, "live: {", "live: {password_file: "+file+", ", 1)
	t.Run("the file's first line replaces the DSN's", func(t *testing.T) {
		c := parse(t, text)
		if want := "app:of-the-file@tcp(10.0.0.1:3306)/bank"; c.Live.DSN != want || c.Offline.DSN != want {
			t.Errorf("live %s, offline %s", c.Live.DSN, c.Offline.DSN)
		}
	})
	t.Run("an environment's DSN brings its own", func(t *testing.T) {
		c, err := node.Parse([]byte(text), "strata.yaml", func(name string) string {
			if name == "STRATA_LIVE_DSN" {
				return "app:of-the-environment@tcp(10.9.9.9:3306)/bank"
			}
			return ""
		})
		if err != nil || c.Live.DSN != "app:of-the-environment@tcp(10.9.9.9:3306)/bank" {
			t.Errorf("%s, %v", c.Live.DSN, err)
		}
	})
	t.Run("none is shown", func(t *testing.T) {
		c := parse(t, text)
		shown, err := c.Effective()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{secret, "of-the-file"} {
			if strings.Contains(shown, s) {
				t.Errorf("%s is in:\n%s", s, shown)
			}
		}
		if !strings.Contains(c.Live.DSN, "of-the-file") || !strings.Contains(shown, "***") {
			t.Errorf("the configuration itself lost its password, or nothing shows that there is one:\n%s", shown)
		}
		again, err := node.Parse([]byte(shown), "shown", nothing)
		if err != nil {
			t.Fatalf("what is shown is no configuration: %v\n%s", err, shown)
		}
		if twice, err := again.Effective(); err != nil || twice != shown {
			t.Errorf("%v: another configuration:\n%s\n%s", err, shown, twice)
		}
	})
}

func TestExampleParsesAndHasEveryKey(t *testing.T) {
	src, err := os.ReadFile("../strata.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, string(src))
	if len(c.Datasets) < 2 || len(c.Policies) == 0 || !c.Datasets[0].Sharded() {
		t.Errorf("%+v", c.Public())
	}
	parse(t, strings.Replace(string(src), "ledger: false", "ledger: true", 1))
	for _, key := range yamlKeys(reflect.TypeFor[node.Config]()) {
		if !strings.Contains(string(src), key+":") {
			t.Errorf("key %s is not in the example", key)
		}
	}
}

// yamlKeys are the keys of a struct and of the structs in it.
func yamlKeys(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		keys = append(keys, name)
		in := f.Type
		for in.Kind() == reflect.Slice || in.Kind() == reflect.Pointer {
			in = in.Elem()
		}
		if in.Kind() == reflect.Struct && in.Field(0).Tag.Get("yaml") != "" {
			keys = append(keys, yamlKeys(in)...)
		}
	}
	return keys
}

func TestRoles(t *testing.T) {
	if r, err := node.ParseRoles([]string{"canal", "sync", "router"}); err != nil || r != (node.Roles{Canal: true, Sync: true, Router: true}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, names := range [][]string{nil, {"canal", "cannal"}, {""}} {
		if _, err := node.ParseRoles(names); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", names, err)
		}
	}
}
