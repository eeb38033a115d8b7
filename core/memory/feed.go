package memory

import (
	"context"
	"slices"

	"strata/core"
)

// Feed is the events of one of the Config's consumers.
func (l *Ledger) Feed(consumer string) core.Feed { return &feed{l, consumer} }

type feed struct {
	l        *Ledger
	consumer string
}

// Next is core.Feed.
func (f *feed) Next(_ context.Context, limit int) ([]core.Event, error) {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	all := f.l.events[f.consumer]
	return slices.Clone(all[:min(len(all), max(0, limit))]), nil
}

// Done is core.Feed.
func (f *feed) Done(_ context.Context, ids []string) error {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(f.l.events[f.consumer]), func(e core.Event) bool { return slices.Contains(ids, e.Transfer.ID) })
	f.l.events[f.consumer] = kept
	return nil
}
