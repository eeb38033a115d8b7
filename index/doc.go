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
// # What it does not do
//
// It never sums money; it does not know Kafka or MySQL; it does not retry, but for what a server put off with "later", which
// its adapter sends again within stated bounds.
package index
