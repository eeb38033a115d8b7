// Package indexsource is the router's Source over the search index.
//
// Purpose: rows of some shards from the index, paged by search_after, with how far the index is.
//
// # Order of reads (law L4)
//
// The watermarks of all partitions are read before the first search; the answer's heartbeat is the lowest of them, and
// everything committed before that heartbeat is found. Later pages are searched later and so find at least as much, also
// where another generation of the index answers by then: package index sees to that.
//
// # Failure
//
// fault.Unavailable: a partition has no watermark yet, or, after Wait, the index is older than Bounded or AtLeast asks for,
// or it is frozen by a gap and a freshness was asked for (without one, a frozen index still answers, and its lag says so).
// Unavailable too: the generation of the index that answers was made for other columns (until a rebuild is through, the stores
// answer). Documents have no owner: the shards are those of the view; fault.Stale never comes from here.
//
// # What it does not do
//
// It never sums (law L8): a fetch with a sum is refused. Counts with GROUP BY are counted here from the rows.
package indexsource
