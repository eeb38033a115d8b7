// Package rebuild makes another generation of a dataset's index beside the one that answers, proves it, and switches.
//
// Purpose: a new index without a moment in which searches are refused or short: for a changed declaration (other columns, which
// an index refuses as Unsafe), a damaged or frozen index, or one that nobody trusts any more.
//
// # Steps
//
// The state of a rebuild is the note of its generation in the index's register (index.Generations): no second place can
// contradict it. One step after the other, each idempotent:
//
//  1. Begin. The register gets a generation that is built. It starts at the last checkpoint of capture: per partition offset,
//     number and term, of which capture itself says that everything before is acknowledged. From its next look on every sync
//     process feeds it beside the one that answers (package syncer).
//  2. Filling. After that, so that all of it lies behind the start, a backfill of the whole dataset is put on the leader's desk,
//     and waited for. Its records reach both generations; in the one that answers they are the rows that it has.
//  3. Verifying. The generation is compared with the stores as `strata verify` does, every row, every cell, both ways, up to a
//     heartbeat that is committed after the backfill. A difference halts the rebuild.
//  4. Switching. Handover, then the generation is waited for until it has all that was claimed of the one before, then the
//     register says that it serves (law L4; index's doc.go has why no reader is deceived).
//
// The generation before is old then: nobody writes to it, and it stays until somebody drops it. There is no way back to it,
// as it stands still; a rebuild makes a third.
//
// # Why nothing older comes back (law L2)
//
// A generation that is built lacks the tombstones of rows that were deleted before its start. So an older image of such a row
// would raise it. None can come: capture's versions rise, all that was written before the start has a version at or below
// the generation's floor (the checkpoint's term and seq), and what is not above it never enters the generation, whether a dead
// letter's replay brings it or a dead leader's late record. What capture writes after the start about such a row (its backfill
// and repairs read the stores; a failover repairs every key that it sends again) is the same for both generations.
// A start is refused unless the leader of the checkpoint's term has opened each partition: then a record after the start that
// counts is of this term or of a later one, and none of them is kept out by the floor.
//
// # Changed columns
//
// The generation is made with the columns declared now. The one that answers keeps its own. It is not fed, as its sync
// is refused (rows and hashes are those of the new declaration); it stands still with an honest watermark, and the router does
// not read it (index.Generations.Fits): the stores answer until the switch. Capture must run with the new declaration
// before the rebuild begins, or the generation refuses records with other hashes and the rebuild halts.
//
// # Who runs it
//
// The process with role sync that applies the dataset: it looks at the register every second, knows whether the generation is
// fed, and works on the rebuild while it holds its lock (one runner). The lock only saves work: every write is a
// compare-and-set on the register, or idempotent. So a process that
// takes over after kill -9 goes on at the step that the note names. A backfill that was ordered just before a crash is found on
// the desk by its text. Orders of an operator are written into the same note.
//
// # Failure
//
// A server that is away is tried again. What another try can't mend (a backfill that failed, a difference, a generation
// whose sync stopped) halts the rebuild with a reason; Resume goes on with the step that halted, with a new backfill where
// that failed. Abort ends the backfill and drops the generation. Nothing of it touches the generation that answers.
//
// # What it does not do
//
// It doesn't change the number of a topic's partitions, and doesn't mend a topic: a dataset that capture has stopped is
// backfilled first. It never drops a generation by itself.
package rebuild
