// Package canal turns the binlog of a live database into whole, ordered, numbered transactions in Kafka.
//
// Purpose: everything committed on the source reaches the dataset's topic at least once, in commit order per key, under a
// version that later readers can trust (laws L1, L2, L3, L4, L11); what is missing in a topic is read from the tables
// beside the stream. This root has the words, the wire form and the Leader's loop; canal/binlog is the Source, canal/kafka
// the Sink, canal/control the Control and the Desk, canal/tables the Tables.
//
// # Names
//
// A row image is named by (GTID, ordinal), the ordinal counting all row images of its group from 0, also those of tables
// that are not captured; an update has two images. A change of a key is a delete under the ordinal of the image before
// and a create under that of the image after. A record's version is (term, seq); its number is consecutive in its
// partition over changes, backfills and marks.
//
// # What a record has
//
// A row is written in the columns of its table at that place of the binlog, or when it was read from it (Form), so a column
// that DDL added, dropped or renamed is in the record as it was; the hash is of the dataset's columns. Masks are applied first: the hash and sizes are
// the masked row's, and no unmasked byte leaves the process. With Envelope WithSchema every key and value carries Kafka
// Connect's schema of its Form. A value over MaxRecordBytes becomes a Letter in DeadLetters(dataset): key, table, GTID and
// size, without the row; it has no number there, and the dataset's topic has nothing in its place. That topic is kept for ever;
// sync sends letters of its own there. With Boundaries each
// transaction that sends rows has a BEGIN before its first and an END with counts after its last; a new term may repeat
// both. docs/wire.md is the form for readers.
//
// # Order of writes in a term
//
//  1. term: 1 + the highest of control, `open` records in Kafka and the witnesses, by compare-and-set in control, first;
//     then the checkpoint is read again: nobody older can save any more.
//  2. per partition `open`, acknowledged.
//  3. the tail of each partition, from the checkpoint's offset up to that open, through Gate (the filter that readers
//     use too): what is in it was sent. Numbers in it must be consecutive.
//  4. per partition `resume`.
//  5. the transactions from the checkpoint's position on, each whole, minus what the tail has. A tail is a prefix of what
//     this leader would send, by name and by the hash of each image; where it isn't, the history is another one.
//  6. a checkpoint: every record acknowledged, every tail matched; then saved by compare-and-set on the term. 0 rows
//     changed ends the term. XA transactions that are open are in Position.
//  7. only then what the desk is told: evidence, progress of tasks, keys that are repaired, a remembered checkpoint, status.
//
// Nothing beside the stream is done before the last group has come again as it was, nor sent before all tails are
// matched. One goroutine sends: it takes transactions from the stream, and when the stream is idle for a millisecond, or
// was busy for 20, a slice of other work (at most 2,000 rows).
//
// # Backfill
//
// A chunk is rows that were read in one snapshot together with heartbeat H. Keys that the stream changes are recorded from
// a heartbeat N0 on; only then is anything read, and a chunk with H < N0 is read again. A snapshot that has H may also have
// commits after H: so a chunk is sent when the stream has passed a heartbeat above H, not H itself; then everything that
// the snapshot can show was sent before, and every key that changed after H is left out, also one that changes between two
// slices of the same chunk. An image therefore is that of the row's last change in the stream. XA COMMIT is outside of that
// order: keys that one touched after H, or less than 60 s before it by the heartbeats around both, are left out and put
// into the repair queue; the checkpoint knows when the last one was, so that a new leader reads nothing for 60 s of
// heartbeats after XA commits whose keys it can't know. Chunks of an archive are sent while strata_part, as the stream has
// it, says that live released the shard at the epoch read; before the stream has said anything of it, once it has reached
// the place at which the shard was found there.
//
// A statement that changes a captured table, an owner that changes, or too many changed keys (200,000): what is in hand is
// dropped and read again from the last key sent. At most 48 MiB are in hand. Shards come one after the other, each by a
// fresh list; the task ends when a list has none that isn't done. Of a dataset that was stopped, rows may have gone unseen:
// then the topic is read through, and keys that were sent before it went on, and not since, are repaired. One that can't be
// read fails the task by name.
//
// # Repair
//
// Keys that are due are read with a lock, on the captured server, or on live itself what a person or the verifier has asked for
// (package tables), with GTID sets from before and after; the stream's changes of them are recorded
// from before that. When the stream has reached the set after, a row is sent, or its absence, unless the stream changed
// the key after the set before: that image is newer. Rows that somebody holds wait. Keys leave the queue after a checkpoint.
//
// # Claims
//
// While a task mends what a topic lacks (a rewind, what a stopped dataset needs, a backfill with a GTID: a reader found a hole),
// its dataset gets no marks but one that says what may be claimed (Lowered); at the end a `resume` with repaired, then marks
// again. A task that failed or was ended by a person goes on holding the claim
// down; a whole backfill, an acceptance, or a rewind to the claim lifts it. A lowered claim is in the checkpoint before a
// topic is told of it: a successor must know why heartbeats in its tail have no marks. A rewind to a place that can't be
// read, or isn't captured yet, is refused before anything is lowered; so is one of a dataset that stopped in a history which
// the server doesn't have (any more), whatever place has the same name by now. A task is done when no key is left of it or of a
// later one of its dataset.
//
// A dataset that is new to a pipeline, or whose topic can't be read after the checkpoint, is stopped with a task of
// strata's own: a backfill where all of the topic may be gone, else a rewind. A stopped dataset goes on at the present
// position, once the stream is where the server was after the task began, so that nothing is sent that a predecessor may have
// sent already; a checkpoint says so before anything else is sent. A rewind reads the binlog a second time, for keys only.
// A statement that rewrote rows has its shard backfilled, and what the topic still has of rows that went with it is repaired as
// absent; one that only took rows away, of a table or of a partition, follows the dataset's RowsGone.
//
// # Another history
//
// The source delivers the last group of the checkpoint again. Where it has another digest, or the place is not in the
// server's history (ErrLost), the newest remembered checkpoint is looked for whose last group the server has with the same
// digest. The keys of all records after its offsets are enqueued, the claim is lowered to it, and the leader goes on from
// there with those records as tails: the common part is not sent again, and from the first difference on, when a tail lacks
// or contradicts what the stream has, nothing suppresses anything. That is checkpointed before anything of it is sent. A tail
// that differs although the digest is right is treated the same way. No common place: fault.Proof, nothing is sent, until a
// person has the server adopted. Then, and where the history has the place and only the binlog was purged (ErrPurged), every
// dataset stops there, the stream goes on where the server is, and a person has the datasets backfilled.
//
// # Failure
//
// Any error of the producer, of control's compare-and-set or of the position ends the term: Run returns it, the caller
// starts Run again with a back-off (terms are 20 bits). A source that is away is opened again inside the term. A dataset
// that can't go on (a table without its columns, a statement in the binlog) is stopped alone, with the position from which
// it lacks changes in the checkpoint; it gets no more records and no marks, so its watermark freezes, until a task mends
// it. A desk that is away holds up tasks and repairs, not the stream. A leader that lost its lease, or sees a higher term,
// ends. Correctness rests on terms and the Gate, never on the lease, and on no clock: times only bound pauses.
//
// A MariaDB that crashes can undo an XA transaction whose outcome is in its binlog already, which then may be decided again,
// otherwise. After a start of the server (Txn.Started) the rows of XA transactions that ended shortly before, committed or
// rolled back, are repaired by key; a checkpoint carries them over a change of leaders. Here, and only here, an image may be
// older than the one before it: the source itself went back.
//
// A topic's rows are named by one key for its life: the checkpoint has its columns, and a dataset whose tables have got
// another primary key stops.
//
// Without a Desk nothing is mended: what would need it stops and says so.
//
// # What it does not do
//
// It doesn't follow foreign key cascades: they write no row events, so their tables are refused unless a dataset accepts
// that (cascades: accept). XA commits before the very first start of a pipeline are not known to its first backfill, nor
// the rows of an XA ROLLBACK that lay on disk to the repair after a crash. It keeps no second copy of anything: what
// neither the binlog nor a table has is lost.
package canal
