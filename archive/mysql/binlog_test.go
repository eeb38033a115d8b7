package mysql

import (
	"fmt"
	"strings"
	"testing"
)

// place is a position in the live server's binlog.
type place struct {
	file string
	pos  int64
}

func binlogEnd(t testing.TB, w *world) place {
	t.Helper()
	var p place
	var a, b string
	if err := w.live.SQL().QueryRowContext(t.Context(), "SHOW MASTER STATUS").Scan(&p.file, &p.pos, &a, &b); err != nil {
		t.Fatal(err)
	}
	return p
}

// events counts, since a position, the delete events on shards of a schema and the insert events of marker rows.
func events(t testing.TB, w *world, from place, schema string) (deletes, markers int) {
	t.Helper()
	rows, err := w.live.SQL().QueryContext(t.Context(), fmt.Sprintf("SHOW BINLOG EVENTS IN '%s' FROM %d", from.file, from.pos))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	table := map[string]string{}
	for rows.Next() {
		var file, kind, info string
		var pos, server, end int64
		if err := rows.Scan(&file, &pos, &kind, &server, &end, &info); err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(info)
		switch {
		case kind == "Table_map":
			table[fields[1]] = info
		case strings.HasPrefix(kind, "Delete_rows") && strings.Contains(table[fields[1]], schema+".e_"):
			deletes++
		case strings.HasPrefix(kind, "Write_rows") && strings.Contains(table[fields[1]], schema+".strata_prune"):
			markers++
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return deletes, markers
}
