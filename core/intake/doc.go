// Package intake brings accounts, opening balances and past transfers from CSV files into a ledger.
//
// # Files
//
// UTF-8, with or without a byte order mark, LF or CRLF, fields quoted as RFC 4180 says, the first row names the columns, in
// any order. Columns in brackets may be missing, and their cells empty; a column that isn't known is an error.
//
//	Accounts    id, unit, [name, side, min_balance, max_balance, tenant, strategy, metadata]
//	Balances    account, unit, amount, [nature]
//	Transfers   id, kind, order_time, account, unit, amount, [nature, memo, business_date, tenant, order, product, metadata]
//
// Amounts are minor units ("1234"), or with Config.Decimal in major units of their unit ("12.34"): digits only, never
// rounded, never a float. Positive is a credit, negative a debit; a balance is credits less debits, so that of a debit-side
// account is usually negative. Times are "2006-01-02T15:04:05.999999Z" (any offset) or, in UTC, "2006-01-02 15:04:05.999999"
// or "2006-01-02".
//
// A balance is booked as one transfer "<Series>-<account>[-<nature>]" against the account of Config.Opening for its unit,
// ordered at midnight of Config.Date; 0 books nothing. Of transfers each row is a leg. The rows of one transfer are
// adjacent; what they say of the transfer (all but account, unit, amount, nature) is the first row's, the others repeat it
// or leave it empty.
//
// # Order: check, then post
//
// Check reads the whole file and writes nothing; it is the dry run. It names what is wrong by file, line, column and field,
// all at once (the first 50 in words): cells that can't be read, transfers that don't balance, an id that occurs twice, an
// account that isn't there or is in another unit (of the first 200,000 accounts; the ledger would refuse, and for ever).
// Import checks first and posts nothing of a file in which anything is wrong. Then it posts in the file's order, in batches
// of 500. Per batch: the ledger's answer, which is durable; the rejects, flushed; only then the mark. So the mark is never
// ahead of the rest.
//
// # Again and again
//
// Every id follows from the file, so what was posted before is a replay, and a file imported twice is imported once. A stop
// at any point, kill -9 too, is cured by the same call. Marks make that fast: a mark says how many rows of this content
// (SHA-256 of the file, with the settings that change what is posted) this ledger's database has. They are kept in that
// database itself (TableMarks), so that they can't speak of another one, and go back with it when it is restored.
//
// # What the ledger refuses
//
// One refused transfer or account doesn't stop the others: it is counted and written to Config.Rejects (line, id, code,
// field, message) with the ledger's code; account_conflict is an account that is there with other properties. A kill between
// rejects and mark may write the batch's rejects once more. Result.Check is an error where anything was refused, now or before
// a stop; the file's other rows are booked all the same, and stay.
//
// # Time
//
// With Config.Clock, which must be the ledger's Now, the past is booked as it was: the file is in order of its days
// (checked), the accounting date is cut to each day in turn and the clock stands at the batch's last order time; OpenDay is
// cut to at the end. A day that the ledger has left already can't come back: such transfers are booked on the open date, with
// their business date kept. Nobody else may post meanwhile. Without a Clock everything is booked on the open date by the
// ledger's own clock, and what is older than its horizon is refused (too_old).
//
// # Bounds
//
// A file is streamed. A row is at most 1 MiB, a file at most 20,000,000 rows: the check for ids that occur twice keeps 8
// bytes of each.
//
// # What it does not do
//
// Only plain postings: no reservations, reversals or linked transfers. It doesn't import concurrently: a file has an order.
package intake
