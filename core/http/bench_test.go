package rest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strata/core"
)

// instant answers without a ledger.
type instant struct{ core.Full }

func (instant) Post(_ context.Context, transfers []core.Transfer) ([]core.Answer, error) {
	out := make([]core.Answer, len(transfers))
	for i := range out {
		out[i] = core.Answer{Outcome: core.Applied, Balances: []core.Balance{{Account: 1_000_001, Seq: 77, Balance: -12345, Amount: -100}, {Account: 1_000_002, Seq: 78, Balance: 12345, Amount: 100}}}
	}
	return out, nil
}

// sink is a writer that keeps nothing.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

func benchServer(b *testing.B, rates ...core.Rate) *Server {
	s, err := New(Config{Ledger: instant{}, Log: slog.New(slog.DiscardHandler), Now: newClock().Now})
	if err != nil {
		b.Fatal(err)
	}
	s.rates.set(1, rates)
	return s
}

// BenchmarkHandler is what a request costs beside net/http and the ledger.
func BenchmarkHandler(b *testing.B) {
	one := []byte(payment("0197f5d2-5a5e-7c3e-9d0e-0d2f7a9b1c11", `,"memo":"order 4711"`))
	batch := []byte("[" + strings.TrimSuffix(strings.Repeat(string(one)+",", 500), ",") + "]")
	for name, c := range map[string]struct {
		path  string
		body  []byte
		rates []core.Rate
	}{
		"one":       {"/v1/transfers", one, nil},
		"one rates": {"/v1/transfers", one, []core.Rate{{Name: "a", Key: "account", PerSecond: 1e9, Burst: 1e9}, {Name: "c", Key: "client", PerSecond: 1e9, Burst: 1e9}}},
		"500":       {"/v1/transfers/batch", batch, nil},
	} {
		b.Run(name, func(b *testing.B) {
			s := benchServer(b, c.rates...)
			req := httptest.NewRequest(http.MethodPost, c.path, nil)
			req.RemoteAddr, req.Host, req.ContentLength = "127.0.0.1:5000", "127.0.0.1:8080", int64(len(c.body))
			req.Header.Set("Content-Type", "application/json")
			b.ReportAllocs()
			for b.Loop() {
				req.Body = io.NopCloser(bytes.NewReader(c.body))
				s.ServeHTTP(&sink{http.Header{}}, req)
			}
		})
	}
}

// BenchmarkHTTP is 64 clients on kept connections, client and server on the same machine: bare net/http beside the API.
func BenchmarkHTTP(b *testing.B) {
	body := []byte(payment("0197f5d2-5a5e-7c3e-9d0e-0d2f7a9b1c11", `,"memo":"order 4711"`))
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(body)
	})
	for name, h := range map[string]http.Handler{"bare": bare, "api": benchServer(b)} {
		b.Run(name, func(b *testing.B) {
			l := httptest.NewServer(h)
			defer l.Close()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			b.SetParallelism(32)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					res, err := client.Post(l.URL+"/v1/transfers", "application/json", bytes.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
		})
	}
}
