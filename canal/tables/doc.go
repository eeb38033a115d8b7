// Package tables is canal's Tables over db: how backfill and repair read rows of the captured server and of the archives.
//
// Purpose: an image that a leader sends beside the stream is never short, never of a store that does not own its shard,
// and its place in the stream is known: for a chunk by the heartbeat in its own snapshot, for a locked row by GTID sets
// read around it.
//
// # Chunks
//
// A chunk is read in a db.Snapshot of one holding, in the order of the primary key as the server has it: character keys by
// their own collation, ENUM and SET by number. The heartbeat of the captured server is read in that snapshot; an archive's
// rows don't change, so theirs is 0. A statement reads up to 20,000 rows and stays open between two calls of Chunk that go
// on where the one before ended: several chunks then come from one snapshot, with one heartbeat. A snapshot lives 5 s at
// most, also while nobody reads, because DDL waits for it; then the next call begins a new one. A chunk that would outlive
// its snapshot ends early. Rows have the columns that their table has (Form), as those of the stream do.
//
// # Locked rows
//
// Order for a shard of the captured server: the GTID set (Before); the part; the rows, LOCK IN SHARE MODE at READ
// COMMITTED without waiting, each statement a transaction of its own, so that locks are held for milliseconds; the part
// again; the GTID set (After). A transaction that is in the binlog, but not yet visible, has its locks: its rows wait. So
// whatever Before has is in what was read, and whatever was read is in After (on MySQL with what is just being committed
// beside gtid_executed). The part says owned at the view's epoch before and after, and epochs only rise: it was so in
// between. Where a row of many is held, each is tried alone, and a few of those held are waited for, a second each
// (MariaDB); the others are Held.
//
// What a person or the verifier wants repaired is read on live itself where a replica of it is captured: the index is proven
// equal to live, and a row that was changed on live with sql_log_bin=0 is on no replica. The GTIDs of a replica's binlog are
// live's, so the order stays: Before is live's, and says which changes of the stream are in what was read; then the replica
// must get to where live was after the read, at most 5 s later; After is the replica's own set then, which the stream will
// reach, while live's may have transactions that were never in the replica's binlog. Whatever was read is on the replica by
// then, and in After. Where live is away, or the replica is too far behind, rows are read on the replica, as all that a task
// wants is: live is spared, and has to be there for nothing.
//
// A shard that an archive owns is read there, in a snapshot that asserts the epoch; Before and After are the captured
// server's. A row that live lacks while an archive owns its shard is therefore never called absent for live's sake.
//
// # Failure
//
// fault.Stale: ownership is in motion, a replica has not got there yet, or the table is being changed: ask for Shards
// again. fault.NotFound: no store has the shard. fault.Invalid: a key that is none of the dataset's. Every other error is
// the server's. Nothing is skipped, and nothing is tried again here.
//
// # What it does not do
//
// It writes nothing, chooses no endpoint, and knows nothing of what changed since: the leader leaves out of a chunk the
// keys that its stream has changed after the heartbeat, and those of an XA COMMIT near it, whose visibility is outside the
// order of commits.
package tables
