// Package dlq is the datasets' dead letters: it sends them, lists them, and ends them.
//
// Purpose: what no index takes, or what was too large for the topic, is in strata.<dataset>.dlq, one partition, kept for ever,
// until somebody has decided what becomes of it. Letters and closings are only appended; the form is canal's (docs/wire.md).
//
// # Names and states
//
// A letter is named by its record's partition, offset and version (canal.LetterName), canal's own by its transaction or key, so
// one that a crash or a new term has sent twice is one. The topic is read in order: a letter opens its name, a closing closes
// it. The same letter after its closing stays closed where it is of a record (the same one, read again), and is open anew where
// it is canal's (the row was too large once more).
//
//   - open: it counts as a difference. Its version must not be forgotten: tombstones above the lowest open one stay.
//   - outdated: the index has a version that is not lower under the letter's id. Nothing is to be done; it needs no closing.
//   - replayed, dropped: closed by somebody, by name and reason.
//
// # Ending a letter
//
// Replay makes the document from the letter's value, or where it has none from the dataset's topic, and applies it with its own
// version: what is newer in the index stays (law L2). Applied or newer, and refreshed, it is closed; refused again it stays
// open with the new reason. Canal's letters have no row: their keys go into the leader's queue, and the letter is outdated once
// the index has what the leader reads; a row that is still too large comes as a letter again. Drop only closes.
//
// Order of writes: document, refresh, evidence, closing. A crash between any two leaves the letter open (or outdated), and the
// same command again does no harm.
//
// # Bounds
//
// A Book remembers of each letter name, key, version and reason, about 500 bytes, and goes on reading where it last ended; the
// values stay in the topic. Sync stops a dataset that sends more than 10,000 (package syncer). Of more than 200,000 in one topic
// the Book is refused (fault.TooLarge).
//
// # Failure
//
// A producer that has failed is given up and opened anew by the next Send. Letters that somebody deleted from the topic are
// counted in Listing.Lost and can't be known. fault.NotFound: there is no such letter, or the topic isn't there: none were sent.
package dlq
