package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
)

// answering posts everything with one answer.
func answering(a core.Answer) func(context.Context, []core.Transfer) ([]core.Answer, error) {
	return func(_ context.Context, transfers []core.Transfer) ([]core.Answer, error) {
		out := make([]core.Answer, len(transfers))
		for i := range out {
			out[i] = a
		}
		return out, nil
	}
}

// payment is a transfer's text; rest goes before its end.
func payment(id, rest string) string {
	return `{"id":"` + id + `","kind":"payment","order_time":"2026-11-22T08:00:00.000000Z","legs":[{"account":"1","unit":"CNY","amount":"-100"},{"account":2,"unit":"CNY","amount":100}]` + rest + `}`
}

func TestPostTransfer(t *testing.T) {
	const path = "/v1/transfers"
	t.Run("applied is 201 with digits as strings", func(t *testing.T) {
		r := newRig(t)
		a := r.do(http.MethodPost, path, payment("t1", ""))
		want := `{"id":"t1","outcome":"applied","action":"try","code":"null_cancelled","message":"say \"why\" ☕","field":"legs[0].amount","balances":[` +
			`{"account":"9007199254740993","seq":"2","balance":"-5","amount":"-5","parts":[{"nature":"cash","amount":"-5"},{"nature":"bonus","amount":"0"}]},` +
			`{"account":"2","seq":"0","balance":"5","amount":"5"}]}`
		if a.status != http.StatusCreated || string(a.raw) != want {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if got := r.stub.posted[0]; got.Legs[0].Amount != -100 || got.Legs[1].Account != 2 || !got.OrderTime.Equal(newClock().now) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("replayed is 200", func(t *testing.T) {
		r := newRig(t)
		r.stub.post = answering(core.Answer{Outcome: core.Replayed, Balances: []core.Balance{{Account: 1}}})
		if a := r.do(http.MethodPost, path, payment("t1", "")); a.status != http.StatusOK || a.field("outcome") != "replayed" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	for name, c := range map[string]struct {
		answer core.Answer
		status int
		code   string
		field  string
	}{
		"conflict is 409":           {core.ConflictAnswer(), 409, "id_conflict", core.ConflictAnswer().Field},
		"refused is 422":            {core.Answer{Outcome: core.Refused, Code: core.BelowMinimum, Field: "legs[0]", Message: "no"}, 422, "below_minimum", "legs[0]"},
		"what can't be kept is 503": {core.Answer{Outcome: core.Failed, Code: core.NotStorable}, 503, "not_storable", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stub.post = answering(c.answer)
			a := r.problem(c.status, c.code, c.field, http.MethodPost, path, payment("t1", ""))
			if a.field("id") != "t1" || a.field("outcome") != c.answer.Outcome.String() || a.field("type") != "urn:strata:problem:"+c.code {
				t.Errorf("%s", a.raw)
			}
		})
	}
	t.Run("a full queue is 429 and says when to come again", func(t *testing.T) {
		r := newRig(t)
		r.stub.err = fault.New(fault.Busy, "post", "%w", &core.RetryAfter{After: 1200 * time.Millisecond})
		a := r.problem(429, "busy", "", http.MethodPost, path, payment("t1", ""))
		if a.header.Get("Retry-After") != "2" || fmt.Sprint(a.field("retry_after_ms")) != "1200" {
			t.Errorf("%v %s", a.header, a.raw)
		}
	})
	t.Run("an unknown fate is 503 and says to post the same again", func(t *testing.T) {
		r := newRig(t)
		r.stub.err = fault.New(fault.Unavailable, "commit", "the server went away")
		a := r.problem(503, "unavailable", "", http.MethodPost, path, payment("t1", ""))
		if !strings.Contains(fmt.Sprint(a.field("hint")), "post the same again") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("an answer too few is 500", func(t *testing.T) {
		r := newRig(t)
		r.stub.post = func(context.Context, []core.Transfer) ([]core.Answer, error) { return nil, nil }
		r.problem(500, "internal", "", http.MethodPost, path, payment("t1", ""))
	})
	t.Run("a batch is told where to go", func(t *testing.T) {
		newRig(t).problem(400, "bad_field", "", http.MethodPost, path, "["+payment("t1", "")+"]")
	})
}

func TestPostTransfer_names_what_is_wrong(t *testing.T) {
	good := payment("t1", "")
	for name, c := range map[string]struct{ body, code, field string }{
		"no JSON":                 {`{"id":`, "bad_json", "id"},
		"nothing":                 {"", "bad_json", ""},
		"trailing data":           {good + "{}", "bad_json", ""},
		"a field twice":           {payment("t1", `,"kind":"x"`), "bad_json", "kind"},
		"a field twice by escape": {payment("t1", `,"k\u0069nd":"x"`), "bad_json", "kind"},
		"a field twice in a leg":  {strings.Replace(good, `"unit"`, `"amount":"1","unit"`, 1), "bad_json", "legs[0].amount"},
		"NaN":                     {strings.Replace(good, `"-100"`, "NaN", 1), "bad_json", "legs[0].amount"},
		"a fraction":              {strings.Replace(good, `"-100"`, "-100.0", 1), "bad_field", "legs[0].amount"},
		"an exponent":             {strings.Replace(good, `"-100"`, "-1e2", 1), "bad_field", "legs[0].amount"},
		"a plus":                  {strings.Replace(good, `"-100"`, `"+100"`, 1), "bad_field", "legs[0].amount"},
		"65 bits":                 {strings.Replace(good, `"-100"`, `"9223372036854775808"`, 1), "bad_field", "legs[0].amount"},
		"a huge number":           {strings.Replace(good, `"-100"`, "1"+strings.Repeat("0", 99), 1), "bad_json", "legs[0].amount"},
		"null":                    {strings.Replace(good, `"-100"`, "null", 1), "bad_field", "legs[0].amount"},
		"deep":                    {payment("t1", `,"metadata":`+strings.Repeat(`{"a":`, 20)+"1"+strings.Repeat("}", 20)), "bad_json", "metadata" + strings.Repeat(".a", 15)},
		"no UTF-8":                {payment("t1", ",\"memo\":\"\xff\""), "bad_json", ""},
		"NUL":                     {payment("t1", `,"memo":"a\u0000"`), "bad_json", "memo"},
		"half a surrogate":        {payment("t1", `,"memo":"\ud83d"`), "bad_json", "memo"},
		"an unknown field":        {payment("t1", `,"amount":1`), "bad_field", "amount"},
		"another case":            {payment("t1", `,"Kind":"x"`), "bad_field", "Kind"},
		"an unknown action":       {payment("t1", `,"action":"steal"`), "bad_field", "action"},
		"a time that is none":     {strings.Replace(good, "T08", " 08", 1), "bad_field", "order_time"},
		"not an object":           {`"t1"`, "bad_field", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.problem(400, c.code, c.field, http.MethodPost, "/v1/transfers", c.body)
			field := "[1]"
			if c.field != "" {
				field += "." + c.field
			}
			switch {
			case c.body == "" || name == "trailing data":
				return
			case name == "deep":
				field = strings.TrimSuffix(field, ".a")
			case name == "no UTF-8":
				field = ""
			}
			r.problem(400, c.code, field, http.MethodPost, "/v1/transfers/batch", "["+payment("t0", "")+","+c.body+"]")
			if len(r.stub.posted) > 0 {
				t.Error("something was posted")
			}
		})
	}
	t.Run("a bad value with its place", func(t *testing.T) {
		a := newRig(t).problem(400, "bad_field", "legs[0].amount", http.MethodPost, "/v1/transfers", "{\n \"id\": \"é\",\n \"legs\": [{\"amount\": 1.5}]}")
		if a.field("offset") != parsed(t, []byte("36")) || a.field("line") != parsed(t, []byte("3")) || a.field("column") != parsed(t, []byte("22")) {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("with its place", func(t *testing.T) {
		a := newRig(t).problem(400, "bad_json", "kind", http.MethodPost, "/v1/transfers", "{\n \"id\": \"é\",\n  \"kind\": tru}")
		if a.field("offset") != parsed(t, []byte("25")) || a.field("line") != parsed(t, []byte("3")) || a.field("column") != parsed(t, []byte("11")) {
			t.Errorf("%s", a.raw)
		}
	})
}

func TestPostTransfer_key_of_idempotency(t *testing.T) {
	noID := strings.Replace(payment("t1", ""), `"id":"t1",`, "", 1)
	t.Run("is the id of a transfer that has none", func(t *testing.T) {
		r := newRig(t)
		for _, key := range []string{"k1", `"k1"`} {
			if a := r.do(http.MethodPost, "/v1/transfers", noID, header("Idempotency-Key", key)); a.status != 201 || a.field("id") != "k1" {
				t.Errorf("%d %s", a.status, a.raw)
			}
		}
	})
	t.Run("may be the same", func(t *testing.T) {
		if a := newRig(t).do(http.MethodPost, "/v1/transfers", payment("t1", ""), header("Idempotency-Key", "t1")); a.status != 201 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("is not another one", func(t *testing.T) {
		r := newRig(t)
		r.problem(400, "idempotency_key_mismatch", "id", http.MethodPost, "/v1/transfers", payment("t1", ""), header("Idempotency-Key", "t2"))
		r.problem(400, "idempotency_key_mismatch", "", http.MethodPost, "/v1/transfers/batch", "[]", header("Idempotency-Key", "t2"))
		r.problem(400, "idempotency_key_mismatch", "id", http.MethodPost, "/v1/cases/pay", `{"id":"t1","params":{}}`, header("Idempotency-Key", "t2"))
		if len(r.stub.posted) > 0 {
			t.Error("something was posted")
		}
	})
	t.Run("without any id the ledger refuses", func(t *testing.T) {
		r := newRig(t)
		r.do(http.MethodPost, "/v1/transfers", noID)
		if len(r.stub.posted) != 1 || r.stub.posted[0].ID != "" {
			t.Errorf("%+v", r.stub.posted)
		}
	})
}

func TestPostBatch(t *testing.T) {
	const path = "/v1/transfers/batch"
	batch := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, payment(fmt.Sprint("t", i), ""))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	t.Run("answers in order with 200", func(t *testing.T) {
		r := newRig(t)
		r.stub.post = func(_ context.Context, ts []core.Transfer) ([]core.Answer, error) {
			return []core.Answer{{Outcome: core.Applied}, core.Refuse(core.Unbalanced, "no"), {Outcome: core.Replayed}, {}}[:len(ts)], nil
		}
		a := r.do(http.MethodPost, path, batch(4))
		want := `[{"id":"t0","outcome":"applied"},{"id":"t1","outcome":"refused","code":"unbalanced","message":"no"},{"id":"t2","outcome":"replayed"},{"id":"t3","outcome":"failed"}]`
		if a.status != 200 || string(a.raw) != want {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("takes 500", func(t *testing.T) {
		r := newRig(t)
		if a := r.do(http.MethodPost, path, batch(maxBatch)); a.status != 200 || len(a.body.([]any)) != maxBatch || len(r.stub.posted) != maxBatch {
			t.Errorf("%d", a.status)
		}
	})
	t.Run("does not take 501", func(t *testing.T) {
		r := newRig(t)
		r.problem(413, "batch_too_large", "", http.MethodPost, path, batch(maxBatch+1))
		if len(r.stub.posted) > 0 {
			t.Error("something was posted")
		}
	})
	t.Run("of nothing asks nobody", func(t *testing.T) {
		r := newRig(t)
		if a := r.do(http.MethodPost, path, " [ ] "); a.status != 200 || string(a.raw) != "[]" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("keeps chains", func(t *testing.T) {
		r := newRig(t)
		r.do(http.MethodPost, path, "["+payment("a", `,"linked":true`)+","+payment("b", "")+"]")
		if !r.stub.posted[0].Linked || r.stub.posted[1].Linked {
			t.Errorf("%+v", r.stub.posted)
		}
	})
}

func TestGetTransfer_and_orders(t *testing.T) {
	r := newRig(t)
	if a := r.do(http.MethodGet, "/v1/transfers/a%2Fb", ""); a.status != 200 || a.field("id") != "a/b" || a.field("outcome") != "replayed" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	r.problem(404, "not_found", "id", http.MethodGet, "/v1/transfers/none", "")
	r.problem(400, "bad_parameter", "id", http.MethodGet, "/v1/transfers/"+strings.Repeat("x", 65), "")
	r.problem(400, "bad_parameter", "id", http.MethodGet, "/v1/transfers/%C3%A9", "")
	r.problem(400, "bad_parameter", "order", http.MethodGet, "/v1/orders/shop/%00", "")
	r.problem(422, "too_large", "", http.MethodGet, "/v1/orders/large/4711", "")
	if a := r.do(http.MethodGet, "/v1/orders/4711", ""); a.status != 200 || a.field("tenant") != "" || a.field("order") != "4711" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	a := r.do(http.MethodGet, "/v1/orders/shop/4711", "")
	list := a.field("transfers").([]any)
	if len(list) != 2 || list[0].(map[string]any)["outcome"] != "replayed" || list[1].(map[string]any)["outcome"] != "forgotten" {
		t.Errorf("%s", a.raw)
	}
}

func TestCase_is_posted_as_a_transfer(t *testing.T) {
	r := newRig(t)
	if a := r.do(http.MethodPost, "/v1/cases/pay", `{"id":"c1","params":{ "A" : [1] }}`); a.status != 201 || r.stub.posted[0].Metadata != `{"A":[1]}` || a.field("id") != "c1" {
		t.Errorf("%d %s %+v", a.status, a.raw, r.stub.posted)
	}
	r.problem(404, "not_found", "", http.MethodPost, "/v1/cases/none", `{"id":"c1","params":{}}`)
	r.problem(400, "bad_field", "params", http.MethodPost, "/v1/cases/pay", `{"id":"c1","params":[]}`)
	r.problem(400, "bad_field", "params", http.MethodPost, "/v1/cases/pay", `{"id":"c1"}`)
}

// A coordinator's ids are not a caller's.
func TestIDsOfACoordinatorAreRefused(t *testing.T) {
	r := newRig(t)
	r.problem(400, "bad_field", "id", http.MethodPost, "/v1/transfers", payment("x:1", ""))
	r.problem(400, "bad_field", "[1].id", http.MethodPost, "/v1/transfers/batch", "["+payment("t1", "")+","+payment("x:1", "")+"]")
}
