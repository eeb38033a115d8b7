package soaktest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Tables makes the tables of the load. life says which v a key had last, over its deaths too; it is not captured.
func Tables() []string {
	return []string{
		"CREATE TABLE life (id BIGINT PRIMARY KEY, v BIGINT NOT NULL) ENGINE=InnoDB",
		"CREATE TABLE orders (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, note VARCHAR(200) NULL, amount DECIMAL(18,4) NOT NULL, at DATETIME(6) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
		"CREATE TABLE item_202610 (n BIGINT NOT NULL, at DATETIME(3) NOT NULL, v BIGINT NOT NULL, what VARBINARY(20) NULL, PRIMARY KEY (n, at)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
		"CREATE TABLE item_202611 LIKE item_202610",
	}
}

const (
	// Keys is how many each dataset has: 1 and up in orders, above ItemsFrom in items; few, so that they are changed again and again.
	Keys = 400
	// ItemsFrom is where the keys of items begin.
	ItemsFrom = 5000
)

// Load changes the tables.
type Load struct {
	XA      bool // some transactions are XA transactions
	Always  bool // every one is
	Commits atomic.Int64

	db     *sql.DB
	rounds atomic.Uint64 // of XA ids
	mu     sync.Mutex
	last   error
}

// Last is the last error of a transaction.
func (l *Load) Last() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// run changes rows with one connection until ctx ends; what fails is tried again with the next transaction. The last one is not
// cut short: the server would go on with it after the proof has begun.
func (l *Load) run(ctx context.Context, rnd *rand.Rand) {
	work := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		if err := l.one(work, rnd); err != nil {
			l.mu.Lock()
			l.last = err
			l.mu.Unlock()
			pause := time.NewTimer(20 * time.Millisecond)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
	}
}

// one does one transaction: plain, rolled back, or XA.
func (l *Load) one(ctx context.Context, rnd *rand.Rand) error {
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	exec := func(q string, args ...any) error {
		_, err := conn.ExecContext(ctx, q, args...)
		return err
	}
	if err := exec("SET SESSION innodb_lock_wait_timeout=2"); err != nil { // what a crash left prepared holds its rows
		return err
	}
	start, commit, back := "START TRANSACTION", []string{"COMMIT"}, []string{"ROLLBACK"}
	if l.XA && (l.Always || rnd.IntN(7) == 0) {
		id := fmt.Sprintf("'soak%d'", l.rounds.Add(1))
		start = "XA START " + id
		commit = []string{"XA END " + id, "XA PREPARE " + id, "XA COMMIT " + id}
		back = []string{"XA END " + id, "XA PREPARE " + id, "XA ROLLBACK " + id}
	}
	if err := exec(start); err != nil {
		return err
	}
	ids := make([]int, 1+rnd.IntN(6))
	for i := range ids {
		if ids[i] = 1 + rnd.IntN(Keys); rnd.IntN(3) == 0 {
			ids[i] += ItemsFrom
		}
	}
	slices.Sort(ids) // so that two transactions don't wait for one another
	for _, id := range slices.Compact(ids) {
		if err := l.change(ctx, conn, rnd, id); err != nil {
			_ = exec("ROLLBACK") // an XA transaction's goes with its connection
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
			return err
		}
	}
	end := commit
	if rnd.IntN(10) == 0 {
		end = back
	}
	for _, q := range end {
		if err := exec(q); err != nil {
			return err
		}
	}
	l.Commits.Add(1)
	return nil
}

// change gives one key a new v and something new.
func (l *Load) change(ctx context.Context, conn *sql.Conn, rnd *rand.Rand, id int) error {
	if _, err := conn.ExecContext(ctx, "INSERT INTO life VALUES (?,1) ON DUPLICATE KEY UPDATE v=v+1", id); err != nil {
		return err
	}
	var v int64
	if err := conn.QueryRowContext(ctx, "SELECT v FROM life WHERE id=?", id).Scan(&v); err != nil {
		return err
	}
	exec := func(q string, args ...any) error {
		_, err := conn.ExecContext(ctx, q, args...)
		return err
	}
	if id > ItemsFrom {
		month := 10 + id%2
		at := fmt.Sprintf("2026-%d-%02d 10:00:00.123", month, 1+id%28)
		if rnd.IntN(4) == 0 { // the row that goes has the v that it had
			return exec(fmt.Sprintf("DELETE FROM item_2026%d WHERE n=? AND at=?", month), id, at)
		}
		return exec(fmt.Sprintf("REPLACE INTO item_2026%d VALUES (?,?,?,?)", month), id, at, v, fmt.Sprint("\x00", v))
	}
	switch rnd.IntN(5) {
	case 0:
		return exec("DELETE FROM orders WHERE id=?", id)
	case 1: // two images of one key in one transaction
		if err := exec("REPLACE INTO orders VALUES (?,?,NULL,?,'2026-11-01')", id, v, v); err != nil {
			return err
		}
		fallthrough
	default:
		return exec("INSERT INTO orders VALUES (?,?,?,?,'2026-11-22 01:02:03.000004') ON DUPLICATE KEY UPDATE v=VALUES(v), note=VALUES(note), amount=VALUES(amount)",
			id, v, fmt.Sprintf("备注 %d \"%d\"", id, v), fmt.Sprintf("%d.%04d", v, id))
	}
}

// Settle ends what was prepared and left alone, and reports whether nothing is left. One whose connection the server has not
// given up yet can't be ended by others.
func (l *Load) Settle(ctx context.Context) (bool, error) {
	rows, err := l.db.QueryContext(ctx, "XA RECOVER")
	if err != nil {
		return false, err
	}
	var ids []string
	for rows.Next() {
		var format, g, b int
		var data string
		if err := rows.Scan(&format, &g, &b, &data); err != nil {
			return false, err
		}
		ids = append(ids, data)
	}
	if err := rows.Close(); err != nil {
		return false, err
	}
	for i, id := range ids {
		verb := "XA COMMIT"
		if i%2 == 1 {
			verb = "XA ROLLBACK"
		}
		if _, err := l.db.ExecContext(ctx, fmt.Sprintf("%s '%s'", verb, id)); err != nil && !strings.Contains(err.Error(), "1397") {
			return false, err
		}
	}
	return len(ids) == 0, nil
}
