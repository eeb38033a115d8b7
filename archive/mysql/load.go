package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"strings"

	"github.com/go-sql-driver/mysql"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// batch is rows in LOAD DATA's form: fields end with a tab, lines with a newline, NULL is \N.
type batch struct {
	text []byte
	rows int64
}

// add appends a row.
func (b *batch) add(row *catalog.Row) {
	for i := range row.Len() {
		if i > 0 {
			b.text = append(b.text, '\t')
		}
		cell := row.Cell(i)
		if cell == nil {
			b.text = append(b.text, '\\', 'N')
			continue
		}
		b.text = appendField(b.text, cell)
	}
	b.text = append(b.text, '\n')
	b.rows++
}

func appendField(dst, cell []byte) []byte {
	from := 0
	for i, c := range cell {
		var escaped byte
		switch c {
		case 0:
			escaped = '0'
		case '\t':
			escaped = 't'
		case '\n':
			escaped = 'n'
		case '\\':
			escaped = '\\'
		default:
			continue
		}
		dst = append(dst, cell[from:i]...)
		dst = append(dst, '\\', escaped)
		from = i + 1
	}
	return append(dst, cell[from:]...)
}

func (b *batch) reset() { b.text, b.rows = b.text[:0], 0 }

// load sends a batch inside tx. Rows whose key is there already are left as they are; compare tells.
func (w *Work) load(ctx context.Context, tx *sql.Tx, b *batch) error {
	if b.rows == 0 {
		return nil
	}
	w.loads++
	name := fmt.Sprintf("strata-%s-%d", w.token, w.loads)
	mysql.RegisterReaderHandler(name, func() io.Reader { return bytes.NewReader(b.text) })
	defer mysql.DeregisterReaderHandler(name)
	_, err := tx.ExecContext(ctx, loadStatement(w.ds, w.shard.Table, name))
	if n := db.Number(err); n == 1148 || n == 3948 || n == 4166 {
		return fault.New(fault.Unsafe, "load rows into the archive", "%w", err).WithHint("SET GLOBAL local_infile = 1 on the archive")
	}
	return err
}

// loadStatement names the columns; those whose canonical text is hex go through a variable.
func loadStatement(ds *catalog.Dataset, table, reader string) string {
	var names, sets []string
	for i, c := range ds.Columns {
		v := fmt.Sprintf("@c%d", i)
		switch c.Type.Kind {
		case catalog.Binary, catalog.Spatial:
			names = append(names, v)
			sets = append(sets, db.Quote(c.Name)+"=UNHEX("+v+")")
		case catalog.Bit:
			names = append(names, v)
			sets = append(sets, db.Quote(c.Name)+"=CAST(CONV("+v+",16,10) AS UNSIGNED)")
		default:
			names = append(names, db.Quote(c.Name))
		}
	}
	q := "LOAD DATA LOCAL INFILE 'Reader::" + reader + "' INTO TABLE " + db.Quote(table) + ` CHARACTER SET utf8mb4
		FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' (` + strings.Join(names, ",") + ")"
	if len(sets) > 0 {
		q += " SET " + strings.Join(sets, ", ")
	}
	return q
}
