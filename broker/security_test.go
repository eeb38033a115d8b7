package broker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"strata/broker"
	"strata/fault"
)

func TestApply_names_everything_that_is_wrong(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    broker.Security
		says []string
	}{
		"files that aren't there": {broker.Security{TLS: &broker.TLS{CAFile: "/nowhere/ca.pem", CertFile: "/nowhere/c.pem", KeyFile: "/nowhere/k.pem"}},
			[]string{"ca.pem", "c.pem"}},
		"an authority without a certificate": {broker.Security{TLS: &broker.TLS{CAFile: empty}}, []string{"empty.pem has no certificate"}},
		"half a key pair":                    {broker.Security{TLS: &broker.TLS{KeyFile: "k.pem"}}, []string{"both its certificate file and its key file"}},
		"an unknown mechanism without a user": {broker.Security{SASL: &broker.SASL{Mechanism: "GSSAPI"}},
			[]string{"GSSAPI", "a user and a password"}},
		"a password in clear text": {broker.Security{SASL: &broker.SASL{Mechanism: "PLAIN", User: "u", Password: "hush"}}, []string{"clear text"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.s.Apply(sarama.NewConfig(), []string{"kafka.example:9092"})
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v does not say %q", err, text)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Error("the password stands in the error")
			}
		})
	}
}

func TestApply_makes_a_valid_configuration(t *testing.T) {
	for name, s := range map[string]broker.Security{
		"nothing":          {},
		"TLS":              {TLS: &broker.TLS{}},
		"SCRAM":            {SASL: &broker.SASL{Mechanism: "SCRAM-SHA-512", User: "u", Password: "p"}},
		"PLAIN to oneself": {SASL: &broker.SASL{Mechanism: "PLAIN", User: "u", Password: "p"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := sarama.NewConfig()
			if _, err := s.Apply(c, []string{"127.0.0.1:9092", "localhost:9093", "[::1]:9094"}); err != nil {
				t.Fatal(err)
			}
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
