package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strata/local/localtest"
)

func TestInit(t *testing.T) {
	t.Parallel()
	m := localtest.Shared(t)
	live, archive, control := localtest.Schema(t, m), localtest.Schema(t, m), localtest.Schema(t, m)
	db := localtest.DB(t, live)
	for _, q := range []string{
		"CREATE TABLE orders_202601 (id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL, created_at DATETIME NOT NULL, currency CHAR(3) NOT NULL, amount BIGINT NOT NULL, KEY (created_at), KEY (customer_id))",
		"CREATE TABLE orders_202602 LIKE orders_202601", "INSERT INTO orders_202602 VALUES (77001, 77002, '2026-02-03', 'CNY', 77003)",
		"CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(50))", "CREATE TABLE keyless (a INT)",
	} {
		localtest.Exec(t, db, q)
	}
	broker := localtest.Kafka(t).Brokers()[0]
	dir := t.TempDir()
	out := filepath.Join(dir, "strata.yaml")
	flags := []string{"init", "--live", live, "--archive", archive, "--control", control, "--kafka", broker, "--dir", filepath.Join(dir, "data"), "--out", out}
	t.Run("what is written passes check-config at once", func(t *testing.T) {
		r := strata(t, flags...)
		r.want(t, 0, "2 datasets of 4 tables", "not declared: keyless", "no primary key", "next: ")
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"name: orders", "shards: month", "time: created_at", "account: customer_id", "unit_column: currency", "name: customers", "# Not declared:"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%q is not in:\n%s", want, b)
			}
		}
		for _, secret := range []string{m.Password, "77001", "77002", "77003"} {
			if strings.Contains(string(b)+r.String(), secret) {
				t.Errorf("%s is in:\n%s\n%s", secret, b, r)
			}
		}
		for _, f := range []string{"strata.yaml", "strata.live.password", "strata.archive.password", "strata.control.password"} {
			if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", f, info, err)
			}
		}
		strata(t, "check-config", "-c", out).want(t, 0, "2 datasets")
	})
	t.Run("a file that is there stays, but by force", func(t *testing.T) {
		if err := os.WriteFile(out, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		strata(t, flags...).want(t, 3, out, "--force")
		if b, _ := os.ReadFile(out); string(b) != "mine" {
			t.Errorf("it was overwritten: %s", b)
		}
		strata(t, append(flags, "--force")...).want(t, 0)
		strata(t, "check-config", "-c", out).want(t, 0)
	})
	t.Run("a dash prints it, and writes nothing", func(t *testing.T) {
		r := strata(t, "init", "--live", live, "--out", "-")
		r.want(t, 0, "name: orders", "CHECK: guessed")
		if strings.Contains(r.String(), m.Password) {
			t.Errorf("a password: %s", r)
		}
	})
	t.Run("JSON has what was found and what was refused", func(t *testing.T) {
		r := strata(t, append(flags, "--json", "--out", filepath.Join(dir, "other.yaml"))...)
		r.want(t, 0)
		var rep initReport
		if err := json.Unmarshal([]byte(r.stdout), &rep); err != nil || len(rep.Datasets) != 2 || len(rep.Datasets[1].Tables) != 2 || len(rep.Refused) != 1 {
			t.Errorf("%v: %s", err, r)
		}
	})
	t.Run("the environment's password stays there", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "s.yaml")
		env := []string{"STRATA_LIVE_DSN=" + live, "STRATA_ARCHIVE_DSN=" + archive, "STRATA_CONTROL_DSN=" + control, "STRATA_KAFKA=" + broker}
		strataEnv(t, env, "init", "--out", out).want(t, 0)
		if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 1 {
			t.Errorf("%v", left)
		}
		strataEnv(t, env, "check-config", out).want(t, 0)
	})
	for name, c := range map[string]refusal{
		"no live":           {2, "invalid", []string{"init"}, []string{"no live database", "hint: strata init --live"}},
		"no schema":         {2, "invalid", []string{"init", "--live", "a@tcp(h:1)/"}, []string{"schema"}},
		"no DSN":            {2, "invalid", []string{"init", "--live", "nonsense"}, []string{"parse dsn", "hint: "}},
		"a server away":     {3, "unavailable", []string{"init", "--live", away, "--out", filepath.Join(dir, "x.yaml")}, []string{"127.0.0.1:1"}},
		"an empty schema":   {2, "not_found", []string{"init", "--live", archive, "--out", filepath.Join(dir, "x.yaml")}, []string{"no table that strata can take"}},
		"an unknown schema": {2, "invalid", []string{"init", "--live", live, "--schema", "no_such", "--out", filepath.Join(dir, "x.yaml")}, []string{"no_such"}},
	} {
		t.Run(name, func(t *testing.T) { c.check(t) })
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "x.*")); len(left) > 0 {
		t.Errorf("a refusal left %v", left)
	}
}
