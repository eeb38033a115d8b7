package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"strata/broker"
	"strata/canal/canaltest"
	"strata/canal/kafka"
)

// certificate is one for 127.0.0.1 that is its own authority, and the file in which it says so.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafka"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestSink_conforms_behind_TLS_and_a_login(t *testing.T) {
	cert, authority := certificate(t)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := memory(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "strata", "secret"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
			cfg := kafka.Config{Brokers: c.ListenAddrs(), Security: broker.Security{TLS: &broker.TLS{CAFile: authority},
				SASL: &broker.SASL{Mechanism: mechanism, User: "strata", Password: "secret"}}}
			canaltest.SinkSuite(t, open(t, cfg))
		})
	}
	t.Run("refused", func(t *testing.T) {
		c := memory(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "strata", "secret"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
		login := func(password string) *broker.SASL {
			return &broker.SASL{Mechanism: "SCRAM-SHA-256", User: "strata", Password: password}
		}
		for name, s := range map[string]broker.Security{
			"a wrong password":      {TLS: &broker.TLS{CAFile: authority}, SASL: login("wrong")},
			"an unknown authority":  {TLS: &broker.TLS{}, SASL: login("secret")},
			"another server's name": {TLS: &broker.TLS{CAFile: authority, ServerName: "elsewhere"}, SASL: login("secret")},
			"no TLS":                {SASL: login("secret")},
		} {
			_, err := kafka.Open(kafka.Config{Brokers: c.ListenAddrs(), Security: s, Log: slog.New(slog.DiscardHandler)})
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
