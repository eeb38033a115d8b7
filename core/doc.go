// Package core is the double-entry ledger: accounts, transfers, entries, what hangs on them, and the answers that are given
// for transfers.
//
// Purpose: a team without a ledger of its own gets one whose tables the rest of strata keeps, moves and queries. The
// pipeline meets it only through its tables (tables.go).
//
// # Words
//
// A Transfer moves amounts between accounts by its Legs; legs sum to zero per unit. A positive amount is a credit, a
// negative one a debit; all are minor units. Each leg that is applied leaves one Entry; an account's entries are numbered
// from 1 without a hole and chained: balance_after of one is balance_before of the next. The order time says when the
// outside world ordered a transfer; the accounting date says on which day it was booked, and is the Ledger's, not the
// caller's. A chain is transfers that are Linked: applied as a whole or refused as a whole. An account's balance may be
// split by nature: where the money came from; a fund is one nature's share.
//
// # Guarantees (L8, L12)
//
//   - Debits equal credits per unit in every transfer. Transfers and entries are only ever inserted.
//   - An id has one answer for ever (as far back as the horizon): the same id with the same body gets the same answer,
//     with another body Conflict; a refusal stays a refusal. The body is the hash of every field.
//   - A transfer whose order time is older than the horizon is refused (too_old), because ids may be forgotten by then;
//     one that is ordered more than a day ahead of the clock too (too_early).
//   - Amounts are int64. A sum or a balance that doesn't fit is refused (overflow), never wrapped: balance, debits and
//     credits ever posted, balance with what is pending, what a limit counts.
//   - An account with bounds is never brought beyond them, or further beyond them. The minimum counts for what is available
//     (balance less pending debits), the maximum for what may come (balance and pending credits), both after the last leg.
//   - A limit, a reservation, a fund and the balances change in one transaction, or none does.
//   - Nothing in an answer is told before the transaction that it speaks of is durable.
//
// # Order
//
// Transfers of one Post apply in their order, each to the balances that the one before it left; a refused one leaves no
// entry and changes no balance. Its id is remembered with the answer. What refuses a transfer is looked for in this order:
// its own fields; its time; what it is of; per leg the account, its unit and state; switches; limits, in their order in the
// settings; natures, debits first; per leg overflow; bounds. The first names the code and the field.
//
// A chain is posted in one transaction; the one that breaks it has its own code, the others linked_failed. Ids of a chain
// that are known already get their remembered answers. If only some are known, or an id stands twice in the chain, or one
// can't be remembered, then the others are refused (linked_failed).
//
// # Try, confirm, cancel
//
// A Try reserves; it leaves no entry. Insert first: whatever comes first for its id makes the reservation's row, and the
// others find it.
//
//	reservation   Confirm                 Cancel                   Try
//	none          refused not_found       applied null_cancelled   applied
//	                                      (leaves a fence)
//	pending       applied                 applied                  id_conflict (its own id: replayed)
//	lapsed        refused lapsed          applied                  the same
//	confirmed     refused already_ended   refused already_ended    the same
//	cancelled     refused already_ended   applied, nothing to do   the same
//	expired       refused lapsed          applied, nothing to do   the same
//	fenced        refused already_ended   applied null_cancelled   refused hung, and counted
//
// A Confirm gives everything back that was reserved and books its legs, whole or in part; bounds and limits held when it was
// tried, so they do not refuse it, nor does a frozen account or a switch. Limits count at the Try; what is not confirmed is
// given back to the period that counted it, and a Cancel or an expiry gives the count back, too. Lapsed reservations hold
// what they hold until somebody cancels or expires them. A reservation without a time never lapses.
//
// # Reversal
//
// A Reverse books the opposite of an applied Post or Confirm, whole or per leg in part, never more than is left of each
// leg. It is bound by states, switches and bounds; limits neither count it nor get anything back. A Reverse is not reversed.
//
// # Natures
//
// An account with a Strategy has its balance split into funds: their sum is the balance, none is negative. A debit spends
// the natures in the strategy's order, as far as each may be spent for the operation and product; where there is enough in
// all but not of those, it is refused (nature_refused). It spends what was there before the transfer. What the debits of a
// unit spend is laid in a row, in the order of the legs, and the credits take it from there: a split account inherits the
// natures, money of an account that is not split gets the leg's nature, or else the strategy's default; money that goes to
// an account that is not split loses its nature. A nature that the receiver's strategy does not have is refused
// (unknown_nature).
//
// A partial Confirm spends what would have been spent first, and its credits inherit that. A Reverse takes from a credit the
// natures that it brought (RefundOnly is debited in no other way), or, where its account is not split, what its payers had
// laid there; the payers get that back, each what it spent, as far as there is some. So no reversal changes a nature, and a
// whole one restores every fund.
//
// # Limits
//
// A limit counts the debits of Posts and Trys in its unit: of each account; of the transfer's tenant (transfers without
// one are not counted); of the operation; of the ledger. A transfer without debits in the unit is not counted. Settings are
// read under lock by every batch, so a change is in force from the next one on.
//
// # Buffered accounts
//
// A Post's credit to a Buffered account becomes a row of the buffer, durable with the transfer, without a look at the
// account's row: so its maximum is not looked at, its answer has neither number nor balance, and a larger one (over 2^40) is
// booked at once. A merge turns rows into entries. A debit that lacks funds, and every debit of a split balance, waits for a
// merge; so the outside sees one account. Such an account holds at most 2^62.
//
// # Failure
//
// An error of Post means that nothing is known about its transfers: post them again with the same ids. A transfer that
// the database itself can't take gets Failed, alone (with its chain); nothing of it is stored.
//
// # Parts
//
// Batch is the pure heart: what some transfers do to rows that somebody else has read under lock. Memory, the model, shares
// its words and its checks of input, and no other code; coretest compares the two, and every real ledger, with each other.
//
// # Proofs
//
// Digest is one number for a ledger's whole content wherever its rows are now; Trial is the trial balance over the same
// rows: both take rows in any order and need memory for the accounts only. Replay keeps the entries and derives every
// balance, every before and after, and every fund again.
//
// # What it does not do
//
// No interest, no exchange rates: they are transfers that somebody else computes. It never reads old shards.
package core
