package syncer

import (
	"context"
	"errors"
	"time"

	"strata/fault"
)

const (
	// beatEvery is how often a process reports and renews; leaseTime is after how long without that others take over.
	beatEvery = 2 * time.Second
	leaseTime = 10 * time.Second
	// giveBack bounds giving leases back at the end.
	giveBack = 3 * time.Second
)

// Board is where the processes that feed one index see each other, and operators see them. Nothing rests on it: two processes
// that apply the same do harmless work twice, and where it is away each goes on as it was.
type Board interface {
	// Acquire takes or renews the lease of a dataset for the time ttl, by the board's clock, and reports whether holder has it.
	Acquire(ctx context.Context, dataset, holder string, ttl time.Duration) (bool, error)
	// Release gives a lease up if holder has it.
	Release(ctx context.Context, dataset, holder string) error
	// Report stores how holder stands, and returns how many processes have reported within ttl, and by dataset a number that
	// rises whenever somebody wants it to go on; the map is never nil.
	Report(ctx context.Context, holder string, s Stats, ttl time.Duration) (members int, resumes map[string]uint64, err error)
	// Leave removes holder's report.
	Leave(ctx context.Context, holder string) error
}

// attend reports, and takes and gives back leases, until ctx ends.
func (s *Sync) attend(ctx context.Context) error {
	if s.cfg.Board == nil {
		for _, t := range s.sets {
			t.want(true)
		}
		return nil
	}
	tick := time.NewTicker(s.cfg.Beat)
	defer tick.Stop()
	var seen map[string]uint64 // resumes that are dealt with; nil: none was asked for yet
	away := false
	for {
		members, resumes, err := s.cfg.Board.Report(ctx, s.cfg.Holder, s.Stats(), leaseTime)
		if err != nil && ctx.Err() == nil && !away {
			s.cfg.Log.Warn("the control database is away, every process goes on as it was", "err", err, "hint", fault.HintOf(err))
		}
		away = err != nil
		if err == nil {
			for _, t := range s.sets {
				if seen != nil && resumes[t.d.Name] != seen[t.d.Name] {
					s.cfg.Log.Info("dataset is resumed", "dataset", t.d.Name)
					t.resume()
				}
			}
			seen = resumes
		}
		s.share(ctx, max(members, 1))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// share takes, renews and gives back: a process wants at most its share of the datasets, so that the work is spread.
func (s *Sync) share(ctx context.Context, members int) {
	fair, held := (len(s.sets)+members-1)/members, 0
	for _, t := range s.sets {
		if t.wanted() {
			ok, err := s.cfg.Board.Acquire(ctx, t.d.Name, s.cfg.Holder, leaseTime)
			if err == nil && !ok {
				s.cfg.Log.Warn("another process has taken a dataset over", "dataset", t.d.Name)
				t.want(false)
				t.owes = false
				continue
			}
			if held++; held > fair {
				t.want(false) // given back when its work has ended
			}
		}
	}
	for _, t := range s.sets {
		switch {
		case t.wanted() || t.working() || ctx.Err() != nil:
		case t.owes:
			t.owes = s.cfg.Board.Release(ctx, t.d.Name, s.cfg.Holder) != nil
		case held < fair:
			ok, err := s.cfg.Board.Acquire(ctx, t.d.Name, s.cfg.Holder, leaseTime)
			if ok || err != nil { // nobody can say that another has it
				t.owes = true
				t.want(true)
				held++
			}
		}
	}
}

// leave gives back what this process has; its work has ended.
func (s *Sync) leave(ctx context.Context) {
	if s.cfg.Board == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	err := s.cfg.Board.Leave(ctx, s.cfg.Holder)
	for _, t := range s.sets {
		if t.owes {
			err = errors.Join(err, s.cfg.Board.Release(ctx, t.d.Name, s.cfg.Holder))
		}
	}
	if err != nil {
		s.cfg.Log.Info("leases can't be given back, they run out", "err", err)
	}
}
