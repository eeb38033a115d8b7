package local

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"strata/fault"
)

// tlsYears is how long the certificates are good; a test folder does not live that long.
const tlsYears = 10

// TLSFiles are PEM files of a certificate authority of the server's own. A client that trusts CA accepts the server;
// Cert and Key make it known to a server that asks for certificates.
type TLSFiles struct {
	CA, Cert, Key string

	server string // certificate and key of the server in one file, as Java reads PEM
}

// makeTLS makes the files in dir, once: dir is put in place by a rename when all are there.
func makeTLS(dir string, now time.Time) (TLSFiles, error) {
	files := TLSFiles{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client.key"),
		server: filepath.Join(dir, "server.pem")}
	if _, err := os.Stat(dir); err == nil {
		return files, nil
	}
	part := dir + ".new"
	if err := os.MkdirAll(part, 0o700); err != nil {
		return TLSFiles{}, fault.Wrap(fault.Unavailable, "make TLS folder", err)
	}
	write := func(path string, blocks ...[]byte) error {
		return writeFile(filepath.Join(part, filepath.Base(path)), string(bytes.Join(blocks, nil)))
	}
	ca, err := newAuthority(now)
	if err != nil {
		return TLSFiles{}, fault.Wrap(fault.Internal, "make certificate authority", err)
	}
	serverCert, serverKey, err := ca.sign("strata server", 2)
	if err != nil {
		return TLSFiles{}, fault.Wrap(fault.Internal, "make certificate", err)
	}
	clientCert, clientKey, err := ca.sign("strata client", 3)
	if err != nil {
		return TLSFiles{}, fault.Wrap(fault.Internal, "make certificate", err)
	}
	if err := write(files.CA, ca.pem); err != nil {
		return TLSFiles{}, err
	}
	if err := write(files.server, serverKey, serverCert, ca.pem); err != nil {
		return TLSFiles{}, err
	}
	if err := write(files.Cert, clientCert); err != nil {
		return TLSFiles{}, err
	}
	if err := write(files.Key, clientKey); err != nil {
		return TLSFiles{}, err
	}
	return files, fault.Wrap(fault.Unavailable, "place TLS folder", os.Rename(part, dir))
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "strata local authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(tlsYears, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, err
}

// sign makes a key and its certificate, both PEM, for 127.0.0.1 and localhost, and for clients.
func (a *authority) sign(name string, serial int64) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: a.cert.NotBefore,
		NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}
