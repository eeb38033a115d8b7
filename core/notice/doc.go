// Package notice tells merchants of booked transfers, by HTTP, as well as it can: best effort by a schedule, signed, kept in
// the database over restarts, visible where it gave up. It also answers for merchants' order numbers, as the ledger does.
//
// # From event to delivery
//
// Writes, in this order; each is durable before the next:
//
//  1. Take: an event of the feed becomes one row of `notice` (key transfer_id, so a second time changes nothing).
//  2. Only then Feed.Done. An event that no target wants is only done; Stats counts it.
//  3. Claim: the row's next_at is moved to the end of a lease, with a token. Other processes see it as not due.
//  4. Send: one POST with the stored body.
//  5. Record: delivered (a 2xx answer) or the next attempt's time by the schedule or, after its last, given_up. A failure
//     is recorded only while the row's lease is still ours; a delivery always, unless the row was sent again by hand.
//
// A crash between 4 and 5 sends again when the lease is over: at least once, never at most once. Receivers tell copies by
// Strata-Id, which is the transfer's id on every attempt. Order is not promised. Times of next attempts and leases are the
// database's clock, so that processes with other clocks agree.
//
// # What the receiver gets
//
// A POST of application/json: {"id", "outcome", "accounting_date", "posted_at", "transfer"}; transfer is core.Transfer's JSON
// form (id, kind, order time, tenant, order, metadata, legs). A target with Accounts gets only the legs on these accounts,
// so that it doesn't learn whose money it was. The body is fixed when the event is taken; a new configuration changes URL and
// keys of what is pending, not its body. Headers:
//
//	Strata-Id         the transfer's id
//	Strata-Timestamp  seconds since 1970, when this attempt was signed
//	Strata-Signature  <key id>=<hex of HMAC-SHA256(secret, timestamp + "." + body)>, one per key, separated by commas
//
// A target has one key or, while it is rotated, two: both sign, the receiver checks the one it knows. Verify does that.
// An answer's body is read up to 4 KiB and not looked at, but for the first 160 characters of a failure, which are shown.
//
// # Bounds
//
// Only URLs of the configuration are called: https, or http on this machine's loopback, unless the target says AllowHTTP;
// no redirects, no proxy. Each target has its own Concurrency of senders, so a slow one holds up nobody else; connections
// are at most targets × Concurrency. An attempt ends after Timeout. What arrives for a target that is no longer configured
// fails by the schedule and is given up in the end: visible, not lost.
//
// # Failure
//
// Run goes on after a database or a feed that is away (fault.Unavailable, Busy, Timeout, Stale): it logs the first of such
// errors and counts all; others end it. A requested stop takes nothing more, waits for what is being sent (at most Timeout)
// and records it.
//
// # What it does not do
//
// It tells of booked transfers only: refusals were answered to the caller. It doesn't look at Retry-After, doesn't follow
// the receiver's wishes, and deletes delivered rows only when Purge is called.
package notice
