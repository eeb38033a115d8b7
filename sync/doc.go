// Package syncer carries the change records of the datasets' topics into the index; sync/verify proves the index against its
// sources. (The folder is sync; the standard library has that name.)
//
// # Applying
//
// One goroutine per dataset and partition: read records, filter, apply, send letters. One more per dataset claims what they
// have applied: refresh, write the watermarks, commit the offsets.
//
//   - Filter: canal.Gate drops records of a term below the highest `open` before them, before anything is counted. Then
//     numbers: not above the last, and not newer than it, is a duplicate and ignored; one more is next; anything else is a gap.
//   - Every change becomes an index.Document with version (term, seq), so applying again, in any order, changes nothing
//     (law L2). A stored version of a term that this partition has not come to is of what another process applied, or of what was
//     applied before and is read again; until its open is read nothing is claimed. Where the topic, as it was then, doesn't have that
//     open, it is not the one the index was made from: the dataset stops.
//   - Records come with or without Kafka Connect's schema, also mixed. An image may have other columns than the dataset, as its
//     table had: what it lacks is NULL, what the dataset lacks is not stored, and the row must then have the record's hash.
//   - Watermark (law L4): only at marks, which stand at the end of a transaction, and only when everything before the mark is
//     applied and a refresh that began after that has returned. Its version is the mark's, so an older one never replaces it.
//   - One refresh serves all claims that its dataset's partitions have handed in before it begins; those that come while it goes
//     on wait for the next. A partition that has read all that there is, is claimed at once, but an index rests between two
//     refreshes for as long as the last took, while there are documents for it; one with a backlog once a second, or after a tenth
//     of the time that it is behind, up to 30 s (the first time up to 5, so that a process that is ended again and again gets on),
//     and it waits itself when 32 batches are not claimed.
//   - Offsets are committed to Kafka last, for people and lag tools. On a start the watermark says where to read on: the
//     index is the truth.
//
// Order of writes: Apply, letters, Refresh, PutWatermark, Commit. A crash between any two repeats what came before it. Where a
// partition fails, what it has applied before is claimed first; a stop that was asked for leaves it, and it is applied again.
//
// # Outcomes of a document
//
// Applied or Newer: done, but for a stored version of an unknown higher term. Refused by the index (its 400, a text too large, an
// image that is no row), or a record whose key or value can't be read: it becomes a letter in the dataset's dead-letter topic,
// acknowledged by all replicas before the watermark passes it (law L3), with partition, offset, version, hash, and its value up to
// 8 MiB; package sync/dlq lists and ends letters, under one name however often a crash sends one. A dataset with more than 100
// letters that are more than a tenth of its documents, or with more than 10,000, since the process began or somebody resumed it,
// is declared wrongly: it stops and sends no more. An error of the whole batch: nothing is known, and it is applied again.
//
// # What is missing (law L3)
//
// A gap, an open that was never seen, or a resume that doesn't know what was applied freezes the partition's watermark, which
// names what is missing; documents are still applied, because their versions make that safe. So does a place that the topic
// doesn't have: records that are gone, or a topic made anew under the same name, which is known by its end, by the record before
// the place (it must be the mark from which the watermark was made), by an open that was not seen, or by numbers that begin
// anew under higher sequences. Then the topic is read from its oldest record on, and the stored watermark says so first.
//
// It stays frozen over restarts, until a resume says that everything before it was repaired from the source (or the dataset is
// loaded anew); the next mark stores the thawed watermark. A gap just before such a resume freezes again, and one that was
// found after the repair had begun (a mark lowered the claim) outlives it.
//
// A topic that was made anew has the whole source when its resume says so, but the deletes that went with the old one are in
// neither. So the watermark stays frozen until the index was looked through: keys of documents that live and are older than the
// new topic's first record go to the leader, and when it has answered for them and that was read, the next mark thaws it.
//
// With Tasks the repair is ordered from canal's desk, once for each gap: a rewind to the lowest frozen watermark's GTID; where
// that has failed (the binlog is gone), or no mark was ever applied, a backfill that says what it lacks. Not while a task of the
// dataset is open, nor while canal has it stopped, which has a repair of its own, nor before the partition was read to where its
// topic ended when it was seen frozen. A task that somebody ended is not ordered again.
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
// An index or a Kafka that is away is tried again from the stored watermark, with a pause that doubles up to 5 s. Anything
// else (a record strata did not write, an unknown shard, a login that is refused, an index that is missing or not strata's, too
// many letters) stops that dataset alone, with nothing committed beyond it (law L11); Stats and WaitFor say why and what to do.
// A stopped dataset is tried again once a minute, from its stored watermark, which changes nothing where the cause is still
// there; Resume tries it at once. What failed is shown until every partition has got through something.
//
// # Bounds, and who comes first (laws L9, L11)
//
// All batches in hand share a budget: each dataset has one of its own, which nobody else takes (32 MiB over all, a batch at most
// 2 MiB and at least 256 KiB of values), so one whose index hangs doesn't hold back others; 12 more are for whoever comes. Of those
// who wait for one of these, datasets that are live (watermark at most 10 s old) come before those with a backlog, which never
// get the last 3. Within a partition records stand in their order: a backfill's rows can't be overtaken there. A batch may be
// larger by one record. While a partition waits for room it holds only what its Feed has fetched, and its topic waits.
//
// # Several processes
//
// With a Board, a dataset is applied by one process at a time, by a lease of 10 s that is renewed every 2 s; each process takes
// at most its share (datasets by processes, rounded up), gives back what is more, and takes over what runs out. Nothing rests
// on it: two that apply the same partition, after a pause or while the board is away, write the same documents and watermarks
// with the same versions. Where the board is away, everybody goes on as it was, and a process that begins applies all.
//
// # What it does not do
//
// It never mints versions: what is missing is read and sent by canal's leader. It closes no letters.
package syncer
