package mysql

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
)

// makeTables makes what every ledger has, and the day of an empty one.
func (l *Ledger) makeTables(ctx context.Context) error {
	if err := db.EnsureTables(ctx, l.cfg.DB); err != nil {
		return err
	}
	tables := append([]string{core.AccountTable, core.TransferIDTable, core.DayTable,
		createShard(l.transfer.LateShard(1).Table, core.TransferTable), createShard(l.entry.LateShard(1).Table, core.EntryTable)}, core.SideTables()...)
	for _, ddl := range tables {
		if _, err := l.cfg.DB.SQL().ExecContext(ctx, ddl); err != nil {
			return db.Classify("make ledger tables", err)
		}
	}
	if err := l.checkTables(ctx); err != nil {
		return err
	}
	_, err := l.cfg.DB.SQL().ExecContext(ctx, "INSERT IGNORE INTO day (id, accounting_date) VALUES (1, ?)",
		core.Date(l.cfg.FirstDay).Format(time.DateOnly))
	return db.Classify("open first day", err)
}

// checkTables refuses the tables of an earlier version: they lack columns here and in the archive, and the sums of debits and
// credits would have to be made from all entries, wherever they are.
func (l *Ledger) checkTables(ctx context.Context) error {
	const op = "check ledger tables"
	var missing []string
	for table, column := range map[string]string{"account": "debits", "day": "settings", l.transfer.LateShard(1).Table: "business_date", l.entry.LateShard(1).Table: "funds"} {
		columns, _, err := db.Describe(ctx, l.cfg.DB, table)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(columns, func(c catalog.Column) bool { return c.Name == column }) {
			missing = append(missing, table+"."+column)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fault.New(fault.Unsafe, op, "the ledger in schema %s was made by an earlier version: no %s", l.cfg.DB.Schema(), strings.Join(missing, ", ")).
		WithHint("use an empty schema, and bring balances over by ledger import")
}

func createShard(table, columns string) string {
	return "CREATE TABLE IF NOT EXISTS " + db.Quote(table) + " " + columns
}

// EnsureShards is core.Days.
func (l *Ledger) EnsureShards(ctx context.Context, from, to time.Time) error {
	if err := core.CheckSpan(from, to); err != nil {
		return err
	}
	for _, d := range []*catalog.Dataset{l.transfer, l.entry} {
		have, err := db.Tables(ctx, l.cfg.DB, d.Table+"_")
		if err != nil {
			return err
		}
		for at := catalog.At(from); at < catalog.At(to); {
			s := d.ShardAt(at)
			at = s.Range.To
			if slices.Contains(have, s.Table) {
				continue
			}
			if err := l.makeShard(ctx, &missingShard{of: d, table: s.Table}); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeShard makes a shard that was seen missing, unless its range has left live: in this order, see doc.go.
func (l *Ledger) makeShard(ctx context.Context, m *missingShard) error {
	x, err := begin(ctx, l.cfg.DB)
	if err != nil {
		return err
	}
	released, err := isReleased(ctx, x, m.of, m.table)
	x.end()
	if err != nil || released {
		return err
	}
	if err := l.at("core.before_shard"); err != nil {
		return err
	}
	columns := core.TransferTable
	if m.of == l.entry {
		columns = core.EntryTable
	}
	if _, err := l.cfg.DB.SQL().ExecContext(ctx, createShard(m.table, columns)); err != nil {
		return db.Classify("make shard "+m.table, err)
	}
	l.cfg.Log.Info("shard made", "table", m.table)
	return l.at("core.after_shard")
}

// isReleased reports whether live's own row says, now and until x ends, that the shard has left.
func isReleased(ctx context.Context, x *tx, d *catalog.Dataset, table string) (bool, error) {
	const op = "read ownership"
	var state string
	err := x.conn.QueryRowContext(ctx, "SELECT state FROM strata_part WHERE dataset=? AND shard=? LOCK IN SHARE MODE", d.Name, table).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return catalog.State(state) == catalog.Released, db.Classify(op, err)
}
