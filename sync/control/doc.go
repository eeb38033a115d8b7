// Package control is what sync keeps in the control database: its processes' Reports, and the verifier's Book.
//
// # The book
//
// Per index: who verifies and how far (sync_verifier, one row), what was found (sync_finding, one row a key) and the daily
// reports (sync_report, one row a day). OpenBook makes what is missing and alters nothing.
//
// Every write is one statement and its own transaction; no two of them need each other. The progress is stored only where
// its writer is the last that got the lease, so a verifier that was stopped for a while can't set back its successor's place.
// Findings and reports need no such condition: writing them twice, in any order, says the same. Times are the database's.
//
// A finding is unique by a hash of dataset, shard and key, which may be longer than an index takes. One that is found again
// while it is open keeps the time when it was found first; one that was settled is opened anew. Settled findings are
// forgotten after 90 days; reports stay.
package control
