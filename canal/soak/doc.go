// Package soak is a test of capture as a whole: two `strata serve --roles=canal` processes, a live database, a control
// database and a Kafka that are killed, stopped and cut off at random under a random load.
//
// Beside the rounds there is a test for each thing that must be noticed, named, and mended as `strata canal status` says: a purged
// binlog, another server at the address, topics deleted, cut and recounted, rows changed unseen, a full disk, prepared transactions
// over restarts, DDL behind which capture lags, a leader that sleeps.
//
// What it proves, by a checker of its own that knows only the documented wire form: at the end the topics, replayed, equal
// the tables row by row; no image of a row is ever followed by an older one; the numbers of a partition have no hole.
//
// A round is named by its seed. `make test` runs a few, `make soak` as many as it is told.
package soak
