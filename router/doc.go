// Package router answers questions about a dataset whose rows lie in several places: live, an archive, the index.
//
// Purpose: one Query in, one stream of rows out, in one total order, with the proof of where it came from (Served).
//
// # Planning
//
// Every page and every stream begins with a fresh View. Per shard the filter is folded with the shard's time range; a
// shard that folds to false, or that lies wholly before the cursor, isn't asked. For each other shard the owning store is
// asked if an index of its table serves filter or order, or if all such scans of this query stay under ScanRows; else the
// search index, where there is one and the query isn't strong or a sum; else the store again while scans stay under
// StoreRows; else the query is refused before anything runs (fault.TooLarge). So one answer may come from all three.
//
// A Match (words of a text column) is answered by the index only, whatever stores could read: live and archive don't know words.
// Where the index may not answer (strong, a sum, a masked column named) or can't, the query is refused.
//
// A query that reads, filters, sorts or groups by a masked column is never answered by the index, which has other values
// there than the stores have: the answer would depend on who gave it (law L7).
//
// # Guarantees
//
//   - Every row is read from the one store that owns its shard, checked by the source in the snapshot that the row comes
//     from (law L5). A range that moves meanwhile makes fault.Stale, and the router plans again.
//   - The order is total: sort columns, then the key. The merge is streaming and checks that what it emits only rises; two
//     rows with equal order cells are fault.Proof: the key isn't unique over the shards.
//   - A source that fails before the first row makes a new plan without it; in mid-stream the answer goes on after the last
//     emitted row under a new plan. Strong streams and aggregates start again, and only before the first row was emitted.
//     At most 5 plans in a row without an emitted row.
//   - Next returns io.EOF only after everything (law L7). Every other end is an error, and Served.Complete is false.
//   - A cursor is signed and holds the query's hash, the last emitted order cells, the first page's position and an expiry.
//     Every page plans afresh, and every mutable source must have reached the first page's position.
//   - Sums are added as integers of any size, by the server per shard and here over shards; never by the index. A sum of a
//     money column needs its unit in GroupBy, or fixed by the filter (law L8).
//
// # Order of reads
//
// View, then costs, then sources in the fixed order of their names (so that two queries can't wait for each other's
// connections in a circle), then rows. The index's watermark is read before it is searched.
//
// # Bounds (law L9)
//
// Limits has them with their reasons. Memory holds one batch per source and one row, whatever the length of the answer;
// aggregates hold at most Limits.Groups groups.
//
// # What it does not do
//
// No joins, no expressions, no OFFSET; no transaction across servers: two stores' snapshots are taken one after the other.
// It doesn't cache views: a View without a new shard would make an answer short in silence. It knows no SQL: router/sql
// makes a Query from text, router/mysql and router/index are the Sources.
package router
