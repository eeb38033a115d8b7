// A story told through a client whose types come from the OpenAPI document of the server that it talks to.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.mjs";

type Transfer = components["schemas"]["Transfer"];
type Problem = components["schemas"]["Problem"];

const base = process.env["STRATA_URL"];
assert(base);
const api = createClient<paths>({ baseUrl: base });

const orderTime = "2026-11-22T08:00:00.000000Z";

function payment(id: string, amount: number | string, more: Partial<Transfer> = {}): Transfer {
  const legs = [
    { account: "1", unit: "CNY", amount: `-${amount}` },
    { account: 2, unit: "CNY", amount },
  ];
  return { id, kind: "payment", order_time: orderTime, legs, ...more };
}

// ended is a transfer that ends a reservation.
function ended(id: string, action: "confirm" | "cancel", of: string): Transfer {
  return { id, kind: "payment", order_time: orderTime, action, of };
}

function refused(problem: Problem | undefined, status: number, code: components["schemas"]["Code"]): Problem {
  assert(problem, `a problem ${status} ${code}`);
  assert.deepEqual([problem.status, problem.code], [status, code]);
  return problem;
}

async function post(body: Transfer, status: 200 | 201) {
  const { data, error, response } = await api.POST("/v1/transfers", { body });
  assert(data, JSON.stringify(error));
  assert.equal(response.status, status);
  return data;
}

async function balance(id: string): Promise<bigint> {
  const { data, error } = await api.GET("/v1/accounts/{id}", { params: { path: { id } } });
  assert(data, JSON.stringify(error));
  return BigInt(data.account.balance);
}

// Accounts.
const opened = await api.POST("/v1/accounts", {
  body: [
    { id: 1, name: "bank", unit: "CNY", side: "debit" },
    { id: "2", name: "user", unit: "CNY", min_balance: "0", metadata: { level: "gold" } },
  ],
});
assert.deepEqual(opened.data, { accounts: ["1", "2"] });
refused((await api.POST("/v1/accounts", { body: [{ id: 2, name: "somebody else", unit: "CNY" }] })).error, 409, "conflict");
assert.deepEqual((await api.GET("/v1/accounts", { params: { query: { limit: 1 } } })).data?.next, "1");

// Applied, replayed, conflict, refused. The amount is beyond what a JavaScript number holds.
const large = "9007199254740993";
const first = await post(payment("t1", large), 201);
assert.equal(first.outcome, "applied");
assert.deepEqual(first.balances?.map((b) => BigInt(b.balance)), [-9007199254740993n, 9007199254740993n]);
assert.deepEqual(await post(payment("t1", large), 200), { ...first, outcome: "replayed" });
refused((await api.POST("/v1/transfers", { body: payment("t1", 5) })).error, 409, "id_conflict");
const unbalanced = payment("t2", 5, { legs: [{ account: "1", unit: "CNY", amount: -5 }, { account: "2", unit: "CNY", amount: 4 }] });
assert.equal(refused((await api.POST("/v1/transfers", { body: unbalanced })).error, 422, "unbalanced").outcome, "refused");
const keyed = await api.POST("/v1/transfers", { body: ((t) => (delete t.id, t))(payment("", 7)), params: { header: { "Idempotency-Key": "k1" } } });
assert.deepEqual([keyed.response.status, keyed.data?.id], [201, "k1"]);

// A batch: order is kept, a chain stands or falls as a whole.
const batch = await api.POST("/v1/transfers/batch", {
  body: [
    payment("b1", 1),
    payment("b2", 1, { linked: true }),
    payment("b3", 1, { legs: [{ account: "3", unit: "CNY", amount: -1 }, { account: "2", unit: "CNY", amount: 1 }] }),
    payment("b1", 1),
  ],
});
assert.deepEqual(batch.data?.map((a) => [a.id, a.outcome, a.code]), [
  ["b1", "applied", undefined],
  ["b2", "refused", "linked_failed"],
  ["b3", "refused", "unknown_account"],
  ["b1", "replayed", undefined],
]);

// Try, confirm, cancel.
const before = await balance("2");
await post(payment("r1", 100, { action: "try", expires: "2026-11-23T08:00:00Z" }), 201);
await post(payment("r2", 50, { action: "try" }), 201);
const pending = await api.GET("/v1/reservations", { params: { query: { state: "pending" } } });
assert.deepEqual(pending.data?.reservations.map((r) => [r.id, r.transfer?.legs?.[1]?.amount]), [["r1", "100"], ["r2", "50"]]);
assert.equal(await balance("2"), before);
await post(ended("c1", "confirm", "r1"), 201);
await post(ended("c2", "cancel", "r2"), 201);
assert.equal(await balance("2"), before + 100n);
refused((await api.POST("/v1/transfers", { body: ended("c3", "confirm", "r2") })).error, 422, "already_ended");
assert.equal((await post(ended("c4", "cancel", "r3"), 201)).code, "null_cancelled");
refused((await api.POST("/v1/transfers", { body: payment("r3", 1, { action: "try" }) })).error, 422, "hung");
assert.equal((await api.GET("/v1/reservations/{id}", { params: { path: { id: "r1" } } })).data?.ended_by, "c1");
assert.equal((await api.GET("/v1/reservation-counts")).data?.counts["hung"], 1);

// A merchant's order.
await post(payment("o1", 3, { tenant: "shop", order: "4711" }), 201);
const order = await api.GET("/v1/orders/{tenant}/{order}", { params: { path: { tenant: "shop", order: "4711" } } });
const told = await api.GET("/v1/transfers/{id}", { params: { path: { id: "o1" } } });
assert(told.data);
assert.deepEqual(order.data?.transfers, [told.data]);
refused((await api.GET("/v1/orders/{tenant}/{order}", { params: { path: { tenant: "shop", order: "4712" } } })).error, 404, "not_found");

// A frozen account.
const path = { id: "2" };
assert.equal((await api.PATCH("/v1/accounts/{id}", { params: { path }, body: { state: "frozen" } })).data?.account.state, "frozen");
refused((await api.POST("/v1/transfers", { body: payment("f1", 1) })).error, 422, "account_frozen");
assert.equal((await api.PATCH("/v1/accounts/{id}", { params: { path }, body: { state: "open" } })).data?.account.state, "open");

// The accounting date.
const today = (await api.GET("/v1/day")).data?.date;
assert.equal(today, "2026-11-22");
assert.equal((await api.POST("/v1/day/cut", { body: { date: "2026-11-23" } })).data?.date, "2026-11-23");
refused((await api.POST("/v1/day/cut", { body: { date: today } })).error, 400, "invalid");

// Settings by compare-and-set; a rate is in force at once.
const now = await api.GET("/v1/settings");
const etag = now.response.headers.get("ETag");
assert(etag);
const settings = { rates: [{ name: "clients", key: "client" as const, per_second: 0.001, burst: 2 }] };
const header = { "If-Match": etag };
assert.equal((await api.PUT("/v1/settings", { params: { header }, body: { settings, reason: "test" } })).data?.number, (now.data?.number ?? 0) + 1);
refused((await api.PUT("/v1/settings", { params: { header }, body: { settings } })).error, 412, "version_changed");
await post(payment("l1", 1), 201);
await post(payment("l1", 1), 200);
const limited = await api.POST("/v1/transfers", { body: payment("l2", 1) });
refused(limited.error, 429, "rate_limited");
assert(Number(limited.response.headers.get("Retry-After")) > 0);
assert.equal((await api.POST("/v1/settings/rollback", { body: { reason: "too tight" } })).data?.settings.rates?.length, 0);
await post(payment("l2", 1), 201);

// What this ledger doesn't have, and what the form doesn't have.
refused((await api.GET("/v1/notice-counts")).error, 404, "not_configured");
const wrong = payment("w1", 1, { colour: "red" } as Partial<Transfer>);
assert.equal(refused((await api.POST("/v1/transfers", { body: wrong })).error, 400, "bad_field").field, "colour");

console.log("the story is told");
