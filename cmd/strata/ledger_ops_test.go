package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"strata/local/localtest"
)

// rig is a ledger behind a configuration of its own, on two schemas of one server, and another ledger for transfers across.
type rig struct {
	t      *testing.T
	config string
	live   *sql.DB
}

// at is the order time of every transfer here: a repeated call is the same body.
var at = time.Now().UTC().Add(-time.Minute).Format(time.RFC3339)

func newRig(t *testing.T) *rig {
	t.Helper()
	m := localtest.Shared(t)
	live, archive, east := localtest.Schema(t, m), localtest.Schema(t, m), localtest.Schema(t, m)
	core := fmt.Sprintf("control: {dsn: %q}\nledger: true\nhttp: \"127.0.0.1:0\"\ncore:\n  vouchers: true\n  across:\n    transit: {CNY: 8001}\n    ledgers:\n      east:\n        dsn: %q\n        transit: {CNY: 8001}\n", localtest.Schema(t, m), east)
	r := &rig{t: t, config: configFile(t, live, archive, core), live: localtest.DB(t, live)}
	return r
}

// ledger runs `strata ledger`.
func (r *rig) ledger(args ...string) result {
	return strata(r.t, append([]string{"ledger", "-c", r.config}, args...)...)
}

// pay posts one transfer of CNY between two accounts.
func (r *rig) pay(id string, from, to, amount int64, more ...string) result {
	return r.ledger(append([]string{"transfer", "--id=" + id, "--order=" + at, fmt.Sprintf("--leg=%d:CNY:-%d", from, amount),
		fmt.Sprintf("--leg=%d:CNY:%d", to, amount)}, more...)...)
}

// file writes a file for a command.
func (r *rig) file(name, text string) string {
	path := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// TestLedgerOperations runs every operator's command on one ledger, each step on what the one before it left.
func TestLedgerOperations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, id := range []string{"9000", "9001", "2001", "7001", "7002"} {
		r.ledger("open", id, "--unit=CNY").want(t, 0, "account "+id)
	}
	r.ledger("open", "1001", "--unit=CNY", "--name=user", "--tenant=shop", "--minimum=0", "--maximum=1000000").want(t, 0, "account 1001")
	r.pay("fund", 9000, 1001, 100_000).want(t, 0, "applied", "balance 100000")
	for _, step := range []struct {
		name string
		f    func(*rig)
	}{
		{"reservations", reservations}, {"reversal", reversal}, {"state and bounds", stateAndBounds}, {"settings", settings}, {"natures", natures},
		{"file of transfers", postFile}, {"order number", orderNumber}, {"modes", modes}, {"vouchers and cases", vouchers}, {"import", imports},
		{"across", acrossLedgers}, {"days and jobs", days}, {"check", checks},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			here := *r
			here.t = t
			step.f(&here)
		}) {
			t.FailNow()
		}
	}
}

func reservations(r *rig) {
	r.pay("try1", 1001, 2001, 500, "--action=try").want(r.t, 0, "applied")
	r.ledger("balance", "1001").want(r.t, 0, "available 99500", "pending debits 500")
	r.ledger("reservations", "list").want(r.t, 0, "try1 pending")
	r.pay("try1c", 1001, 2001, 300, "--action=confirm", "--of=try1").want(r.t, 0, "applied", "balance 99700")
	r.ledger("reservations", "show", "try1").want(r.t, 0, "confirmed", "try1c")
	r.ledger("transfer", "--id=x2", "--order="+at, "--action=cancel", "--of=try2").want(r.t, 0, "null_cancelled")
	r.ledger("transfer", "--id=x3", "--order="+at, "--action=cancel", "--of=try2").want(r.t, 0, "applied")
	r.pay("try2", 1001, 2001, 500, "--action=try").want(r.t, 3, "hung")
	r.ledger("reservations", "counts").want(r.t, 0, "confirmed  1", "fenced     1", "hung       1")
	r.ledger("reservations", "list", "--state=fenced", "--json").want(r.t, 0, "try2")
	r.ledger("reservations", "show", "none").want(r.t, 2, "none")
	r.ledger("balance", "1001").want(r.t, 0, "99700 minor units")
}

func reversal(r *rig) {
	r.pay("p1", 1001, 2001, 1000).want(r.t, 0, "applied")
	r.pay("p1r", 2001, 1001, 400, "--action=reverse", "--of=p1").want(r.t, 3) // legs must be in the order of the original's
	r.ledger("transfer", "--id=p1r1", "--order="+at, "--action=reverse", "--of=p1", "--leg=1001:CNY:400", "--leg=2001:CNY:-400").want(r.t, 0, "applied")
	r.ledger("transfer", "--id=p1r2", "--order="+at, "--action=reverse", "--of=p1", "--leg=1001:CNY:700", "--leg=2001:CNY:-700").want(r.t, 3, "exceeds")
	r.ledger("transfer", "--id=p1r3", "--order="+at, "--action=reverse", "--of=p1").want(r.t, 0, "applied")
	r.ledger("answer", "p1r3").want(r.t, 0, "replayed", "amount 600")
	r.ledger("answer", "nobody").want(r.t, 2, "nobody")
	r.ledger("answer", "拉面").want(r.t, 2, "visible ASCII")
	r.ledger("answer", "p1r3", "--json").want(r.t, 0, `"account": 1001`, `"seq":`)
}

func stateAndBounds(r *rig) {
	r.ledger("state", "7001", "frozen").want(r.t, 0, "frozen")
	r.pay("f1", 9000, 7001, 5).want(r.t, 3, "account_frozen")
	r.ledger("state", "7001", "closed").want(r.t, 0, "closed")
	r.ledger("state", "7001", "open").want(r.t, 3)
	r.ledger("state", "1001", "closed").want(r.t, 3, "1001")
	r.ledger("bounds", "7002", "--maximum=10").want(r.t, 0)
	r.pay("b1", 9000, 7002, 11).want(r.t, 3, "above_maximum")
	r.ledger("list", "--json").want(r.t, 0, `"id": 7001`, `"state": "closed"`)
}

func settings(r *rig) {
	bad := r.file("bad.json", `{"limits":[{"name":"a","scope":"account","match":"","unit":"CNY","per":"week"}]}`)
	r.ledger("settings", "put", bad, "--base=0", "--reason=x").want(r.t, 2, "limits[0].per")
	good := r.file("good.json", `{"limits":[{"name":"day","scope":"account","match":"1001","unit":"CNY","per":"day","max_amount":10000}],
		"strategies":[{"name":"wallet","default":"cash","natures":[{"name":"bonus","kinds":["payment"]},{"name":"cash"}]}]}`)
	r.ledger("settings", "put", good, "--base=0", "--reason=first", "--author=ann").want(r.t, 0, "version 1", "ann", "first")
	r.ledger("settings", "put", good, "--base=0", "--reason=again").want(r.t, 3)
	r.pay("l1", 1001, 2001, 10_001).want(r.t, 3, "limit_exceeded")
	r.pay("l2", 1001, 2001, 9_000).want(r.t, 0, "applied")
	r.ledger("balance", "1001").want(r.t, 0, "limit day", "9000 in 1 transfers")
	r.pay("l3", 1001, 2001, 1_001).want(r.t, 3, "limit_exceeded")
	off := r.file("off.json", `{"off":[{"operation":"withdraw"}]}`)
	r.ledger("settings", "put", off, "--base=1", "--reason=no withdrawals").want(r.t, 0, "version 2")
	r.pay("w1", 1001, 2001, 1, "--kind=withdraw").want(r.t, 3, "switched_off")
	r.ledger("settings", "rollback", "--reason=back").want(r.t, 0, "version 3")
	r.ledger("settings", "history").want(r.t, 0, "no withdrawals", "first", "back")
}

func natures(r *rig) {
	r.ledger("open", "1500", "--unit=CNY", "--strategy=wallet", "--minimum=0").want(r.t, 0)
	r.ledger("transfer", "--id=n1", "--order="+at, "--leg=9000:CNY:-30", "--leg=1500:CNY:30:bonus").want(r.t, 0)
	r.pay("n2", 9000, 1500, 50).want(r.t, 0)
	r.ledger("balance", "1500").want(r.t, 0, "bonus 30", "cash 50")
	r.pay("n3", 1500, 2001, 60, "--kind=withdraw").want(r.t, 3, "nature_refused")
	r.pay("n4", 1500, 2001, 40).want(r.t, 0)
	r.ledger("balance", "1500").want(r.t, 0, "cash 40")
}

func postFile(r *rig) {
	line := func(id, amount string) string {
		return fmt.Sprintf(`{"id":%q,"kind":"payment","order_time":%q,"legs":[{"account":"9000","unit":"CNY","amount":"-%s"},{"account":2001,"unit":"CNY","amount":%s}]}`, id, at, amount, amount)
	}
	f := r.file("t.jsonl", line("j1", "5")+"\n\n"+line("j2", "7")+"\n")
	for _, outcome := range []string{"applied", "replayed"} {
		res := r.ledger("post", f)
		res.want(r.t, 0)
		if strings.Count(res.stdout, outcome) != 2 {
			r.t.Errorf("%s", res)
		}
	}
	r.ledger("post", r.file("u.jsonl", line("j3", "5")+"\n{\"id\":1}\n")).want(r.t, 2, "line 2", "id", "follows line 0 is not posted")
	r.ledger("answer", "j3").want(r.t, 2, "not remembered")
	r.ledger("post", r.file("w.jsonl", strings.Repeat("x", 2<<20))).want(r.t, 2, "line 1", "longer")
	r.ledger("post", r.file("v.jsonl", line("j2", "8"))).want(r.t, 3, "1 transfers are not booked")
}

func orderNumber(r *rig) {
	r.pay("o1", 9000, 2001, 5, "--tenant=shop", "--merchant-order=A-1").want(r.t, 0)
	r.pay("o2", 7002, 2001, 5, "--tenant=shop", "--merchant-order=A-1", "--kind=again").want(r.t, 0)
	r.ledger("order", "A-1", "--tenant=shop").want(r.t, 0, "o1 replayed", "o2 replayed")
	r.ledger("order", "A-1").want(r.t, 2, "A-1", "hint: ")
}

func modes(r *rig) {
	for _, mode := range []string{"buffered", "sub_accounts", "simple", "real_time"} {
		r.ledger("mode", "2001", mode).want(r.t, 0, "account 2001")
		r.pay("m-"+mode, 9000, 2001, 10).want(r.t, 0, "applied")
		r.pay("n-"+mode, 2001, 9000, 10).want(r.t, 0, "applied")
	}
	before := regexp.MustCompile(`"balance": (-?\d+)`)
	a := before.FindString(r.ledger("balance", "2001", "--json").stdout)
	r.ledger("mode", "2001", "buffered").want(r.t, 0)
	if b := before.FindString(r.ledger("balance", "2001", "--json").stdout); a == "" || a != b {
		r.t.Errorf("%s became %s", a, b)
	}
	r.ledger("mode", "2001", "real_time").want(r.t, 0)
}

// serve runs `serve --roles=core` and returns its address; it ends with the test.
func (r *rig) serve() string {
	p, err := begin(r.t.Context(), nil, "serve", "-v", "-c", r.config, "--roles=core")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { <-p.ended })
	url := regexp.MustCompile(`msg=serving url=(\S+)`)
	var at string
	localtest.Eventually(r.t, runLimit, "the API", func() (bool, error) {
		select {
		case <-p.ended:
			return false, fmt.Errorf("serve ended: %s", p.end())
		default:
		}
		if m := url.FindStringSubmatch(p.err.String()); m != nil {
			at = m[1]
		}
		return at != "", nil
	})
	return at
}

// get asks the API.
func (r *rig) get(url string) string {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(b))
}

func vouchers(r *rig) {
	const rules = "../../core/voucher/testdata/shop.yaml"
	src, err := os.ReadFile(rules)
	if err != nil {
		r.t.Fatal(err)
	}
	// Every transfer of this test is booked, so that general ledger and accounts agree in the end.
	src = []byte(strings.NewReplacer(`["9000"]`, `["4000-4999", "7000-8999", "9000"]`, `when: kind in ["deposit", "shop_order"]`, `when: "true"`).Replace(string(src)))
	first := "--from=" + time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	next := time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly)
	r.ledger("voucher", "put", r.file("bad.yaml", strings.Replace(string(src), "amount: leg.amount", "amount: leg.amont", 1)), "--base=0", first, "--reason=x").
		want(r.t, 2, "legs", "lines[0].amount")
	r.ledger("voucher", "put", r.file("shop.yaml", string(src)), "--base=0", first, "--reason=first").want(r.t, 0, "version 1")
	r.ledger("open", "9002", "--unit=POINT").want(r.t, 0)
	r.ledger("open", "3001", "--unit=POINT").want(r.t, 0)
	caseOf := func(id string, more ...string) result {
		return r.ledger(append([]string{"voucher", "case", "shop_order", "--id=" + id, "--order=" + at, "--param=user=1001", "--param=points=3001",
			"--param=merchant=2001", "--param=price=800"}, more...)...)
	}
	caseOf("shop1", "--dry-run").want(r.t, 0, `"shop1"`, "shop_order")
	caseOf("shop1").want(r.t, 0, "applied")
	r.ledger("voucher", "case", "shop_order", "--id=shop2", "--param=user=1001").want(r.t, 2, "points")
	caseOf("shop3", "--param=price=1").want(r.t, 2, "price is there twice")
	caseOf("shop4", "--param=channel=web,app", "--dry-run").want(r.t, 0, "web,app")
	url := r.serve()
	localtest.Eventually(r.t, runLimit, "every transfer has its voucher", func() (bool, error) {
		var st struct{ Waiting, Booked, Failed int64 }
		err := json.Unmarshal([]byte(r.ledger("voucher", "status", "--json").stdout), &st)
		return err == nil && st.Waiting == 0 && st.Booked > 0, err
	})
	r.ledger("voucher", "show", "shop1").want(r.t, 0, "booked", "2001 debit CNY 800", "2901 credit POINT 8")
	r.ledger("voucher", "gl", first, "--to="+next).want(r.t, 0, ",6001,CNY,")
	r.ledger("voucher", "dry-run", r.file("other.yaml", strings.Replace(string(src), "6, 106", "9, 109", 2)), first, "--to="+next).want(r.t, 2, "order_of_100_yuan")
	quiet := string(src)[:strings.Index(string(src), "# Samples are")]
	r.ledger("voucher", "dry-run", r.file("other.yaml", strings.Replace(quiet, "6, 106", "9, 109", 2)), first, "--to="+next).want(r.t, 0, "shop1", "6001.tax", "1 differ")
	if got := r.get(url + "/v1/accounts/1001"); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"1001"`) {
		r.t.Errorf("%s", got)
	}
	if got := r.get(url + "/v1/accounts/4"); !strings.HasPrefix(got, "404 ") {
		r.t.Errorf("%s", got)
	}
	if got := r.get(url + "/v1/transfers/shop1"); !strings.HasPrefix(got, "200 ") {
		r.t.Errorf("%s", got)
	}
}

func imports(r *rig) {
	r.ledger("import", "accounts", r.file("a.csv", "id,unit,name\n4001,CNY,alpha\n4002,CNY,beta\n")).want(r.t, 0, "2 accounts")
	r.ledger("open", "4900", "--unit=CNY").want(r.t, 0)
	b := r.file("b.csv", "account,unit,amount\n4001,CNY,12.50\n4002,CNY,7.50\n")
	r.ledger("import", "balances", b, "--decimal", "--opening=CNY:4900", "--dry-run").want(r.t, 0, "2 balances")
	for range 2 {
		r.ledger("import", "balances", b, "--decimal", "--opening=CNY:4900").want(r.t, 0)
	}
	r.ledger("balance", "4900").want(r.t, 0, "-2000 minor units")
	r.ledger("import", "balances", r.file("c.csv", "account,unit,amount\n4001,CNY,1x\n"), "--opening=CNY:4900").want(r.t, 2, "2:", "amount")
	t := r.file("t.csv", "id,kind,order_time,account,unit,amount\nq1,payment,"+at+",4001,CNY,-5\nq1,payment,"+at+",4002,CNY,5\n")
	r.ledger("import", "transfers", t).want(r.t, 0, "booked 1")
}

func acrossLedgers(r *rig) {
	r.ledger("balance", "8001").want(r.t, 0, "transit CNY") // serve has opened it
	body := fmt.Sprintf(`{"id":"far1","kind":"payment","order_time":%q,"legs":[{"ledger":"main","account":"9000","unit":"CNY","amount":"-70"},{"ledger":"east","account":"1","unit":"CNY","amount":"70"}]}`, at)
	r.ledger("across", "post", r.file("far.json", body)).want(r.t, 3, "unknown_account")
	r.ledger("across", "post", r.file("twice.json", strings.Replace(body, `"id"`, `"id":"far0","id"`, 1))).want(r.t, 2, "twice")
	r.ledger("across", "transit", "--date=soon").want(r.t, 2, "soon")
	r.ledger("across", "transit").want(r.t, 0)
	r.ledger("across", "list").want(r.t, 0)
	r.ledger("across", "show", "far1").want(r.t, 0, "refused")
}

func days(r *rig) {
	today, next := time.Now().UTC().Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	r.ledger("day").want(r.t, 0, today)
	r.ledger("day", "close", today).want(r.t, 4)
	r.ledger("day", "cut", "9999-12-31").want(r.t, 2, "ahead", "never goes back")
	r.ledger("day", "cut", next).want(r.t, 0, next)
	r.ledger("day", "cut", today).want(r.t, 2)
	r.ledger("day", "close", today).want(r.t, 0, today)
	r.ledger("day", "close", today).want(r.t, 0, " 0 day balances written now")
	r.ledger("trial", "--date="+today, "--total").want(r.t, 0, "CNY", "balanced true")
	r.ledger("trial", "--json").want(r.t, 0, `"ok":true`)
	job := func(args ...string) result { return strata(r.t, append([]string{"jobs", "-c", r.config}, args...)...) }
	job("list").want(r.t, 0, "end_of_day", "expire", "archive")
	job("pause", "purge").want(r.t, 0)
	job("list", "--json").want(r.t, 0, `"paused": true`)
	job("run", "shards", today, "--force").want(r.t, 0, "done")
	job("run", "shards", today).want(r.t, 3)
	job("history", "shards").want(r.t, 0, today, "done")
	job("run", "nonsense").want(r.t, 2, "nonsense", "hint: ")
}

func checks(r *rig) {
	r.ledger("check").want(r.t, 0, "accounts", "vouchers", "0 findings")
	entries := "entry_" + time.Now().UTC().Format("200601")
	for name, d := range map[string]struct{ hurt, heal, names string }{
		"an entry":      {"UPDATE " + entries + " SET amount=amount+1 WHERE account_id=4001 AND seq=1", "UPDATE " + entries + " SET amount=amount-1 WHERE account_id=4001 AND seq=1", "4001,1"},
		"an account":    {"UPDATE account SET balance=balance+1 WHERE id=4002", "UPDATE account SET balance=balance-1 WHERE id=4002", "4002"},
		"a fund":        {"UPDATE fund SET balance=balance+1 WHERE account_id=1500 AND nature='cash'", "UPDATE fund SET balance=balance-1 WHERE account_id=1500 AND nature='cash'", "1500,cash"},
		"a day balance": {"UPDATE day_balance SET balance=balance+1 WHERE account_id=4002", "UPDATE day_balance SET balance=balance-1 WHERE account_id=4002", "4002"},
		"a reversal":    {"UPDATE reversed SET amount=amount+1 WHERE transfer_id='p1' AND leg=0", "UPDATE reversed SET amount=amount-1 WHERE transfer_id='p1' AND leg=0", "p1"},
	} {
		localtest.Exec(r.t, r.live, d.hurt)
		res := r.ledger("check")
		res.want(r.t, 1, d.names)
		localtest.Exec(r.t, r.live, d.heal)
		if r.t.Failed() {
			r.t.Fatalf("%s: %s", name, res)
		}
	}
	r.ledger("check").want(r.t, 0, "0 findings")
}
