// Package soak is a test of the way from the live database into the index as a whole: `strata serve` processes of canal, sync and
// router, a live database, a Kafka and an Elasticsearch (or the embedded index) that are killed, stopped and cut off at random
// under a random load. The program is only used as its users use it: by its commands, its GraphQL, and the documented form of what
// is in the index.
//
// What it proves:
//
//   - No document goes back, at any moment (law L2): a watcher reads the documents of hot keys by their ids in a loop, and judges
//     their version and their row's v. Watermarks don't go back either.
//   - At the end the index equals the tables: by `strata verify`, and by a comparison of its own.
//   - A reader that commits a row, and then searches at a position after it, sees that row (law L4).
//   - A topic that is read again from its beginning resurrects nothing.
//   - A topic that was deleted, made anew or cut is noticed and named; after capture's repair the index goes on.
//   - Whatever a bulk's answer is, nothing is lost and nothing is put in another order.
//
// What Elasticsearch shows by id before it has acknowledged it may be gone when it is killed. So a kill of it takes the watcher
// back to what it has seen below a watermark, and not further.
//
// A round is named by its seed. `make test` runs a few, `make soak` as many as it is told.
package soak
