package across

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"strata/core"
	"strata/fault"
)

// trouble is what happens to one call.
type trouble int

const (
	fine   trouble = iota
	away           // not done, an error
	lost           // done, the answer lost
	late           // an error now; it is done when deliver is called
	manner         // how many there are
)

var errTrouble = errors.New("connection lost")

// shaky is a participant behind a bad wire.
type shaky struct {
	Participant
	mu     sync.Mutex
	next   func(core.Action) trouble // nil: fine
	queued []core.Transfer
}

func (s *shaky) trouble(a core.Action) trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		return fine
	}
	return s.next(a)
}

func (s *shaky) set(next func(core.Action) trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = next
}

// plan makes the next calls go as listed, and the ones after them fine.
func (s *shaky) plan(troubles []trouble) {
	s.set(func(core.Action) trouble {
		if len(troubles) == 0 {
			return fine
		}
		first := troubles[0]
		troubles = troubles[1:]
		return first
	})
}

func (s *shaky) Post(ctx context.Context, ts []core.Transfer) ([]core.Answer, error) {
	switch s.trouble(ts[0].Action) {
	case away:
		return nil, fault.Wrap(fault.Unavailable, "post", errTrouble)
	case late:
		s.mu.Lock()
		s.queued = append(s.queued, ts...)
		s.mu.Unlock()
		return nil, fault.Wrap(fault.Timeout, "post", errTrouble)
	case lost:
		if _, err := s.Participant.Post(ctx, ts); err != nil {
			return nil, err
		}
		return nil, fault.Wrap(fault.Unavailable, "post", errTrouble)
	}
	return s.Participant.Post(ctx, ts)
}

// deliver does up to n of the calls that are late, in any order.
func (s *shaky) deliver(ctx context.Context, n int, seed uint64) error {
	s.mu.Lock()
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(s.queued), func(i, k int) { s.queued[i], s.queued[k] = s.queued[k], s.queued[i] })
	n = min(n, len(s.queued))
	ts := s.queued[:n]
	s.queued = s.queued[n:]
	s.mu.Unlock()
	for _, t := range ts {
		if _, err := s.Participant.Post(ctx, []core.Transfer{t}); err != nil {
			return err
		}
	}
	return nil
}
