package soak

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"strata/local/soaktest"
)

// seen is what a watcher knows of one document or watermark.
type seen struct {
	newest image
	firm   image // the newest that stood below a watermark
}

// watcher reads documents of hot keys in a loop and sees to it that none goes back.
type watcher struct {
	from searchCopy
	keys map[string][]int // by dataset

	mu     sync.Mutex
	docs   map[string]map[int]*seen
	beats  map[string]map[int]mark
	rests  bool // it doesn't look
	free   bool // watermarks may go
	turn   int  // reads that began in an earlier one are not judged
	sweeps int
	moves  int // newer images seen
	wrong  []string
	failed error // of the last read
}

func newWatcher(from searchCopy) *watcher {
	w := &watcher{from: from, keys: map[string][]int{}, docs: map[string]map[int]*seen{}, beats: map[string]map[int]mark{}}
	for dataset, first := range map[string]int{"orders": 1, "items": soaktest.ItemsFrom + 1} {
		w.docs[dataset], w.beats[dataset] = map[int]*seen{}, map[int]mark{}
		for i := range 60 {
			w.keys[dataset] = append(w.keys[dataset], first+i)
		}
	}
	return w
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	pause := time.NewTicker(10 * time.Millisecond) // others want the machine, too
	defer pause.Stop()
	for ctx.Err() == nil {
		for dataset := range w.keys {
			if err := w.sweep(ctx, dataset); err != nil && ctx.Err() == nil {
				w.mu.Lock()
				if w.failed = err; errors.Is(err, errWrong) {
					w.fault("%v", err)
				}
				w.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

func (w *watcher) fault(format string, args ...any) {
	if len(w.wrong) < 20 {
		w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	}
}

// sweep reads watermarks and then documents of one dataset.
func (w *watcher) sweep(ctx context.Context, dataset string) error {
	w.mu.Lock()
	turn, rests := w.turn, w.rests
	w.mu.Unlock()
	if rests {
		return nil
	}
	marks, err := w.from.marks(ctx, dataset)
	if err != nil {
		return err
	}
	images, err := w.from.images(ctx, dataset, w.keys[dataset])
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if turn != w.turn {
		return nil
	}
	w.sweeps++
	w.judgeMarks(dataset, marks)
	low := lowest(marks)
	for _, k := range w.keys[dataset] {
		w.judge(dataset, k, images, low)
	}
	return nil
}

// lowest is the version of the watermark that is furthest behind; 0 where one is missing.
func lowest(marks map[int]mark) uint64 {
	low := marks[0].Version
	for p := range soaktest.Partitions {
		low = min(low, marks[p].Version)
	}
	return low
}

func (w *watcher) judgeMarks(dataset string, marks map[int]mark) {
	if w.free {
		return
	}
	for p, was := range w.beats[dataset] {
		if now := marks[p]; now.Version < was.Version || now.Heartbeat < was.Heartbeat {
			w.fault("%s partition %d: watermark %+v after %+v", dataset, p, now, was)
		}
	}
	w.beats[dataset] = marks
}

// judge compares one document with what it was. low is what everything up to which is acknowledged.
func (w *watcher) judge(dataset string, key int, images map[int]image, low uint64) {
	now, there := images[key]
	was := w.docs[dataset][key]
	switch {
	case !there && was == nil:
		return
	case !there && was.newest.version == 0: // the index was killed, and nothing was below a watermark
		return
	case !there:
		w.fault("%s %d is gone, it was %+v", dataset, key, was.newest)
		return
	case was == nil:
		was = &seen{}
		w.docs[dataset][key] = was
	}
	if now.bare { // it has no image, so no v
		now.v = was.newest.v
	}
	switch old := was.newest; {
	case now.version < old.version, now.v < old.v:
		w.fault("%s %d: %+v after %+v", dataset, key, now, old)
	case now.version == old.version && now != old:
		w.fault("%s %d: one version, two images: %+v after %+v", dataset, key, now, old)
	case now.version > old.version:
		w.moves++
		was.newest = now
	}
	if now.version <= low {
		was.firm = now
	}
}

// rest says whether it stops to look.
func (w *watcher) rest(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rests = on
}

// shaken is called when the index was killed, with whatever it had shown and not acknowledged, and before it runs again.
func (w *watcher) shaken() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	for dataset, docs := range w.docs {
		w.beats[dataset] = map[int]mark{}
		for _, d := range docs {
			d.newest = d.firm
		}
	}
}

// unmarked has f delete watermarks by hand.
func (w *watcher) unmarked(f func()) {
	free := func(on bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.turn++
		w.free = on
		for dataset := range w.beats {
			w.beats[dataset] = map[int]mark{}
		}
	}
	free(true)
	f()
	free(false)
}
