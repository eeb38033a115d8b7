// Package verify proves the index against its sources: row by row, cell by cell, and the sums of money.
//
// Verify compares index and sources shard by shard, row by row, cell by cell, and the sums of money, computed here from what
// was read on each side. Rows of the sources are masked first, as capture masks them. A shard is read under its owner's
// snapshot (never longer than about 5 s, then a new one goes on after the last key); after the snapshot is open a heartbeat
// is committed on live, and the index is read once it has reached it. Both sides come in key order and are merged, so memory
// stays flat. A shard whose server orders keys differently from catalog.Compare (a collation) is compared by lookups in both
// directions instead. What differs may only have changed meanwhile: each such key is read again on both sides behind a new
// heartbeat, up to 5 times.
//
// # What it does not do
//
// It never repairs. It never mints versions. It doesn't judge the ledger's own sums.
package verify
