package canaltest

import (
	"context"
	"slices"
	"sync"
	"time"

	"strata/canal"
)

// Desk is a canal.Desk in memory, with the terms of a Control.
type Desk struct {
	terms *Control
	// Fail makes a call fail before it does anything, when it returns an error for the method's name. nil: none.
	Fail func(method string) error

	mu       sync.Mutex
	tasks    []canal.Task
	keys     []deskKey // oldest first
	version  uint64
	evidence []canal.Evidence
	status   *canal.Status
	kept     []*canal.Checkpoint
}

type deskKey struct {
	canal.RepairKey
	due time.Time
}

// NewDesk makes an empty one.
func NewDesk(terms *Control) *Desk { return &Desk{terms: terms} }

// lock begins a call; the caller unlocks unless there is an error.
func (d *Desk) lock(method string) error {
	d.mu.Lock()
	if d.Fail != nil {
		if err := d.Fail(method); err != nil {
			d.mu.Unlock()
			return err
		}
	}
	return nil
}

// reigns reports whether the term is the highest taken.
func (d *Desk) reigns(term uint32) bool {
	d.terms.mu.Lock()
	defer d.terms.mu.Unlock()
	return d.terms.state.Term == term
}

// Tasks is part of canal.Desk.
func (d *Desk) Tasks(context.Context) ([]canal.Task, error) {
	if err := d.lock("Tasks"); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	var out []canal.Task
	for _, t := range d.tasks {
		if !final(t.State) {
			t.Shards = slices.Clone(t.Shards)
			out = append(out, t)
		}
	}
	return out, nil
}

func final(s canal.TaskState) bool {
	return s == canal.Done || s == canal.Ended || s == canal.Failed
}

// AllTasks returns every task that there ever was.
func (d *Desk) AllTasks() []canal.Task {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.tasks)
}

// AddTask is part of canal.Desk.
func (d *Desk) AddTask(_ context.Context, term uint32, t canal.Task) (int64, bool, error) {
	if err := d.lock("AddTask"); err != nil {
		return 0, false, err
	}
	defer d.mu.Unlock()
	if term != 0 && !d.reigns(term) {
		return 0, false, nil
	}
	t.ID, t.State, t.CreatedAt, t.UpdatedAt = int64(len(d.tasks)+1), canal.Queued, time.Now(), time.Now()
	t.Shards = slices.Clone(t.Shards)
	d.tasks = append(d.tasks, t)
	return t.ID, true, nil
}

// Advance is part of canal.Desk.
func (d *Desk) Advance(_ context.Context, term uint32, t canal.Task) (canal.Wish, bool, error) {
	if err := d.lock("Advance"); err != nil {
		return "", false, err
	}
	defer d.mu.Unlock()
	if !d.reigns(term) {
		return "", false, nil
	}
	i := slices.IndexFunc(d.tasks, func(o canal.Task) bool { return o.ID == t.ID })
	if i < 0 {
		return "", false, nil
	}
	o := &d.tasks[i]
	o.State, o.Done, o.Total, o.Place, o.Err, o.UpdatedAt = t.State, t.Done, t.Total, t.Place, t.Err, time.Now()
	return o.Wish, true, nil
}

// Wish is an operator's.
func (d *Desk) Wish(id int64, w canal.Wish) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.tasks {
		if d.tasks[i].ID == id {
			d.tasks[i].Wish = w
		}
	}
}

func (d *Desk) find(k *canal.RepairKey) int {
	return slices.IndexFunc(d.keys, func(o deskKey) bool {
		return o.Dataset == k.Dataset && o.Shard == k.Shard && o.Key == k.Key
	})
}

// Enqueue is part of canal.Desk.
func (d *Desk) Enqueue(_ context.Context, keys []canal.RepairKey) error {
	if err := d.lock("Enqueue"); err != nil {
		return err
	}
	defer d.mu.Unlock()
	for _, k := range keys {
		d.version++
		k.Version, k.Tries = d.version, 0
		if i := d.find(&k); i >= 0 {
			k.Task = max(k.Task, d.keys[i].Task)
			d.keys[i] = deskKey{k, time.Time{}}
			continue
		}
		d.keys = append(d.keys, deskKey{k, time.Time{}})
	}
	return nil
}

// Due is part of canal.Desk.
func (d *Desk) Due(_ context.Context, n int) ([]canal.RepairKey, error) {
	if err := d.lock("Due"); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	var out []canal.RepairKey
	now := time.Now()
	for _, k := range d.keys {
		if len(out) < n && !k.due.After(now) {
			out = append(out, k.RepairKey)
		}
	}
	return out, nil
}

// Left is part of canal.Desk.
func (d *Desk) Left(_ context.Context, task int64) (int64, error) {
	if err := d.lock("Left"); err != nil {
		return 0, err
	}
	defer d.mu.Unlock()
	n := int64(0)
	for _, k := range d.keys {
		if task == 0 || k.Task == task || k.Task > task && d.concerns(task, k.Dataset) {
			n++
		}
	}
	return n, nil
}

// concerns reports whether a task is of a dataset.
func (d *Desk) concerns(task int64, dataset string) bool {
	return slices.ContainsFunc(d.tasks, func(t canal.Task) bool { return t.ID == task && (t.Dataset == "" || t.Dataset == dataset) })
}

// Settle is part of canal.Desk.
func (d *Desk) Settle(_ context.Context, term uint32, done, later []canal.RepairKey, pause time.Duration) (bool, error) {
	if err := d.lock("Settle"); err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	if !d.reigns(term) {
		return false, nil
	}
	for i := range done {
		if at := d.find(&done[i]); at >= 0 && d.keys[at].Version == done[i].Version {
			d.keys = slices.Delete(d.keys, at, at+1)
		}
	}
	for i := range later {
		if at := d.find(&later[i]); at >= 0 && d.keys[at].Version == later[i].Version {
			d.keys[at].Tries++
			d.keys[at].due = time.Now().Add(pause)
		}
	}
	return true, nil
}

// Record is part of canal.Desk.
func (d *Desk) Record(_ context.Context, e canal.Evidence) error {
	if err := d.lock("Record"); err != nil {
		return err
	}
	defer d.mu.Unlock()
	e.ID = int64(len(d.evidence) + 1)
	d.evidence = append(d.evidence, e)
	return nil
}

// Evidence returns what was recorded, oldest first.
func (d *Desk) Evidence() []canal.Evidence {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.evidence)
}

// Report is part of canal.Desk.
func (d *Desk) Report(_ context.Context, term uint32, s canal.Status) (bool, error) {
	if err := d.lock("Report"); err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	if !d.reigns(term) {
		return false, nil
	}
	d.status = &s
	return true, nil
}

// Status returns the last report, or nil.
func (d *Desk) Status() *canal.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Remember is part of canal.Desk.
func (d *Desk) Remember(_ context.Context, term uint32, c *canal.Checkpoint) (bool, error) {
	if err := d.lock("Remember"); err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	if !d.reigns(term) {
		return false, nil
	}
	d.kept = append(d.kept, clone(c))
	if len(d.kept) > 2000 { // every second one of the older half
		half := d.kept[:1000]
		thin := make([]*canal.Checkpoint, 0, 1500)
		for i := 0; i < len(half); i += 2 {
			thin = append(thin, half[i])
		}
		d.kept = append(thin, d.kept[1000:]...)
	}
	return true, nil
}

// History is part of canal.Desk.
func (d *Desk) History(_ context.Context, f func(*canal.Checkpoint) (bool, error)) error {
	if err := d.lock("History"); err != nil {
		return err
	}
	kept := slices.Clone(d.kept)
	d.mu.Unlock()
	for _, c := range slices.Backward(kept) {
		if more, err := f(clone(c)); err != nil || !more {
			return err
		}
	}
	return nil
}
