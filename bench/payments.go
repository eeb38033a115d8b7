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

// payments makes count rows in commit order, over the days of three months.
func payments(seed uint64, count int) []payment {
	r := rand.New(rand.NewPCG(seed, 7))
	units := []string{"CNY", "USD", "EUR", "JPY"}
	var balance, seq [paymentAccounts]int64
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	out := make([]payment, count)
	for i := range out {
		a := r.IntN(paymentAccounts)
		day := first.AddDate(0, 0, 90*i/count)
		posted := day.Add(time.Duration(r.Int64N(int64(24 * time.Hour))))
		p := payment{account: int64(1001 + a), transfer: fmt.Sprintf("bench-%d-%09d", seed, i/2), leg: int64(i % 2), unit: units[a%len(units)],
			amount: r.Int64N(1_000_000) - 400_000, before: balance[a], date: day.Format(time.DateOnly),
			orderTime:  posted.Add(-time.Duration(r.IntN(900)) * time.Second).Format("2006-01-02 15:04:05.000000"),
			postedTime: posted.Format("2006-01-02 15:04:05.000000")}
		balance[a] += p.amount
		seq[a]++
		p.after, p.seq = balance[a], seq[a]
		out[i] = p
	}
	return out
}

// shard is the table of the row.
func (p *payment) shard() string { return "payment_" + p.date[:4] + p.date[5:7] }

// inserts are the rows as statements of at most size rows, each its own transaction, made before anything is measured.
func inserts(rows []payment, size int) []string {
	var out []string
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
		out = append(out, string(b))
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
	b[len(b)-1] = ')'
	return b
}
