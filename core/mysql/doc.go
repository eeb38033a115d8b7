// Package mysql is the ledger on MariaDB or MySQL: one lane that posts batches.
//
// Purpose: exactness on hot accounts at the speed of batches. Any number of callers hand their transfers to one writer;
// what waits is merged into one transaction of at most 500 transfers. Several processes may post to one database: they
// stay exact and wait for one another's locks.
//
// # A batch, in its order of locks and writes
//
// Sessions are db's writers: READ COMMITTED, asserted, strict. Everything is read under lock in the batch's transaction:
//
//  1. ids: INSERT IGNORE into transfer_id, sorted, refusals too, with an empty answer. Fewer rows than ids: read them
//     locked; a row with an answer was there before, and the transfer gets that answer (or Conflict by the body's hash).
//  2. day: the accounting date, locked in share mode; CutDay locks it exclusively.
//  3. accounts: locked ascending by id, then the transfers applied in their order to what was read (core.Book).
//  4. inserts: transfer rows by shard of their order time, entry rows by shard of the accounting date.
//  5. accounts' new balances, and the answers, one statement each.
//  6. COMMIT; only then is anybody answered.
//
// # Guesses
//
// So step 1's rows would be written twice. To spare that, the lane first guesses the answers from the account
// states that its last batch left and inserts the ids with them; if a lock then shows another state, or an id was there,
// the transaction is rolled back and done as above. A guess that was right is what step 5 would have written; answers are
// always made from what was read under lock.
//
// # Shards that are not there
//
// A write that a fence refuses (1644 with db.FenceState), or that finds no table (1146) where strata_part, read locked in
// the same transaction, says released, goes to the late shard: those rows only, in the same transaction, since the refusal
// undoes its statement alone. Any other missing table is made and the batch done again. A shard is made only after it was
// seen missing and then strata_part was seen not saying released: release is committed before a table is dropped, so in
// this order a released shard can't come back empty. The lane never sets @strata_token.
//
// # Failure
//
// Lock waits, deadlocks and lost connections: the whole batch again, at most 12 times within about 10 s. A commit whose
// answer was lost is such a case: the ids decide, because inserting them waits for the old transaction's end; reading
// would not. A batch that the server refuses for its data is halved until the transfer is alone, which gets core.Failed.
// Post's error means: not known, post again. A stop ends after the batch in flight; what still waits is refused.
//
// # Text of statements
//
// Rows are written as literals by quote and its neighbours (text.go), as db's sessions would interpolate arguments anyway;
// a value per argument would cost an allocation for each of the 6,000 cells of a batch. Identifiers are db.Quote'd.
//
// # What it does not do
//
// It doesn't purge ids, it doesn't lead (two processes are two lanes on the same accounts, slower than one), it never
// reads an old shard.
package mysql
