package binlog

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"

	"strata/canal"
	"strata/db"
	"strata/fault"
)

// writeLimit is how many seconds the server waits for us: Kafka may be away for a while.
const writeLimit = "600"

// link is one connection that receives a binlog.
type link struct {
	*queue
	name string
	done chan struct{} // the library's reader has ended
	err  error         // why; set before done is closed
	head *event

	mu   sync.Mutex
	conn net.Conn
}

// connect asks an endpoint for its binlog after set and waits until it has begun to send.
func (s *Source) connect(ctx context.Context, e *endpoint, serverID uint32, set mysql.GTIDSet) (*link, error) {
	l := &link{queue: newQueue(s.flavor), name: e.Name, done: make(chan struct{})}
	dialer := &net.Dialer{Timeout: s.cfg.ReadLimit}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: serverID, Flavor: s.flavor, Host: e.host, Port: e.port, User: e.login.User, Password: e.login.Passwd,
		TLSConfig: e.login.TLS, HeartbeatPeriod: s.cfg.ReadLimit / signsOfLife, VerifyChecksum: true, RawModeEnabled: true,
		DisableRetrySync: true, DiscardGTIDSet: true, EventCacheCount: 1, SynchronousEventHandler: l.queue, Logger: slog.New(slog.DiscardHandler),
		Option: func(c *client.Conn) error {
			_, err := c.Execute("SET SESSION net_write_timeout=" + writeLimit)
			return err
		},
		Dialer: func(inner context.Context, network, addr string) (net.Conn, error) {
			inner, cancel := context.WithCancel(inner)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			c, err := dialer.DialContext(inner, network, addr)
			if err != nil {
				return nil, err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.conn = patient{c, s.cfg.ReadLimit}
			return l.conn, nil
		},
	})
	stop := context.AfterFunc(ctx, l.hangUp)
	defer stop()
	streamer, err := syncer.StartSyncGTID(set)
	if err != nil {
		l.hangUp()
		return nil, l.failed(ctx, "open", err)
	}
	go func() { // ends with the library's reader
		_, l.err = streamer.GetEvent(context.Background())
		close(l.done)
	}()
	first, err := l.next(ctx, l.done)
	if err != nil {
		_ = l.Close()
		if l.err != nil && err == errClosed {
			err = l.err
		}
		return nil, l.failed(ctx, "open", err)
	}
	l.head = &first
	return l, nil
}

// failed gives an error its kind; that of a ctx that ended is the ctx's.
func (l *link) failed(ctx context.Context, verb string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return streamError(verb+" binlog of "+l.name, err)
}

// take returns the next event.
func (l *link) take(ctx context.Context) (event, error) {
	if e := l.head; e != nil {
		l.head = nil
		return *e, nil
	}
	e, err := l.next(ctx, l.done)
	if err == errClosed && l.err != nil {
		err = streamError("read binlog of "+l.name, l.err)
	}
	return e, err
}

// hangUp closes the socket.
func (l *link) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close() // nothing is written through it
	}
}

// Close closes the socket only, and waits for the reader: the library's own Close would open another connection and KILL a
// connection number on whatever server answers there by now.
func (l *link) Close() error {
	close(l.closed)
	l.hangUp()
	<-l.done
	if l.zstd != nil {
		l.zstd.Close()
	}
	return nil
}

// patient bounds each read. The library's ReadTimeout counts from the last packet, so a reader that had to wait for Kafka
// longer than that would find its connection dead.
type patient struct {
	net.Conn
	limit time.Duration
}

// Read is part of net.Conn.
func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.limit)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// noNextLog is in what a server says whose binlog was reset while it sent it. What its history is by then the next Open asks.
const noNextLog = "could not find next log"

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
	if strings.Contains(my.Message, noNextLog) {
		return fault.Wrap(fault.Unavailable, op, err)
	}
	switch my.Code {
	case mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG:
		return fault.New(fault.Unsafe, op, "%w", err).WithHint("the server can't send its binlog; its own words say why")
	case mysql.ER_ACCESS_DENIED_ERROR, mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR, mysql.ER_DBACCESS_DENIED_ERROR:
		return fault.New(fault.Denied, op, "%w", err).WithHint("the login needs REPLICATION SLAVE and, on MariaDB, BINLOG MONITOR")
	default:
		return fault.Wrap(fault.Unavailable, op, err)
	}
}

// stream is canal's Stream over one connection.
type stream struct {
	source *Source
	link   *link
	group  *group
	on     *db.DB // the server's pool
	slot   int
	quiet  int // signs of life in a row, with nothing between
	err    error
	closed bool
}

// signsOfLife is how many of them a server is asked for in ReadLimit.
const signsOfLife = 10

// Next is part of canal.Stream.
func (s *stream) Next(ctx context.Context) (*canal.Txn, error) {
	for {
		if x := s.group.ready(); x != nil {
			return x, nil
		}
		if s.err != nil {
			return nil, s.err
		}
		e, err := s.link.take(ctx)
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil, err
			}
			s.err = err
			return nil, err
		}
		if err = s.group.feed(e); err == nil {
			err = s.silence(ctx, e)
		}
		if err != nil {
			s.err = err
			return nil, err
		}
	}
}

// silence ends a stream that is alive and brings nothing, where its server is at another place by its own account: one whose
// binlog was reset goes on sending from a file that is gone. The next Open asks what became of the place.
func (s *stream) silence(ctx context.Context, e event) error {
	switch e.Header.EventType {
	case replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2:
		s.quiet++
	default:
		s.quiet = 0
	}
	if s.quiet < signsOfLife {
		return nil
	}
	s.quiet = 0
	if at, err := db.GTIDPos(ctx, s.on); err == nil && !s.same(at) { // one that can't be asked now says nothing of its binlog
		return fault.New(fault.Unavailable, "read binlog of "+s.link.name, "nothing comes after %q, and the server is at %q", s.group.where.String(), at)
	}
	return nil
}

// same reports whether a position has what the stream has delivered, and nothing else.
func (s *stream) same(at string) bool {
	here := s.group.where.String()
	has, err := s.source.Reached(at, here)
	if err != nil || !has {
		return false
	}
	all, err := s.source.Reached(here, at)
	return err == nil && all
}

// Spilled is how many bytes of the transaction in hand, and of those prepared by XA, are on disk. Any goroutine may ask.
func (s *stream) Spilled() int64 { return s.group.onDisk.Load() }

// Close is part of canal.Stream.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.err == nil {
		s.err = fault.Wrap(fault.Unavailable, "read binlog of "+s.link.name, errClosed)
	}
	err := s.link.Close()
	s.group.close()
	s.source.release(s.slot)
	return err
}

// endpoint is a server that may be read, as New has parsed it.
type endpoint struct {
	Endpoint
	login *driver.Config
	host  string
	port  uint16
}

func parseEndpoint(e Endpoint) (*endpoint, error) {
	login, err := driver.ParseDSN(e.DSN)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(login.Addr)
	n, errN := strconv.ParseUint(port, 10, 16)
	if err != nil || errN != nil || login.Net != "tcp" {
		return nil, errors.New("the DSN must name tcp(host:port)")
	}
	return &endpoint{Endpoint: e, login: login, host: host, port: uint16(n)}, nil
}
