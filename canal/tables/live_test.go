package tables_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/tables"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// pair is a rig whose live server has a replica, which is the captured server.
type pair struct {
	*rig
	replica *db.DB
	away    atomic.Bool // live
}

func newPair(t *testing.T) *pair {
	t.Helper()
	h := localtest.Home(t)
	live := localtest.Start(t, h, local.MariaConfig{Name: "live", ServerID: 1, Domain: 1})
	return pairOf(t, live, localtest.Start(t, h, local.MariaConfig{Name: "offline", ServerID: 2, Domain: 1, ReplicaOf: live}))
}

func newMySQLPair(t *testing.T) *pair {
	t.Helper()
	h := localtest.Home(t)
	live := localtest.StartMySQL(t, h, local.MySQLConfig{Name: "live", ServerID: 1})
	return pairOf(t, live, localtest.StartMySQL(t, h, local.MySQLConfig{Name: "offline", ServerID: 2, ReplicaOf: live}))
}

func pairOf(t *testing.T, live, offline localtest.Database) *pair {
	t.Helper()
	p := &pair{}
	p.rig = newRig(t, live, acct(), func(cfg *tables.Config) {
		writer := cfg.Locks()
		open := func(purpose db.Purpose) *db.DB {
			var pool *db.DB
			localtest.Eventually(t, 30*time.Second, "the replica has the schema", func() (bool, error) {
				var err error
				pool, err = db.Open(t.Context(), db.Config{DSN: offline.DSN(writer.Schema()), Name: "offline", Store: catalog.Live, Purpose: purpose})
				if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
					return false, nil
				}
				return err == nil, err
			})
			t.Cleanup(func() { _ = pool.Close() })
			return pool
		}
		reader := open(db.Reader)
		p.replica = open(db.Writer)
		cfg.Captured, cfg.Locks = func() *db.DB { return reader }, func() *db.DB { return p.replica }
		cfg.Live = func() *db.DB {
			if p.away.Load() {
				return nil
			}
			return writer
		}
	})
	return p
}

// catchUp waits until the replica has what live has.
func (p *pair) catchUp(t *testing.T) {
	t.Helper()
	pos, err := db.GTIDPos(t.Context(), p.writer)
	must(t, err)
	ok, err := db.HasGTID(t.Context(), p.replica, pos, 30*time.Second)
	must(t, err)
	if !ok {
		t.Fatal("the replica is behind")
	}
}

// versions are what three rows are read as: 3 and 4, which live has otherwise than its replica, and 77, which only live has.
func (p *pair) versions(t *testing.T, owner bool) (out [3]string, l canal.Locked) {
	t.Helper()
	l, err := p.tables.Locked(t.Context(), p.d, "acct", []catalog.Key{"3", "4", "77"}, owner)
	must(t, err)
	for i, f := range l.Found {
		if f.Held {
			t.Fatalf("somebody holds %+v", f)
		}
		if f.Row != nil {
			out[i] = f.Row.Text(1)
		}
	}
	return out, l
}

// follow makes the replica apply what live sends it, or no more.
func (p *pair) follow(t *testing.T, apply bool) {
	t.Helper()
	word := "STOP"
	if apply {
		word = "START"
	}
	thread := " SLAVE SQL_THREAD"
	if p.writer.Flavor() == db.MySQL {
		thread = " REPLICA SQL_THREAD"
	}
	p.exec(t, p.replica, word+thread)
}

func TestLocked_reads_live_itself_where_its_replica_is_captured(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *pair{"MariaDB": newPair, "MySQL": newMySQLPair} {
		t.Run(name, func(t *testing.T) { readsLive(t, start(t)) })
	}
}

func readsLive(t *testing.T, p *pair) {
	p.fill(t, p.writer, 10)
	quiet := localtest.DB(t, p.dsn)
	quiet.SetMaxOpenConns(1)
	for _, q := range []string{"SET sql_log_bin=0", "UPDATE acct SET ver=9 WHERE id=3", "DELETE FROM acct WHERE id=4", "INSERT INTO acct VALUES (77, 7)"} {
		localtest.Exec(t, quiet, q)
	}
	p.catchUp(t)
	onLive, onReplica := [3]string{"9", "", "7"}, [3]string{"1", "1", ""}
	want := func(owner bool, want [3]string) canal.Locked {
		t.Helper()
		got, l := p.versions(t, owner)
		if got != want {
			t.Errorf("%q instead of %q", got, want)
		}
		return l
	}
	want(false, onReplica)
	l := want(true, onLive)
	if pos, err := db.GTIDPos(t.Context(), p.replica); err != nil || l.After != pos {
		t.Errorf("after %s, the replica is at %s, %v", l.After, pos, err)
	}
	t.Run("after a place that was never in the replica's binlog", func(t *testing.T) {
		if p.writer.Flavor() == db.MySQL {
			t.Skip("only MariaDB: a MySQL replica that is made of a copy has all of live's set")
		}
		p.exec(t, p.replica, "STOP SLAVE")
		p.exec(t, p.writer, "SET STATEMENT gtid_domain_id=7 FOR UPDATE acct SET ver=2 WHERE id=5")
		pos, err := db.GTIDPos(t.Context(), p.writer)
		must(t, err)
		p.exec(t, p.replica, "SET GLOBAL gtid_slave_pos='"+pos+"'", "START SLAVE") // as one that was made of a copy
		l := want(true, onLive)
		if pos, err = db.GTIDPos(t.Context(), p.replica); err != nil || l.After != pos || strings.Contains(pos, "7-") {
			t.Errorf("after %s, the replica is at %s, %v", l.After, pos, err)
		}
	})
	t.Run("not where live is away", func(t *testing.T) {
		p.away.Store(true)
		want(true, onReplica)
		p.away.Store(false)
		want(true, onReplica) // it isn't asked again at once
		p.clock.Add(int64(time.Hour))
		want(true, onLive)
	})
	t.Run("not where the replica is too far behind", func(t *testing.T) {
		p.follow(t, false)
		p.exec(t, p.writer, "UPDATE acct SET ver=3 WHERE id=6")
		want(true, onReplica)
		p.follow(t, true)
		p.catchUp(t)
		p.clock.Add(int64(time.Hour))
		want(true, onLive)
	})
}
