package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"strata/local"
	"strata/local/localtest"
)

// TestBank_wire cuts the connection between the ledger and its database at random bytes while it posts, commits among them:
// whoever asked asks again, and is answered; nothing is booked twice.
func TestBank_wire(t *testing.T) {
	t.Parallel()
	wireRound(t, 1, 60)
}

// TestSoak_bank_wire is the same with more cuts, a seed a round.
func TestSoak_bank_wire(t *testing.T) {
	eachRound(t, func(t *testing.T, seed uint64) { wireRound(t, seed, 120) })
}

func wireRound(t *testing.T, seed uint64, cuts int) {
	t.Helper()
	m := localtest.Shared(t)
	wire, err := local.NewProxy(m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := wire.Close(); err != nil {
			t.Error(err)
		}
	})
	b := newBank(t, seed, bankSpec{maria: m, tellers: 2, via: wire.Addr()})
	b.open()
	b.switchAll()
	b.load(6, "c", func() {
		r := b.random(99)
		for range cuts {
			b.more(5 + r.Int64N(15))
			b.cut(r, wire)
			if t.Failed() {
				return
			}
		}
		wire.CutAfter(-1)
		b.more(50)
	})
	b.check()
	b.prove()
	t.Logf("seed %d: %d cuts; %s", seed, cuts, b.book.counts())
}

// cut does something to the wire; it works again when cut returns.
func (b *bank) cut(r *rand.Rand, wire *local.Proxy) {
	switch r.IntN(8) {
	case 0:
		wire.Cut()
	case 1:
		wire.Refuse(true)
		wire.Cut()
		b.soon(10, time.Duration(r.IntN(200))*time.Millisecond)
		wire.Refuse(false)
	case 2:
		wire.Stall(true)
		b.soon(10, time.Duration(r.IntN(100))*time.Millisecond)
		wire.Stall(false)
	case 3, 4: // what was sent and has not passed is lost: a commit that the database never sees
		wire.Stall(true)
		b.soon(10, time.Duration(r.IntN(40))*time.Millisecond)
		wire.Cut()
		wire.Stall(false)
	default: // an answer is lost: a commit that the database did
		wire.CutAfter(r.Int64N(4000))
	}
}
