package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"strata/core"
	"strata/local/localtest"
)

// TestBank_disorder sends what belongs to one reservation in the wrong order, over two processes: two cancels before the try.
// The late try does nothing, and is counted and listed as hung.
func TestBank_disorder(t *testing.T) {
	t.Parallel()
	b := newBank(t, 1, bankSpec{maria: localtest.Shared(t), tellers: 2})
	b.open()
	c := b.clerk("d")
	try := c.pay("payment", payer, hot, 700)
	try.Action = core.Try
	cancel := func() core.Transfer {
		x := c.next("payment")
		x.Action, x.Of = core.Cancel, try.ID
		return x
	}
	confirm := func() core.Transfer {
		x := c.next("payment")
		x.Action, x.Of = core.Confirm, try.ID
		return x
	}
	first, second := cancel(), cancel()
	b.gets(c, first, "applied", "null_cancelled")
	b.gets(c, second, "applied", "null_cancelled")
	b.gets(c, first, "replayed", "null_cancelled")
	for range 3 {
		b.gets(c, try, "refused", "hung")
	}
	b.gets(c, confirm(), "refused", "already_ended")
	b.gets(c, cancel(), "applied", "null_cancelled")

	var counts struct{ Counts map[string]int64 }
	b.json("/v1/reservation-counts", &counts)
	if counts.Counts["fenced"] != 1 || counts.Counts["hung"] != 1 || counts.Counts["pending"] != 0 {
		t.Errorf("%+v", counts)
	}
	var list struct {
		Reservations []struct {
			ID, State string
			EndedBy   string `json:"ended_by"`
			LateTrys  int64  `json:"late_trys"`
		}
	}
	b.json("/v1/reservations?state=fenced", &list)
	if r := list.Reservations; len(r) != 1 || r[0].ID != try.ID || r[0].LateTrys != 1 || r[0].EndedBy != first.ID {
		t.Errorf("%+v", list)
	}
	var st struct {
		Account struct{ Balance, Available string }
	}
	b.json(fmt.Sprint("/v1/accounts/", payer), &st)
	if st.Account.Balance != fmt.Sprint(purse) || st.Account.Available != fmt.Sprint(purse) {
		t.Errorf("%+v", st)
	}
	// In order, it would have held.
	try = c.pay("payment", payer, hot, 700)
	try.Action = core.Try
	b.gets(c, try, "applied", "")
	end := confirm()
	b.gets(c, end, "applied", "")
	b.gets(c, cancel(), "refused", "already_ended")
	b.gets(c, try, "replayed", "")
	b.gets(c, end, "replayed", "")
	b.check()
	b.prove()
}

// gets expects an answer: replayed is as good as applied where the first response was lost.
func (b *bank) gets(c *clerk, t core.Transfer, outcome, code string) {
	b.t.Helper()
	r := b.post(c.Rand, t)
	if len(r) != 1 || r[0].Outcome != outcome || r[0].Code != code {
		b.t.Errorf("%s %s of %q: %+v instead of %s %s", t.ID, t.Action, t.Of, r, outcome, code)
	}
}

// json asks for something with 200.
func (b *bank) json(path string, into any) {
	b.t.Helper()
	if err := json.Unmarshal(b.insist(http.MethodGet, path, "", 200), into); err != nil {
		b.t.Fatal(err)
	}
}

// TestBank_edges races for the last of a limit over two processes: exactly what it allows is applied, with many seeds.
func TestBank_edges(t *testing.T) {
	t.Parallel()
	b := newBank(t, 1, bankSpec{maria: localtest.Shared(t), tellers: 2})
	edges(b, 20)
}

// TestSoak_bank_edges is the same for new seeds, twenty a round.
func TestSoak_bank_edges(t *testing.T) {
	eachRound(t, func(t *testing.T, seed uint64) {
		edges(newBank(t, seed, bankSpec{maria: localtest.Shared(t), tellers: 2}), 20)
	})
}

// edgeSettings limit the day of each account of its kind by amount or by count, or one transfer, or the tenant's month.
const edgeSettings = `{"limits":[
	{"name":"amount","scope":"account","match":"","kinds":["by_amount"],"unit":"CNY","per":"day","max_amount":"1000"},
	{"name":"count","scope":"account","match":"","kinds":["by_count"],"unit":"CNY","per":"day","max_count":"7"},
	{"name":"tenant","scope":"tenant","match":"","kinds":["by_tenant"],"unit":"CNY","per":"month","max_amount":"1000"}]}`

func edges(b *bank, seeds int) {
	b.open()
	b.setSettings(edgeSettings)
	for i := range seeds {
		for k, kind := range []string{"by_amount", "by_count", "by_tenant", "by_minimum", "by_maximum"} {
			b.edge(kind, i, int64(10_000+100*i+k))
			if b.t.Failed() {
				return
			}
		}
	}
	b.check()
	b.prove()
	b.t.Logf("seed %d: %s", b.seed, b.book.counts())
}

// setSettings puts them in force, over whatever is.
func (b *bank) setSettings(text string) {
	b.t.Helper()
	var now struct{ Number int64 }
	b.json("/v1/settings", &now)
	var v struct {
		Settings json.RawMessage `json:"settings"`
		Reason   string          `json:"reason"`
	}
	v.Settings, v.Reason = json.RawMessage(text), "edges"
	body, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	status, answer := b.ask(b.tellers[0], http.MethodPut, "/v1/settings", body, "If-Match", fmt.Sprintf("%q", fmt.Sprint(now.Number)))
	if status != 200 {
		b.t.Fatalf("%d %s", status, answer)
	}
}

// edge lets 24 transfers race for what is left of one bound, some of them batches, some trys.
func (b *bank) edge(kind string, n int, account int64) {
	b.t.Helper()
	const room = 1000
	from, to, bounds := account, int64(hot), ""
	switch kind {
	case "by_minimum":
		bounds = `,"min_balance":"-1000"`
	case "by_maximum":
		from, to = vault, from
		bounds = `,"max_balance":"1000"`
	}
	b.insist(http.MethodPost, "/v1/accounts", fmt.Sprintf(`[{"id":"%d","name":"edge","unit":"CNY"%s}]`, account, bounds), 200)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var used, count int64
	var refused []int64
	for i := range 8 {
		c := b.clerk(fmt.Sprint("e", n, kind, i))
		wg.Go(func() {
			var batch []core.Transfer
			for range 1 + c.IntN(5) {
				t := c.pay(kind, from, to, 50+c.Int64N(200))
				if t.Tenant = fmt.Sprint("t", n); c.IntN(4) == 0 {
					t.Action = core.Try
				}
				batch = append(batch, t)
			}
			for k, r := range b.post(c.Rand, batch...) {
				mu.Lock()
				if amount := batch[k].Legs[1].Amount; r.booked() {
					used, count = used+amount, count+1
				} else {
					refused = append(refused, amount)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	exact := used <= room && (len(refused) == 0 || used+slices.Min(refused) > room)
	if kind == "by_count" {
		exact = count == min(7, count+int64(len(refused)))
	}
	if !exact {
		b.t.Errorf("%s %d: %d transfers of %d were booked, and those of %v were refused", kind, n, count, used, refused)
	}
}

// TestBank_modes switches modes and freezes accounts under load: what is sent after a freeze was answered is refused by every process, until it is open
// again.
func TestBank_modes(t *testing.T) {
	t.Parallel()
	b := newBank(t, 1, bankSpec{maria: localtest.Shared(t), tellers: 2})
	b.open()
	frozenAndSwitched(b, 6)
}

// TestSoak_bank_modes is the same for new seeds.
func TestSoak_bank_modes(t *testing.T) {
	eachRound(t, func(t *testing.T, seed uint64) {
		b := newBank(t, seed, bankSpec{maria: localtest.Shared(t), tellers: 2})
		b.open()
		frozenAndSwitched(b, 20)
	})
}

// frozenAndSwitched freezes accounts and switches modes under load.
func frozenAndSwitched(b *bank, turns int) {
	b.t.Helper()
	modes := []string{"buffered", "sub_accounts", "simple"}
	accounts := []int64{hot, hot + 1, moded, moded + 1, moded + 2, moded + 3}
	b.switchAll()
	stop := make(chan struct{})
	reads := 0
	var watching sync.WaitGroup
	watching.Go(func() { reads = b.watch(stop) })
	b.load(6, "c", func() {
		c := b.clerk("boss")
		for i := range turns {
			b.freeze(c, accounts[i%len(accounts)])
			for range 2 {
				b.switchMode(hot+c.Int64N(2), modes[c.IntN(3)])
				b.switchMode(moded+c.Int64N(4), append(modes, "real_time")[c.IntN(4)])
				b.more(60)
			}
			if b.t.Failed() {
				return
			}
		}
	})
	for _, id := range accounts {
		b.switchMode(id, "real_time")
	}
	close(stop)
	watching.Wait()
	b.check()
	b.prove()
	b.t.Logf("seed %d: %d reads of all balances; %s", b.seed, reads, b.book.counts())
}

// freeze freezes an account, sees that nothing passes, and opens it again.
func (b *bank) freeze(c *clerk, id int64) {
	b.t.Helper()
	path := fmt.Sprint("/v1/accounts/", id)
	b.insist(http.MethodPatch, path, `{"state":"frozen"}`, 200)
	for range 4 {
		b.gets(c, c.pay("payment", vault, id, 5), "refused", "account_frozen")
	}
	b.more(40)
	b.gets(c, c.pay("payment", id, vault, 5), "refused", "account_frozen")
	b.insist(http.MethodPatch, path, `{"state":"open"}`, 200)
	b.gets(c, c.pay("payment", vault, id, 5), "applied", "")
}
