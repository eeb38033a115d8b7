// Package binlog is canal's Source over the binlog of MariaDB and MySQL servers.
//
// Purpose: whole committed transactions with canonical cells, equal to what db reads from the same table, from whichever of
// several servers has them.
//
// # Endpoints
//
// Every Open tries the endpoints in their order. One is taken when it answers, is of the flavor, can be captured
// (db.CheckCapture), has the position in its history, has begun to send what follows it, and has the places of the prepared
// XA transactions. On MariaDB a domain that the server's binlog doesn't know is left out of what it is asked for (and kept
// in the position), unless captured changes of it were read (Position.Domains): then the server lacks something. A server
// that lacks the position is behind, fault.Unavailable, while it applies what a primary sends; else, and where its binlog
// has another server's GTID there or was purged, the error has canal.ErrLost in it. Of several endpoints one that is behind
// outweighs one that has lost it, and one that is away outweighs one that has purged it. Another server at a known address
// is noted, not refused: who compares the digest of the group that is delivered again knows more. Streams read under
// ServerID and the three ids after it, the lowest that is free: keep all four free.
//
// # Guarantees
//
// A group is buffered until its commit and delivered whole; a group that rolls back, or whose connection or file breaks
// off, leaves nothing. The shape of a table comes from the TABLE_MAP before each row event, columns by name, never from the
// server's present schema: each value stands under the name that its column had when it was written. Where those columns
// aren't the dataset's own, the change has a Form, one for all tables with the same description. A column that no dataset
// declares has the type that the description tells; only for MariaDB's UUID and INET, which it calls BINARY, the server is
// asked, once, and believed where it has that name at that place. Ordinals count the row images of all tables of the group
// (a row event with a type that this version can't measure counts as one). The digest covers the content of every event of
// the group, however it was compressed. Rows of strata_part and of the heartbeat come as Parts and Beat.
//
// A prepared XA transaction is held until its XA COMMIT, and delivered under that group's GTID; the position names the
// group that it was prepared in, and a stream that begins after it reads that group again first. An outcome that comes a
// second time is one that a crash of the server had undone; the ids of the last ones are in the position, and it changes
// nothing. Where Last is itself an XA COMMIT, the group that is delivered again has its digest, but not the changes.
//
// # Bounds
//
// Captured changes of a group beyond MaxTxnBytes go to a file in SpillDir, and so does what all prepared XA transactions
// together have beyond it; the only other bound of a transaction is that disk. The file goes at the next Next; what a kill
// leaves goes at the next New. Up to 16 MiB of events, or one, wait decoded; a compressed transaction of MySQL is taken
// apart as a stream. One event must fit into memory: servers bound it by max_allowed_packet. At most 1,000 XA transactions
// may be open.
//
// # Failure
//
// Nothing is reconnected here: a broken connection, or one that was silent for ReadLimit, ends the stream with
// fault.Unavailable, as does a full disk, with nothing of its transaction delivered; so does one that is alive and brings
// nothing for as long, while its server is at another place (its binlog was reset). fault.Unsafe end it: an incident event,
// an event of a type that isn't known and isn't marked as ignorable, a group whose end isn't known, a damaged event, a row
// of strata_part that can't be read, a transaction without a GTID, an XA COMMIT whose PREPARE was not seen. What concerns
// one dataset only is the Txn's Poison: a table without the dataset's key or time, or with a column that can't hold its kind
// any more, an ALTER that takes a column of the key away or puts another one in its place, a system versioned table, times
// in the form from before MySQL 5.6, a partial row image, bytes that are not of the column's character set, row changes as
// statement text, rows before a ROLLBACK TO SAVEPOINT, a row beyond MaxRowBytes, a foreign key that changes its rows unseen
// (below). A statement that may have changed any table (the call of a function that writes; a change of a view, of a table
// with triggers, or with a stored function in it, as far as the login may see them) is the Poison of all datasets.
//
// Before MySQL 9.6, and on MariaDB, what ON DELETE and ON UPDATE with CASCADE or SET NULL change has no row events: Open
// refuses a server on which a captured table has such a key, unless its dataset says that it accepts it.
//
// # What it does not do
//
// It reads no rows from tables, knows no character set gb18030 (a declared column of it is poison, another one comes as
// bytes), sends no semi-synchronous acknowledgements and doesn't look into the binlog's files. On MariaDB before 10.11.5 a
// UUID column's bytes may be in another order; the matrix test says so for the server it runs on.
package binlog
