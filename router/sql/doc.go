// Package sqltext makes a router.Query from SQL text.
//
// The language is one SELECT over one dataset:
//
//	SELECT *|columns|columns, count(*) [AS name], sum(column) [AS name]
//	FROM dataset [AS alias]
//	[WHERE condition] [GROUP BY columns] [ORDER BY columns [ASC|DESC]] [LIMIT rows]
//
//	condition: AND, OR, NOT, XOR-free; column = <> != < <= > >= value (either side first), [NOT] IN (values),
//	[NOT] BETWEEN value AND value, IS [NOT] NULL, [NOT] LIKE 'text', 'text%' or '%text%',
//	MATCH (text column) AGAINST ('words and "phrases"')
//	value: string, number, DATE '…', TIMESTAMP '…', x'…', TRUE, FALSE
//
// Guarantees:
//   - What is not in the list is refused with fault.Invalid, which names the place (line and column where the parser knows
//     it, else the text) and, as hint, what is supported. Nothing is ignored in silence.
//   - Texts compare byte by byte, LIKE too: the router's way, not a collation's.
//   - MATCH is catalog's, whatever MySQL's own would find: all words and phrases must be there, in any order; no ranking.
//   - Values become canonical texts; whether they fit the column's type is the router's to say. x'ab' becomes the hex text
//     of a binary column.
//   - No input panics.
//
// It knows no dataset and runs nothing. The text is at most 64 KiB.
package sqltext
