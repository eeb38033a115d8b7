package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/core/across"
	"strata/local"
	"strata/local/localtest"
)

// league is three ledgers on two servers, and a transfer over them at a time.
type league struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	names   []string
	db      map[string]*sql.DB // by ledger; the coordinator's rows are in main's
	config  string             // of main, with all three
	own     map[string]string  // the configuration of each by itself
	east    *local.Maria       // the other server
	want    map[string]int64   // the balance of each ledger's account 1
	n       int
	date    time.Time
	decided map[bool]int
}

const transit = 8001

func newLeague(t *testing.T, seed uint64) *league {
	t.Helper()
	l := &league{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 8)), names: []string{"main", "east", "west"}, db: map[string]*sql.DB{},
		own: map[string]string{}, east: localtest.Maria(t), want: map[string]int64{}, decided: map[bool]int{}}
	shared := localtest.Shared(t)
	dsn := map[string]string{}
	for _, name := range l.names {
		m := shared
		if name == "east" {
			m = l.east
		}
		dsn[name] = localtest.Schema(t, m)
		l.db[name] = localtest.DB(t, dsn[name])
		l.own[name] = configFile(t, dsn[name], localtest.Schema(t, shared), fmt.Sprintf("control: {dsn: %q}\n%s", localtest.Schema(t, shared), coreKeys))
	}
	keys := strings.TrimSuffix(coreKeys, "\n")
	l.config = configFile(t, dsn["main"], localtest.Schema(t, shared), fmt.Sprintf("control: {dsn: %q}\n%s\n  across:\n    transit: {CNY: %d}\n    ledgers:\n      east: {dsn: %q, transit: {CNY: %d}}\n      west: {dsn: %q, transit: {CNY: %d}}\n",
		localtest.Schema(t, shared), keys, transit, dsn["east"], transit, dsn["west"], transit))
	r := &rig{t: t}
	accounts := r.file("accounts.csv", "id,unit,name,min_balance\n1,CNY,one,0\n9000,CNY,vault,\n")
	balances := r.file("balances.csv", "account,unit,amount\n1,CNY,100000\n")
	for _, name := range l.names {
		strata(t, "ledger", "-c", l.own[name], "import", "accounts", accounts).want(t, 0)
		strata(t, "ledger", "-c", l.own[name], "import", "balances", balances, "--opening=CNY:9000").want(t, 0)
		l.want[name] = 100_000
	}
	l.date = time.Now().UTC().Truncate(24 * time.Hour)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return l
}

// ask asks one value of a ledger's database.
func (l *league) ask(name, query string, args ...any) string {
	l.t.Helper()
	return text(l.t, l.db[name], query, args...)
}

// transfer is a file with a transfer between two or three ledgers; poor: one that is refused in its last ledger.
func (l *league) transfer(poor bool) (id, file string, legs []across.Leg) {
	l.t.Helper()
	l.n++
	id = fmt.Sprintf("far-%d", l.n)
	names := slices.Clone(l.names)
	l.r.Shuffle(3, func(i, k int) { names[i], names[k] = names[k], names[i] })
	sum := int64(0)
	for _, name := range names[:1+l.r.IntN(2)] {
		amount := 1 + l.r.Int64N(300)
		legs, sum = append(legs, across.Leg{Ledger: name, Account: 1, Unit: "CNY", Amount: amount}), sum+amount
	}
	if poor {
		legs[0].Amount, sum = legs[0].Amount+1_000_000, sum+1_000_000
	}
	legs = append(legs, across.Leg{Ledger: names[2], Account: 1, Unit: "CNY", Amount: -sum})
	b, err := json.Marshal(across.Transfer{ID: id, Kind: "payment", OrderTime: time.Now().UTC().Truncate(time.Microsecond), Legs: legs})
	if err != nil {
		l.t.Fatal(err)
	}
	return id, (&rig{t: l.t}).file(id+".json", string(b)), legs
}

// run runs `ledger across`, to die at the point, if there is one.
func (l *league) run(point string, args ...string) result {
	l.t.Helper()
	return l.runLedger(point, append([]string{"across"}, args...)...)
}

func (l *league) runLedger(point string, args ...string) result {
	l.t.Helper()
	var env []string
	if point != "" {
		env = []string{"STRATA_CRASH=" + point}
	}
	r := strataEnv(l.t, env, append([]string{"ledger", "-c", l.config}, args...)...)
	if point != "" && !r.killed {
		l.t.Fatalf("it did not die at %s: %s", point, r)
	}
	return r
}

// due lets the time pass after which recovery takes what is unfinished.
func (l *league) due() {
	insistExec(l.t, l.db["main"], "UPDATE across SET due=at WHERE state<>'done'")
}

// settle brings a transfer to its end by recovery, by posting it again, or by both, each with a crash on its way now and then.
func (l *league) settle(id, file string) {
	l.t.Helper()
	known := l.ask("main", "SELECT COUNT(*) FROM across WHERE id=?", id) == "1"
	way := l.r.IntN(3)
	if known && way > 0 {
		l.due()
		l.run("", "recover").want(l.t, 0)
	}
	if !known || way != 1 {
		if r := l.run("", "post", file); r.code != 0 && r.code != 3 {
			l.t.Fatalf("%s", r)
		}
	}
	localtest.Eventually(l.t, runLimit, "the end of "+id, func() (bool, error) {
		if l.ask("main", "SELECT COUNT(*) FROM across WHERE id=? AND state='done'", id) == "1" {
			return true, nil
		}
		l.due()
		l.run("", "recover").want(l.t, 0)
		return false, nil
	})
}

// whole expects the transfer in all its ledgers or in none, as was decided, and nothing on its way.
func (l *league) whole(id string, legs []across.Leg) {
	l.t.Helper()
	commit := l.ask("main", "SELECT decision FROM across_decision WHERE id=?", id) == "commit"
	l.decided[commit]++
	for _, x := range legs {
		if commit {
			l.want[x.Ledger] += x.Amount
		}
	}
	net := int64(0)
	for _, name := range l.names {
		if have := l.ask(name, "SELECT CONCAT(balance, ' ', pending_debits, ' ', pending_credits) FROM account WHERE id=1"); have != fmt.Sprint(l.want[name], " 0 0") {
			l.t.Errorf("%s %v (commit %v): ledger %s has %s instead of %d", id, legs, commit, name, have, l.want[name])
		}
		var sum int64
		if _, err := fmt.Sscan(l.ask(name, "SELECT COALESCE(SUM(balance+1000000*(pending_debits<>0 OR pending_credits<>0)), 0) FROM account WHERE id=?", transit), &sum); err != nil {
			l.t.Fatal(err)
		}
		net += sum
	}
	if net != 0 {
		l.t.Errorf("%s: transit nets to %d", id, net)
	}
}

// dies posts or cuts, and is killed at the point; then it is brought to its end.
func (l *league) dies(point string) {
	l.t.Helper()
	name, _, _ := strings.Cut(point, ":")
	switch name {
	case "across.before_shut", "across.after_shut", "across.before_cut", "across.after_cut", "across.before_reopen", "across.after_reopen":
		l.cutDies(point)
		return
	}
	id, file, legs := l.transfer(strings.HasSuffix(name, "_cancel"))
	l.run(point, "post", file)
	l.settle(id, file)
	l.whole(id, legs)
}

// cutDies kills a cut of the day at the point and cuts again: all ledgers are on the date, and transfers are committed again.
func (l *league) cutDies(point string) {
	l.t.Helper()
	l.date = l.date.AddDate(0, 0, 1)
	text := l.date.Format(time.DateOnly)
	l.runLedger(point, "day", "cut", text)
	l.runLedger("", "day", "cut", text).want(l.t, 0, text)
	for _, name := range l.names {
		if have := l.ask(name, "SELECT accounting_date FROM day"); !strings.HasPrefix(have, text) {
			l.t.Errorf("%s: ledger %s is on %s instead of %s", point, name, have, text)
		}
	}
	id, file, legs := l.transfer(false)
	l.run("", "post", file).want(l.t, 0, "applied")
	l.whole(id, legs)
}

// participantDies kills the server of one ledger while transfers over it are posted, decided, or carried out.
func (l *league) participantDies() {
	l.t.Helper()
	point := []string{"", "across.after_try", "across.after_decide", "across.before_confirm", "across.after_confirm"}[l.r.IntN(5)]
	id, file, legs := l.transfer(false)
	var env []string
	if point != "" {
		env = []string{"STRATA_CRASH=" + point}
	}
	p, err := begin(l.t.Context(), env, "ledger", "-c", l.config, "across", "post", file)
	if err != nil {
		l.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(time.Duration(l.r.IntN(700)) * time.Millisecond):
	}
	if err := l.east.Kill(); err != nil {
		l.t.Fatal(err)
	}
	p.end() // booked, not known, or killed: whatever it was, it is whole at the end
	if err := l.east.Restart(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.settle(id, file)
	l.whole(id, legs)
}

// served lets a serving process carry out what a coordinator left that died, and cut the day of all ledgers by the API.
func (l *league) served() {
	l.t.Helper()
	url := (&rig{t: l.t, config: l.config}).serve()
	for _, point := range []string{"across.after_try", "across.after_decide", "across.after_confirm"} {
		id, file, legs := l.transfer(false)
		l.run(point, "post", file)
		localtest.Eventually(l.t, runLimit, "the end of "+id, func() (bool, error) {
			l.due()
			return l.ask("main", "SELECT COUNT(*) FROM across WHERE id=? AND state='done'", id) == "1", nil
		})
		l.whole(id, legs)
	}
	l.date = l.date.AddDate(0, 0, 1)
	text := l.date.Format(time.DateOnly)
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodPost, url+"/v1/day/cut", strings.NewReader(fmt.Sprintf(`{"date":%q}`, text)))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		l.t.Errorf("cut day: %s, %v", resp.Status, err)
	}
	for _, name := range l.names {
		if have := l.ask(name, "SELECT accounting_date FROM day"); !strings.HasPrefix(have, text) {
			l.t.Errorf("cut by the API: ledger %s is on %s instead of %s", name, have, text)
		}
	}
}

// proven ends a league: each ledger is right by itself, all are right together, and what was posted is answered again.
func (l *league) proven() {
	l.t.Helper()
	l.runLedger("", "check").want(l.t, 0, "transit", "0 findings")
	for _, name := range l.names[1:] {
		strata(l.t, "ledger", "-c", l.own[name], "check").want(l.t, 0, "0 findings")
	}
	l.run("", "transit", "--date="+l.date.AddDate(0, 0, -1).Format(time.DateOnly)).want(l.t, 0)
	l.t.Logf("seed %d: %d committed, %d aborted", l.seed, l.decided[true], l.decided[false])
}

// TestBank_across kills the coordinator at some of its steps, and a participant's server: all or nothing in every ledger.
func TestBank_across(t *testing.T) {
	t.Parallel()
	l := newLeague(t, 1)
	points := across.CrashPoints()
	l.r.Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
	for _, point := range points[:5] {
		l.dies(point)
	}
	l.participantDies()
	l.served()
	l.proven()
}

// TestSoak_bank_across kills it at every step, some of them at a later hit.
func TestSoak_bank_across(t *testing.T) {
	eachRound(t, func(t *testing.T, seed uint64) {
		l := newLeague(t, seed)
		for _, point := range across.CrashPoints() {
			l.dies(point)
			if point == "across.after_try" || point == "across.before_confirm" || point == "across.after_confirm" || point == "across.after_cut" {
				l.dies(point + ":2")
			}
			if t.Failed() {
				return
			}
		}
		for range 5 {
			l.participantDies()
		}
		l.served()
		l.proven()
	})
}
