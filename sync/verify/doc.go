// Package verify proves the index against its sources, and has repaired what differs: Once for a comparison now, a Runner all
// the time.
//
// # Comparing
//
// Shard by shard, under the snapshot of the shard's owner (live or an archive; never longer than about 5 s, then a new one goes
// on after the last key). After the snapshot is open a heartbeat is committed on live, and the index is read once it has reached
// it. Rows of the sources are masked first, as capture masks them. Both sides come in key order and are merged; a goroutine
// reads, masks and hashes the source a few batches ahead of the merge, so memory stays flat. A shard whose server orders keys
// differently from catalog.Compare (a collation) is compared by lookups in both directions instead, always whole, and not
// in part.
//
//   - Full: every cell, and that the stored hash is the row's. Sums of money per unit are made of both sides.
//   - Fast: the stored hash of each document must be the hash of its source's row. Of one of Sample rows, chosen by its hash,
//     the document is read whole: each cell and the document's own hash must be the row's. Each turn has other rows, and after
//     Sample turns every row was one. Sums are made of the source alone, and the report says so.
//
// Both find documents too many, and documents of shards that nobody owns. Sums are made here, never by the index. Open dead
// letters count as differences.
//
// What differs at first sight may only have changed meanwhile: its key is read again on both sides behind a new heartbeat, up
// to 5 times, until its row was the same twice in a row. A span (what one snapshot gave) counts when all of it is judged; after
// an error it is compared again.
//
// # Repair
//
// Nothing but a capture leader mints versions. Keys that differ are given to the leader's queue (canal.Desk.Enqueue), which
// sends their rows anew as they are, or that they are absent, and are looked at again until both sides are equal: repaired; or
// until none became equal for Patience: open, and the finding says what to do. Keys are queued in batches of at most some
// thousand, each waited for before the next span, unless a first batch has shown that nobody repairs. What a leader can't mend
// stays open: documents of a shard that nobody owns, a document with an id of its own (named by it; the verifier sees when
// somebody has taken it out), and, while the leader can't read live itself, a row that its captured replica has otherwise.
//
// # All the time
//
// Of the processes that have the role one holds the lease in the Book and verifies. A pass goes over every dataset; the next
// begins Every after its beginning. Reading is bounded by RowsPerSecond, between snapshots; a verifier with that bound is at work
// no more than a tenth of the time, and gives way where servers have more to do: where a row takes three times as long as in
// the dataset's quickest spans, it is at work a thirtieth of the time; and it rests while the dataset's watermark is older than
// MaxLag or not there yet, but for one span a minute while it is not older than 10 s. A dataset that is frozen, stopped, being
// loaded, too far behind or otherwise not to be compared is passed over, named, and tried again after Retry, while the others
// go on (law L11).
//
// Two that verify at the same time, since one did not notice that its lease is over, do no harm: findings and repairs are the
// same whoever writes them, and a place is only stored by who has the lease.
//
// Order of writes, after each span: findings as open (verify.found), their keys into the queue (verify.enqueue, .enqueued), what
// became of them (verify.settle, .settled), the place with all counts and sums up to it (verify.save, .saved). A process that
// dies between two of them leaves a place before the span, so that its successor compares the span again; findings that are
// open are looked at again when their dataset's comparison begins or goes on, and queued once more where they still differ.
// So nothing found is lost, and no row is counted twice.
//
// After each dataset and each pass the day's report is written, signed, in the place of the day's earlier one (verify.report,
// .reported): the last whole comparison of each dataset with rows, sums and position, and the day's findings.
//
// # Sweeping
//
// A deleted row leaves a tombstone, whose version keeps older images of its key out (law L2). After a dataset was compared,
// tombstones go (verify.sweep, .swept) whose version is below each of these:
//
//   - the oldest record that can still be read in every partition of the topic. Versions rise along a partition, so that every
//     image of the key that is older than its tombstone stood before that record, and no replay can read it again, from whatever
//     offset and by whatever old watermark: an index restored from a snapshot has a watermark from before, whose offset is either
//     still there, and then so is the delete that follows it, or is gone, and then its dataset stops and is loaded anew.
//   - the lowest open dead letter, which may be replayed with the version that it had.
//   - what every partition had reached SweepAge ago. Whatever a process had read by then is long applied or dropped.
//
// Backfill, repair and rewind send what a row is now, with a version above all that were minted before, and a dead leader's
// late records are dropped by the term in the watermark, whether there is a tombstone or not. Where a bound can't be known (a
// partition without a record or a watermark, a frozen one, Kafka away) nothing is swept, and the status says why. The bound
// that is too careful costs only room.
//
// # What it does not do
//
// It never mints versions and never writes documents. It doesn't judge the ledger's own sums. It knows nothing of a process that
// holds old records in memory for longer than SweepAge (stopped, then continued): a row that it brings back is extra in the
// index, which the next pass finds and has removed.
package verify
