package mysql

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/core"
	"strata/core/memory"
)

// TestL12_random_transfers_equal_the_model posts random calls to the ledger and to the model in memory: answers, balances and
// rows are equal, whatever was refused, repeated or changed; then the trial balance is proven.
func TestL12_random_transfers_equal_the_model(t *testing.T) {
	s := fresh(t)
	l := run(t, s)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		base := int64(round * 1000)
		day, err := l.Day(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		model, err := memory.New(memory.Config{Now: s.clock.Now, FirstDay: day})
		if err != nil {
			rt.Fatal(err)
		}
		both := []core.Ledger{l, model}
		for _, x := range both {
			if err := x.Open(t.Context(), randomAccounts(base)); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 8).Draw(rt, "calls") {
			s.clock.Set(s.clock.Now().Add(time.Second))
			call := rapid.SliceOfN(randomTransfer(round, base, s.clock.Now()), 1, 30).Draw(rt, "transfers")
			var answers [2][]core.Answer
			for i, x := range both {
				if answers[i], err = x.Post(t.Context(), call); err != nil {
					rt.Fatal(err)
				}
			}
			for i := range call {
				if !reflect.DeepEqual(answers[0][i], answers[1][i]) {
					rt.Fatalf("%+v\nledger: %+v\nmodel:  %+v", call[i], answers[0][i], answers[1][i])
				}
			}
		}
		sameRows(t, rt, l, model, round, base)
	})
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
}

// randomAccounts: 0 to 3 without a minimum, 4 to 9 with; the last ones in USD.
func randomAccounts(base int64) []core.Account {
	zero := int64(0)
	var out []core.Account
	for i := range int64(10) {
		a := core.Account{ID: base + 1 + i, Name: "x", Unit: "CNY"}
		if i >= 4 {
			a.MinBalance = &zero
		}
		if i == 3 || i >= 8 {
			a.Unit = "USD"
		}
		out = append(out, a)
	}
	return out
}

func randomTransfer(round int, base int64, now time.Time) *rapid.Generator[core.Transfer] {
	return rapid.Custom(func(rt *rapid.T) core.Transfer {
		t := core.Transfer{
			ID:   fmt.Sprintf("r%d-%d", round, rapid.IntRange(0, 60).Draw(rt, "id")),
			Kind: "k", Memo: rapid.SampledFrom([]string{"", "", "", "退款 🎁'\\"}).Draw(rt, "memo"),
			OrderTime: now.Truncate(24 * time.Hour).Add(-time.Duration(rapid.SampledFrom([]int{0, 0, 0, 40, 500}).Draw(rt, "days")) * 24 * time.Hour),
		}
		amount := rapid.SampledFrom([]int64{1, 2, 3, 10, 100, math.MaxInt64 / 2, math.MaxInt64})
		left := map[string]int64{}
		for range rapid.IntRange(1, 3).Draw(rt, "legs") {
			i := rapid.Int64Range(0, 10).Draw(rt, "account") // 10 does not exist
			unit := "CNY"
			if i == 3 || i >= 8 {
				unit = "USD"
			}
			a := amount.Draw(rt, "amount") * rapid.SampledFrom([]int64{1, -1}).Draw(rt, "sign")
			t.Legs = append(t.Legs, core.Leg{Account: base + 1 + i, Unit: unit, Amount: a})
			left[unit] -= a
		}
		for unit, a := range map[string]int64{"CNY": left["CNY"], "USD": left["USD"]} {
			if a == 0 {
				continue
			}
			i := map[string]int64{"CNY": 0, "USD": 3}[unit]
			if rapid.IntRange(0, 20).Draw(rt, "unbalanced") == 0 {
				a++
			}
			t.Legs = append(t.Legs, core.Leg{Account: base + 1 + i, Unit: unit, Amount: a})
		}
		return t
	})
}

// sameRows compares what the round left in the tables with the model.
func sameRows(t *testing.T, rt *rapid.T, l *running, model *memory.Ledger, round int, base int64) {
	for i := range int64(10) {
		a, err := l.Balance(t.Context(), base+1+i)
		b, _ := model.Balance(t.Context(), base+1+i)
		if err != nil || !reflect.DeepEqual(a, b) {
			rt.Fatalf("%+v instead of %+v (%v)", a, b, err)
		}
	}
	have := map[string]bool{}
	rows, err := l.db.SQL().Query(fmt.Sprintf(`SELECT CONCAT_WS('|', account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after,
		accounting_date, order_time) FROM entry_202605 WHERE account_id BETWEEN %d AND %d`, base+1, base+10))
	if err != nil {
		rows, err = l.db.SQL().Query("SELECT '' FROM day WHERE 1=0") // nothing was booked yet: no shard
	}
	if err != nil {
		rt.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			rt.Fatal(err)
		}
		have[s] = true
	}
	booked := map[string]memory.Posted{}
	for _, p := range model.Transfers() {
		booked[p.Transfer.ID] = p
	}
	for _, e := range model.Entries() {
		p := booked[e.Transfer]
		s := fmt.Sprintf("%d|%d|%s|%d|%s|%d|%d|%d|%s|%s", e.Account, e.Seq, e.Transfer, e.Leg, e.Unit, e.Amount, e.Before, e.After,
			p.Date.Format(time.DateOnly), p.Transfer.OrderTime.Format("2006-01-02 15:04:05.000000"))
		if !have[s] {
			rt.Fatalf("entry %s is missing", s)
		}
		delete(have, s)
	}
	if len(have) > 0 {
		rt.Fatalf("entries that the model lacks: %v", have)
	}
}

// TestL12_two_processes_stay_exact posts to the same accounts, with common ids, from two ledgers with pools of their own.
func TestL12_two_processes_stay_exact(t *testing.T) {
	s := fresh(t)
	a, b := run(t, s), run(t, s)
	if err := a.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	const calls, size = 25, 40
	applied := make(chan int, 2)
	for who, l := range []*running{a, b} {
		go func() {
			n := 0
			for c := range calls {
				var ts []core.Transfer
				for i := range size {
					id := fmt.Sprintf("own%d-%d-%d", who, c, i)
					if i%4 == 0 {
						id = fmt.Sprintf("common-%d-%d", c, i)
					}
					ts = append(ts, core.Transfer{ID: id, Kind: "k", OrderTime: s.clock.Now(), Legs: []core.Leg{
						{Account: int64(1 + i%3), Unit: "CNY", Amount: -1}, {Account: int64(5 + (i+1)%3), Unit: "CNY", Amount: 1}}})
				}
				answers, err := l.Post(t.Context(), ts)
				if err != nil {
					t.Error(err)
				}
				for _, x := range answers {
					if x.Outcome == core.Applied {
						n++
					}
				}
			}
			applied <- n
		}()
	}
	const want = calls * size * 7 / 4 // a quarter is common
	if n := <-applied + <-applied; n != want {
		t.Fatalf("%d applied instead of %d", n, want)
	}
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
	if report.Transfers != want || report.Entries != 2*want {
		t.Fatalf("%d transfers and %d entries instead of %d and %d", report.Transfers, report.Entries, want, 2*want)
	}
}
