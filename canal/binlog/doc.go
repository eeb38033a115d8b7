// Package binlog is canal's Source over a MariaDB or MySQL server's binlog.
//
// Purpose: whole committed transactions with canonical cells, equal to what db reads from the same table.
//
// # Guarantees
//
// Open refuses a server whose settings could lose changes (db.CheckCapture). A group is buffered until its commit and
// delivered whole; a group that rolls back, or whose connection breaks, leaves nothing. The shape of a table comes from
// the TABLE_MAP before each row event, columns by name, never from the server's present schema. A prepared XA transaction
// is held in memory until its XA COMMIT, and delivered under that group's GTID; while one with captured rows is open,
// Txn.OpenXA keeps the position from being saved. Ordinals count the row images of all tables of the group (a row event
// with a type that this version can't measure counts as one). The digest covers the content of every event of the group.
//
// # Failure
//
// Nothing is reconnected here: a broken connection ends the stream with fault.Unavailable, and a new Stream makes a new
// syncer. A place that the server no longer has is fault.Unsafe, as are an incident event and an XA COMMIT whose PREPARE
// was not seen. What concerns one dataset only is the Txn's Poison: a table without a column of the dataset or with
// another type, a partial row image, bytes that are not of the column's character set, row changes as statement text, a
// transaction beyond MaxTxnBytes.
//
// # What it does not do
//
// It reads no rows from tables, follows no foreign key cascades, and decodes no COMPRESSED columns (poison). On MariaDB
// before 10.11.5 a UUID column's bytes may be in another order; the matrix test says so for the server it runs on.
package binlog
