package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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
	_ = p.cmd.Process.Kill() // it may have ended, and its number be another process's
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

// insistExec runs a statement that may meet the locks of those who are at work.
func insistExec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	var last error
	localtest.Eventually(t, runLimit, query, func() (bool, error) {
		_, last = db.ExecContext(t.Context(), query)
		return last == nil || !strings.Contains(last.Error(), "try restarting"), nil
	})
	if last != nil {
		t.Fatalf("%s: %v", query, last)
	}
}
