// Package mysql is the ledger on MariaDB or MySQL: lanes that post batches.
//
// Purpose: exactness on hot accounts at the speed of batches. Any number of callers hand their transfers over; what waits is
// merged into transactions of at most 500 transfers (more only for one longer chain, which is refused). Several processes
// may post to one database: they stay exact and wait for one another's locks.
//
// # Lanes
//
// Config.Lanes batches may be in flight, each on a connection of its own, all fed from one bounded queue (queue.go). A call
// goes to a lane as a whole, and only when none of the accounts that it names is in another lane's hands, nor named by an
// earlier call that still waits. So the calls of one account keep their order, a hot account has one lane at a time, and no
// lane waits for another's locks while there is other work. Accounts that a call does not name (of what it confirms,
// cancels, reverses) and other processes are kept apart by the database's locks alone. Another lane joins those at work only
// where enough waits: a larger batch is cheaper than a second one. A full queue is fault.Busy at once, with a
// *core.RetryAfter by the rate of the last second.
//
// # A batch, in its order of locks and writes
//
// Sessions are db's writers: READ COMMITTED, asserted, strict; a lane's don't commit by themselves, so that a transaction
// begins with its first statement. Everything is read under lock in the batch's transaction:
//
//  1. ids: INSERT IGNORE into transfer_id, sorted, refusals too, with an empty answer. Fewer rows than ids: read them
//     locked; a row with an answer was there before, and the transfer gets that answer (or Conflict by the body's hash).
//  2. day: accounting date, version of the settings, modes, in share mode; CutDay and PutSettings lock it exclusively.
//     So settings are in force from the next batch on, in every process. Compiled rules are kept by version.
//  3. reservations that a Try, Confirm or Cancel names; originals that a Reverse names, by their row in transfer_id, and what
//     was reversed of them.
//  4. uses of limits.
//  5. accounts, ascending by id, and the funds of those that have a strategy. Then core.Batch applies chain by chain.
//  6. inserts: transfer rows by shard of their order time, entry rows by shard of the accounting date.
//  7. accounts' sums, funds, uses, reservations, reversed amounts, merchants' orders, outbox, answers: a statement each, in
//     the order of their keys, and only where there is something to write.
//  8. COMMIT; only then is anybody answered.
//
// A row that was absent at 3 or 4 holds no lock, so it is only ever inserted at 7: if another process made it meanwhile, the
// duplicate key undoes the batch, and it is done again with that row in sight. So a limit's first use is never overwritten,
// and of a Try and a Cancel that race, the slower one sees the faster one's reservation or fence.
//
// A chain of linked transfers is never spread over batches. Of a chain of which some id was known before, what is fresh is
// refused (linked_failed).
//
// # Guesses
//
// So step 1's rows would be written twice. To spare that, a lane first guesses the answers from the account states that the
// last batches left and inserts the ids with them; day and accounts are then locked, in this order, by one statement. If it
// shows another state, version or mode, or an id was there, the transaction is rolled back and done as above. A guess that
// was right is what would have been written; answers always agree with what was read under lock. Batches that need
// reservations, originals, limits' uses or funds are not guessed.
//
// # Beside the batches
//
// SetState and SetBounds lock the account's mode row, then its own. ExpireReservations takes 50 at a time, with a batch's
// locks in a batch's order. PutSettings and RollBack write the version and the day's number in one transaction under the
// day's lock. Standing reads in one snapshot (REPEATABLE READ, tables that are never swapped). The outbox gets an event for
// each consumer in the transfer's own transaction; Done deletes it. PurgeIDs forgets ids that were posted and ordered
// before the horizon and core.Ahead, with what was reversed of them, ended reservations and fences of that age, and, on a
// walk of its own, merchants' orders without an id; a transfer of a forgotten id is too old to be booked again.
//
// # Shards that are not there
//
// A write that a fence refuses (1644 with db.FenceState), or that finds no table (1146) where strata_part, read locked in
// the same transaction, says released, goes to the late shard: those rows only, in the same transaction, since the refusal
// undoes its statement alone. Any other missing table is made and the batch done again. A shard is made only after it was
// seen missing and then strata_part was seen not saying released: release is committed before a table is dropped, so in
// this order a released shard can't come back empty. Nothing here sets @strata_token.
//
// # Failure
//
// Lock waits, deadlocks and lost connections: the whole batch again, at most 12 times within about 10 s. A commit whose
// answer was lost is such a case: the ids decide, because inserting them waits for the old transaction's end; reading
// would not. A batch that the server refuses for its data is halved between chains until the chain is alone, which gets
// core.Failed. Post's error means: not known, post again. A stop ends after the batches in flight; what still waits is
// refused. New refuses a server that may forget what it acknowledged, unless told, and the tables of an earlier version:
// they lack columns, in the archive too, and sums that would have to be made from all entries, wherever they are.
//
// # Text of statements
//
// Rows are written as literals by quote and its neighbours (text.go), as db's sessions would interpolate arguments anyway;
// a value per argument would cost an allocation for each of the 6,000 cells of a batch. Identifiers are db.Quote'd. A
// statement ends at about 2 MiB, the next one goes on.
//
// # What it does not do
//
// Modes other than RealTime: SwitchMode refuses them. It doesn't lead (two processes are lanes on the same accounts, slower
// than one), it doesn't sweep or purge by itself, it never reads an old shard.
package mysql
