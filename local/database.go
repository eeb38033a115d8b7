package local

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"strata/fault"
)

// Database is a Server that speaks MySQL's protocol. The exported fields stay the same over Restart.
type Database struct {
	*Server
	User     string // strata: ALL PRIVILEGES WITH GRANT OPTION; a read-only MariaDB's has no READ_ONLY ADMIN
	Password string
	Socket   string // path; root logs in here without a password
}

func (h *Home) newDatabase(kind, name string) (Database, error) {
	s, err := h.newServer(kind, name)
	return Database{Server: s, User: loginUser, Password: h.secret}, err
}

// bringUp makes the data once, by fill, and starts the server.
func (d *Database) bringUp(ctx context.Context, fill func(part string) error) (err error) {
	d.op.Lock()
	defer d.op.Unlock()
	if err := d.build(fill); err != nil {
		return err
	}
	if d.Socket, err = d.chooseSocket(); err != nil {
		return err
	}
	return d.begin(ctx)
}

// serves waits until the server answers root on its socket, and gives it what its configuration asks for; follow nil: it is
// no replica.
func (d *Database) serves(ctx context.Context, p *process, setUp func(context.Context, *sql.Conn) error, follow func(context.Context, *sql.Conn, *process) error) error {
	conn, done, err := rootConn(ctx, p, d.Socket)
	if err != nil {
		return err
	}
	defer done()
	if err := setUp(ctx, conn); err != nil || follow == nil {
		return err
	}
	return follow(ctx, conn, p)
}

// DSN is the address for go-sql-driver/mysql, without parameters: user:password@tcp(host:port)/schema.
func (d *Database) DSN(schema string) string {
	return fmt.Sprintf("%s:%s@tcp(%s)/%s", d.User, d.Password, d.Addr(), schema)
}

// RootDSN is the same for root on the socket, who may write to a read-only server.
func (d *Database) RootDSN(schema string) string {
	return fmt.Sprintf("root@unix(%s)/%s", d.Socket, schema)
}

// rootConn waits until p answers root on its socket. The caller calls done after its last use.
func rootConn(ctx context.Context, p *process, socket string) (conn *sql.Conn, done func(), err error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Logger = "root", "unix", socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, "configure root connection", err)
	}
	pool := sql.OpenDB(connector)
	err = poll(ctx, startLimit, func(ctx context.Context) (bool, error) {
		if !p.running() {
			return false, errExited
		}
		c, err := pool.Conn(ctx)
		conn = c
		return err == nil, nil // it isn't listening yet
	})
	if err != nil {
		_ = pool.Close() // never used
		return nil, nil, err
	}
	return conn, func() { _, _ = conn.Close(), pool.Close() }, nil
}
