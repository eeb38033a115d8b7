// Package mysql is the router's Source over a store: MariaDB or MySQL, live or an archive, through package db.
//
// Purpose: rows of some shards of one store, in one total order, each from a snapshot in which the store owned the shard.
//
// # Order of reads
//
// Open takes a snapshot whose first statement names every table of the fetch and checks every part (db.Snapshot). Then
// rows are pulled shard by shard in keyset pages on that one connection: WHERE filter AND after the last key ORDER BY the
// total order LIMIT n, and merged here. Where the order begins with the time column, a shard is first touched when its
// range is reached, so a month that nobody scrolls to costs nothing.
//
// A snapshot is held for at most 5 seconds, also when the consumer sleeps; the next page opens a new one, checks the parts
// again and goes on after each shard's last key. Strong streams and aggregates keep their one snapshot to the end.
//
// # Exactness
//
// Characters compare byte by byte: a column whose collation isn't binary gets the collation's comparison, for the index,
// and a binary one. Padding collations (utf8mb4_bin) order 'a ' and 'a' alike, and control characters before the end of
// the text; a sort column in which such a text is met ends the read with fault.Invalid. Numbers are bound as numbers.
// Sums are DECIMAL texts.
//
// # Failure
//
// fault.Stale: a part isn't the store's at that epoch, or a table changed. fault.Timeout: the statement limit. Unavailable:
// the server, or, with AtLeast, live's heartbeat didn't come that far within Wait. Nothing is retried here.
//
// # Bounds
//
// At most 32,768 rows over all shards are held, and about 4 MiB a page (64 MiB for the first, whose row size is unknown).
//
// # What it does not do
//
// It asks the endpoint it was given, which is the store's primary in this version: Bounded is fulfilled by that, and
// nothing lags. Estimates (Cost) come from information_schema, at most a minute old; MySQL 8 keeps row counts for a day.
package mysql
