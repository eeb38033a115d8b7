package syncer

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/fault"
	"strata/index"
)

const (
	// lookEvery is how often a Sync looks which generations there are.
	lookEvery = time.Second
	// waitEvery is how often the index is asked by somebody who waits for it.
	waitEvery = 20 * time.Millisecond
)

// Several is a Target whose datasets may have several generations. A Sync feeds the one that serves and the one that is built.
type Several interface {
	Target
	// Generations lists a dataset's generations as they are now.
	Generations(ctx context.Context, dataset string) ([]index.Generation, error)
	// Open returns one generation alone.
	Open(ctx context.Context, dataset string, number int) (index.Index, error)
}

// feeding is a generation that is fed.
type feeding struct {
	t      *set
	cancel context.CancelFunc
	done   chan struct{}
	tries  int // that it knows of
}

func (f *feeding) end() {
	f.cancel()
	<-f.done
}

// follow feeds a dataset's generations during a turn: t itself is the one that serves.
func (s *Sync) follow(ctx context.Context, t *set) error {
	several, ok := s.cfg.Index.(Several)
	if !ok {
		return s.runSet(ctx, t)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		running := map[int]*feeding{}
		defer t.builds(nil)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		away := false
		for {
			err := s.look(ctx, t, several, running, g)
			if err != nil && ctx.Err() == nil && !away {
				s.cfg.Log.Warn("generations of the index can't be looked at, what is fed goes on", "dataset", t.d.Name, "err", err, "hint", fault.HintOf(err))
			}
			if away = err != nil; away && len(running) == 0 && ctx.Err() == nil {
				t.stop(Retrying, err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// look starts what is to be fed and isn't, and ends what is fed and needn't be, or is fed for what it is no longer.
func (s *Sync) look(ctx context.Context, t *set, several Several, running map[int]*feeding, g *errgroup.Group) error {
	list, err := several.Generations(ctx, t.d.Name)
	if err != nil {
		return err
	}
	for number, f := range running {
		i := slices.IndexFunc(list, func(is index.Generation) bool { return is.Number == number })
		if i < 0 || list[i].State == index.Old || f.t.building != (list[i].State == index.Building) {
			f.end()
			delete(running, number)
			continue
		}
		if list[i].Tries != f.tries {
			f.tries = list[i].Tries
			f.t.resume()
		}
	}
	var beside []*set
	for _, is := range list {
		if is.State == index.Old {
			continue
		}
		f := running[is.Number]
		if f == nil {
			if f, err = s.feed(ctx, t, several, is, g); err != nil {
				if fault.Is(err, fault.Stale) { // dropped meanwhile
					continue
				}
				return err
			}
			running[is.Number] = f
		}
		if f.t.building {
			beside = append(beside, f.t)
		}
	}
	t.builds(beside)
	return nil
}

// feed begins to feed a generation.
func (s *Sync) feed(ctx context.Context, t *set, several Several, is index.Generation, g *errgroup.Group) (*feeding, error) {
	target, err := several.Open(ctx, t.d.Name, is.Number)
	if err != nil {
		return nil, err
	}
	of := t
	if is.State == index.Building {
		of = newSet(t.d)
		of.building = true
	}
	of.bind(target, is.Number)
	ctx, cancel := context.WithCancel(ctx)
	f := &feeding{t: of, cancel: cancel, done: make(chan struct{}), tries: is.Tries}
	g.Go(func() error {
		defer close(f.done)
		return s.runSet(ctx, of)
	})
	return f, nil
}

// bind says what the set feeds; nothing runs. Why another generation stopped is no longer of interest.
func (t *set) bind(target Target, generation int) {
	t.update(func() {
		if t.st.State == Stopped && t.st.Generation != generation {
			t.err, t.behind, t.st.State, t.st.Err, t.st.Hint = nil, nil, Starting, "", ""
		}
		t.index, t.st.Generation = target, generation
	})
}

// builds says which generations are built beside the one that serves.
func (t *set) builds(beside []*set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.beside = beside
}

func (t *set) built() []*set {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.beside)
}

// Applies reports whether this process applies the dataset now.
func (s *Sync) Applies(dataset string) bool {
	return slices.ContainsFunc(s.sets, func(t *set) bool { return t.d.Name == dataset && t.working() })
}

// Stopped returns why a generation of a dataset that this process feeds has stopped; nil where it has not, or isn't fed here.
func (s *Sync) Stopped(dataset string, generation int) error {
	for _, t := range s.sets {
		for _, of := range append(t.built(), t) {
			if st := of.stats(); st.Dataset == dataset && st.Generation == generation && st.State == Stopped {
				return fault.New(fault.Unsafe, "feed index of "+dataset, "generation %d: %s", generation, st.Err).WithHint("%s", st.Hint)
			}
		}
	}
	return nil
}

// waitFor is Sync.WaitFor for one dataset. What a set has is claimed only when the index says so too: while one generation
// hands over to the next, that is what both have (law L4).
func (s *Sync) waitFor(ctx context.Context, t *set, heartbeat uint64) error {
	for {
		if err := t.waitFor(ctx, heartbeat); err != nil {
			return err
		}
		several, ok := s.cfg.Index.(Several)
		if !ok {
			return nil
		}
		marks, err := several.Watermarks(ctx, t.d.Name)
		if err != nil {
			return err
		}
		behind := func(m index.Watermark) bool { return m.Heartbeat < heartbeat }
		if len(marks) == int(t.d.Partitions) && !slices.ContainsFunc(marks, behind) {
			return nil
		}
		timer := time.NewTimer(waitEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fault.Wrap(fault.KindOf(ctx.Err()), "wait for index of "+t.d.Name, ctx.Err())
		}
	}
}
