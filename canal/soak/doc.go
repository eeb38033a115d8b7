// Package soak is a test of capture as a whole: two `strata serve --roles=canal` processes, a live database, a control
// database and a Kafka that are killed, stopped and cut off at random under a random load.
//
// What it proves, by a checker of its own that knows only the documented wire form: at the end the topics, replayed, equal
// the tables row by row; no image of a row is ever followed by an older one; the numbers of a partition have no hole.
//
// A round is named by its seed. `make test` runs a few, `make soak` as many as it is told.
package soak
