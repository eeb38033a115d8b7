package local

import (
	"context"
	"fmt"
)

const (
	loginUser      = "strata"
	defaultPoolMiB = 64
)

// MariaConfig says which server StartMaria starts.
type MariaConfig struct {
	Name          string   // folder in the Home: letters a-z, digits, _ and -
	ServerID      uint32   // server_id; 0: 1
	Domain        uint32   // gtid_domain_id
	ReplicaOf     *Maria   // nil: no replication
	ReplicaVia    string   // host:port to reach ReplicaOf by, a Proxy for instance; "": its own address
	ReadOnly      bool     // read_only=1, and the login strata cannot write past it (root on the socket can)
	Schemas       []string // created where missing; on a replica outside the binlog
	Options       []string // more mariadbd flags, after ours, so they win
	BufferPoolMiB int      // innodb_buffer_pool_size; 0: 64
}

// Maria is one private MariaDB. The exported fields stay the same over Restart.
type Maria struct {
	*Server
	User     string // strata: ALL PRIVILEGES WITH GRANT OPTION (without READ_ONLY ADMIN when ReadOnly)
	Password string
	Socket   string // path; root logs in here without a password

	cfg    MariaConfig
	binary string
}

// StartMaria bootstraps the server's data once, starts it and waits until it answers, has its login and schemas and, as
// a replica, runs both replication threads. It replicates by GTID from the very beginning of ReplicaOf's binlog. Errors:
// Unavailable (mariadbd isn't installed or didn't come up), Busy (a server of that name runs), Invalid (the name).
// After an error nothing is left running.
func (h *Home) StartMaria(ctx context.Context, cfg MariaConfig) (*Maria, error) {
	binary, err := findMariadbd()
	if err != nil {
		return nil, err
	}
	server, err := h.newServer("mariadb", cfg.Name)
	if err != nil {
		return nil, err
	}
	m := &Maria{Server: server, User: loginUser, Password: h.secret, cfg: cfg, binary: binary}
	m.Server.argv, m.Server.ready = m.argv, m.ready
	m.op.Lock()
	defer m.op.Unlock()
	if err := m.build(func(part string) error { return m.bootstrap(ctx, part) }); err != nil {
		return nil, err
	}
	if m.Socket, err = m.chooseSocket(); err != nil {
		return nil, err
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// DSN is the address for go-sql-driver/mysql, without parameters: user:password@tcp(host:port)/schema.
func (m *Maria) DSN(schema string) string {
	return fmt.Sprintf("%s:%s@tcp(%s)/%s", m.User, m.Password, m.Addr(), schema)
}

// RootDSN is the same for root on the socket, who may write to a read-only server.
func (m *Maria) RootDSN(schema string) string {
	return fmt.Sprintf("root@unix(%s)/%s", m.Socket, schema)
}

// ready waits until the server answers root on its socket, then gives it what MariaConfig asks for.
func (m *Maria) ready(ctx context.Context, p *process) error {
	conn, done, err := rootConn(ctx, p, m.Socket)
	if err != nil {
		return err
	}
	defer done()
	if err := m.setUp(ctx, conn); err != nil {
		return err
	}
	if m.cfg.ReplicaOf == nil {
		return nil
	}
	return m.follow(ctx, conn, p)
}
