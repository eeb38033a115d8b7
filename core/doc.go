// Package core is the double-entry ledger: accounts, transfers, entries, and the answers that are given for transfers.
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
// caller's. A poster applies the transfers of one lane (the one lane of this version: all accounts).
//
// # Guarantees (L8, L12)
//
//   - Debits equal credits per unit in every transfer. Transfers and entries are only ever inserted.
//   - An id has one answer for ever (as far back as the horizon): the same id with the same body gets the same answer,
//     with another body Conflict; a refusal stays a refusal. The body is the hash of every field.
//   - A transfer whose order time is older than the horizon is refused (too_old), because ids may be forgotten by then;
//     one that is ordered more than a day ahead of the clock too (too_early).
//   - Amounts are int64. A sum or a balance that doesn't fit is refused (overflow), never wrapped.
//   - An account with a minimum is never brought below it, or further below it.
//   - Nothing in an answer is told before the transaction that it speaks of is durable.
//
// # Order
//
// Transfers of one Post apply in their order, each to the balances that the one before it left; a refused one leaves no
// entry and changes no balance. Its id is remembered with the answer.
//
// # Failure
//
// An error of Post means that nothing is known about its transfers: post them again with the same ids. A transfer that
// the database itself can't take gets Failed, alone; nothing of it is stored.
//
// # Proofs
//
// Digest is one number for a ledger's whole content wherever its rows are now; Trial is the trial balance over the same
// rows: both take rows in any order and need memory for the accounts only.
//
// # What it does not do
//
// No limits, reservations or reversals yet; ids are not purged; no lanes side by side; it never reads old shards.
package core
