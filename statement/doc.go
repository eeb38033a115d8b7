// Package statement writes the account statement of a period, as CSV, with its proof.
//
// # The file
//
// RFC 4180, UTF-8, ten columns in every line:
//
//	line,date,seq,reference,order_time,unit,amount,balance,amount_minor,balance_minor
//	opening    one per unit: the balance before the period
//	entry      every entry by date, then seq, with the running balance of its unit
//	closing    one per unit: the balance at the period's end
//	proof      per unit: opening + entries = closing; then counts, sources with shards and epochs, the position
//	sha256     of all bytes before this line, in column date
//
// Amounts stand in major units with all digits of the unit, and again in minor units as the ledger holds them. A text that
// a spreadsheet would take for a formula gets an apostrophe before it; numbers stay.
//
// # Guarantees (law L8)
//
//   - Opening and closing are sums by the server over everything before the period's start and end, grouped by unit;
//     entries are read row by row. opening + entries = closing, in amount and in number, or the error is fault.Proof.
//   - Where the dataset has these columns: each entry's balance_before + amount = balance_after, seq has no hole from the
//     account's first entry on, and neighbours in seq join, the period's first entry with the opening balance.
//   - All reads are strong. Opening and closing are asked for again after the last entry: if they changed meanwhile, the
//     error is fault.Busy (somebody posts into the period), not a false proof.
//   - A file without its sha256 line is not a statement: it is written last, and only when everything held.
//   - Memory stays flat whatever the number of entries.
//
// # What it does not do
//
// It converts no units, it knows no locale, and it doesn't decide who may see the account.
package statement
