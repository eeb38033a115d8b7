package db

import (
	"context"
	"strconv"
	"strings"
	"time"

	"strata/fault"
)

// GTIDPos is the position of everything that is in the server's binlog: gtid_binlog_pos on MariaDB, gtid_executed on
// MySQL. On MariaDB the binlog may be ahead of what a read sees, by commits of others that are being finished; one's own
// commits, and what they saw, are in it and visible.
func GTIDPos(ctx context.Context, d *DB) (string, error) {
	query := "SELECT @@GLOBAL.gtid_executed"
	if d.Flavor() == MariaDB {
		query = "SELECT @@GLOBAL.gtid_binlog_pos"
	}
	var pos string
	err := d.pool.QueryRowContext(ctx, query).Scan(&pos)
	return strings.ReplaceAll(pos, "\n", ""), classify(ctx, "read gtid position of "+d.cfg.Name, err)
}

// HasGTID reports whether the server has applied pos, waiting for it up to timeout (0: not at all). Rows of pos are then
// visible to every later read of a replica.
func HasGTID(ctx context.Context, d *DB, pos string, timeout time.Duration) (bool, error) {
	op := "wait for gtid on " + d.cfg.Name
	if pos == "" {
		return true, nil
	}
	seconds := strconv.FormatFloat(max(0, timeout.Seconds()), 'f', 3, 64)
	if d.Flavor() == MySQL {
		query, args := "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, "+seconds+")", []any{pos}
		if timeout <= 0 { // a timeout of 0 would wait for ever
			query, args = "SELECT 1-GTID_SUBSET(?, @@GLOBAL.gtid_executed)", []any{pos}
		}
		var missing int
		err := d.pool.QueryRowContext(ctx, query, args...).Scan(&missing)
		return err == nil && missing == 0, classify(ctx, op, err)
	}
	var have string
	if err := d.pool.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_current_pos").Scan(&have); err != nil {
		return false, classify(ctx, op, err)
	}
	// MASTER_GTID_WAIT knows only what came by replication; a primary's own commits are in gtid_current_pos.
	ok, err := coversMariaGTID(have, pos)
	if err != nil || ok || timeout <= 0 {
		return ok, err
	}
	var got int
	if err := d.pool.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, "+seconds+")", pos).Scan(&got); err != nil {
		return false, classify(ctx, op, err)
	}
	return got == 0, nil
}

// coversMariaGTID reports whether position have is at or after want in every domain of want.
func coversMariaGTID(have, want string) (bool, error) {
	h, err := mariaDomains(have)
	if err != nil {
		return false, err
	}
	w, err := mariaDomains(want)
	if err != nil {
		return false, err
	}
	for domain, seq := range w {
		if got, ok := h[domain]; !ok || got < seq {
			return false, nil
		}
	}
	return true, nil
}

// mariaDomains reads "0-1-100,1-2-7" as domain to the highest sequence number.
func mariaDomains(pos string) (map[uint64]uint64, error) {
	out := map[uint64]uint64{}
	for g := range strings.SplitSeq(pos, ",") {
		if g = strings.TrimSpace(g); g == "" {
			continue
		}
		parts := strings.Split(g, "-")
		if len(parts) != 3 {
			return nil, fault.New(fault.Invalid, "parse gtid", "%q is not domain-server-sequence", g)
		}
		domain, errD := strconv.ParseUint(parts[0], 10, 32)
		seq, errS := strconv.ParseUint(parts[2], 10, 64)
		if errD != nil || errS != nil {
			return nil, fault.New(fault.Invalid, "parse gtid", "%q is not domain-server-sequence", g)
		}
		out[domain] = max(out[domain], seq)
	}
	return out, nil
}
