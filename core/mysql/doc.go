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
// # Posting modes
//
// An account's mode and state stand in its row and, once it has left RealTime, in its row of account_mode; day.modes counts
// those rows. A ledger in which it is 0 does nothing for modes: no statement more. Batches between accounts in RealTime are
// guessed in any ledger: their rows, locked exclusively, say their modes and states, too.
//
// The order of locks is: ids, day, reservations and originals, modes' rows ascending, uses, accounts ascending (inner accounts
// are below 0, so they come first), funds, rows of buffers; then inserts. A merge begins at the accounts and takes nothing
// before them. SwitchMode, SetState and SetBounds take the day, the mode's row exclusively, the account's places exclusively.
//
// A batch shares the modes' rows of its accounts to its end, and a switch, a freeze, a close and new bounds take the row
// exclusively; so they wait for the batches in flight, and what begins after them sees them. An account without such a row is
// guarded by its own row, which every batch in RealTime locks exclusively; so is its first switch: it inserts the mode's row
// under the exclusive lock of the day, when no batch is in flight (each shares the day), and none can have looked for that row
// in vain. At READ COMMITTED a search in vain locks nothing: without the day's lock, a batch that found no row could go on
// beside the switch. A switch that finds a row where there was none gives up and begins again; a batch that finds another mode
// in the account's row than in account_mode, too. What a switch does is idempotent: after a lost COMMIT it finds the mode.
//
// Buffered. Posts' credits go to buffer in the transfer's transaction; the account's row is read, not locked (of it only unit,
// state, strategy are looked at, which change under the mode's row), so that any number of lanes and processes credit at the
// same time, and the lanes' queue does not keep them apart. The answer has Seq 0 and no balance. Everything else locks the row
// as in RealTime. Where a debit lacks funds, where it spends natures, or where a credit is large (above 2^40), the batch
// begins again, reads the whole buffer under the account's lock, books it and goes on, in one transaction; a buffer of more
// than 10,000 rows is merged before. So a credit that was answered can be spent at once, and a refusal counts all that was
// committed before it. What is asked of the account is row and buffer in one statement. A max_balance can't be kept without
// the row's lock: such an account is not switched, nor does it get one (fault.Conflict). The account's sums keep half of 64
// bits free for what waits; beyond it the switch, or a credit, is refused.
//
// A merge locks accounts and funds, finds the ids of up to 2,000 rows without locking (only who has the account deletes any,
// and rows that are being inserted are not waited for), locks exactly these, writes their entries with before and after and
// natures, sets each balance once, and deletes exactly these rows, in one transaction. Run merges every Config.MergeEvery;
// MergeAll and Merge do it for jobs and for the day book; BufferLag and Stats show what waits.
//
// Dates. A row of the buffer has the accounting date, the times and the transfer of its posting, and so has its entry,
// whenever it is merged: a transfer's rows always agree. After CutDay nothing new comes for the earlier date, because every
// poster shares the day. The end of a day merges what is of that date or earlier, and freezes only when there is none; so no
// merge books on a frozen date. A merge checks it against day_balance and refuses (fault.Proof): it would be a row that
// somebody made by hand. Entries' numbers follow the merges, not the dates.
//
// SubAccounts. The account's places are its own row and up to 64 inner accounts, with ids from a block of 64 below 0 that is
// its own for ever: the first switch takes the next block under the day's exclusive lock. Entering moves what is available to
// the inner accounts in equal parts, leaving moves all back and closes them. A leg of a Post or Reverse goes to one inner
// account that nobody else has locked (SKIP LOCKED) and that can pay, so that lanes and processes don't wait for one another;
// all legs of a transfer on one account go to one place. Where none can pay, the batch locks all places, moves what lacks to
// one of them and pays from it, all in one transaction; only there a debit is refused, by the sum of all places. Each of these
// moves is a transfer of its own, of kind inner_rebalance, on the account as the outside knows it, with a row in transfer_id
// and entries on the places; consumers get no event of it. Its id is made of the transfer that needed it ("inner:" and a hash);
// if somebody took that id, the next attempt makes another. Try, Confirm, Cancel and expiry use the own row, where pending_debits
// stand with the money that covers them. With a min_balance of 0 or less a place alone pays down to 0 only, and one goes below
// only when no other is above: so the negative places never sum to less than the minimum, and a place that pays alone never
// breaks it. With a min_balance above 0 every debit locks all. Without one any place pays. Answers tell Seq 0 and no
// balance: it would be a place's. Balance, Standing and List sum the places in one statement; debits, credits and entries
// count the moves, too. Refused (fault.Conflict): an account with natures, with a max_balance, below its min_balance; a
// min_balance above what is available.
//
// Simple. A call of one unlinked Post between accounts that are all Simple, as this process saw last, runs beside the lanes,
// in a transaction of its own: ids, day, modes, then per account an UPDATE on condition of state, unit, bounds and room; what
// it left is read back, core.Batch derives entries and answer from it, and the same rows are written. Whatever else comes of
// it (a refusal, a limit's use, a mode or state that is another) is undone and done by a lane, which is always right: it locks
// the rows. So codes, answers and idempotence are the lanes', to the last number. At most 3 at a time.
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
// Lock waits (3 s each), deadlocks and lost connections: the whole batch again, at most 12 times. A commit whose
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
// It doesn't lead (two processes are lanes on the same accounts, slower
// than one), it doesn't sweep or purge by itself, it never reads an old shard.
package mysql
