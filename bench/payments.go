package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"strata/catalog"
	"strata/core"
)

// paymentAccounts is over how many accounts the pipeline's rows are spread.
const paymentAccounts = 2000

// payment is a row of the pipeline's dataset: an entry of the ledger, with the ledger's columns and indexes.
type payment struct {
	account, seq                int64
	transfer                    string
	leg                         int64
	unit                        string
	amount, before, after       int64
	date, orderTime, postedTime string
}

// paymentSpec declares them as a user's dataset of three monthly shards.
func paymentSpec() catalog.Spec {
	return catalog.Spec{Name: "payment", Key: []string{"account_id", "seq"}, Time: "accounting_date", Account: "account_id",
		Shards: core.Monthly(), Money: []catalog.Money{{Column: "amount", UnitColumn: "unit"}}}
}

func paymentTables() []string { return []string{"payment_202601", "payment_202602", "payment_202603"} }

// paymentMaker makes rows in commit order, over the days of three months.
type paymentMaker struct {
	seed         uint64
	total, made  int
	r            *rand.Rand
	balance, seq [paymentAccounts]int64
}

func newPaymentMaker(seed uint64, total int) *paymentMaker {
	return &paymentMaker{seed: seed, total: total, r: rand.New(rand.NewPCG(seed, 7))}
}

// next makes the next count rows of the total.
func (g *paymentMaker) next(count int) []payment {
	units := []string{"CNY", "USD", "EUR", "JPY"}
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	out := make([]payment, count)
	for i := range out {
		a := g.r.IntN(paymentAccounts)
		day := first.AddDate(0, 0, 90*g.made/g.total)
		posted := day.Add(time.Duration(g.r.Int64N(int64(24 * time.Hour))))
		p := payment{account: int64(1001 + a), transfer: fmt.Sprintf("bench-%d-%09d", g.seed, g.made/2), leg: int64(g.made % 2), unit: units[a%len(units)],
			amount: g.r.Int64N(1_000_000) - 400_000, before: g.balance[a], date: day.Format(time.DateOnly),
			orderTime:  posted.Add(-time.Duration(g.r.IntN(900)) * time.Second).Format("2006-01-02 15:04:05.000000"),
			postedTime: posted.Format("2006-01-02 15:04:05.000000")}
		g.balance[a] += p.amount
		g.seq[a]++
		p.after, p.seq = g.balance[a], g.seq[a]
		out[i] = p
		g.made++
	}
	return out
}

// shard is the table of the row.
func (p *payment) shard() string { return "payment_" + p.date[:4] + p.date[5:7] }

// insert is a statement of so many rows.
type insert struct {
	sql  string
	rows int
}

// inserts are the rows as statements of at most size rows, each its own transaction, made before anything is measured.
func inserts(rows []payment, size int) []insert {
	var out []insert
	for len(rows) > 0 {
		n := 1
		for n < min(size, len(rows)) && rows[n].shard() == rows[0].shard() {
			n++
		}
		b := append(make([]byte, 0, 64+160*n), "INSERT INTO "+rows[0].shard()+" VALUES "...)
		for i := range rows[:n] {
			if i > 0 {
				b = append(b, ',')
			}
			b = rows[i].appendValues(b)
		}
		out = append(out, insert{string(b), n})
		rows = rows[n:]
	}
	return out
}

func (p *payment) appendValues(b []byte) []byte {
	integer := func(v int64) { b = append(strconv.AppendInt(b, v, 10), ',') }
	text := func(v string) { b = append(append(append(b, '\''), v...), '\'', ',') }
	b = append(b, '(')
	integer(p.account)
	integer(p.seq)
	text(p.transfer)
	integer(p.leg)
	text(p.unit)
	integer(p.amount)
	integer(p.before)
	integer(p.after)
	text(p.date)
	text(p.orderTime)
	text(p.postedTime)
	text("") // funds
	b[len(b)-1] = ')'
	return b
}
