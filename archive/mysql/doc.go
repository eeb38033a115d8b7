// Package mysql is archive's Site and Control on MariaDB and MySQL.
//
// Purpose: the statements of a move, with their locks. The words, the order of steps and the guarantees are package
// archive's.
//
// # Connections of one Work
//
//	lock    live, Admin: transactions on live, and every DDL statement of the move, right after IS_USED_LOCK and the
//	        part's token were read here
//	write   archive, Admin: every transaction begins with the part's row FOR UPDATE and its token
//	pin     live, Reader: the snapshot of compare; closed by release
//
// Each holds a GET_LOCK of its own, named by schema and table. A successor kills the holders of all three before it writes
// its token, so no transaction of a paused mover keeps it waiting. The first two are dropped at the end, never given back
// to the pool: their settings and locks go with them.
//
// # Tables
//
// Live and archive: strata_part (db's). Live: strata_prune (segment, chunk), one marker row for each renamed table, written
// before the RENAME in a transaction that holds the part's row; chunk is the renamed table's name, which holds
// "__strata_". Control: strata_segment (id, document, manifest).
//
// # Order
//
// Tokens: live, then archive; the archive's by compare-and-set on the token seen before live's was looked at, so that of
// two movers the one whose token stands on live wins. Going back (hand back, abort): live's state, archive's state, the
// fence, live's token, archive's token.
//
// # Limits
//
// A lock wait is one second, six tries with RetryWait between, then Busy; after three tries the read-only transactions of
// strata's own logins in the schema are killed. Rows go over in batches of BatchRows by LOAD DATA LOCAL; memory holds
// three batches. A compare repairs at most three times.
//
// # What it does not do
//
// It copies no generated or invisible columns, no foreign keys, no system-versioned tables, no triggers: such tables are
// unmovable. It asks for local_infile on the archive and for the right to create triggers on live.
package mysql
