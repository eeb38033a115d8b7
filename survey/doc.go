// Package survey reads a live schema and says what strata would make of it: which tables are the time shards of one
// dataset, which columns are its time, money, unit and account, and what can't be taken and why. `strata init` writes it as
// a strata.yaml with comments.
//
// Purpose: somebody with two hundred tables gets a configuration that `strata check-config` accepts at once, and that says at
// each choice why it was made and what to check.
//
// # What it reads
//
// information_schema, in a few statements for the whole schema; per candidate of a time column and shard the MIN and MAX of
// an index, or of at most 1,000 rows where no index begins with the column, in at most 12 shards of a dataset. It writes
// nothing. Values of rows are compared and dropped: none is in what it returns. Names, types and the labels of an ENUM are
// the schema's and are.
//
// # What it recognises
//
//   - shards: orders_202601 (month), log_20260105 (day; week, where there are two or more and all of them are Mondays),
//     audit_2026 (year), and a finer interval after a coarser one. The newest decides what the columns are. orders_late_1
//     belongs to them. One table with a date beside its plain name is a copy, not a shard.
//   - the time column of shards: never NULL, its values inside the range that the tables' names say. Of several, one that
//     is checked by an index goes before one that was sampled, then the better name.
//   - money: integers by name, with a unit column beside them; DECIMAL is named in a comment, for strata adds whole minor
//     units. Without a unit column the lines are a comment with the unit left open.
//   - account: account_id, user_id, customer_id, merchant_id, where an index begins with it.
//   - final states: only ever a comment.
//
// # What it refuses
//
// Tables without a primary key, with an inexact one, of an engine without transactions, system versioned, with a column type
// or a name that strata doesn't take; shards without a time column; a table with the plain name of shards. Each is named with
// its reason. Partitioned tables are taken as one table, and so is each table with a date in another form in its name, with a
// comment on what that means. Tables whose rows foreign keys change unseen are declared, but check-config refuses them until
// somebody has decided on that.
//
// What it does not do: decide. Every guess is marked, nothing is run, and it knows only what the login may see.
package survey
