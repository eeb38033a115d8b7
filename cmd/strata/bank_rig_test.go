package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"strata/core"
	"strata/local"
	"strata/local/localtest"
)

// soakRounds is how many rounds `make soak` wants, and from which seed on; the test is skipped where there are none.
func soakRounds(t *testing.T) (rounds int, seed uint64) {
	t.Helper()
	rounds, err := strconv.Atoi(os.Getenv("STRATA_SOAK_ROUNDS"))
	if err != nil || rounds < 1 {
		t.Skip("set STRATA_SOAK_ROUNDS; make soak")
	}
	seed, _ = strconv.ParseUint(os.Getenv("STRATA_SOAK_SEED"), 10, 64)
	return rounds, seed
}

// eachRound runs a round per seed, each as a test of its own, until one fails.
func eachRound(t *testing.T, round func(t *testing.T, seed uint64)) {
	t.Helper()
	rounds, first := soakRounds(t)
	for i := range rounds {
		seed := first + uint64(i)
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { round(t, seed) }) {
			return
		}
	}
}

// bank is a ledger behind processes of its own, `serve --roles=core` each, and what its clients sent and heard.
type bank struct {
	t       *testing.T
	seed    uint64
	maria   *local.Maria
	live    string // DSN of the ledger's database, without any proxy
	archive string
	control string  // schema
	db      *sql.DB // on live
	config  string  // of commands
	tellers []*teller
	client  *http.Client
	book    *book
	order   time.Time // the order time of what is posted
	units   int       // of its accounts
}

// bankSpec says what a bank needs beside the seed.
type bankSpec struct {
	maria   *local.Maria // nil: a private one, which may be killed
	tellers int
	via     string // host:port to reach the live database by; "": its own
	extra   string // of the configuration, beginning with keys of core
}

// coreKeys are in every bank's configuration: no job cuts the day behind the test's back.
const coreKeys = "ledger: true\nhttp: \"127.0.0.1:0\"\nheartbeat_ms: 200\ncore:\n  jobs: {end_of_day: \"off\", archive: \"off\", purge: \"off\", expire: every 1s}\n"

func newBank(t *testing.T, seed uint64, spec bankSpec) *bank {
	t.Helper()
	b := &bank{t: t, seed: seed, maria: spec.maria, book: newBook(), order: time.Now().UTC().Add(-time.Minute).Truncate(time.Microsecond)}
	if b.maria == nil {
		b.maria = localtest.Maria(t)
	}
	b.live, b.archive = localtest.Schema(t, b.maria), localtest.Schema(t, b.maria)
	control := localtest.Schema(t, b.maria)
	_, b.control, _ = strings.Cut(control, ")/")
	b.db = localtest.DB(t, b.live)
	b.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, ResponseHeaderTimeout: 15 * time.Second}}
	t.Cleanup(b.client.CloseIdleConnections)
	live := b.live
	if spec.via != "" {
		live = strings.Replace(live, b.maria.Addr(), spec.via, 1)
	}
	text := fmt.Sprintf("control: {dsn: %q}\n%s%s", control, coreKeys, spec.extra)
	b.config = configFile(t, b.live, b.archive, text)
	t.Cleanup(b.closing) // before the schemas go
	for i := range spec.tellers {
		b.tellers = append(b.tellers, &teller{b: b, name: fmt.Sprint("teller ", i), config: configFile(t, live, b.archive, text)})
	}
	if len(b.tellers) > 0 {
		b.ledger("list").want(t, 0) // the tables are there before two processes make them
	}
	for _, x := range b.tellers {
		x.start()
	}
	return b
}

// closing ends the processes and says, of a failed test, with which seed it ran and what they said last.
func (b *bank) closing() {
	for _, x := range b.tellers {
		x.kill()
	}
	if !b.t.Failed() {
		return
	}
	b.t.Logf("seed %d; %s", b.seed, b.book.counts())
	for _, x := range b.tellers {
		b.t.Logf("%s said:\n%s", x.name, x.tail())
	}
}

// ledger runs `strata ledger`.
func (b *bank) ledger(args ...string) result { return b.run("ledger", args...) }

func (b *bank) run(command string, args ...string) result {
	b.t.Helper()
	return strata(b.t, append([]string{command, "-c", b.config}, args...)...)
}

// check proves the ledger by its own means.
func (b *bank) check() {
	b.t.Helper()
	b.ledger("check").want(b.t, 0, "0 findings")
}

// random is a source of the bank's seed for one purpose.
func (b *bank) random(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(b.seed, purpose)) }

// teller is one serving process, which may be killed and started again.
type teller struct {
	b            *bank
	name, config string

	mu    sync.Mutex
	p     *process
	url   string // "" while it does not serve
	ended string // what the one before said last
	kills int
}

var serving = regexp.MustCompile(`msg=serving url=(\S+)`)

// begin starts the process and does not wait for it.
func (x *teller) begin(env ...string) *process {
	p, err := begin(context.WithoutCancel(x.b.t.Context()), env, "serve", "-v", "-c", x.config, "--roles=core")
	if err != nil {
		x.b.t.Fatal(err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.p, x.url = p, ""
	return p
}

// serves reports whether it answers, or has ended.
func (x *teller) serves() (ok, ended bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-x.p.ended:
		x.url = ""
		return false, true
	default:
	}
	if x.url == "" {
		if m := serving.FindStringSubmatch(x.p.err.String()); m != nil {
			x.url = m[1]
		}
	}
	return x.url != "", false
}

// start starts it until it serves; one that finds no database ends, and is started again.
func (x *teller) start() {
	b := x.b
	b.t.Helper()
	x.begin()
	var last string
	ok := b.await(runLimit, func() bool {
		ok, ended := x.serves()
		if ended {
			last = x.p.end().String()
			x.begin()
		}
		return ok
	})
	if !ok {
		b.t.Fatalf("%s does not serve; %s", x.name, last)
	}
}

// kill ends it by SIGKILL, paused or not, and waits until it is gone. It is an error if it has ended by itself.
func (x *teller) kill() {
	x.mu.Lock()
	p := x.p
	x.url = ""
	x.kills++
	x.mu.Unlock()
	if p == nil {
		return
	}
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	if r := p.end(); !r.killed {
		x.b.t.Errorf("%s ended by itself: exit %d: %s", x.name, r.code, lastLines(r.stderr))
	}
	x.mu.Lock()
	x.ended = lastLines(p.err.String())
	x.mu.Unlock()
}

func (x *teller) signal(sig syscall.Signal) {
	if err := x.p.cmd.Process.Signal(sig); err != nil {
		x.b.t.Errorf("%s: %v", x.name, err)
	}
}

func (x *teller) address() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.url
}

func (x *teller) tail() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ended
}

// lastLines are what a process said last, without what it says of every request.
func lastLines(text string) string {
	var out []string
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := len(lines) - 1; i >= 0 && len(out) < 25; i-- {
		if !strings.Contains(lines[i], "msg=audit") {
			out = append([]string{lines[i]}, out...)
		}
	}
	return strings.Join(out, "\n")
}

// await asks cond until it is true, and says whether it was within the limit.
func (b *bank) await(limit time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
	return true
}

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
