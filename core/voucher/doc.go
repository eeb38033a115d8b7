// Package voucher is the accounting that stands behind a ledger: rules in configuration turn booked transfers into balanced
// journal lines of subjects, later than the transfer, never lost and never twice. Cases in the same configuration turn
// parameters into transfers. A new kind of business needs a document, and no program.
//
// # Words
//
// A document (YAML or JSON, at most 256 KiB) has subjects, cases, rules and samples; testdata/shop.yaml is one with comments.
// A rule has a condition over a transfer's event and lines of subject, side, unit and amount; every rule that holds adds its
// lines, once or for each leg. A line's amount of 0 leaves it out, one below 0 changes its side. A case has typed parameters,
// named values and legs. Samples are events and cases with the lines that they must give; they run whenever a document is put.
// A version is a document with its author, reason and the accounting date from which it is in force.
//
// # The language
//
// Expressions are expr's, over whole numbers of 64 bits, texts and truth values. +, - and * see an overflow; mul_div(a, b, c,
// mode) and percent(amount, basis_points, mode) round once by floor, ceil, half_up or half_even; share(total, weights, i)
// splits without a rest; min, max, abs, neg, number(text). In rules: id, kind, action, of, tenant, order, product, memo, unit,
// amount (the credits in the first leg's unit), business_date, accounting_date, metadata (by name: texts; "" where there is
// none), legs and, in a rule for each leg, leg (index, account, unit, amount, nature); credits(unit), debits(unit), sum_of,
// credits_of and debits_of(account), subject_of(account), part(leg, nature); any, all, none, one, count over legs, one inside
// the other not. There is no division, no float, no clock, no other function: what would leave that is refused at compile, and
// so is a name that does not exist. An expression has at most 2000 bytes and 300 nodes.
//
// # Guarantees
//
//   - Every event of the feed gets exactly one voucher: booked with its lines, none (no rule is about it), or failed. A rule
//     that can't be computed for an event, or whose lines don't balance per unit, makes a failed voucher with rule, field and
//     reason, and nothing in the journal; the events beside it are booked. Retry asks the newer rules.
//   - The general ledger (sums by accounting date, subject, unit) and the counts by day change in the voucher's transaction.
//   - Exactly one version is in force on an accounting date: the newest whose date is not after it. A voucher that commits
//     after Put returned goes by the new versions. Vouchers keep the version that they were made by; versions are never
//     changed, and rolling back is a new one.
//   - A voucher keeps its event, so that everything can be derived again: Check names any row of voucher, journal,
//     general_ledger, voucher_day, voucher_rule, voucher_head that was changed by hand, in whatever column, and every subject
//     that is not the sum of its accounts' legs. Its hashes show accidents and hands, not somebody who makes new hashes.
//   - The same document, event or parameters give the same lines or legs, for ever.
//
// # Order
//
// One transaction a batch: share-lock the newest version's number, look which vouchers are there, insert vouchers, insert
// journal, add to the general ledger, add to the counts, commit; then end the events in the feed. Rows are locked in key order.
// A crash before the commit leaves nothing; after it, the event comes again and its voucher is there. Put locks the number
// exclusively. Who asks whether an event is lost reads the feed first, then the vouchers.
//
// # Failure
//
// A server that is busy or away is waited for. A batch that the database does not take is halved until the one event is found
// that it is, which becomes a failed voucher (not_storable). A version's row that was changed by hand stops the engine
// (fault.Proof): nothing is booked by rules that nobody put. A case that is asked again under newer rules may give another
// transfer, which the ledger answers with a conflict: ask with the version that the first attempt used, or keep the transfer.
//
// # What it does not do
//
// No closing of periods, no opening balances by year, no exchange differences, no numbering of vouchers without gaps. It does
// not read the ledger's tables: Checking.Ledger and DryRun.Source bring them.
package voucher
