package tables_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"
)

// journal is what the binlog says, read by the library alone: at which commit, counted by the GTID's sequence number, a row
// got a version, and each heartbeat was.
type journal struct {
	versions map[int64][]step
	beats    map[uint64]uint64
}

type step struct {
	at      uint64
	version int64
}

// at is the version of a row after the commit; 0: none yet.
func (j *journal) at(id int64, commit uint64) int64 {
	s := j.versions[id]
	i := sort.Search(len(s), func(i int) bool { return s[i].at > commit })
	if i == 0 {
		return 0
	}
	return s[i-1].version
}

// seqOf is the sequence number of a GTID set of one domain.
func seqOf(t *testing.T, gtid string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(gtid[strings.LastIndexByte(gtid, '-')+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var xaOutcome = regexp.MustCompile(`^XA (COMMIT|ROLLBACK) X'([0-9a-f]*)'`)

// read reads the binlog of the schema between two GTIDs of one domain.
func read(t *testing.T, dsn, from, to string) *journal {
	t.Helper()
	login, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(login.Addr, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{ServerID: 77, Flavor: "mariadb", Host: host, Port: uint16(number),
		User: login.User, Password: login.Passwd, VerifyChecksum: true, DisableRetrySync: true, Logger: slog.New(slog.DiscardHandler)})
	defer syncer.Close()
	set, err := mysql.ParseMariadbGTIDSet(from)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := syncer.StartSyncGTID(set)
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{versions: map[int64][]step{}, beats: map[uint64]uint64{}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var seq uint64
	held := map[string][][2]int64{}
	var group [][2]int64 // id and version; id -1: a heartbeat
	commit := func(rows [][2]int64) {
		for _, r := range rows {
			if r[0] < 0 {
				j.beats[uint64(r[1])] = seq
			} else {
				j.versions[r[0]] = append(j.versions[r[0]], step{seq, r[1]})
			}
		}
	}
	last := seqOf(t, to)
	for done := false; !done || seq < last; {
		e, err := stream.GetEvent(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch v := e.Event.(type) {
		case *replication.MariadbGTIDEvent:
			seq, group, done = v.GTID.SequenceNumber, nil, false
		case *replication.RowsEvent:
			if string(v.Table.Schema) != login.DBName {
				continue
			}
			step := 1
			if e.Header.EventType == replication.UPDATE_ROWS_EVENTv1 || e.Header.EventType == replication.UPDATE_ROWS_EVENTv2 {
				step = 2
			}
			for i := step - 1; i < len(v.Rows); i += step {
				switch string(v.Table.Table) {
				case "acct":
					group = append(group, [2]int64{v.Rows[i][0].(int64), v.Rows[i][1].(int64)})
				case "strata_heartbeat":
					group = append(group, [2]int64{-1, toInt(v.Rows[i][1])})
				}
			}
		case *replication.XIDEvent:
			commit(group)
			group, done = nil, true
		case *replication.QueryEvent:
			query := string(v.Query)
			if m := xaOutcome.FindStringSubmatch(query); m != nil {
				if m[1] == "COMMIT" {
					commit(held[m[2]])
				}
				delete(held, m[2])
			} else if query == "COMMIT" {
				commit(group)
			}
			done = done || !strings.HasPrefix(query, "XA START") && query != "BEGIN"
		case *replication.GenericEvent:
			if e.Header.EventType == replication.XA_PREPARE_LOG_EVENT {
				n := binary.LittleEndian.Uint32(v.Data[5:])
				held[fmt.Sprintf("%x", v.Data[13:13+n])] = group
				group, done = nil, true
			}
		}
	}
	return j
}

func toInt(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case uint64:
		return int64(v)
	}
	return -1
}
