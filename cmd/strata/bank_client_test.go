package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"strata/core"
)

// ask sends one request to a teller; status 0: there was no answer.
func (b *bank) ask(x *teller, method, path string, body []byte, header ...string) (status int, answer []byte) {
	url := x.address()
	if url == "" {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url+path, bytes.NewReader(body))
	if err != nil {
		b.t.Error(err)
		return 0, nil
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil
	}
	return resp.StatusCode, answer
}

// insist asks any teller until the status is one of those wanted, which may be several when a request is done twice.
func (b *bank) insist(method, path, body string, want ...int) []byte {
	b.t.Helper()
	var answer []byte
	var last string
	n := 0
	ok := b.await(runLimit, func() bool {
		n++
		status, got := b.ask(b.tellers[n%len(b.tellers)], method, path, []byte(body))
		last, answer = fmt.Sprint(status, " ", string(got)), got
		for _, w := range want {
			if status == w {
				return true
			}
		}
		return false
	})
	if !ok {
		b.t.Fatalf("%s %s %s: %s", method, path, body, last)
	}
	return answer
}

// reply is the answer for one transfer, however it was asked for.
type reply struct {
	ID, Outcome, Action, Code, Message, Field string
	Detail                                    string          // the message of a problem
	Balances                                  json.RawMessage // as it came
}

// said is what has to be the same whenever it is answered again.
func (r *reply) said() string {
	outcome := r.Outcome
	if outcome == "replayed" {
		outcome = "applied"
	}
	return strings.Join([]string{outcome, r.Action, r.Code, r.Message, r.Field, string(r.Balances)}, "|")
}

// booked reports whether it moved or reserved anything.
func (r *reply) booked() bool { return r.Outcome == "applied" || r.Outcome == "replayed" }

// balance is one of the answer's balances.
type balance struct {
	Account, Seq, Balance, Amount int64 `json:",string"`
}

func (r *reply) balances() (out []balance) {
	if len(r.Balances) > 0 {
		if err := json.Unmarshal(r.Balances, &out); err != nil {
			panic(fmt.Sprintf("%s: %v", r.Balances, err))
		}
	}
	return out
}

// post posts transfers in one request, again and again, to any teller, until each has an answer that is not an error. What
// was answered is in the book. nil: there was none within the limit.
func (b *bank) post(r *rand.Rand, transfers ...core.Transfer) []reply {
	path, body := "/v1/transfers", transfers[0].AppendJSON(nil)
	if len(transfers) > 1 || r.IntN(4) == 0 {
		path, body = "/v1/transfers/batch", []byte{'['}
		for i := range transfers {
			if i > 0 {
				body = append(body, ',')
			}
			body = transfers[i].AppendJSON(body)
		}
		body = append(body, ']')
	}
	var last string
	var out []reply
	ok := b.await(runLimit, func() bool {
		status, answer := b.ask(b.tellers[r.IntN(len(b.tellers))], http.MethodPost, path, body)
		out, last = b.read(status, answer), fmt.Sprint(status, " ", string(answer))
		if out == nil {
			b.book.again(status, answer)
		}
		return out != nil
	})
	if !ok {
		b.t.Errorf("no answer for %s within %s: %s", transfers[0].ID, runLimit, last)
		return nil
	}
	for i := range out {
		if err := b.book.note(transfers[i], out[i]); err != nil {
			b.t.Errorf("%v", err)
		}
	}
	return out
}

// read is what a response says of its transfers; nil: ask again.
func (b *bank) read(status int, answer []byte) []reply {
	var one reply
	var all []reply
	switch {
	case status == 200 && bytes.HasPrefix(answer, []byte("[")):
		if json.Unmarshal(answer, &all) != nil {
			return nil
		}
	case status == 200, status == 201, status == 409, status == 422:
		if json.Unmarshal(answer, &one) != nil || one.Outcome == "" {
			b.t.Errorf("%d %s", status, answer)
			return nil
		}
		if one.Detail != "" {
			one.Message = one.Detail
		}
		all = []reply{one}
	case status == 400, status == 413, status == 415, status == 500:
		b.t.Errorf("%d %s", status, answer)
	}
	for i := range all {
		if all[i].Outcome == "failed" {
			return nil
		}
	}
	return all
}

// book is what clients sent and heard.
type book struct {
	mu       sync.Mutex
	sent     map[string]core.Transfer // by id, the body that it belongs to
	heard    map[string]reply         // by id, the first answer for that body
	applied  map[string]bool          // by id, whether somebody heard applied
	statuses map[string]int           // answers that were no answers
	answers  atomic.Int64
	twice    int // answers that came again
	conflict int
}

func newBook() *book {
	return &book{sent: map[string]core.Transfer{}, heard: map[string]reply{}, applied: map[string]bool{}, statuses: map[string]int{}}
}

func (k *book) again(status int, answer []byte) {
	var p struct{ Code string }
	_ = json.Unmarshal(answer, &p) // none: it was cut
	k.mu.Lock()
	defer k.mu.Unlock()
	k.statuses[fmt.Sprint(status, " ", p.Code)]++
}

// note keeps an answer, and is an error if another one was given before.
func (k *book) note(t core.Transfer, r reply) error {
	k.answers.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	before, known := k.heard[t.ID]
	own := !known || sameBody(k.sent[t.ID], t)
	switch {
	case r.ID != "" && r.ID != t.ID:
		return fmt.Errorf("an answer for %s instead of %s", r.ID, t.ID)
	case r.Outcome == "conflict" && own:
		return fmt.Errorf("%s: its first body is a conflict: %+v", t.ID, r)
	case !own && r.Outcome != "conflict":
		return fmt.Errorf("%s: another body got %+v", t.ID, r)
	case !own:
		k.conflict++
		return nil
	case r.Outcome == "applied" && k.applied[t.ID]:
		return fmt.Errorf("%s was applied twice", t.ID)
	}
	k.applied[t.ID] = k.applied[t.ID] || r.Outcome == "applied"
	if !known {
		k.sent[t.ID], k.heard[t.ID] = t, r
		return nil
	}
	k.twice++
	if before.said() != r.said() {
		return fmt.Errorf("%s was answered\n%s\nand then\n%s", t.ID, before.said(), r.said())
	}
	return nil
}

func sameBody(a, b core.Transfer) bool { return a.Hash() == b.Hash() }

func (k *book) counts() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	by := map[string]int{}
	for _, r := range k.heard {
		by[strings.TrimSpace(strings.Replace(r.Outcome, "replayed", "applied", 1)+" "+r.Code)]++
	}
	return fmt.Sprintf("%d ids: %v; %d answered again, %d conflicts; tried again after %v", len(k.heard), by, k.twice, k.conflict, k.statuses)
}
