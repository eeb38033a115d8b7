package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/IBM/sarama"

	"strata/fault"
)

// Dial limits: a broker that is there answers in milliseconds.
const (
	dialLimit = 5 * time.Second
	keepAlive = 30 * time.Second
)

// Security is how the brokers are reached. The zero value is plain TCP without a login.
type Security struct {
	TLS  *TLS  // nil: none
	SASL *SASL // nil: no login
	// Dial replaces the TCP dialling, for a jump host or a test's proxy. nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// TLS are the files of an encrypted connection.
type TLS struct {
	CAFile     string // PEM; "": the system's authorities
	CertFile   string // PEM, for brokers that ask who we are; "": no client certificate
	KeyFile    string // PEM, of CertFile
	ServerName string // expected in the broker's certificate; "": the host that is dialled
}

// SASL is a login.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	User      string
	Password  string
}

// Dialer makes connections as a Security says, TLS included. It fulfils the interface that sarama's Net.Proxy wants.
type Dialer struct {
	tls  *tls.Config
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Apply checks s and sets it in c; brokers are the first addresses. It returns the dialler that c then has. Errors: Invalid.
func (s Security) Apply(c *sarama.Config, brokers []string) (*Dialer, error) {
	d := &Dialer{dial: s.Dial}
	if d.dial == nil {
		d.dial = (&net.Dialer{Timeout: dialLimit, KeepAlive: keepAlive}).DialContext
	}
	var errs []error
	if s.TLS != nil {
		var err error
		if d.tls, err = s.TLS.config(); err != nil {
			errs = append(errs, err)
		}
	}
	if s.SASL != nil {
		errs = append(errs, s.SASL.check(s.TLS != nil || local(brokers)))
		s.SASL.apply(c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, "configure kafka", err)
	}
	// The dialler does TLS itself, so that whoever has a connection of it can use it without sarama.
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, d
	return d, nil
}

// Dial is DialContext without a context; it is bounded by its own limit.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects and, with TLS, shakes hands; ctx and a limit of 5 s bound both.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := d.dial(ctx, network, address)
	if err != nil || d.tls == nil {
		return conn, err
	}
	cfg := d.tls
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("split address %q: %w", address, err), conn.Close())
		}
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("shake hands with %s: %w", address, err), conn.Close())
	}
	return secure, nil
}

func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	var errs []error
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("read the authorities: %w", err))
		} else if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			errs = append(errs, fmt.Errorf("%s has no certificate in PEM", t.CAFile))
		}
	}
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		errs = append(errs, errors.New("a client certificate needs both its certificate file and its key file"))
	case t.CertFile != "":
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("read the client certificate: %w", err))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, errors.Join(errs...)
}

func (s *SASL) check(private bool) error {
	var errs []error
	if s.User == "" || s.Password == "" {
		errs = append(errs, errors.New("a login needs a user and a password"))
	}
	switch s.Mechanism {
	case sarama.SASLTypePlaintext:
		if !private {
			errs = append(errs, errors.New("mechanism PLAIN without TLS sends the password in clear text: use TLS or SCRAM"))
		}
	case sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
	default:
		errs = append(errs, fmt.Errorf("mechanism %q is not PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism))
	}
	return errors.Join(errs...)
}

func (s *SASL) apply(c *sarama.Config) {
	n := &c.Net.SASL
	n.Enable, n.Handshake, n.Version = true, true, sarama.SASLHandshakeV1
	n.Mechanism, n.User, n.Password = sarama.SASLMechanism(s.Mechanism), s.User, s.Password
	if s.Mechanism != sarama.SASLTypePlaintext {
		mechanism := s.Mechanism
		n.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{mechanism: mechanism} }
	}
}

// local reports whether all addresses are loopback: what goes there leaves no machine.
func local(brokers []string) bool {
	for _, b := range brokers {
		host, _, err := net.SplitHostPort(b)
		if err != nil {
			return false
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return len(brokers) > 0
}
