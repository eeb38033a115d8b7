package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/core"
	"strata/core/daybook"
	coremysql "strata/core/mysql"
	"strata/core/notice"
	"strata/core/voucher"
	"strata/jobs"
	"strata/local/localtest"
)

// servedPoints are the crash points of what `serve --roles=core` runs that a short load meets.
func servedPoints() []string {
	all := slices.Concat(coremysql.CrashPoints(), coremysql.MoreCrashPoints(), coremysql.ModeCrashPoints(), voucher.CrashPoints(), notice.CrashPoints(), jobs.CrashPoints())
	return slices.DeleteFunc(all, func(p string) bool {
		return slices.Contains(commandPoints(), p) || slices.Contains(elsewhere(), p)
	})
}

// commandPoints are those that an operator's command meets.
func commandPoints() []string {
	return append(daybook.CrashPoints(), "voucher.before_put", "voucher.after_put", "voucher.before_retry", "voucher.after_retry")
}

// elsewhere are those that only time brings, which their own rooms crash at: a job that runs for long, ids beyond the horizon.
func elsewhere() []string {
	return []string{"jobs.renew.before", "jobs.renew.after", "core.before_purge", "core.after_purge"}
}

// rulesText is a document that books every leg; kinds that are odd make a line that does not balance where strict.
func rulesText(strict bool) string {
	when := "\"true\""
	if strict {
		when = `kind != "odd"`
	}
	return `subjects:
  - {subject: "1001", name: all money, accounts: ["1-299"]}
  - {subject: "2901", name: points, accounts: ["300-9999"]}
rules:
  - name: legs
    when: ` + when + `
    each: leg
    lines:
      - {side: credit, subject: subject_of(leg.account), unit: leg.unit, amount: leg.amount}
` + map[bool]string{true: `  - name: odd
    when: kind == "odd"
    lines:
      - {side: credit, subject: "'1001'", unit: "'CNY'", amount: amount}
`}[strict]
}

// heardOf counts what a merchant was told of.
type heardOf struct {
	mu  sync.Mutex
	ids map[string]int
}

func (h *heardOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids[r.Header.Get(notice.HeaderID)]++
	w.WriteHeader(http.StatusNoContent)
}

// office is a bank with everything that hangs on a ledger.
type office struct {
	*bank
	c      *clerk
	heard  *heardOf
	date   time.Time
	rules  int
	months int
}

func newOffice(t *testing.T, seed uint64) *office {
	t.Helper()
	o := &office{heard: &heardOf{ids: map[string]int{}}}
	shop := httptest.NewServer(o.heard)
	t.Cleanup(shop.Close)
	secret := (&rig{t: t}).file("secret", "not so very secret")
	o.bank = newBank(t, seed, bankSpec{maria: localtest.Shared(t), tellers: 1, extra: fmt.Sprintf(
		"  vouchers: true\n  notices:\n    schedule: [1m]\n    targets:\n    - {name: shop, url: %q, tenants: [shop], keys: [{id: k, file: %q}]}\n", shop.URL, secret)})
	o.c = o.clerk("o")
	o.date = time.Now().UTC().Truncate(24 * time.Hour)
	o.putRules("", true)
	o.open()
	o.switchAll()
	return o
}

// putRules puts the next version in force, and dies at the point, if there is one.
func (o *office) putRules(point string, strict bool) {
	o.t.Helper()
	file := (&rig{t: o.t}).file("rules.yaml", fmt.Sprintf("# %d\n%s", o.rules, rulesText(strict)))
	args := func() []string {
		return []string{"voucher", "put", file, fmt.Sprint("--base=", o.rules), "--from=" + o.date.AddDate(0, 0, -1).Format(time.DateOnly), "--reason=test"}
	}
	if point != "" {
		o.dies(point, args()...)
	}
	// What died after its commit is in force: then the same again has the wrong base.
	if r := o.ledger(args()...); r.code != 0 && (point != "voucher.after_put" || r.code != 3) {
		o.t.Fatalf("%s", r)
	}
	o.rules++
}

// dies runs a command that is killed at the point.
func (o *office) dies(point string, args ...string) {
	o.t.Helper()
	if r := strataEnv(o.t, []string{"STRATA_CRASH=" + point}, append([]string{"ledger", "-c", o.config}, args...)...); !r.killed {
		o.t.Fatalf("it did not die at %s: %s", point, r)
	}
}

// command meets a point by an operator's command.
func (o *office) command(point string) {
	o.t.Helper()
	switch {
	case strings.HasSuffix(point, "_put"):
		o.putRules(point, false)
		o.putRules("", true)
	case strings.HasSuffix(point, "_retry"):
		o.retryVouchers(point)
	default: // the end of a day
		closed := o.date.Format(time.DateOnly)
		o.date = o.date.AddDate(0, 0, 1)
		waits := o.buffered()
		o.ledger("day", "cut", o.date.Format(time.DateOnly)).want(o.t, 0)
		o.dies(point, "day", "close", closed)
		o.ledger("day", "close", closed).want(o.t, 0)
		o.tellers[0].start()
		o.c.send([]core.Transfer{waits})
	}
}

// buffered ends the serving process and leaves a credit in a buffer, which nobody merges then.
func (o *office) buffered() core.Transfer {
	o.t.Helper()
	o.switchMode(moded, "buffered")
	o.tellers[0].kill()
	t := o.c.pay("payment", vault, moded, 9)
	o.ledger("post", (&rig{t: o.t}).file("t.jsonl", string(t.AppendJSON(nil)))).want(o.t, 0, "applied")
	return t
}

// retryVouchers lets some vouchers fail, puts rules that can book them, and dies while it asks them.
func (o *office) retryVouchers(point string) {
	o.t.Helper()
	for range 3 {
		t := o.c.payment()
		t.Kind = "odd"
		o.c.send([]core.Transfer{t})
	}
	var st struct{ Waiting, Failed int64 }
	localtest.Eventually(o.t, runLimit, "failed vouchers", func() (bool, error) {
		o.json("/v1/voucher-status", &st)
		return st.Waiting == 0, nil
	})
	o.putRules("", false)
	if st.Failed > 0 { // some of the three may have been refused
		o.dies(point, "voucher", "retry")
	}
	o.ledger("voucher", "retry").want(o.t, 0)
	o.putRules("", true)
}

// errands do everything that makes a process write, once.
func (o *office) errands(point string) {
	shop := []core.Transfer{o.c.payment(), o.c.payment(), o.c.one()}
	for i := range shop {
		shop[i].Tenant, shop[i].Order = "shop", fmt.Sprint("order ", i)[:5]+fmt.Sprint(i)
	}
	o.c.send(shop)
	lapsing := o.c.payment()
	lapsing.Action, lapsing.Expires = core.Try, time.Now().UTC().Add(300*time.Millisecond).Truncate(time.Microsecond)
	o.c.send([]core.Transfer{lapsing})
	o.c.send(o.c.request())
	switch {
	case strings.Contains(point, "shard"):
		old := o.c.payment()
		o.months++
		old.OrderTime = old.OrderTime.AddDate(0, -o.months%13, 0) // a month that nothing was ordered in yet
		o.c.send([]core.Transfer{old})
	case strings.Contains(point, "cut"):
		o.date = o.date.AddDate(0, 0, 1)
		o.insist(http.MethodPost, "/v1/day/cut", fmt.Sprintf(`{"date":%q}`, o.date.Format(time.DateOnly)), 200)
	case strings.Contains(point, "settings"):
		var now struct{ Number int64 }
		o.json("/v1/settings", &now)
		o.ask(o.tellers[0], http.MethodPut, "/v1/settings", []byte(`{"settings":{},"reason":"test"}`), "If-Match", fmt.Sprintf("%q", fmt.Sprint(now.Number)))
	case slices.ContainsFunc(coremysql.ModeCrashPoints(), func(p string) bool { return strings.HasPrefix(point, p) }):
		o.modes()
	case strings.Contains(point, "control"):
		o.insist(http.MethodPatch, fmt.Sprint("/v1/accounts/", merchant), `{"state":"frozen"}`, 200)
		o.insist(http.MethodPatch, fmt.Sprint("/v1/accounts/", merchant), `{"state":"open"}`, 200)
	case strings.HasPrefix(point, "notice."):
		var list struct{ Notices []struct{ ID string } }
		o.json("/v1/notices?limit=1&state=delivered", &list)
		for _, n := range list.Notices {
			o.ask(o.tellers[0], http.MethodPost, "/v1/notices/"+n.ID+"/resend", []byte(`{}`))
		}
		o.time()
	case strings.HasPrefix(point, "jobs."):
		o.time()
	}
}

// modes fill and empty every kind of account.
func (o *office) modes() {
	alone := func(from, to, amount int64) { o.c.send([]core.Transfer{o.c.pay("payment", from, to, amount)}) }
	o.switchAll()
	for i := range int64(4) {
		alone(vault, moded+i, 700)
		alone(moded+i, vault, 1+o.c.Int64N(600))
	}
	alone(moded+2, moded+3, 1)
	alone(moded+3, moded+2, 1)
	alone(vault, moded, 700)
	var st struct {
		Account struct {
			Balance, Available int64 `json:",string"`
		}
	}
	o.json(fmt.Sprint("/v1/accounts/", moded), &st)
	alone(moded, vault, max(1, st.Account.Available)) // more than its row has
	alone(vault, moded, 700)
	o.switchMode(moded, "real_time")
	o.switchMode(moded+1, "real_time")
}

// time passes: what a process that died held is free.
func (o *office) time() {
	insistExec(o.t, o.db, "UPDATE notice SET next_at=NOW(6) - INTERVAL 1 SECOND WHERE state='pending'")
	insistExec(o.t, o.db, "UPDATE "+o.control+".strata_job SET lease_until=NOW(6) - INTERVAL 1 SECOND")
}

// serve lets the process die at the point while errands are run, and starts it again.
func (o *office) serve(point string) {
	o.t.Helper()
	x := o.tellers[0]
	x.kill()
	o.time()
	p := x.begin("STRATA_CRASH=" + point)
	var wg sync.WaitGroup
	wg.Go(func() {
		o.await(runLimit, func() bool { _, ended := x.serves(); return ended || o.t.Failed() })
		if _, ended := x.serves(); !ended {
			o.t.Errorf("it did not die at %s", point)
			return
		}
		if r := p.end(); !r.killed {
			o.t.Errorf("it did not die at %s: %s", point, lastLines(r.stderr))
		}
		x.start()
	})
	o.await(runLimit, func() bool {
		o.errands(point)
		_, ended := x.serves()
		return ended || x.process() != p || o.t.Failed()
	})
	wg.Wait()
	o.errands(point)
}

func (x *teller) process() *process {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.p
}

// proven waits until everything has its voucher and everybody was told, and proves all of it.
func (o *office) proven() {
	o.t.Helper()
	var st struct{ Waiting, Failed int64 }
	localtest.Eventually(o.t, runLimit, "every transfer has its voucher", func() (bool, error) {
		o.json("/v1/voucher-status", &st)
		return st.Waiting == 0, nil
	})
	if st.Failed != 0 {
		o.t.Errorf("%+v", st)
	}
	localtest.Eventually(o.t, runLimit, "every notice is delivered", func() (bool, error) {
		o.time()
		var n struct{ Counts map[string]int64 }
		o.json("/v1/notice-counts", &n)
		return n.Counts["pending"] == 0 && text(o.t, o.db, "SELECT COUNT(*) FROM outbox") == "0", nil
	})
	o.ledger("voucher", "status", "--json").want(o.t, 0, `"Waiting": 0`)
	o.check()
	c := o.prove()
	o.complete(c)
	o.t.Logf("seed %d: %s", o.seed, o.book.counts())
}

// complete compares vouchers and notices with the transfers that are booked.
func (o *office) complete(c *content) {
	o.t.Helper()
	vouchers, told := o.ids("SELECT transfer_id FROM voucher"), o.ids("SELECT transfer_id FROM notice WHERE state='delivered'")
	o.heard.mu.Lock()
	defer o.heard.mu.Unlock()
	booked := 0
	for id := range c.rows {
		if inner(id) {
			continue
		}
		if booked++; vouchers[id] != 1 {
			o.t.Errorf("%s has %d vouchers", id, vouchers[id])
		}
		wants := 0
		if o.book.sent[id].Tenant == "shop" {
			wants = 1
		}
		if told[id] != wants || wants > o.heard.ids[id] {
			o.t.Errorf("%s has %d notices delivered instead of %d, and was heard of %d times", id, told[id], wants, o.heard.ids[id])
		}
	}
	if len(vouchers) != booked {
		o.t.Errorf("%d vouchers of %d transfers", len(vouchers), booked)
	}
}

func (o *office) ids(query string) map[string]int {
	o.t.Helper()
	out := map[string]int{}
	x, err := o.db.BeginTx(o.t.Context(), nil)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = x.Rollback() }()
	err = each(o.t.Context(), x, query, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		out[id]++
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

// TestBank_crash_points kills the serving process at some of the named points, and commands at others: after a start without
// a crash nothing is lost, twice, or half.
func TestBank_crash_points(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 1)
	r := o.random(9)
	served, commands := servedPoints(), commandPoints()
	r.Shuffle(len(served), func(i, k int) { served[i], served[k] = served[k], served[i] })
	r.Shuffle(len(commands), func(i, k int) { commands[i], commands[k] = commands[k], commands[i] })
	for _, p := range served[:6] {
		o.serve(p)
	}
	o.command(commands[0])
	o.proven()
}

// TestSoak_bank_crash_points goes through all of them, at a later hit in later rounds.
func TestSoak_bank_crash_points(t *testing.T) {
	_, first := soakRounds(t)
	eachRound(t, func(t *testing.T, seed uint64) {
		o := newOffice(t, seed)
		for _, p := range servedPoints() {
			if hit := seed - first; hit > 0 && !strings.HasPrefix(p, "core.before_s") && !strings.HasPrefix(p, "core.after_s") {
				p = fmt.Sprintf("%s:%d", p, 1+hit%4)
			}
			began := time.Now()
			o.serve(p)
			t.Logf("%s after %s", p, time.Since(began).Round(time.Millisecond))
			if t.Failed() {
				return
			}
		}
		for _, p := range commandPoints() {
			o.command(p)
		}
		o.proven()
	})
}
