package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"

	"strata/fault"
)

const (
	schemaLive    = "strata"
	schemaArchive = "strata_archive"
	schemaControl = "strata_control"
)

// Config is what Start needs.
type Config struct {
	Dir    string                   // the Home's folder
	Log    *slog.Logger             // nil: discard
	Getenv func(name string) string // os.Getenv; nil: no variable is set
}

// Endpoint is how one database is reached. DSN is complete; the other fields are its parts.
type Endpoint struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
	Schema   string `json:"schema"`
	DSN      string `json:"dsn"`
}

// String is the endpoint without its password, for messages.
func (e Endpoint) String() string {
	return fmt.Sprintf("%s@%s/%s", e.User, net.JoinHostPort(e.Host, strconv.Itoa(e.Port)), e.Schema)
}

// LogValue keeps the password out of logs.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.String()) }

// Addresses is where the parts of a Stack are.
type Addresses struct {
	Live    Endpoint `json:"live"`
	Offline Endpoint `json:"offline"`
	Archive Endpoint `json:"archive"`
	Control Endpoint `json:"control"`
	Kafka   []string `json:"kafka"`
}

// Stack is everything strata needs beside itself. A server that the environment gave is nil here; its address isn't.
type Stack struct {
	Home                   *Home
	Live, Offline, Archive *Maria
	Kafka                  *Kafka
	Addresses              Addresses

	mu   sync.Mutex
	down bool
}

// Start opens the Home and starts what the environment doesn't give: live (server id 1, domain 1, schema strata),
// offline (id 2, its read-only replica), archive (id 3, domain 3, schemas strata_archive and strata_control) and Kafka.
// STRATA_LIVE_DSN without STRATA_OFFLINE_DSN makes offline the same server, STRATA_ARCHIVE_DSN without
// STRATA_CONTROL_DSN puts control beside it. Errors: those of Open, StartMaria and StartKafka; Invalid for a bad
// variable. After an error nothing is left running.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	given, err := readEnv(cfg.Getenv)
	if err != nil {
		return nil, err
	}
	home, err := Open(cfg.Dir, cfg.Log)
	if err != nil {
		return nil, err
	}
	s := &Stack{Home: home, Addresses: given}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(ctx))
	}
	return s, nil
}

// Stop ends what Start started, in reverse order, and releases the Home. A second Stop does nothing.
func (s *Stack) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil
	}
	s.down = true
	var errs []error
	if s.Kafka != nil {
		errs = append(errs, s.Kafka.Stop(ctx))
	}
	for _, m := range []*Maria{s.Offline, s.Archive, s.Live} {
		if m != nil {
			errs = append(errs, m.Stop(ctx))
		}
	}
	return errors.Join(append(errs, s.Home.Close())...)
}

// ChildPIDs lists the processes that run now.
func (s *Stack) ChildPIDs() []int {
	var pids []int
	for _, m := range []*Maria{s.Live, s.Offline, s.Archive} {
		if m == nil {
			continue
		}
		if pid := m.PID(); pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// start brings up what has no address yet. Each goroutine writes fields of its own.
func (s *Stack) start(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	a := &s.Addresses
	if a.Live.DSN == "" {
		g.Go(func() error { return s.startLive(ctx) })
	}
	if a.Archive.DSN == "" {
		g.Go(func() (err error) {
			s.Archive, err = s.Home.StartMaria(ctx, MariaConfig{Name: "archive", ServerID: 3, Domain: 3,
				Schemas: []string{schemaArchive, schemaControl}})
			if err != nil {
				return err
			}
			a.Archive = s.Archive.endpoint(schemaArchive)
			if a.Control.DSN == "" {
				a.Control = s.Archive.endpoint(schemaControl)
			}
			return nil
		})
	}
	if len(a.Kafka) == 0 {
		g.Go(func() (err error) {
			if s.Kafka, err = s.Home.StartKafka(ctx); err == nil {
				a.Kafka = s.Kafka.Brokers()
			}
			return err
		})
	}
	return g.Wait()
}

// startLive starts live, then its replica, unless that one is given.
func (s *Stack) startLive(ctx context.Context) (err error) {
	s.Live, err = s.Home.StartMaria(ctx, MariaConfig{Name: "live", ServerID: 1, Domain: 1, Schemas: []string{schemaLive}})
	if err != nil {
		return err
	}
	s.Addresses.Live = s.Live.endpoint(schemaLive)
	s.Offline, err = s.Home.StartMaria(ctx, MariaConfig{Name: "offline", ServerID: 2, Domain: 1, ReplicaOf: s.Live,
		ReadOnly: true, Schemas: []string{schemaLive}})
	if err != nil {
		return err
	}
	s.Addresses.Offline = s.Offline.endpoint(schemaLive)
	return nil
}

func (m *Maria) endpoint(schema string) Endpoint {
	return Endpoint{Host: m.Host, Port: m.Port, User: m.User, Password: m.Password, Schema: schema, DSN: m.DSN(schema)}
}

// readEnv collects the addresses that the environment gives and what follows from them.
func readEnv(getenv func(string) string) (Addresses, error) {
	if getenv == nil {
		return Addresses{}, nil
	}
	var a Addresses
	var errs []error
	for _, v := range []struct {
		name, schema string
		to           *Endpoint
	}{
		{"STRATA_LIVE_DSN", schemaLive, &a.Live}, {"STRATA_OFFLINE_DSN", schemaLive, &a.Offline},
		{"STRATA_ARCHIVE_DSN", schemaArchive, &a.Archive}, {"STRATA_CONTROL_DSN", schemaControl, &a.Control},
	} {
		e, err := parseEndpoint(v.name, getenv(v.name), v.schema)
		*v.to = e
		errs = append(errs, err)
	}
	for broker := range strings.SplitSeq(getenv("STRATA_KAFKA"), ",") {
		if broker = strings.TrimSpace(broker); broker != "" {
			a.Kafka = append(a.Kafka, broker)
		}
	}
	if a.Offline.DSN != "" && a.Live.DSN == "" {
		errs = append(errs, fault.New(fault.Invalid, "read environment", "STRATA_OFFLINE_DSN is set, STRATA_LIVE_DSN isn't").
			WithHint("set both: offline must be a replica of live"))
	}
	if a.Offline.DSN == "" {
		a.Offline = a.Live
	}
	if a.Archive.DSN != "" && a.Control.DSN == "" {
		cfg, err := mysql.ParseDSN(a.Archive.DSN)
		if err == nil {
			cfg.DBName = schemaControl
			a.Control, err = endpointOf("STRATA_ARCHIVE_DSN", cfg)
		}
		errs = append(errs, err)
	}
	return a, errors.Join(errs...)
}

// parseEndpoint reads one DSN; text "" gives the zero Endpoint, a DSN without a schema gets the usual one.
func parseEndpoint(name, text, schema string) (Endpoint, error) {
	if text == "" {
		return Endpoint{}, nil
	}
	cfg, err := mysql.ParseDSN(text)
	if err != nil {
		return Endpoint{}, fault.New(fault.Invalid, "read "+name, "%w", err).WithHint("it reads user:password@tcp(host:port)/schema")
	}
	given := cfg.DBName
	if given == "" {
		cfg.DBName = schema
	}
	e, err := endpointOf(name, cfg)
	if err == nil && given != "" {
		e.DSN = text // as it was written, parameters included
	}
	return e, err
}

// endpointOf takes a driver's configuration apart. Only TCP will do: the binlog is read over it.
func endpointOf(name string, cfg *mysql.Config) (Endpoint, error) {
	host, portText, err := net.SplitHostPort(cfg.Addr)
	port, convErr := strconv.Atoi(portText)
	if cfg.Net != "tcp" || err != nil || convErr != nil {
		return Endpoint{}, fault.New(fault.Invalid, "read "+name, "%s address %q: want tcp(host:port)", cfg.Net, cfg.Addr).
			WithHint("it reads user:password@tcp(host:port)/schema")
	}
	return Endpoint{Host: host, Port: port, User: cfg.User, Password: cfg.Passwd, Schema: cfg.DBName, DSN: cfg.FormatDSN()}, nil
}
