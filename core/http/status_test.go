package rest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"strata/core"
	"strata/fault"
)

// TestDocument_every_status_is_answered makes every operation give every status that the document has for it.
func TestDocument_every_status_is_answered(t *testing.T) {
	for _, o := range readSpec(t).all {
		for status := range o.raw["responses"].(map[string]any) {
			t.Run(o.name+"/"+status, func(t *testing.T) {
				want, _ := strconv.Atoi(status)
				if a := provoke(t, o, want); a.status != want {
					t.Errorf("%d %s", a.status, a.raw)
				}
			})
		}
	}
}

// provoke makes an operation give a status.
func provoke(t *testing.T, o operation, status int) answered {
	ledger := func(k fault.Kind) answered {
		r := newRig(t)
		r.stub.err = fault.New(k, "ask ledger", "it says so")
		return r.send(o, r.spec.anyBody(o))
	}
	r := newRig(t)
	body := r.spec.anyBody(o)
	switch status {
	case 400:
		return r.do(o.method, o.at()+"?nonsense=1", body)
	case 401:
		return newRig(t, authorize("", errors.New("no token"))).send(o, body)
	case 403:
		return newRig(t, authorize("eve", errors.New("not eve"))).send(o, body)
	case 404:
		if o.name == "getTransfer" {
			return r.do(o.method, "/v1/transfers/none", "")
		}
		if strings.HasPrefix(o.name, "getOrder") {
			return ledger(fault.NotFound)
		}
		return newRig(t, func(c *Config) {
			c.Cases, c.Notices, c.Vouchers = nil, nil, nil
			c.Ledger.(*stub).err = fault.New(fault.NotFound, "find", "none")
		}).send(o, body)
	case 412:
		r.stub.put = fault.New(fault.Conflict, "put settings", "version 8 is in force")
	case 413:
		return r.send(o, strings.Repeat(" ", maxBulk+1))
	case 415:
		return r.send(o, body, header("Content-Type", "text/plain"))
	case 428:
		return r.send(o, body, func(q *http.Request) { q.Header.Del("If-Match") })
	case 429:
		r.server.rates.set(1, []core.Rate{{Name: "none", Key: "client", PerSecond: 1, Burst: 3}})
		for range 3 {
			r.send(o, body)
		}
	case 500:
		return ledger(fault.Internal)
	case 503:
		return newRig(t, func(c *Config) { c.MaxRequests = 1 }).full(o, body)
	case 504:
		return ledger(fault.Timeout)
	}
	return provokePosted(t, r, o, status, body)
}

// provokePosted is for the statuses that are a transfer's.
func provokePosted(t *testing.T, r *rig, o operation, status int, body string) answered {
	posts := strings.HasPrefix(o.name, "post")
	switch {
	case status == 409 && posts:
		r.stub.post = answering(core.ConflictAnswer())
	case status == 409:
		r.stub.err = fault.New(fault.Conflict, "change", "it is different")
	case status == 422 && strings.HasPrefix(o.name, "getOrder"):
		r.stub.err = fault.New(fault.TooLarge, "answer order", "too many")
	case status == 422 && o.name == "postBatch":
		r.server.rates.set(1, []core.Rate{{Name: "one", Key: "operation", PerSecond: 1, Burst: 1}})
	case status == 422:
		r.stub.post = answering(core.Refuse(core.Unbalanced, "no"))
	case status == 200 && posts && o.name != "postBatch":
		r.stub.post = answering(core.Answer{Outcome: core.Replayed})
	}
	return r.send(o, body)
}

// full sends while one more request than allowed is there.
func (r *rig) full(o operation, body string) answered {
	r.server.now.Add(1)
	defer r.server.now.Add(-1)
	return r.send(o, body)
}

func authorize(client string, err error) func(*Config) {
	return func(c *Config) { c.Authorize = func(*http.Request) (string, error) { return client, err } }
}
