package main

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"

	"sync"
	"testing"
	"time"

	"strata/core"
	"strata/local/localtest"
)

// TestBank_idempotence posts the past again by REST after its shards were archived, and the present again after kills: the
// same body gets the same answer, another body or another order time is a conflict, and nothing is booked twice.
func TestBank_idempotence(t *testing.T) {
	t.Parallel()
	idempotenceRound(t, 1, 240)
}

// TestSoak_bank_idempotence is the same with more retries, a seed a round.
func TestSoak_bank_idempotence(t *testing.T) {
	eachRound(t, func(t *testing.T, seed uint64) { idempotenceRound(t, seed, 500) })
}

func idempotenceRound(t *testing.T, seed uint64, retries int) {
	t.Helper()
	b := newBank(t, seed, bankSpec{extra: "archive_policies:\n- {dataset: transfer, older_than_days: 30}\n- {dataset: entry, older_than_days: 30}\n"})
	b.ledger("load", "--transfers=150", "--accounts=80", "--months=4", fmt.Sprint("--seed=", seed)).want(t, 0)
	b.ledger("day", "cut", time.Now().UTC().Format(time.DateOnly)).want(t, 0)
	past := b.past()
	for i := range 2 {
		b.tellers = append(b.tellers, &teller{b: b, name: fmt.Sprint("teller ", i), config: b.config})
		b.tellers[i].start()
	}
	b.open()
	b.switchAll()
	b.units = 0 // the loaded accounts are there, too
	early := len(past) / 3
	b.retryAll(b.clerk("early"), past[:early])
	b.load(4, "c", func() {
		b.more(100)
		b.run("archive", "run").want(t, 0)
	})
	if b.count(b.archive, "transfer") == 0 || b.count(b.archive, "entry") == 0 {
		t.Error("nothing was archived")
	}
	b.retryAll(b.clerk("late"), past)
	b.retryUnderKills(retries, past)
	b.raceBodies(b.random(5), 40)
	b.check()
	b.prove()
	t.Logf("seed %d: %d transfers of the past, %d of them archived; %s", seed, len(past), b.count(b.archive, "transfer"), b.book.counts())
}

// past is every transfer that was loaded, made again from its rows.
func (b *bank) past() (out []core.Transfer) {
	b.t.Helper()
	x, err := b.db.BeginTx(b.t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = x.Rollback() }()
	legs := map[string][]core.Leg{}
	read := func(prefix, columns string, f func(scan func(...any) error) error) {
		names, err := tablesLike(b.t.Context(), x, prefix)
		for _, name := range names {
			if name == "transfer_id" {
				continue
			}
			if err == nil {
				err = each(b.t.Context(), x, "SELECT "+columns+" FROM "+name+" ORDER BY 1, 2", f)
			}
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	read("entry", "transfer_id, leg, account_id, unit, amount", func(scan func(...any) error) error {
		var id string
		var i int
		var l core.Leg
		err := scan(&id, &i, &l.Account, &l.Unit, &l.Amount)
		if i != len(legs[id]) {
			return fmt.Errorf("%s: leg %d after %d legs", id, i, len(legs[id]))
		}
		legs[id] = append(legs[id], l)
		return err
	})
	read("transfer", "id, kind, order_time, memo", func(scan func(...any) error) error {
		var t core.Transfer
		var at string
		if err := scan(&t.ID, &t.Kind, &at, &t.Memo); err != nil {
			return err
		}
		var err error
		t.OrderTime, err = time.Parse("2006-01-02 15:04:05.999999", at)
		t.Legs = legs[t.ID]
		out = append(out, t)
		return err
	})
	return out
}

// count is the number of rows in all shards.
func (b *bank) count(dsn, prefix string) (n int) {
	c := &content{rows: map[string]int64{}}
	if err := c.read(b.t.Context(), localtest.DB(b.t, dsn), false); err != nil {
		b.t.Fatal(err)
	}
	if prefix == "entry" {
		return len(c.lines)
	}
	return len(c.rows)
}

// other is the same id with another body, or ordered at another time.
func other(r *rand.Rand, t core.Transfer) core.Transfer {
	switch r.IntN(4) {
	case 0:
		t.OrderTime = t.OrderTime.Add(time.Microsecond)
	case 1:
		t.OrderTime = time.Now().UTC().Truncate(time.Microsecond)
	case 2:
		t.Memo += "!"
	default:
		if len(t.Legs) == 0 {
			t.Kind += "x"
			break
		}
		legs := make([]core.Leg, len(t.Legs))
		for i, l := range t.Legs {
			legs[i] = leg(l.Account, l.Unit, 2*l.Amount)
		}
		t.Legs = legs
	}
	return t
}

// retryAll posts each of them again, half of them first with another body.
func (b *bank) retryAll(c *clerk, all []core.Transfer) {
	b.t.Helper()
	for _, t := range all {
		if _, known := b.book.heard[t.ID]; !known {
			b.book.sent[t.ID], b.book.heard[t.ID] = t, b.remembered(t.ID)
			b.book.applied[t.ID] = true
		}
		if c.IntN(2) == 0 {
			if r := b.post(c.Rand, other(c.Rand, t)); len(r) == 1 && r[0].Outcome != "conflict" {
				b.t.Errorf("%s with another body: %+v", t.ID, r[0])
			}
		}
		if r := b.post(c.Rand, t); len(r) == 1 && r[0].Outcome != "replayed" {
			b.t.Errorf("%s again: %+v", t.ID, r[0])
		}
		if b.t.Failed() {
			return
		}
	}
}

// remembered asks what became of an id.
func (b *bank) remembered(id string) reply {
	all := b.read(200, b.insist(http.MethodGet, "/v1/transfers/"+id, "", 200))
	if len(all) != 1 {
		b.t.Fatalf("%s: %+v", id, all)
	}
	return all[0]
}

// retryUnderKills goes on as life does: half of the requests are retries, half of those with another body, while processes
// and the database are killed.
func (b *bank) retryUnderKills(requests int, past []core.Transfer) {
	b.t.Helper()
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		c := b.clerk(fmt.Sprint("r", i))
		wg.Go(func() {
			for range requests / 4 {
				if b.t.Failed() {
					return
				}
				b.again(c, past)
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	r := b.random(77)
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		b.trouble(r, []int{3, 0, 1}[i%3])
		if b.t.Failed() {
			<-done
			return
		}
		b.soon(40, 5*time.Second)
	}
}

func (b *bank) again(c *clerk, past []core.Transfer) {
	if c.IntN(2) == 0 || len(c.old) == 0 {
		c.send([]core.Transfer{c.one()})
		return
	}
	t := c.old[c.IntN(len(c.old))]
	if c.IntN(3) == 0 {
		t = past[c.IntN(len(past))]
	}
	if c.IntN(2) == 0 {
		b.post(c.Rand, t)
		return
	}
	b.post(c.Rand, other(c.Rand, t))
}

// raceBodies posts two bodies of one id at the same moment, to different processes: one of them owns the id for ever.
func (b *bank) raceBodies(r *rand.Rand, ids int) {
	b.t.Helper()
	c := b.clerk("race")
	for range ids {
		bodies := [2]core.Transfer{c.payment()}
		bodies[1] = other(r, bodies[0])
		for range 2 {
			var wg sync.WaitGroup
			var said [2]reply
			for i := range bodies {
				wg.Go(func() {
					b.await(runLimit, func() bool {
						all := b.read(b.ask(b.tellers[i], http.MethodPost, "/v1/transfers", bodies[i].AppendJSON(nil)))
						if len(all) == 1 {
							said[i] = all[0]
						}
						return len(all) == 1
					})
				})
			}
			wg.Wait()
			owner := 0
			if said[0].Outcome == "conflict" {
				owner = 1
			}
			if said[1-owner].Outcome != "conflict" {
				b.t.Errorf("two bodies of one id: %+v and %+v", said[0], said[1])
				return
			}
			for _, i := range []int{owner, 1 - owner} {
				if err := b.book.note(bodies[i], said[i]); err != nil {
					b.t.Error(err)
				}
			}
		}
	}
}
