package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestBank runs random transfers of every kind over two processes, while both and the database are killed and paused. Every
// read of all balances sums to nothing; at the end everything is answered, proven, and derived again from the entries.
func TestBank(t *testing.T) {
	t.Parallel()
	bankRound(t, 1, 7)
}

// TestSoak_bank is the same with more kills, a seed a round.
func TestSoak_bank(t *testing.T) {
	eachRound(t, func(t *testing.T, seed uint64) { bankRound(t, seed, 20) })
}

func bankRound(t *testing.T, seed uint64, kills int) {
	t.Helper()
	b := newBank(t, seed, bankSpec{tellers: 2})
	b.open()
	b.switchAll()
	stop := make(chan struct{})
	reads := 0
	var watching sync.WaitGroup
	watching.Go(func() { reads = b.watch(stop) })
	b.load(6, "c", func() {
		r := b.random(99)
		for k := range kills {
			b.more(100 + r.Int64N(200))
			what := k
			if k > 7 {
				what = r.IntN(8)
			}
			b.trouble(r, (what+int(seed))%8)
			if t.Failed() {
				return
			}
		}
		b.more(300)
	})
	close(stop)
	watching.Wait()
	b.check()
	b.prove()
	t.Logf("seed %d: %d reads of all balances; %s", seed, reads, b.book.counts())
	if reads == 0 {
		t.Error("no read of all balances")
	}
}

// soon waits until so many answers came, or a moment where none can come.
func (b *bank) soon(answers int64, moment time.Duration) {
	until := b.book.answers.Load() + answers
	b.await(moment, func() bool { return b.book.answers.Load() >= until })
}

// trouble is one disturbance at a random moment; it is over when it returns.
func (b *bank) trouble(r *rand.Rand, what int) {
	x, other := b.tellers[0], b.tellers[1]
	if r.IntN(2) == 0 {
		x, other = other, x
	}
	b.soon(r.Int64N(60), time.Second)
	b.t.Logf("%s: trouble %d with %s after %d answers", time.Now().UTC().Format("05.000"), what, x.name, b.book.answers.Load())
	switch what {
	case 0, 1:
		x.kill()
		x.start()
	case 2:
		x.kill()
		other.kill()
		x.start()
		other.start()
	case 3:
		b.killDatabase()
	case 4: // what it holds of locks stays until it goes on
		x.signal(syscall.SIGSTOP)
		b.soon(r.Int64N(100), time.Second)
		x.signal(syscall.SIGCONT)
	case 5: // and what it has in hand it sends to a database that forgot it
		x.signal(syscall.SIGSTOP)
		b.soon(r.Int64N(40), time.Second/2)
		b.killDatabase()
		x.signal(syscall.SIGCONT)
	case 6:
		x.signal(syscall.SIGSTOP)
		b.soon(r.Int64N(40), time.Second/2)
		x.kill()
		b.killDatabase()
		x.start()
	case 7: // while an account changes its mode
		var kill sync.WaitGroup
		kill.Go(func() {
			b.soon(r.Int64N(10), time.Second/2)
			x.kill()
		})
		id := []int64{hot, hot + 1, moded, moded + 1}[int(b.book.answers.Load())%4]
		for _, mode := range []string{"sub_accounts", "buffered", "sub_accounts"} {
			b.switchMode(id, mode)
		}
		kill.Wait()
		x.start()
	default:
		b.t.Fatal(fmt.Sprint("trouble ", what))
	}
}

// killDatabase kills the database and starts it again.
func (b *bank) killDatabase() {
	b.t.Helper()
	if err := b.maria.Kill(); err != nil {
		b.t.Fatal(err)
	}
	if err := b.maria.Restart(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}
