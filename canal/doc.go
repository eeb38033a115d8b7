// Package canal turns the binlog of a live database into whole, ordered, numbered transactions in Kafka.
//
// Purpose: everything committed on the source reaches the dataset's topic at least once, in commit order per key, under a
// version that later readers can trust (laws L1, L2, L3, L11). This root has the words, the wire form and the Leader's
// loop; canal/binlog is the Source, canal/kafka the Sink, canal/control the Control.
//
// # Names
//
// A row image is named by (GTID, ordinal), the ordinal counting all row images of its group from 0, also those of tables
// that are not captured; an update has two images. A change of a key is a delete under the ordinal of the image before
// and a create under that of the image after. A record's version is (term, seq); its number is consecutive in its
// partition over changes, backfills and marks.
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
//     this leader would send: a record to send while part of the tail is still unmatched is fault.Proof for the dataset.
//  6. a checkpoint: every record acknowledged, every tail matched, no XA transaction open; then saved by compare-and-set
//     on the term. 0 rows changed ends the term.
//
// The source delivers the last group of the checkpoint again; another digest means that the server's history is another
// one (fault.Proof, nothing is sent).
//
// # Failure
//
// Any error of the producer, of control's compare-and-set or of the position ends the term: Run returns it, the caller
// starts Run again with a back-off (terms are 20 bits). A source that is away is opened again inside the term. A dataset
// that can't go on (a table without its columns, a statement in the binlog, a topic that was cut) is stopped alone, with
// the position from which it lacks changes in the checkpoint; it gets no more records and no marks, so its watermark
// freezes. It stays stopped until somebody rewinds it. A leader that lost its lease, or sees a higher term, ends.
// Correctness rests on terms and the Gate, never on the lease.
//
// # What it does not do
//
// No backfill, repair, rewind or failover yet: where they would be needed it stops and says so. It doesn't follow
// foreign key cascades (they write no row events) or DDL that changes rows (counted as an alarm).
package canal
