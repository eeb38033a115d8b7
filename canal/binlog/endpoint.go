package binlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"strata/canal"
	"strata/db"
	"strata/fault"
)

// errPurged is inside the error of a server that had the place and let go of it; another one may still have it.
var errPurged = canal.ErrPurged

// verdict makes one error of what all endpoints said. A place is lost where a server says so and none that follows a
// primary may yet come to have it, or, where it was only purged, none that is away may still have it.
func verdict(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	var away, lost, gone error
	var hints []string
	for _, err := range errs {
		switch {
		case errors.Is(err, errPurged):
			gone = err
		case errors.Is(err, canal.ErrLost):
			lost = err
		case errors.Is(err, errBehind):
			return several(fault.Unavailable, errs, "wait until one of the servers has the place, or take those that never will out of the endpoints")
		case fault.Is(err, fault.Unavailable), fault.Is(err, fault.Timeout), fault.Is(err, fault.Busy):
			away = err
		}
		if h := fault.HintOf(err); h != "" {
			hints = append(hints, h)
		}
	}
	hint := strings.Join(hints, "; ")
	switch {
	case lost != nil:
		return fault.New(fault.Unsafe, "open binlog", "%w (of %d endpoints: %v)", lost, len(errs), errors.Join(errs...)).WithHint("%s", hint)
	case gone != nil && away == nil:
		return fault.New(fault.Unsafe, "open binlog", "%w (of %d endpoints: %v)", gone, len(errs), errors.Join(errs...)).WithHint("%s", hint)
	case away != nil:
		return several(fault.Unavailable, errs, hint)
	}
	return several(fault.KindOf(errs[0]), errs, hint)
}

// several has the words of all errors, but not their being: none of them decides.
func several(kind fault.Kind, errs []error, hint string) error {
	return fault.New(kind, "open binlog", "none of %d endpoints can be read: %v", len(errs), errors.Join(errs...)).WithHint("%s", hint)
}

// pool is the endpoint's connections, opened at first use, and checked to be of the flavor and of the server known.
func (s *Source) pool(ctx context.Context, i int) (*db.DB, error) {
	s.mu.Lock()
	d := s.pools[i]
	s.mu.Unlock()
	if d == nil {
		fresh, err := s.cfg.Dial(ctx, s.cfg.Endpoints[i])
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		if d = s.pools[i]; d == nil {
			s.pools[i], d = fresh, fresh
			fresh = nil
		}
		s.mu.Unlock()
		if fresh != nil { // another stream was quicker
			if err := fresh.Close(); err != nil {
				return nil, err
			}
		}
	}
	if d.Flavor() != s.cfg.Flavor {
		return nil, fault.New(fault.Invalid, "open "+d.Name(), "it is %s, where %s is captured", d.Flavor(), s.cfg.Flavor).
			WithHint("all endpoints must be servers of one replication tree")
	}
	id, err := d.Identity(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	was := s.known[i]
	s.known[i] = id
	s.mu.Unlock()
	if was != (db.Identity{}) && was != id {
		s.note("another server answers as %s: %+v, where it was %+v", d.Name(), id, was)
	}
	return d, nil
}

func (s *Source) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.cfg.Log.Warn("source has changed", "what", text)
	s.cfg.Note(text)
}

// errBehind is inside the error of a replica that will probably come to the place.
var errBehind = errors.New("it has not come so far yet")

// place checks that the server's history has all of at, and returns what to ask it for: from, without the domains that it
// doesn't know. Errors: canal.ErrLost inside Unsafe, or errBehind inside Unavailable.
func (s *Source) place(ctx context.Context, d *db.DB, at canal.Position, from string) (mysql.GTIDSet, error) {
	if s.flavor == mysql.MariaDBFlavor {
		return s.placeMaria(ctx, d, at, from)
	}
	set, err := mysql.ParseGTIDSet(s.flavor, from)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "parse position "+from, err)
	}
	var missing, purgedSet string
	err = d.SQL().QueryRowContext(ctx, "SELECT GTID_SUBTRACT(?, @@GLOBAL.gtid_executed), GTID_SUBTRACT(@@GLOBAL.gtid_purged, ?)", at.GTID, from).
		Scan(&missing, &purgedSet)
	if err != nil {
		return nil, db.Classify("read gtid sets of "+d.Name(), err)
	}
	if missing != "" {
		return nil, s.lacks(ctx, d, flat(missing), "")
	}
	if purgedSet != "" {
		return nil, fault.New(fault.Unsafe, "open binlog of "+d.Name(), "it no longer has %s: %w", flat(purgedSet), errPurged).WithHint(purgedHint)
	}
	return set, nil
}

const purgedHint = "the server purged binlog that was not read yet: raise binlog_expire_logs_seconds; the datasets must be loaded anew"

func flat(set string) string { return strings.ReplaceAll(set, "\n", "") }

// placeMaria compares by domain. gtid_binlog_state has the last number of every server in every domain; numbers rise within
// a domain (strict mode).
func (s *Source) placeMaria(ctx context.Context, d *db.DB, at canal.Position, from string) (mysql.GTIDSet, error) {
	var stateText, slaveText string
	if err := d.SQL().QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_slave_pos").Scan(&stateText, &slaveText); err != nil {
		return nil, db.Classify("read gtid state of "+d.Name(), err)
	}
	state, err := parseMaria(stateText)
	if err != nil {
		return nil, err
	}
	slave, err := parseMaria(slaveText)
	if err != nil {
		return nil, err
	}
	want, err := parseMaria(at.GTID)
	if err != nil {
		return nil, err
	}
	ask, err := parseMaria(from)
	if err != nil {
		return nil, err
	}
	for _, g := range want {
		top, own := lastOf(state, g.DomainID, nil), lastOf(state, g.DomainID, &g.ServerID)
		if top == nil {
			if applied := lastOf(slave, g.DomainID, nil); usesDomain(at, g.DomainID) && (applied == nil || applied.SequenceNumber < g.SequenceNumber) {
				return nil, s.lacks(ctx, d, g.String(), "nothing of that domain")
			}
			if lastOf(ask, g.DomainID, nil) != nil {
				s.cfg.Log.Info("leaving out a domain that the server's binlog doesn't know", "source", d.Name(), "gtid", g.String())
			}
			ask = without(ask, g.DomainID)
			continue
		}
		if top.SequenceNumber < g.SequenceNumber {
			return nil, s.lacks(ctx, d, g.String(), top.String())
		}
		if own == nil || own.SequenceNumber < g.SequenceNumber {
			return nil, fault.New(fault.Unsafe, "open binlog of "+d.Name(), "%s was read, but this server has %s without it: %w", &g, top, canal.ErrLost).
				WithHint("the server has another history: it was restored, or writes were lost at a failover")
		}
	}
	set := &mysql.MariadbGTIDSet{Sets: map[uint32]*mysql.MariadbGTID{}}
	for _, g := range ask {
		set.Sets[g.DomainID] = &g
	}
	return set, nil
}

// lacks is the error of a server that doesn't have a place: a replica that works may come to it.
func (s *Source) lacks(ctx context.Context, d *db.DB, want, have string) error {
	op := "open binlog of " + d.Name()
	if have != "" {
		want += ", and has " + have
	}
	follows, err := following(ctx, d)
	if err != nil {
		return err
	}
	if follows {
		return fault.New(fault.Unavailable, op, "it lacks %s: %w", want, errBehind).WithHint("the replica is behind what was read elsewhere; it is tried again")
	}
	return fault.New(fault.Unsafe, op, "it lacks %s: %w", want, canal.ErrLost).
		WithHint("it follows no primary, so it will never have it: it was restored, or writes were lost at a failover")
}

// following reports whether the server applies what a primary sends it.
func following(ctx context.Context, d *db.DB) (bool, error) {
	op := "read replication status of " + d.Name()
	query, column := "SHOW REPLICA STATUS", "replica_sql_running"
	if d.Flavor() == db.MariaDB {
		query, column = "SHOW ALL SLAVES STATUS", "slave_sql_running"
	}
	rows, err := d.SQL().QueryContext(ctx, query)
	if err != nil {
		if err = db.Classify(op, err); fault.Is(err, fault.Denied) {
			return false, fault.New(fault.Denied, op, "to know whether it will catch up: %w", err).
				WithHint("GRANT SLAVE MONITOR ON *.* (MariaDB) or REPLICATION CLIENT ON *.* (MySQL) to the login of the endpoint")
		}
		return false, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return false, db.Classify(op, err)
	}
	cells, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	runs := false
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return false, fault.Wrap(fault.Internal, op, err)
		}
		for i, c := range columns {
			runs = runs || strings.EqualFold(c, column) && cells[i].String == "Yes"
		}
	}
	return runs, db.Classify(op, rows.Err())
}

// purged tells what the server's own refusal means: its history has the place, as was asked before, so it is its binlog that
// hasn't.
func purged(err error, name, from string) error {
	var my *mysql.MyError
	if !errors.As(err, &my) || my.Code != mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG {
		return err
	}
	return fault.New(fault.Unsafe, "open binlog of "+name, "it no longer has what follows %q (%w): %w", from, err, errPurged).WithHint(purgedHint)
}
