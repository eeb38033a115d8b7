// Package across moves money between accounts of several ledger databases: a transfer is booked in all its ledgers or in none.
//
// Purpose: one ledger is one database, and its own transactions end at its border. A durable coordinator carries a transfer over
// that border by the two-phase transfers that every core.Ledger has: Try, Confirm, Cancel.
//
// # Words
//
// A Transfer has legs in two ledgers or more that sum to zero per unit over all. Its legs in one ledger are a share; a share is
// booked in its own database against the ledger's transit account of the unit, so that each database balances by itself. A
// ledger's transit account says what it has given to the others and not got back; over all ledgers the transit accounts of a
// unit sum to zero when nothing is in flight. Legs on transit accounts are allowed where they sum to zero among themselves:
// that is how ledgers settle.
//
// # Order of writes
//
// In the coordinator's database: `across`, a row per transfer, and `across_decision`, a row per decision. Each step is durable
// before the next begins.
//
//  1. begin: INSERT IGNORE into across: the id, the body's hash, the body with the transit accounts, state trying. A row that is
//     there with another hash: Conflict.
//  2. try: every ledger at once. No ledger's reservation has a timeout (Expires is zero).
//  3. decide: in one transaction, lock the gate in share mode (for a commit), lock the row of across, INSERT IGNORE the decision,
//     read it locked, and obey what is there. commit only if every Try was answered Applied or Replayed; abort if one was
//     Refused, a Conflict or Failed, with its code; no decision where a ledger did not answer.
//  4. carry out: Confirm or Cancel in every ledger at once.
//  5. done, with the ledgers' answers.
//
// Post answers when step 3 is durable and says by State whether 4 and 5 are done. Where they are not, Run does them. The caller
// of Post may go away at any time.
//
// # Recovery
//
// Run looks for transfers that are due: undecided for longer than the grace, or decided and not done. It inserts abort for the
// undecided, obeys what is there, carries it out. It never tries. A claim (compare-and-set on a counter) spares double work;
// nothing depends on it: coordinators may work on the same transfer at the same moment, since every step is either one insert
// that happens once, or a transfer inside a ledger whose id has one answer for ever. The ids are derived (IDs), so a
// coordinator that knows the row knows them.
//
// What is there after a crash, and what becomes of it:
//
//	nothing, or a row of across          posted again before the grace: goes on; else abort
//	some or all Trys                     the same: a Try alone decides nothing
//	commit, no, some or all Confirms     Confirm everywhere; Applied
//	abort, no, some or all Cancels       Cancel everywhere; Refused
//	done                                 the remembered answer
//
// What comes late does nothing: a Try after its Cancel meets the fence that the Cancel left (core: Hung); a Try, Confirm or
// Cancel that comes again is Replayed; a Cancel is never sent before abort is durable, a Confirm never before commit is.
//
// # Why no timeout
//
// A reservation that ends by itself could end between the decision and its Confirm: then one ledger has booked and the other
// can't. So only the decision ends it. The price: while the coordinator's database is away, what is reserved stays reserved.
//
// # A Confirm is not refused
//
// The Try has taken everything that could be refused: funds and room (pending debits and credits count), limits, natures. An
// account with something pending can't be closed, and a frozen one lets Confirm and Cancel through. Fields that only Confirm or
// Cancel carry are checked before the first Try. Its order time is the transfer's, or the decision's where the order is more
// than a day older, since a Try just within the horizon would have its Confirm beyond it. If a ledger refuses all the same
// (somebody ended the reservation by hand: ids with OwnPrefix are the coordinator's alone), the transfer stays in flight with
// the code at its Part, is logged as an error, counted as Stuck and tried again for ever: a person has to look.
//
// # Answers
//
// One id has one answer for as long as ids are kept, as in core: same body, same answer; another body, Conflict; a refusal stays.
// A refusal has the code of the ledger that refused, or of this package. The token in the decision tells Applied from Replayed.
//
// # Days
//
// Each ledger has its own accounting date, and cuts it for itself; a Confirm is booked on the date that its ledger has then. If
// ledgers are cut while a transfer is being confirmed, it is booked on one day here and on the next there, and that day's transit
// never nets to zero. A day d can be closed when
//
//	every ledger's open date is after d (nothing more is booked on it), and
//	no transfer is booked on d or before in one ledger and after d, or not yet, in another.
//
// Then the transit accounts' balances at the end of d sum to zero, and stay so. CutDay makes it hold: it closes a gate that every
// commit passes in share mode, so no commit is between its ledgers; carries out what is decided; checks that transit nets to
// zero; cuts every ledger; opens the gate. Ledgers go on with their own transfers all the while, Trys pass, only commits wait
// (Post for Config.Held, then Busy). A transfer decided before the gate is booked on the old day everywhere, one decided after it
// on the new day everywhere. Once the first ledger is cut the gate stays closed until the last one is, through crashes, too:
// CutDay is run again with the same date by its schedule. DayClosable checks any day, however it was cut, by the dates noted at
// the Confirms and, where there are Books, by balances.
//
// # What it does not do
//
// It does not convert units, confirm in part, or reverse: a reversal is a transfer of its own. It takes no locks in ledgers and
// no XA. Limits that match every account count transit accounts, too: name kinds or accounts in limits of such ledgers.
package across
