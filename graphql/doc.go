// Package graphql is the router as a GraphQL API: one connection field per dataset, schema made from the datasets.
//
//	entry(filter: EntryFilter, order: [EntryOrder!], first: Int = 50, after: String, freshness: Freshness): EntryConnection
//	EntryConnection { edges { cursor node { …columns } } pageInfo { endCursor hasNextPage } served { … } }
//
// A filter has eq, ne, lt, le, gt, ge, in and isNull for every column, prefix and contains for character columns, and matches
// (words and "phrases", see package catalog) for a dataset's text columns.
//
// # Guarantees
//
//   - Numbers of a ledger stay exact: 64-bit integers are the scalar Int64, a JSON string of digits; DECIMAL is a string;
//     nothing passes through a float.
//   - A page is whole or an error; `served` says from where and how fresh. hasNextPage is known, not guessed.
//   - A condition is never dropped in silence: null inside a filter, by literal or by variable, is refused.
//   - Requests are bounded before validation (which is quadratic) and before anything runs: body 256 KiB, depth 10, 500
//     fields counted through fragments, 10,000 rows over all fields of a request. Introspection has limits of its own.
//   - Errors carry extensions.code (the fault's name) and extensions.hint; the text of an internal error is logged and not
//     shown. No input panics.
//
// # Order
//
// Handler: body limit, JSON, parse, limits, validate, execute. Only POST with a JSON body, so that another site's form
// can't ask.
//
// # What it does not do
//
// No mutations, no subscriptions, no joins between datasets, no aggregates yet; who may ask what comes with the front
// doors. Every page reads all columns: a cursor belongs to its columns, and clients change their selection. So a
// dataset with a masked column has no answer to matches here: only the index has words, and it has that column masked.
package graphql
