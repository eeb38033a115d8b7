// Package daybook ends accounting dates, keeps their balances, draws up trial balances, and proves the whole ledger from its
// entries.
//
// Purpose: a closed day has numbers that do not change any more and that anybody can derive again; and a cent that was changed
// by hand, in whatever table, is found and its row is named.
//
// # End of day
//
// A date is closed once the day row says a later one: the cut waits for every batch that was posting on the date. EndOfDay
// then writes day_balance: for every account with an entry of the date its closing balance, its debits and credits as positive
// sums, and the number of its entries. The first date that is ever frozen also gets a row for every other account that has a
// balance; from then on an account's last row is its balance, and the dates have no gap: those between the last frozen one and
// the one asked for are frozen first. day_end has one row per date that is complete.
//
// What is booked late goes to the open date, with both dates kept; a day's report counts it by the business date that it
// missed. A buffered credit belongs to the date on which it was taken: EndOfDay asks the Merger until no buffer holds a credit
// of the date, and is fault.Busy, naming the accounts, where there is no Merger. Since such an entry can be numbered after
// entries of the next date, a closing balance is a sum by dates, never the balance after the day's last entry.
//
// Order of a date: merge; then per chunk of accounts, in one transaction at READ COMMITTED, lock the ownership of the date's
// tables in share mode (so that no archive run releases them), sum the entries, read the last balances, compare what is there,
// insert what is missing, commit; last the row of day_end. Nothing that posters need is locked. A crash anywhere leaves whole
// chunks, and the next run compares those and goes on. A run over a frozen date writes nothing and compares everything; what
// differs is named and never overwritten.
//
// Entries that have left the live database can't be summed here: a date that was frozen before is then not compared, one that
// was not is fault.Stale.
//
// # Trial balance
//
// TrialBalance streams a line per account and sums per unit: debits equal credits, and all closings sum to zero. A frozen date
// comes from the day balances; any other from the accounts less what was booked after it, with what waits in buffers; either
// in one snapshot. Memory does not grow with the accounts.
//
// # Check
//
// Check takes every row of the ledger once, in nearly any order, as of one moment. Per account it adds up while rows pass:
// balance, turnovers, pending amounts, funds, a chain of hashes over before and after, a sum over the frozen dates. What belongs
// to one transfer id meets on disk: the rows are spread by a hash of the id over unnamed files of Dir and read back a piece at a
// time, so that each transfer is compared exactly with its entries, its answer, its order, its reservation and its event; and the
// hash of the body that these rows tell with the remembered one, which covers kind, memo, metadata and the rest. Confirms and
// reversals meet their originals the same way. Last, the entries of accounts whose sums disagreed are looked at one by one.
//
// A finding names table, key, column, what should be there and what is. Where two rows contradict each other, a third says
// which is wrong; where there is none, both are named. One wrong cell may be named from several sides. At most 100 findings of
// a section are named, and as many accounts are looked at entry by entry; the rest is counted. Sections of others are added to
// the report.
//
// What can't be derived, and is not claimed to be: names, tenants, sides, bounds and metadata of accounts; the body of settings;
// the words of a refusal, and the body's hash of one; of a cancel, what it was; a nature that a credit named where it inherited
// its payer's, and with it that body's hash (such bodies are counted); late tries; the balance that was told with a buffered
// or reserved leg; the stamp of an order; uses of limits in past periods, and of limits that were not in force, counting alike,
// since the first posting of their period. Ids, orders and reservations from before Remembered may be gone. Rows of a date that
// is being frozen are not compared. Sums of an account are compared modulo 2^64, which a balance fits.
//
// Speed: about 100,000 entries a second and core; memory for the accounts (about 400 bytes each) and 48 MiB of rows.
//
// # What it does not do
//
// It repairs nothing, it cuts no day (core.Days), it schedules nothing (jobs), and it reads no archive: a Source does.
package daybook
