package canal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/local"
)

// boundaries returns the statuses and ids of the boundary topic, in order, and what each end counts.
func (r *rig) boundaries() (frames []string, ends map[string]uint32) {
	r.t.Helper()
	ends = map[string]uint32{}
	for _, rec := range r.sink.Records(canal.Boundaries, 0) {
		var b canal.Boundary
		if err := json.Unmarshal(canal.Payload(rec.Value), &b); err != nil {
			r.t.Fatal(err)
		}
		frames = append(frames, b.Status+" "+b.ID)
		if b.Status == "END" {
			ends[b.ID] = *b.EventCount
		}
	}
	return frames, ends
}

// TestL1_boundaries_and_schemas_change_nothing_of_what_is_sent: leaders die and follow each other, each with another envelope;
// every transaction with captured changes has its begin and its end, at least once, and the end counts its records.
func TestL1_boundaries_and_schemas_change_nothing_of_what_is_sent(t *testing.T) {
	for seed := range uint64(20) {
		r := newRig(t)
		rnd := rand.New(rand.NewPCG(seed, 17))
		r.commit(rnd, 20)
		for crash := range 3 {
			cfg := r.config("a", local.NewTrap([]string{"canal.send.after", "canal.ack.after", "canal.mark.after"}[crash], 3+rnd.IntN(9)).At)
			cfg.Boundaries, cfg.Envelope, cfg.CheckpointEvery = true, canal.EnvelopeForm(crash%2), time.Hour
			if rnd.IntN(2) == 0 {
				cfg.CheckpointEvery = time.Microsecond
			}
			r.sink.Lose = func(_ string, _ int32, n int) (int, bool) { return rnd.IntN(n + 1), rnd.IntN(2) == 0 }
			if err := r.run(r.leader(cfg)); err != nil && !errors.Is(err, local.ErrCrash) {
				t.Fatal(err)
			}
			r.sink.Land()
			r.commit(rnd, 5)
		}
		cfg := r.config("a", nil)
		cfg.Boundaries = true
		if err := r.run(r.leader(cfg)); err != nil {
			t.Fatal(err)
		}
		r.proven()
		frames, ends := r.boundaries()
		for _, x := range r.src.Txns() {
			n := uint32(0)
			for i := range x.Changes {
				c := &x.Changes[i]
				if n++; c.Op == canal.Update && c.Before.Text(0) != c.After.Text(0) {
					n++
				}
			}
			begun, ended := slices.Contains(frames, "BEGIN "+x.GTID), slices.Contains(frames, "END "+x.GTID)
			if (n > 0) != begun || (n > 0) != ended || ends[x.GTID] != n {
				t.Fatalf("seed %d: %s with %d records: begun %t, ended %t with %d", seed, x.GTID, n, begun, ended, ends[x.GTID])
			}
		}
	}
}

// TestL11_letters_may_come_twice_and_everything_else_is_as_if_they_were_not: leaders die before and after a letter.
func TestL11_letters_may_come_twice_and_everything_else_is_as_if_they_were_not(t *testing.T) {
	for nth := 1; nth < 6; nth++ {
		r := newRig(t)
		insert := func(id int, note string) canal.Change {
			return canal.Change{Dataset: r.data[0], Shard: "entry", Op: canal.Insert, After: canaltest.Row(id, note)}
		}
		for i := range 4 {
			big := insert(100+i, strings.Repeat("x", 3000))
			big.Ordinal = 1
			r.src.Commit(canal.Txn{Changes: []canal.Change{insert(i, "small"), big}})
		}
		cfg := r.config("a", local.NewTrap("canal.send.after", nth).At)
		cfg.MaxRecordBytes, cfg.CheckpointEvery = 2000, time.Hour
		lose := rand.New(rand.NewPCG(uint64(nth), 1))
		r.sink.Lose = func(_ string, _ int32, n int) (int, bool) { return lose.IntN(n + 1), false }
		if err := r.run(r.leader(cfg)); err != nil && !errors.Is(err, local.ErrCrash) {
			t.Fatal(err)
		}
		cfg.At = nil
		l := r.leader(cfg)
		if err := r.run(l); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); len(s.Stopped) > 0 || s.Letters == 0 && nth < 5 {
			t.Fatalf("%+v", s)
		}
		keys := map[string]bool{}
		for _, rec := range r.sink.Records(canal.DeadLetters("entry"), 0) {
			keys[string(rec.Key)] = true
		}
		if len(keys) != 4 || !keys[`{"id":103}`] {
			t.Errorf("letters of %v", keys)
		}
		txns := r.src.Txns()
		for i := range txns {
			txns[i].Changes = txns[i].Changes[:1]
		}
		seen, err := canaltest.Replay(context.Background(), r.sink, r.data[0])
		if err == nil {
			err = canaltest.Check(r.data[0], txns, seen)
		}
		if err != nil {
			t.Fatal(fmt.Errorf("crash %d: %w", nth, err))
		}
	}
}
