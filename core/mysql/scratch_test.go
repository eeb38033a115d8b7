package mysql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"database/sql"

	"strata/core"
	"strata/local/localtest"
)

func TestScratch(t *testing.T) {
	m := localtest.Shared(t)
	for _, form := range []string{"text", "prep", "json"} {
		dsn := localtest.Schema(t, m)
		db := localtest.DB(t, dsn+"?interpolateParams=true")
		db2 := localtest.DB(t, dsn)
		localtest.Exec(t, db, "CREATE TABLE e "+core.EntryTable)
		localtest.Exec(t, db, "CREATE TABLE t "+core.TransferTable)
		localtest.Exec(t, db, core.TransferIDTable)
		localtest.Exec(t, db, core.AccountTable)
		for i := range 2000 { _ = i }
		localtest.Exec(t, db, "INSERT INTO account SELECT seq, 'x','CNY',NULL,0,0,NOW() FROM seq_1_to_2000")
		ctx := context.Background()
		seqs := map[int]int{}
		const N = 40
		start := time.Now()
		var tt [4]time.Duration
		for b := range N {
			var e [][]any
			var x [][]any
			accs := map[int]bool{}
			for i := range 500 {
				id := fmt.Sprintf("load-1-%09d", b*500+i)
				x = append(x, []any{id, "payment", "2026-01-02 03:04:05.123456", "2026-01-02", "2026-01-02 03:04:05.123456", 2, "CNY", 12345, "晚饭 dinner 🍜 number"})
				for l := range 2 {
					a := int(float64(2000)*rand.Float64()*rand.Float64()) + 1
					seqs[a]++
					accs[a] = true
					e = append(e, []any{a, seqs[a], id, l, "CNY", 12345, 100000, 112345, "2026-01-02", "2026-01-02 03:04:05.123456", "2026-01-02 03:04:05.123456"})
				}
			}
			tx, _ := db.BeginTx(ctx, nil)
			if form == "prep" { tx.Rollback(); tx, _ = db2.BeginTx(ctx, nil) }
			s := time.Now()
			ins(t, tx, form, "t", x, []string{"VARCHAR(64) CHARACTER SET ascii", "VARCHAR(32) CHARACTER SET ascii","DATETIME(6)","DATE","DATETIME(6)","SMALLINT","VARCHAR(12) CHARACTER SET ascii","BIGINT","VARCHAR(255) CHARACTER SET utf8mb4"})
			tt[0] += time.Since(s); s = time.Now()
			ins(t, tx, form, "e", e, []string{"BIGINT","BIGINT","VARCHAR(64) CHARACTER SET ascii","SMALLINT","VARCHAR(12) CHARACTER SET ascii","BIGINT","BIGINT","BIGINT","DATE","DATETIME(6)","DATETIME(6)"})
			tt[1] += time.Since(s); s = time.Now()
			if err := tx.Commit(); err != nil { t.Fatal(err) }
			tt[2] += time.Since(s)
		}
		t.Log(form, time.Since(start), tt)
		// updates
		for _, how := range []string{"odku", "join"} {
		s := time.Now()
		for b := range 20 {
			var sb strings.Builder
			if how == "odku" {
				sb.WriteString("INSERT INTO account (id,name,unit,balance,entries,opened_at) VALUES ")
				for i := range 700 { if i>0 {sb.WriteByte(',')}; fmt.Fprintf(&sb, "(%d,'','',%d,%d,'2020-01-01')", i*2+1, b+5, b+6) }
				sb.WriteString(" ON DUPLICATE KEY UPDATE balance=VALUES(balance), entries=VALUES(entries)")
				localtest.Exec(t, db, sb.String())
			} else {
				sb.WriteString("[")
				for i := range 700 { if i>0 {sb.WriteByte(',')}; fmt.Fprintf(&sb, "[%d,%d,%d]", i*2+1, b+50, b+60) }
				sb.WriteString("]")
				localtest.Exec(t, db, "UPDATE JSON_TABLE(?, '$[*]' COLUMNS(id BIGINT PATH '$[0]', balance BIGINT PATH '$[1]', entries BIGINT PATH '$[2]')) j STRAIGHT_JOIN account a ON a.id=j.id SET a.balance=j.balance, a.entries=j.entries", sb.String())
			}
		}
		t.Log(how, time.Since(s)/20)
		}
	}
}

func ins(t *testing.T, tx *sql.Tx, form, table string, rows [][]any, types []string) {
	ctx := context.Background()
	var sb strings.Builder
	var args []any
	switch form {
	case "text":
		sb.WriteString("INSERT INTO "+table+" VALUES ")
		for i, r := range rows {
			if i > 0 { sb.WriteByte(',') }
			sb.WriteByte('(')
			for j, c := range r {
				if j > 0 { sb.WriteByte(',') }
				switch v := c.(type) { case int: fmt.Fprint(&sb, v); case string: sb.WriteByte('\''); sb.WriteString(v); sb.WriteByte('\'') }
			}
			sb.WriteByte(')')
		}
	case "prep":
		sb.WriteString("INSERT INTO "+table+" VALUES ")
		for i, r := range rows {
			if i > 0 { sb.WriteByte(',') }
			sb.WriteString("("+strings.Repeat("?,", len(r)-1)+"?)")
			args = append(args, r...)
		}
	case "json":
		var js strings.Builder
		js.WriteByte('[')
		for i, r := range rows {
			if i > 0 { js.WriteByte(',') }
			js.WriteByte('[')
			for j, c := range r {
				if j > 0 { js.WriteByte(',') }
				switch v := c.(type) { case int: fmt.Fprint(&js, v); case string: js.WriteByte('"'); js.WriteString(v); js.WriteByte('"') }
			}
			js.WriteByte(']')
		}
		js.WriteByte(']')
		sb.WriteString("INSERT INTO "+table+" SELECT * FROM JSON_TABLE(?, '$[*]' COLUMNS(")
		for i, ty := range types { if i>0 {sb.WriteByte(',')}; fmt.Fprintf(&sb, "c%d %s PATH '$[%d]'", i, ty, i) }
		sb.WriteString(")) j")
		args = []any{js.String()}
	}
	if _, err := tx.ExecContext(ctx, sb.String(), args...); err != nil { t.Fatal(form, err) }
}
