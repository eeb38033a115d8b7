package canal

import (
	"context"
	"time"
)

// happening is why a turn ended.
type happening uint8

const (
	worked happening = iota
	arrived
	ticked
)

const (
	graceTime  = time.Millisecond      // a stream that delivers nothing for so long is idle
	streamTime = 20 * time.Millisecond // a stream that is never idle lets work beside it have a slice so often
)

// turns shares the term's goroutine between the stream and the work beside it. The stream comes first: work gets a slice
// when the stream is idle, and one now and then when it never is.
type turns struct {
	grace *time.Timer
	fresh bool      // a transaction came since the last slice
	slice time.Time // of the last one
	sure  bool      // the server's history is known to be the one that was read
}

func newTurn() *turns {
	g := time.NewTimer(time.Hour)
	g.Stop()
	return &turns{grace: g}
}

// turn waits for the next transaction or does a slice of other work.
func (t *term) turn(ctx context.Context, p *pump, s *turns, tick <-chan time.Time) (delivery, happening, error) {
	var grace <-chan time.Time
	if t.office != nil && s.sure && t.office.ready() {
		since := t.cfg.Now().Sub(s.slice)
		switch {
		case s.fresh && since >= 0 && since < streamTime:
			s.grace.Reset(graceTime)
			grace = s.grace.C
		case s.fresh:
			return delivery{}, worked, t.slice(ctx, s)
		default:
			select {
			case d := <-p.got:
				s.fresh = true
				return d, arrived, nil
			default:
				return delivery{}, worked, t.slice(ctx, s)
			}
		}
	}
	var inbox chan func(context.Context) error
	if t.office != nil && s.sure {
		inbox = t.office.inbox
	}
	select {
	case d := <-p.got:
		s.fresh = true
		return d, arrived, nil
	case <-grace:
		return delivery{}, worked, t.slice(ctx, s)
	case f := <-inbox:
		return delivery{}, worked, ofSink(f(ctx))
	case <-tick:
		return delivery{}, ticked, nil
	case <-ctx.Done():
		return delivery{}, worked, ctx.Err()
	}
}

func (t *term) slice(ctx context.Context, s *turns) error {
	err := t.office.slice(ctx)
	s.fresh, s.slice = false, t.cfg.Now()
	return ofSink(err)
}

// events does what was handed over by the goroutines beside the stream.
func (t *term) events(ctx context.Context, s *turns) error {
	if t.office == nil || !s.sure {
		return nil
	}
	for {
		select {
		case f := <-t.office.inbox:
			if err := f(ctx); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
