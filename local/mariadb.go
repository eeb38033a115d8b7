package local

import "context"

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
	Database

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
	base, err := h.newDatabase("mariadb", cfg.Name)
	if err != nil {
		return nil, err
	}
	m := &Maria{Database: base, cfg: cfg, binary: binary}
	m.Server.argv, m.Server.ready = m.argv, m.ready
	if err := m.bringUp(ctx, func(part string) error { return m.bootstrap(ctx, part) }); err != nil {
		return nil, err
	}
	return m, nil
}

// ready waits until the server answers root on its socket, then gives it what MariaConfig asks for.
func (m *Maria) ready(ctx context.Context, p *process) error {
	if m.cfg.ReplicaOf == nil {
		return m.serves(ctx, p, m.setUp, nil)
	}
	return m.serves(ctx, p, m.setUp, m.follow)
}
