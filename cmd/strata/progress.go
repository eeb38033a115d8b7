package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress shows long work: bars on a terminal, a plain line every few seconds elsewhere. Everything goes to stderr, so
// that stdout stays the answer. The zero Progress shows nothing.
type Progress struct {
	out   io.Writer
	bars  *mpb.Progress // nil: plain lines
	every time.Duration
}

// NewProgress shows on out; quiet shows nothing.
func NewProgress(out *os.File, quiet bool) *Progress {
	if quiet {
		return &Progress{}
	}
	p := &Progress{out: out, every: 5 * time.Second}
	if isatty.IsTerminal(out.Fd()) {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return p
}

// Say prints one line.
func (p *Progress) Say(format string, args ...any) {
	switch {
	case p.out == nil:
	case p.bars != nil:
		fmt.Fprintf(p.bars, format+"\n", args...)
	default:
		fmt.Fprintf(p.out, format+"\n", args...)
	}
}

// Wait lets the bars finish their last frame; what is said afterwards are plain lines. Call it before anything else
// writes to the terminal, and not while a task runs.
func (p *Progress) Wait() {
	if p.bars != nil {
		p.bars.Wait()
		p.bars = nil
	}
}

// Close drops what still runs, for the way out after an error.
func (p *Progress) Close() {
	if p.bars != nil {
		p.bars.Shutdown()
		p.bars = nil
	}
}

// Task is one piece of long work. Its methods may be called from several goroutines.
type Task struct {
	p     *Progress
	name  string
	began time.Time
	bar   *mpb.Bar

	mu    sync.Mutex
	last  time.Time
	done  int64
	total int64
}

// Start begins a task; total may be 0 where it is not known yet.
func (p *Progress) Start(name string, total int64) *Task {
	t := &Task{p: p, name: name, began: time.Now(), last: time.Now(), total: total}
	if p.bars != nil {
		t.bar = p.bars.AddBar(total, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("  %-28s", name)), decor.CountersNoUnit("%d / %d", decor.WCSyncSpace)),
			mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), decor.Elapsed(decor.ET_STYLE_GO, decor.WCSyncSpace),
				decor.Any(func(decor.Statistics) string { return t.left() }, decor.WCSyncSpace)))
	}
	return t
}

// Set says how far the task is. Progress never goes back.
func (t *Task) Set(done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.total = max(done, t.done), max(total, t.total)
	if t.bar != nil {
		t.bar.SetTotal(max(t.total, t.done+1), false)
		t.bar.SetCurrent(t.done)
		return
	}
	if t.p.out == nil || time.Since(t.last) < t.p.every {
		return
	}
	t.last = time.Now()
	of := ""
	if t.total > 0 {
		of = fmt.Sprintf(" / %d", t.total)
	}
	fmt.Fprintf(t.p.out, "  %-28s %d%s  %s  %s\n", t.name, t.done, of, rate(t.done, time.Since(t.began)), eta(t.done, t.total, time.Since(t.began)))
}

// left is eta for a bar's own goroutine.
func (t *Task) left() string {
	if !t.mu.TryLock() { // Set is telling the bar something; the next frame has it
		return ""
	}
	defer t.mu.Unlock()
	return eta(t.done, t.total, time.Since(t.began))
}

// eta is how long the rest takes at the pace so far; "" where that is not known.
func eta(done, total int64, in time.Duration) string {
	if done <= 0 || total <= done {
		return ""
	}
	return "eta " + time.Duration(float64(in)/float64(done)*float64(total-done)).Round(time.Second).String()
}

// End finishes the task and says what came of it.
func (t *Task) End(format string, args ...any) {
	t.mu.Lock()
	done, total := t.done, max(t.total, t.done)
	t.mu.Unlock()
	if t.bar != nil {
		t.bar.SetCurrent(max(total, 1))
		t.bar.SetTotal(max(total, 1), true)
	}
	line := fmt.Sprintf(format, args...)
	if done > 0 {
		line += ", " + rate(done, time.Since(t.began))
	}
	t.p.Say("  %-28s %s (%.1f s)", t.name, line, time.Since(t.began).Seconds())
}

// Abort drops the bar of a task that failed.
func (t *Task) Abort() {
	if t.bar != nil {
		t.bar.Abort(true)
	}
}

func rate(done int64, in time.Duration) string {
	if in < time.Millisecond {
		return "at once"
	}
	return fmt.Sprintf("%.0f/s", float64(done)/in.Seconds())
}
