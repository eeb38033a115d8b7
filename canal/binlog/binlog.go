package binlog

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	heartbeatEvery = time.Second      // the server says that it lives, so a half-open connection is seen
	readLimit      = 10 * time.Second // without a byte, heartbeats included, the connection is dead
	writeLimit     = "600"            // seconds the server waits for us: Kafka may be away for a while
	eventQueue     = 128              // events, mostly 8 KiB, some a row of 16 MiB: decode ahead, but not much
	defaultMaxTxn  = 256 << 20
	heartbeatTable = "strata_heartbeat"
)

// Config is what a Source needs.
type Config struct {
	// DB is the server whose binlog is read, a replica or the primary; its schema is the captured one.
	DB *db.DB
	// DSN is that server's, with a login that may replicate.
	DSN string
	// ServerID is unique among all replicas and other readers of that server: two equal ids throw each other out.
	ServerID uint32
	Datasets []*catalog.Dataset
	Log      *slog.Logger
	// MaxTxnBytes of captured rows, as they lie in memory, one transaction may have; beyond it its datasets are stopped.
	// 0: 256 MiB.
	MaxTxnBytes int64
}

// Source reads one server's binlog.
type Source struct {
	cfg      Config
	login    *driver.Config
	host     string
	port     uint16
	flavor   string
	tls      *tls.Config
	charsets charsets
}

// New checks the configuration; it doesn't connect.
func New(cfg Config) (*Source, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what+" is missing"))
		}
	}
	need(cfg.DB != nil, "DB")
	need(cfg.ServerID != 0, "ServerID")
	need(len(cfg.Datasets) > 0, "Datasets")
	need(cfg.Log != nil, "Log")
	login, err := driver.ParseDSN(cfg.DSN)
	errs = append(errs, err)
	s := &Source{cfg: cfg, login: login}
	if err == nil {
		host, port, err := net.SplitHostPort(login.Addr)
		n, errN := strconv.ParseUint(port, 10, 16)
		if err != nil || errN != nil || login.Net != "tcp" {
			errs = append(errs, errors.New("the DSN must name tcp(host:port)"))
		}
		s.host, s.port, s.tls = host, uint16(n), login.TLS
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, "configure binlog source", err)
	}
	if s.cfg.MaxTxnBytes <= 0 {
		s.cfg.MaxTxnBytes = defaultMaxTxn
	}
	s.flavor = mysql.MariaDBFlavor
	if cfg.DB.Flavor() == db.MySQL {
		s.flavor = mysql.MySQLFlavor
	}
	return s, nil
}

// Origin is part of canal.Source.
func (s *Source) Origin() canal.Origin {
	return canal.Origin{Connector: s.flavor, Schema: s.cfg.DB.Schema()}
}

// Open is part of canal.Source.
func (s *Source) Open(ctx context.Context, at canal.Position) (canal.Stream, error) {
	if err := s.cfg.DB.CheckCapture(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.charsets, err = readCharsets(ctx, s.cfg.DB); err != nil {
		return nil, err
	}
	from := at.GTID
	if at.Last.GTID != "" {
		from = at.Last.Before
	}
	set, err := mysql.ParseGTIDSet(s.flavor, from)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "parse position "+from, err)
	}
	where, err := newPosition(s.flavor, from)
	if err != nil {
		return nil, err
	}
	st := &stream{group: newGroup(s, where, at)}
	dialer := &net.Dialer{Timeout: readLimit}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: s.cfg.ServerID, Flavor: s.flavor, Host: s.host, Port: s.port, User: s.login.User, Password: s.login.Passwd,
		TLSConfig: s.tls, HeartbeatPeriod: heartbeatEvery, VerifyChecksum: true,
		TimestampStringLocation: time.UTC, DisableRetrySync: true, DiscardGTIDSet: true, EventCacheCount: eventQueue,
		RenderJSONAsMySQLText: true, RowsEventDecodeFunc: keepRaw, Logger: slog.New(slog.DiscardHandler),
		Option: func(c *client.Conn) error {
			_, err := c.Execute("SET SESSION net_write_timeout=" + writeLimit)
			return err
		},
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			st.conn = patient{c}
			return st.conn, nil
		},
	})
	if st.events, err = syncer.StartSyncGTID(set); err != nil {
		return nil, streamError("open binlog of "+s.cfg.DB.Name(), err)
	}
	s.cfg.Log.Info("reading binlog", "source", s.cfg.DB.Name(), "addr", s.login.Addr, "pos", from)
	return st, nil
}

// patient bounds each read by readLimit. The library's ReadTimeout counts from the last packet, so a reader that had to
// wait for Kafka longer than that would find its connection dead.
type patient struct{ net.Conn }

// Read is part of net.Conn.
func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(readLimit)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// keepRaw leaves the rows to decode in the field that only NDB uses. MySQL's binary JSON is decoded by the library.
func keepRaw(e *replication.RowsEvent, data []byte) error {
	pos, err := e.DecodeHeader(data)
	if err != nil {
		return err
	}
	e.NdbData = data[pos:]
	if e.Table.JsonColumnCount() > 0 {
		return e.DecodeData(pos, data)
	}
	return nil
}

// streamError gives an error of the connection its kind. 1236 is the server's word for a place that it can't serve.
func streamError(op string, err error) error {
	var my *mysql.MyError
	if !errors.As(err, &my) {
		var e *replication.EventError
		if errors.As(err, &e) || errors.Is(err, replication.ErrChecksumMismatch) {
			return fault.New(fault.Unsafe, op, "%w", err).WithHint("the binlog is damaged or of a version that strata can't read")
		}
		return fault.Wrap(fault.Unavailable, op, err)
	}
	switch my.Code {
	case mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG:
		return fault.New(fault.Unsafe, op, "%w", err).
			WithHint("the server's binlog no longer has this place, or never had it: was it purged, or is it another server? Load the datasets anew")
	case mysql.ER_ACCESS_DENIED_ERROR, mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR, mysql.ER_DBACCESS_DENIED_ERROR:
		return fault.New(fault.Denied, op, "%w", err).WithHint("the login needs REPLICATION SLAVE and, on MariaDB, BINLOG MONITOR")
	default:
		return fault.Wrap(fault.Unavailable, op, err)
	}
}

// stream is part of canal.Stream.
type stream struct {
	events *replication.BinlogStreamer
	conn   net.Conn
	group  *group
	err    error
	closed bool
}

// Next is part of canal.Stream.
func (s *stream) Next(ctx context.Context) (*canal.Txn, error) {
	for {
		if x := s.group.ready(); x != nil {
			return x, nil
		}
		if s.err != nil {
			return nil, s.err
		}
		e, err := s.events.GetEvent(ctx)
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil, err
			}
			s.err = streamError("read binlog of "+s.group.s.cfg.DB.Name(), err)
			return nil, s.err
		}
		if err := s.group.feed(e); err != nil {
			s.err = err
			return nil, err
		}
	}
}

// Close is part of canal.Stream. It closes the socket only: the library's own Close would open another connection and KILL
// a connection number on whatever server answers there by now.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.conn.Close()
	for { // until the reader, which may be waiting for room, has seen it
		if _, err := s.events.GetEvent(context.Background()); err != nil {
			break
		}
	}
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return fault.Wrap(fault.Unavailable, "close binlog stream", err)
}
