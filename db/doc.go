// Package db is MariaDB and MySQL as strata uses them: sessions whose settings are asserted, reads that are never short,
// rows in canonical text, and driver errors turned into kinds.
//
// Purpose: no other room opens a connection, reads a part's ownership or scans a row in a way of its own.
//
// # Sessions
//
// Open gives a pool for one Purpose. Every new connection is set and then read back in one SELECT: utf8mb4, time zone
// +00:00, a strict sql_mode that can still read zero dates, the isolation level (Reader: REPEATABLE READ and read only;
// Writer and Admin: READ COMMITTED), autocommit, lock_wait_timeout (Reader 3 s, Writer 5 s, Admin 1 s) and the limit per
// statement. What was not taken over is fault.Unsafe; the connection is not used. Parameters are interpolated by the
// client (one round trip, text protocol); whatever the DSN says, parseTime, multiStatements and clientFoundRows are off.
//
// # Cancelling
//
// A context that ends while a statement runs, through whichever door, kills the connection on the server too: from a
// connection of its own, checked to be on the same server, within 5 s. A result that is closed before its end is read on
// for at most 256 rows or 50 ms; then it is killed, never drained. Either way the connection is dropped.
// (Statements that were prepared explicitly are not watched; nothing in strata prepares.)
//
// # Reading (L5, L7)
//
// A Snapshot is a read-only transaction at REPEATABLE READ whose first statement names strata_part, the heartbeat and
// every table that may be read, so that metadata locks come before the read view; WITH CONSISTENT SNAPSHOT would take the
// view first and be silently short when a table is swapped. It then checks in what it read that this store owns every
// holding at exactly the epoch that was asked for: an archive by its row, live by its row or, without one, at epoch 0.
// Else, and for 1146, 1412 and 1054 at any later time, the error is fault.Stale: refresh the view and plan again.
// Lookup does the same for one key in one statement. Rows come as canonical cells (package catalog) of the columns that
// were asked for. A row with a cell that isn't its column's type ends the read with an error; nothing is skipped.
//
// # Errors
//
// Classify maps driver errors to kinds, by number, never by text: Stale, Busy (lock waits, deadlocks), Timeout, Denied,
// Interrupted, Unavailable, Unsafe (read-only servers), Conflict (a duplicate key). The fence's SIGNAL (SQLSTATE 45F01) is
// a *FenceError.
//
// # Tables of its own
//
// EnsureTables creates strata_part (what this store owns) and strata_heartbeat (one row, raised by Beat). Both must be in
// the binlog and not filtered on replicas.
//
// # What it does not do
//
// It never retries a statement (a fresh snapshot on a connection that turned out dead before anything was sent aside), it
// doesn't choose endpoints, it doesn't follow the binlog (canal) and it holds no lock across calls.
package db
