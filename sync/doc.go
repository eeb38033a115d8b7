// Package syncer carries the change records of the datasets' topics into the index; sync/verify proves the index against its
// sources. (The folder is sync; the standard library has that name.)
//
// # Applying
//
// One goroutine per dataset and partition: read records, filter, apply, refresh, write the watermark, commit the offset.
//
//   - Filter: canal.Gate drops records of a term below the highest `open` before them, before anything is counted. Then
//     numbers: not above the last is a duplicate and ignored; one more is next; anything else is a gap.
//   - Every change becomes an index.Document with version (term, seq), so applying again, in any order, changes nothing
//     (law L2). A stored version of a term that this partition has not come to is of what another process applied, or of what was
//     applied before and is read again; until its open is read nothing is claimed. Where the topic, as it was then, doesn't have that
//     open, it is not the one the index was made from: the dataset stops.
//   - Records come with or without Kafka Connect's schema, also mixed. An image may have other columns than the dataset, as its
//     table had: what it lacks is NULL, what the dataset lacks is not stored, and the row must then have the record's hash.
//   - Watermark (law L4): only at marks, which stand at the end of a transaction, and only when everything before the mark is
//     applied and a refresh has returned. Its version is the mark's, so an older one never replaces it.
//   - Offsets are committed to Kafka last, for people and lag tools. On a start the watermark says where to read on: the
//     index is the truth.
//
// Order of writes: Apply, Refresh, PutWatermark, Commit. A crash between any two repeats what came before it.
//
// # Generations
//
// An index may have several generations of a dataset (index.Generations). The process that applies a dataset looks at its
// register once a second, and feeds the one that serves and the one that is built, each from its own watermarks and by its own
// readers of the topic, under the dataset's one share of memory. Stats and WaitFor are about the one that serves; offsets are
// committed, gaps mended and lag told for that one alone. A generation that is built begins at a place that follows no mark. One
// that stops does so alone. After a switch the new one is begun again from its watermark as the one that serves.
//
// # Failure
//
// A gap (law L3), an open that was never seen, or a resume that doesn't know what was applied freezes the partition's
// watermark, which names what is missing; documents are still applied, because their versions make that safe. It stays
// frozen over restarts, until a resume says that everything before it was repaired from the source (or the dataset is
// loaded anew); the next mark stores the thawed watermark. A gap just before such a resume freezes again.
//
// An index or a Kafka that is away is tried again from the stored watermark, with a pause that doubles up to 5 s. Anything
// else (a record strata did not write, a document that the index refuses, an unknown shard, an offset that is no longer
// there) stops that dataset alone, with nothing committed beyond it (law L11); Stats and WaitFor say why.
//
// # What it does not do
//
// It never repairs: gaps are named, not filled. It never mints versions.
package syncer
