// Package load fills a ledger with seeded, realistic transfers: past months for the demo, the tests and the benchmarks,
// and a stream of today's transfers after them.
//
// Guarantees:
//   - Deterministic: equal Plans give equal rows in account, transfer, entry and transfer_id, posted_at and the accounting
//     dates too, because the clock and the days are the plan's. One poster, one batch after the other.
//   - The posting path is the ledger's own; a few transfers are refused, as in life.
//   - Resumable: after a stop at any point, kill -9 too, the same call goes on and ends with the same content. Ids carry
//     the transfer's number and batches are posted in order, so the first batch that is not there is found by bisection;
//     what was posted twice is a replay.
//
// Order: accounts, shards, then per day: CutDay, then its batches, each at a time of its own; at the end CutDay(To). The
// accounting date never goes back, and a batch that is posted again keeps the date that it was booked on.
//
// Failure: an id that belongs to another body ends the load (fault.Conflict): another plan filled this ledger. Errors of
// the ledger are handed up; call again.
//
// What it does not do: it doesn't purge ids while it runs (bisection needs them), and it isn't concurrent.
package load
