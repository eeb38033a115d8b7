// Package elastic is the index in Elasticsearch 7.17. It fulfils strata/index.
//
// # Layout
//
// One index per physical shard, named after it: <prefix>-<dataset>-<period>, strata-entry-202611 for entry_202611,
// strata-transfer-all for a dataset without shards. The alias <prefix>-<dataset> stands for all of a dataset, for people;
// <index>.write, one per index, is what strata writes to, and every write demands an alias: an index that was deleted by hand
// is an error and never made again by its next document. Each index's mapping says in _meta who made it, for which shard and
// columns. <prefix>.state (the alias of one small index) has a document for each dataset (its columns and partitions), for each
// shard that was ever made (with the UUID that Elasticsearch gave its index), and for each watermark. Ensure makes the indices of the current and the next period; another is
// made before its first document: the index with its aliases in one request, then its line in the state, then documents. So
// a shard that the state doesn't have has no document, and one that it has must be there. How many parts and copies an index
// gets is in the configuration; the state has one part. An index isn't sorted by its key: that doubled what a bulk costs.
//
// A later generation (index.Generations) is a dataset <dataset>.<n> of its own: <prefix>-<dataset>.<n>-<period> behind
// <prefix>-<dataset>.<n>, with its own lines in the state. The state has a document with the register, which alone decides
// which generation answers. The alias <prefix>-<dataset> follows it, in one request, for people: strata itself never searches
// it. A crash between the two leaves the alias behind until the switch is finished; a shard that is made meanwhile gets it by
// the register. A dataset that the state doesn't know while indices of later generations are there is refused.
//
// # Document
//
// Its _id is index.Document.ID, or for ids above Elasticsearch's 512 bytes <shard>/%sha256-<hex>. Its _version is the
// document's Version (version_type external). Its source is the row's JSON, byte for byte as it came, with one more key before
// the last brace:
//
//	"_strata":{"version":…,"hash":{"hi":…,"lo":…},"shard":"entry_202611","deleted":false,"long":["memo"],"k":{"fee":"10310"},"words":{"note":"付 款"}}
//
// hash is the halves of the row's hash, as signed numbers: Elasticsearch gives them with the order of a search, and Digests reads
// no source at all. Where the key's text can't be made from the values that it is sorted by (a DECIMAL, a date), "key" has it.
// Rows are read back from there, so every cell has its bytes. A tombstone without an image has its key columns and "bare".
// The mapping is `dynamic: false`, not strict: an image of a time when the table had other columns must go in whole; what is no
// column of the dataset stays in the source and is not searchable.
//
//	long                   integers whose 64 bits hold NULL apart: not nullable, or smaller; YEAR
//	keyword                character types, ENUM, SET, JSON, UUID, INET, and all that is hex
//	long _strata.k.<c>     dates and times, as digits in mixed radix (zero dates too); TIME as digits
//	text _strata.words.<c> the words of text columns, as catalog.AppendWords makes them; not in tombstones
//	keyword _strata.k.<c>  DECIMAL, FLOAT, DOUBLE, unsigned and nullable 64-bit integers, in a text that sorts as their values
//
// A column with a key under _strata.k isn't searchable by itself. NULL is a missing field: it sorts first ascending.
// Elasticsearch's own order of these fields is catalog.Compare's. The only analyzer is `whitespace`, which splits words at spaces.
//
// A text of more than 10,922 bytes may be more than a keyword holds (32,766 bytes). Its column is named in _strata.long, and it
// has no words. A filter takes such documents as candidates and judges them here, by catalog's own rules; an order by such a column is
// refused (fault.TooLarge) if any document found has such a text in it.
//
// # Order of writes (law L2)
//
// Apply checks every image here, as it must refuse what is no row, and sends bulks of at most 5 MiB and 2,000 documents.
// Each answer is matched to its request by position, id and index. 200, 201: Applied. 409: Newer; the stored versions are read at
// the end, and where somebody else wrote what is there, above all versions of strata, the document is Refused. 400: Refused, with Elasticsearch's reason. 429 of one document or of all, 5xx, no answer: those documents again,
// after a pause that doubles while nothing is taken, in bulks half as large (they grow again once most of one is taken); 413: in two halves, and a single document
// is Refused. After 8 tries without any progress Apply gives up as Unavailable; the versions make it harmless to apply
// the batch again, whatever had been written. The translog is synced before Elasticsearch answers.
//
// # Visibility (law L4)
//
// Indices refresh only when asked. Refresh asks for every index that this process has sent documents to since its last
// successful refresh (Newer ones too: their writer may have died before its own), and is an error unless each primary did it.
// Then it looks whether they, and every 10 s all of the dataset's, are still the indices that they were, by their UUIDs: no write
// fails on one that was deleted and restored from a snapshot, and the watermark would claim what is not in it.
// Watermarks are read and written by id, in real time, and versioned as documents are: an older one never replaces a newer one.
//
// # Reading (law L7)
//
// A search names its indices. It is refused if it timed out, or if any shard failed, was skipped or is missing from the
// answer; or if an index that the state has is missing or closed. A shard that this process doesn't know is looked up in the
// state at each search. A page is one request with a total order and search_after, whose values are made from cells, never from
// float64; Scan goes over one point in time, kept for 5 minutes after each request, and ends with an error where Elasticsearch
// has lost it. Digests reads the next page while the caller is busy with this one, each in a window of keys that is about as wide
// as a page (window.go): what Elasticsearch looks at for a page doesn't grow with the shard. A document that somebody wrote over
// one of strata's has no hash in Get, Scan and Digests, so that verify repairs it; without _strata it is in no search. One whose
// id isn't of the key in its columns is Foreign in Scan and Digests, and without a hash where Get is asked for it; a page of rows
// that has it is Unsafe. Where there is any such document in a shard, its Digests are as slow as a Scan.
//
// # Sweep
//
// By _delete_by_query, 5,000 tombstones a request, each by the sequence number that it was found with: what was written since is
// a conflict and stays. Elasticsearch itself remembers the version of what it deleted for 60 s only (index.gc_deletes).
//
// # Failure
//
// Denied: 401, 403. Unavailable: away, too busy, an index closed or read-only (full disk): it mends itself once the cause is
// gone, and the hint says which. Unsafe: an index that is gone, was restored or was not made by strata, an alias that was moved or
// stands for two, a mapping that contradicts the dataset, a translog that is not synced, another version than 7.17: a person must act. TooLarge: an answer above 256 MiB; a filter above 500
// conditions and words to match, 8 levels or 30,000 values; a text of more than 200 characters to look for inside others, or of more than 900
// bytes to compare by order or as a prefix (Elasticsearch makes automata of them). Internal: anything that it refuses besides.
//
// # What it does not do
//
// No ranking of what matches, no sums, no altering of mappings. It doesn't
// see that somebody changed a cell: `strata verify` does. A state that was restored alone claims less than there is, and what
// follows is applied again. It doesn't look at other pipelines'
// indices: two in one Elasticsearch have two prefixes.
package elastic
