package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	login "strata/broker"
	"strata/local"
	"strata/local/localtest"
	"strata/local/soaktest"
)

// TestCapture_logs_in_to_Kafka: TLS and SCRAM by the configuration; a wrong password is said and ends the process.
func TestCapture_logs_in_to_Kafka(t *testing.T) {
	k := localtest.StartKafka(t, localtest.Home(t), local.JavaKafkaConfig{Name: "kafka", Secure: true})
	password := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(password, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	m := localtest.Shared(t)
	r := made(t, soaktest.Setup{Seed: 41, Live: m, DSN: localtest.Schema(t, m), Kafka: secure{k}, Tables: soaktest.Tables(),
		KafkaKey: fmt.Sprintf(", tls: {ca: %q}, sasl: {mechanism: SCRAM-SHA-256, user: %q, password: {file: %q}}", k.TLS.CA, k.User, password)})
	out, code := r.Try("serve", "--roles=canal")
	if code != 3 || !strings.Contains(out, "SASL") || !strings.Contains(out, "login") {
		t.Errorf("a wrong password: exit %d, %s", code, out)
	}
	write(k.Password)
	security := login.Security{TLS: &login.TLS{CAFile: k.TLS.CA}, SASL: &login.SASL{Mechanism: "SCRAM-SHA-512", User: k.User, Password: k.Password}}
	r.Login = func(cfg *sarama.Config) error {
		_, err := security.Apply(cfg, r.Brokers)
		return err
	}
	r.Begin("canal")
	r.Write(func() { r.Commits(between) })
	r.proof()
}

// secure is a broker by its listener that wants a login.
type secure struct{ *local.JavaKafka }

func (s secure) Brokers() []string { return s.SecureBrokers() }
