package db

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"strata/fault"
)

// Identity is which server this is: equal for two looks at one server, different after a failover or a restore
// elsewhere.
type Identity struct {
	ServerID uint64 // server_id
	UID      string // server_uuid on MySQL, server_uid on MariaDB where it has one
	Host     string // hostname
	Port     uint64
	Version  string
	DataDir  string
}

// Identity asks the server who it is.
func (d *DB) Identity(ctx context.Context) (Identity, error) {
	v, err := d.globals(ctx, "server_id", "server_uuid", "server_uid", "hostname", "port", "version", "datadir")
	if err != nil {
		return Identity{}, err
	}
	id, _ := strconv.ParseUint(v["server_id"], 10, 64)
	port, _ := strconv.ParseUint(v["port"], 10, 64)
	return Identity{ServerID: id, UID: v["server_uuid"] + v["server_uid"], Host: v["hostname"], Port: port, Version: v["version"], DataDir: v["datadir"]}, nil
}

// globals reads global variables by name; those that the server doesn't know are missing.
func (d *DB) globals(ctx context.Context, names ...string) (map[string]string, error) {
	op := "read settings of " + d.cfg.Name
	args := make([]any, len(names))
	for i, n := range names {
		args[i] = n
	}
	query := "SHOW GLOBAL VARIABLES WHERE Variable_name IN (?" + strings.Repeat(",?", len(names)-1) + ")"
	rows, err := d.pool.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, classify(ctx, op, err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out[strings.ToLower(name)] = value
	}
	return out, classify(ctx, op, rows.Err())
}

// Setting is a server setting that is not what strata needs.
type Setting struct {
	Name, Want, Have string
	Fix              string // lines that make it right: SET GLOBAL where that is possible, and the line for my.cnf
}

// need is one setting that a check asks for. A static one takes effect at the next start only.
type need struct {
	name, want string
	static     bool
}

// CheckCapture reports the settings without which changes can't be captured safely, all at once, as one fault.Unsafe
// whose hint has the exact statements and my.cnf lines.
func (d *DB) CheckCapture(ctx context.Context) error {
	needs := []need{{"log_bin", "ON", true}, {"binlog_format", "ROW", false}, {"binlog_row_image", "FULL", false}, {"binlog_row_metadata", "FULL", false}}
	logUpdates := "log_slave_updates"
	if d.Flavor() == MariaDB {
		needs = append(needs, need{"gtid_strict_mode", "ON", false})
	} else {
		needs = append(needs, need{"enforce_gtid_consistency", "ON", false}, need{"gtid_mode", "ON", true}, need{"binlog_order_commits", "ON", false})
		if v, err := d.globals(ctx, "log_replica_updates"); err != nil {
			return err
		} else if len(v) > 0 {
			logUpdates = "log_replica_updates"
		}
	}
	replica, err := d.replica(ctx)
	if err != nil {
		return err
	}
	if replica {
		needs = append(needs, need{logUpdates, "ON", true})
		if d.Flavor() == MariaDB {
			for _, filter := range []string{"replicate_do_db", "replicate_do_table", "replicate_ignore_db", "replicate_ignore_table",
				"replicate_wild_do_table", "replicate_wild_ignore_table"} {
				needs = append(needs, need{filter, "", false})
			}
		}
	}
	return errors.Join(d.check(ctx, "capture", needs), d.checkBinlogFilters(ctx))
}

// checkBinlogFilters refuses a binlog that leaves databases out: strata's own tables may be among them, and nothing in
// the stream would tell. A login that may not ask passes.
func (d *DB) checkBinlogFilters(ctx context.Context) error {
	op := "check binlog filters of " + d.cfg.Name
	rows, err := d.pool.QueryContext(ctx, "SHOW MASTER STATUS")
	if Number(err) == 1064 {
		rows, err = d.pool.QueryContext(ctx, "SHOW BINARY LOG STATUS")
	}
	if err != nil {
		if err = classify(ctx, op, err); fault.Is(err, fault.Denied) {
			return nil
		}
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return classify(ctx, op, err)
	}
	cells, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		for i, name := range columns {
			if filter := strings.ToLower(name); (filter == "binlog_do_db" || filter == "binlog_ignore_db") && cells[i].String != "" {
				return fault.New(fault.Unsafe, op, "%s is %s, so changes are missing in the binlog", filter, cells[i].String).
					WithHint("in my.cnf, [mysqld], then restart: remove %s", filter)
			}
		}
	}
	return classify(ctx, op, rows.Err())
}

// CheckDurable reports the settings with which the server could forget what it has acknowledged, like CheckCapture.
func (d *DB) CheckDurable(ctx context.Context) error {
	return d.check(ctx, "durable", []need{{"sync_binlog", "1", false}, {"innodb_flush_log_at_trx_commit", "1", false}, {"innodb_doublewrite", "ON", true}})
}

// replica reports whether the server replicates from another; true where the login may not know.
func (d *DB) replica(ctx context.Context) (bool, error) {
	query := "SHOW REPLICA STATUS"
	if d.Flavor() == MariaDB {
		query = "SHOW ALL SLAVES STATUS"
	}
	rows, err := d.pool.QueryContext(ctx, query)
	if Number(err) == 1064 {
		rows, err = d.pool.QueryContext(ctx, "SHOW SLAVE STATUS")
	}
	if err != nil {
		if err = classify(ctx, "read replication status of "+d.cfg.Name, err); fault.Is(err, fault.Denied) {
			return true, nil
		}
		return false, err
	}
	defer func() { _ = rows.Close() }()
	is := rows.Next()
	return is, classify(ctx, "read replication status of "+d.cfg.Name, rows.Err())
}

// check compares settings and makes the one error of all that are wrong.
func (d *DB) check(ctx context.Context, what string, needs []need) error {
	names := make([]string, len(needs))
	for i, n := range needs {
		names[i] = n.name
	}
	have, err := d.globals(ctx, names...)
	if err != nil {
		return err
	}
	var wrong []Setting
	for _, n := range needs {
		if v, ok := have[n.name]; !ok {
			wrong = append(wrong, Setting{n.name, n.want, "unknown to this server", n.fix()})
		} else if !sameSwitch(v, n.want) {
			wrong = append(wrong, Setting{n.name, n.want, v, n.fix()})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	said, fixes := make([]string, len(wrong)), make([]string, len(wrong))
	for i, s := range wrong {
		want := s.Want
		if want == "" {
			want = "empty"
		}
		said[i] = s.Name + " is " + s.Have + " instead of " + want
		fixes[i] = s.Fix
	}
	return fault.New(fault.Unsafe, "check "+what+" settings of "+d.cfg.Name, "%w", &SettingsError{wrong, strings.Join(said, ", ")}).
		WithHint("%s", strings.Join(fixes, "\n"))
}

// SettingsError is the cause of a failed check, with each wrong setting.
type SettingsError struct {
	Settings []Setting
	said     string
}

// Error lists the settings with what they are and should be.
func (e *SettingsError) Error() string { return e.said }

// fix is what makes the setting right.
func (n need) fix() string {
	value := n.want
	if value != "1" && value != "ON" {
		value = "'" + value + "'"
	}
	if n.want == "" {
		return "STOP SLAVE; SET GLOBAL " + n.name + " = ''; START SLAVE;\nin my.cnf, [mysqld]: remove " + n.name
	}
	conf := n.name + "=" + n.want
	if n.name == "log_bin" {
		conf = "log_bin=binlog"
	}
	if n.static {
		return "in my.cnf, [mysqld], then restart: " + conf
	}
	return "SET GLOBAL " + n.name + " = " + value + ";\nin my.cnf, [mysqld]: " + conf
}

// sameSwitch compares a setting's value with what is wanted; MySQL says ON, MariaDB sometimes 1.
func sameSwitch(have, want string) bool {
	norm := func(s string) string {
		switch s = strings.ToUpper(s); s {
		case "1", "TRUE", "YES", "DETECT_AND_RECOVER":
			return "ON"
		}
		return s
	}
	return norm(have) == norm(want)
}
