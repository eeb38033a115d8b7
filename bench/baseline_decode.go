package main

import (
	"context"
	"log/slog"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"strata/fault"
)

// readRaw is BinlogSyncer alone: it decodes the same binlog and counts the rows.
func (c *captureRun) readRaw(ctx context.Context, from string, rows int) (reading, error) {
	live := c.v.stack.Addresses.Live
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 4999, Flavor: mysql.MariaDBFlavor, Host: live.Host, Port: uint16(live.Port), User: live.User, Password: live.Password,
		VerifyChecksum: true, Logger: slog.New(slog.DiscardHandler),
	})
	defer syncer.Close()
	set, err := mysql.ParseMariadbGTIDSet(from)
	if err != nil {
		return reading{}, fault.Wrap(fault.Internal, "parse position", err)
	}
	events, err := syncer.StartSyncGTID(set)
	if err != nil {
		return reading{}, fault.Wrap(fault.Unavailable, "read binlog", err)
	}
	var w stopwatch
	seen, at := 0, 0
	for seen < rows {
		e, err := events.GetEvent(ctx)
		if err != nil {
			return reading{}, fault.Wrap(fault.Unavailable, "read binlog", err)
		}
		if r, ok := e.Event.(*replication.RowsEvent); ok && string(r.Table.Table) == captureTable {
			if seen == 0 {
				w, at = startWatch(), len(r.Rows)
			}
			seen += len(r.Rows)
		}
	}
	wall, cpu := w.seconds()
	return reading{rows: seen - at, wall: wall, cpu: cpu}, nil
}
