// Package rest is a core.Full as an HTTP API under /v1, described by the OpenAPI 3.1 document at /v1/openapi.json.
//
// Purpose: the ledger for programs in any language. What a transfer is and what becomes of it is core's; here is how it
// looks as JSON, who may ask, how often, and how much at once.
//
// # Form
//
// Account ids, amounts, balances and entry numbers are strings of digits in answers, so that no reader rounds them; requests
// may write them as JSON integers too. Times are RFC 3339 in UTC with microseconds, dates 2026-11-22. Lists are pages: next,
// where there is more, is what `after` takes.
//
// # Guarantees
//
//   - The transfer's id is the key of idempotency. An Idempotency-Key header must be equal to it, or is the id of a transfer
//     that has none. 201: applied now. 200: replayed, with the answer given then. 409: the id belongs to another body. 422:
//     refused, for ever, with core's code. Any other status: post the same again.
//   - A batch is an array of at most 500 transfers, posted in one call in its order; its answers come in the same order with
//     200. A batch with a mistake in its form is refused as a whole before anything is posted.
//   - Every error is application/problem+json (RFC 9457) with a stable `code`, the `field` that it is about, and for the
//     text of a body its offset, line and column. An unclassified error is logged under its `instance` and not shown.
//   - A body is read strictly: UTF-8, no unknown field, no name twice, nothing behind the value, no NUL, no half surrogate,
//     16 levels, numbers of 32 characters. Unknown query parameters are refused too. No input panics.
//   - What a handler answers is in the document, and what the document says is answered: a test goes both ways.
//   - Settings change by compare-and-set: If-Match holds the ETag of the version that the change was made from (412, 428).
//
// # Bounds
//
// Body 256 KiB (a batch and settings 4 MiB), bodies together 128 MiB, requests at once, time per request: what is beyond
// gets 413, 503 with Retry-After, 504. Rates of the settings are token buckets in this process, one per value of their key
// (account: each of a transfer's; tenant; operation: its kind; client): one token per transfer, a batch's all or none; 429
// with Retry-After. `client` counts every request, before its body is read, and each further transfer of a batch; requests
// for the settings and this document are free, so that no operator is locked out. A rate keeps at most MaxKeys buckets;
// those not asked for longest are forgotten first. Settings are looked at every Interval: a change is in force after that.
//
// # Security
//
// Authorize names the client or refuses. Without it only this machine is answered: a loopback address that was asked by a
// loopback name, so that no web page can ask through a browser. Bodies must be declared application/json, which another
// site's form can't. Audit is told of every request that could change something, after it was answered.
//
// # Order
//
// Requests at once, client, rate of the client, parameters, media type, body, form, rates of the transfers, ledger, audit.
//
// # What it does not do
//
// TLS, logins and roles (who wires it does), streams, CORS. It has no state but the buckets: several processes each have
// their own.
package rest
