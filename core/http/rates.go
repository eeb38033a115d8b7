package rest

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"strata/core"
)

// maxKey is how much of a key's value counts, in bytes: what is longer is no name that the ledger takes.
const maxKey = 64

// rates are the buckets of the rates in force.
type rates struct {
	limit int // buckets per rate

	mu     sync.Mutex
	number int64 // the settings' version
	all    []*buckets
	asked  []*bucket // of one take; kept for its memory
}

// buckets are those of one rate, in two generations: when the younger one has half of the limit, the older one is forgotten.
type buckets struct {
	rate       core.Rate
	young, old map[string]*bucket
}

type bucket struct {
	tokens *rate.Limiter
	of     *buckets
	want   int // tokens, in the take under way
	paid   int // of them, those that the request has taken already
	last   int // the transfer that asked last, from 1
}

func newRates(limit int) *rates { return &rates{limit: limit} }

func (r *rates) version() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.number
}

// set puts a version's rates in force. A rate that goes on keeps its buckets, so that a change gives no fresh burst. An
// older version than the one in force, read by somebody slow, is ignored.
func (r *rates) set(number int64, next []core.Rate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number < r.number || number == r.number && len(next) == len(r.all) {
		return
	}
	var all []*buckets
	for _, n := range next {
		b := &buckets{young: map[string]*bucket{}}
		for _, o := range r.all {
			if o.rate.Name == n.Name && o.rate.Key == n.Key {
				b = o
			}
		}
		b.rate = n
		all = append(all, b)
	}
	r.number, r.all = number, all
}

// take takes tokens from all buckets, or from none: with no transfers one for the client; with transfers one for each of
// them, the client's first one being the one that was taken without.
func (r *rates) take(now time.Time, client string, transfers []core.Transfer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return nil
	}
	r.asked = r.asked[:0]
	for _, b := range r.all {
		r.ask(now, b, client, transfers)
	}
	var refused *problem
	for _, b := range r.asked {
		if p := b.short(now); p != nil && (refused == nil || p.wait == 0 || refused.wait > 0 && p.wait > refused.wait) {
			refused = p
		}
	}
	for _, b := range r.asked {
		if refused == nil {
			b.tokens.AllowN(now, b.want-b.paid)
		}
		b.want, b.paid, b.last = 0, 0, 0
	}
	if refused != nil {
		return refused
	}
	return nil
}

// ask notes what one rate is asked for.
func (r *rates) ask(now time.Time, b *buckets, client string, transfers []core.Transfer) {
	if b.rate.Key == "client" {
		for i := range max(1, len(transfers)) {
			r.one(now, b, client, i).paid = min(1, len(transfers))
		}
		return
	}
	for i := range transfers {
		t := &transfers[i]
		switch b.rate.Key {
		case "tenant":
			r.one(now, b, t.Tenant, i)
		case "operation":
			r.one(now, b, t.Kind, i)
		case "account":
			for _, l := range t.Legs {
				r.one(now, b, strconv.FormatInt(l.Account, 10), i)
			}
		}
	}
}

func (r *rates) one(now time.Time, of *buckets, key string, transfer int) *bucket {
	b := of.find(now, key[:min(len(key), maxKey)], r.limit)
	if b.last == transfer+1 {
		return b // another leg of the same transfer
	}
	if b.want == 0 {
		r.asked = append(r.asked, b)
	}
	b.want++
	b.last = transfer + 1
	return b
}

// find returns a key's bucket, a full one for a key that is new or was forgotten.
func (b *buckets) find(now time.Time, key string, limit int) *bucket {
	found, ok := b.young[key]
	if !ok {
		if found, ok = b.old[key]; !ok {
			found = &bucket{tokens: rate.NewLimiter(rate.Limit(b.rate.PerSecond), b.rate.Burst), of: b}
		}
		if len(b.young) >= max(1, limit/2) {
			b.young, b.old = map[string]*bucket{}, b.young
		}
		delete(b.old, key)
		b.young[key] = found
	}
	if found.tokens.Limit() != rate.Limit(b.rate.PerSecond) {
		found.tokens.SetLimitAt(now, rate.Limit(b.rate.PerSecond))
	}
	if found.tokens.Burst() != b.rate.Burst {
		found.tokens.SetBurstAt(now, b.rate.Burst)
	}
	return found
}

// short says why the bucket can't give what is wanted now; nil: it can.
func (b *bucket) short(now time.Time) *problem {
	name := "rate " + strconv.Quote(b.of.rate.Name) + " (" + b.of.rate.Key + ")"
	if b.want > b.tokens.Burst() {
		return &problem{status: http.StatusUnprocessableEntity, code: "over_burst", hint: "post smaller batches",
			detail: name + " lets " + strconv.Itoa(b.tokens.Burst()) + " pass at once, the request asks for " + strconv.Itoa(b.want)}
	}
	missing := float64(b.want-b.paid) - b.tokens.TokensAt(now)
	if missing <= 0 {
		return nil
	}
	seconds := math.Min(missing/b.of.rate.PerSecond, 3600) // also where the rate is 0
	return &problem{status: http.StatusTooManyRequests, code: "rate_limited", detail: name + " is used up",
		wait: max(time.Millisecond, time.Duration(seconds*float64(time.Second)))}
}
