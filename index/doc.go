// Package index is the search copy of the datasets: the interface that every index fulfils, and the form of a document.
//
// Adapters: index/sqlite (embedded) and index/elastic (Elasticsearch 7.17). Both pass index/indextest, and give the same answers
// to the same searches (indextest.Same).
//
// # Document
//
// One document per row, id = physical shard and key (catalog.DocumentID). It carries a Version (term and sequence, minted
// by a capture leader only), the Hash of the row's image, the shard's physical name, and the row as the flat JSON object
// of the envelope's `after`. A deleted row leaves a document with Deleted set (a tombstone): searches and counts never see
// it, Get, Scan and Digests do, and it holds its version so that an older image can't come back, until Sweep removes it.
//
// # Order (law L2)
//
// Apply writes a document only if its version is greater than the stored one; otherwise the item's outcome is Newer, which
// is success. So batches may be applied again, in any order, any number of times. A stored version whose term is higher
// than the item's own is reported (Outcome.StoredVersion); the caller decides whether that term is known.
//
// # Visibility (law L4)
//
// What Apply wrote is durable when it returns, and searchable when the next Refresh of the same process returns. A watermark says how far the
// index is; the caller writes it only after Refresh, and a reader reads it before it searches. PutWatermark never goes
// back: an older one is ignored.
//
// # Generations
//
// A dataset may have several indices, its generations: one serves, another may be built beside it, old ones stay until
// somebody drops them. Generations is the Index over them, made of a Shelf, to which each is a dataset under a name of its own
// (StoredName). The Register, a small document that a Shelf replaces by compare-and-set, decides which one serves; every other
// sign of it (an alias for people) follows, and a step that a crash cut off is done by whoever calls it again. A dataset
// without a register has its first generation.
//
// A later generation begins at a place in the topic (Start) and holds what came after it. So it is whole only once all rows were
// sent anew after its start, and must not serve before somebody has proven that. Nothing older than its start can enter it
// (law L2): all records after the start have versions above its Floor, as a capture leader's versions rise, and Apply takes
// what is not above it for Newer, whoever brings it: a dead letter of before, which would raise a row that was deleted before
// the start and so has no tombstone here. What is above the floor comes into both generations and is ordered by its version.
//
// A watermark is claimed of a generation, and a search may go to another one: L4 must hold through a switch. Handover comes
// first: from then on a reader is told, per partition, the lower watermark of both. Who switches waits until the next
// generation has all that the one before had at the handover; what was claimed earlier isn't more than that, as a reader
// believes watermarks only if the register was the same before and after it read them. So what a process was told holds for
// each of its later searches, in either generation. A process learns of the switch by its next call of Watermarks; what it
// searches until then is not fed any more, and holds all that this process was told.
//
// A generation that was dropped while somebody reads it is an error there, upon which the search goes to the one that serves; a
// Scan ends with the error. A generation that serves, has a Start and has lost its watermarks was deleted by hand: Ensure
// refuses it, as what the topic has from its start on would claim rows that it lacks.
//
// # What it does not do
//
// It never sums money; it does not know Kafka or MySQL; it does not retry, but for what a server put off with "later", which
// its adapter sends again within stated bounds.
package index
