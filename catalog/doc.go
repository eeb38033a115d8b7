// Package catalog is the vocabulary of data in strata: datasets, columns, cells, rows, keys, shards, ownership, views.
//
// # Cells and rows
//
// A cell is its canonical text, the same bytes whether it was read by SELECT (package db) or from the binlog (package
// canal/binlog); nil is NULL and an empty, non-nil slice is the empty string. The text by column type:
//
//	integers                digits, '-' first where negative
//	DECIMAL(p,s)            as declared: s digits after the point, "-" first, "0.50" with its leading zero
//	FLOAT, DOUBLE           shortest text that reads back to the same value (strconv 'g', -1, 32 or 64); a stored
//	                        negative zero is "0": MariaDB prints it so, MySQL doesn't
//	DATE                    2006-01-02 (zero dates as the server prints them)
//	DATETIME(n)             2006-01-02 15:04:05[.n digits], the wall clock that was stored
//	TIMESTAMP(n)            the same, in UTC
//	TIME(n)                 [-]HH:MM:SS[.n digits], HHH where above 99 hours
//	YEAR                    4 digits
//	CHAR, VARCHAR, TEXT     UTF-8
//	ENUM, SET, JSON         UTF-8 as the server prints it
//	UUID, INET4, INET6      as the server prints it
//	BINARY, VARBINARY, BLOB lower-case hex; BINARY(n) padded with 00 to n
//	BIT(n)                  lower-case hex of ceil(n/8) bytes, big endian
//	spatial                 lower-case hex of the server's internal form (SRID, WKB)
//	VECTOR                  lower-case hex of its bytes (little-endian floats), as BINARY
//
// A code that its character set gives no character is '?', as the server itself converts it.
//
// A Row is one arena with offsets: no allocation per cell, no `any`. Cells are compared by column type (Compare), never
// by text; NULL sorts first; character types compare as bytes.
//
// # Datasets and shards
//
// A Dataset is a logical table. Its physical tables are Shards: one per interval of a Scheme (a list of (from, interval):
// the interval may shrink in mid-life), or exactly one where it has no time column. Physical names:
//
//	day, week      <table>_20260131 (a week is named by its Monday)
//	month          <table>_202601
//	year           <table>_2026
//	late           <table>_late_<n>: always live, always read, range = all time
//	unsharded      <table>
//
// Time is an Instant: microseconds since 1970 UTC; DATE and DATETIME cells are read as UTC wall clock.
//
// # Masks
//
// A dataset may declare masks: columns whose values capture drops, hashes with a secret or cuts to their last four characters
// before anything leaves its process. A row's hash is then the masked row's, with NULL for what was dropped. Columns by
// which strata finds, orders, sums or judges rows can't be masked. The stores have the values unmasked, so the index is not asked where
// a query names such a column.
//
// # Words
//
// A dataset may declare text columns: an index finds rows by the words in them (Match). A word is letters and digits that run
// together, with their marks, at most 64 characters (what runs on is the next word), or one Chinese, Japanese or Korean
// character. Words are equal in Unicode's NFKC without case, so that ＡＢＣ is abc, ﾗｰﾒﾝ is ラーメン and STRASSE is straße;
// accents and voiced marks count: José isn't Jose. What isn't seen (joiners, soft hyphens, variants of a character) counts for
// nothing; all other signs stand between words, emoji too. Scripts without spaces besides those three, such as Thai, make one
// word of what runs together.
//
// A Match holds words and "quoted phrases", at most 100 words, all of which must be in the cell, in any order; the words of a
// phrase one after the other. Words that touch are a phrase without quotes: 付款, 付款ABC. AppendWords is the only place that
// tells what words are: indexes store what it makes. Its tables are those of the Unicode version that the program was built with.
//
// A text column has no mask: a query that names a masked column isn't answered by the index, and nothing else answers a Match.
//
// # Ownership
//
// Each store says in its own table strata_part which shards it owns (Part). Live owns every shard whose table it has
// and which it has not released (no row means owned at epoch 0); an archive owns only what its rows say is owned. A
// View is the merge of what all stores said: per shard the owner with the highest epoch. Two owners of equal epoch are
// an error; a shard that live has released and nobody owns is an error. A late shard and an unsharded dataset's table
// are always live's.
//
// # What it does not do
//
// It opens no connection and knows no server; db reads and writes strata_part.
package catalog
