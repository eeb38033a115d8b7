// Package sqlite is the embedded index: SQLite files in one folder, no server. It fulfils strata/index.
//
// # Layout
//
// One database file per dataset, <dataset>.db, so that datasets write in parallel (SQLite has one writer per file) and a
// broken file stops one dataset only. Table doc has one row per document: shard number, version, hash, deleted (0 live, 1
// tombstone with its last image, 2 tombstone without), and one column per column of the dataset. The document's identity
// is its unique index (shard, key columns), which also serves Scan and every search by a prefix of the key; two more
// indexes serve the time column and, where the key doesn't begin with it, the account column; one of the tombstones alone serves
// Sweep. Tables shard, watermark and meta hold the names of the shards, the watermarks, and the dataset's shape with the
// highest version ever applied. A file that another process makes later is found when it is first asked for.
//
// A dataset with text columns has a table words (FTS5, without a copy of the texts): the words that catalog.AppendWords makes
// of them, under the document's number, written in the document's own transaction; a tombstone has none. A Match asks it for
// the documents of all shards. A file that was made without a text column's words is Unsafe in Ensure.
//
// A later generation (index.Generations) has a file of its own, <dataset>.<n>.db. generations.registry is a database with the
// register of each dataset that has several. A file that another process has made is opened when it is first asked for; one
// that is removed while another process has it open is there for that process until it closes it.
//
// # Cells
//
// No column has a declared type, so SQLite converts nothing. A cell is stored in a form whose SQLite order is
// catalog.Compare's: integers as INTEGER (above 2^63-1 as 20 digits of text, which sorts after every INTEGER), DECIMAL as
// text of sign, length and digits, FLOAT and DOUBLE as REAL, TIME as an INTEGER of its digits, everything else as text
// under the BINARY collation. A row with a cell that doesn't come back byte for byte (a zero-filled integer) keeps its JSON
// in column _raw, and is read from there.
//
// # Order of writes and reads
//
// Apply: parse and encode in the caller's goroutine; then one transaction for every request that waits, batches and
// watermarks alike (group commit, so partitions share an fsync): upsert each document where its version is higher, raise the
// highest version, COMMIT with synchronous=FULL. A Sweep is a request for every 1,000 tombstones. Refresh does nothing: what
// is committed is visible to the next read transaction. Every Search, Count, Get and Scan is one read transaction, a point in
// time over all its shards.
//
// The writer speaks to SQLite's own interface (conn), not through database/sql: the driver takes a mutex, an allocation and a
// copy for each value, which is a third of what a document costs. Readers use database/sql.
//
// The write-ahead log is copied into the database by a goroutine with a connection of its own, after every 8,000 pages, so
// that no commit waits for it; only a log of 32,000 pages (128 MiB) makes the writer do it itself.
//
// # Failure
//
// A request that fails has rolled back every other one of its group, and all are told. SQLITE_BUSY (another process writes
// for more than 5 s) is fault.Busy; a full disk or an I/O error is Unavailable; a corrupt or foreign file is Unsafe. A
// checkpoint that fails is tried again after the next pages, and by the writer in the end. A file whose stored shape
// contradicts the dataset is Unsafe in Ensure: the index is rebuilt, never altered in silence. So is a dataset without a file
// that has files of later generations, and no register that says which serves.
//
// # What it does not do
//
// No sums, no altering of columns, no ranking of what matches. A long Scan holds back the checkpoint of the write-ahead log, so the -wal
// file grows meanwhile.
package sqlite
