package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/canal"
	"strata/fault"
	"strata/index"
)

// mender is who orders tasks here.
const mender = "sync"

// knownTasks is how many of the newest tasks are looked at for one that was ordered already.
const knownTasks = 1000

// Tasks is where repairs are ordered: canal's desk.
type Tasks interface {
	// AllTasks returns tasks, finished ones too, newest first.
	AllTasks(ctx context.Context, limit int) ([]canal.Task, error)
	// Order stores a task as Queued, with a line of evidence.
	Order(ctx context.Context, t canal.Task) (canal.Task, error)
	// AddKeys gives keys of rows to the leader, which sends them anew; Left counts those that wait, of any task for task 0.
	AddKeys(ctx context.Context, keys []canal.RepairKey, who, why string) error
	Left(ctx context.Context, task int64) (int64, error)
	// Load returns what the leader last saved.
	Load(ctx context.Context) (canal.State, error)
}

// mend orders the repair of what is missing, while the dataset is applied.
func (s *Sync) mend(ctx context.Context, t *set) error {
	if s.cfg.Tasks == nil {
		return nil
	}
	tick := time.NewTicker(s.cfg.Mend)
	defer tick.Stop()
	seen := map[int32]int64{} // where the topic ended when a partition was first seen frozen
	quiet, old := false, settling{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		err := errors.Join(s.order(ctx, t, seen), s.settle(ctx, t, &old))
		if err != nil && ctx.Err() == nil && !quiet {
			s.cfg.Log.Warn("a repair can't be ordered, it is tried again", "dataset", t.d.Name, "err", err, "hint", fault.HintOf(err))
		}
		quiet = err != nil
	}
}

// order orders one task for all frozen partitions that were read to the end: what thaws them may stand before it.
func (s *Sync) order(ctx context.Context, t *set, seen map[int32]int64) error {
	var frozen []index.Watermark
	for _, m := range t.stats().Partitions {
		if m.Frozen == "" || m.Frozen == wholeAgain {
			delete(seen, m.Partition)
			continue
		}
		end, ok := seen[m.Partition]
		if !ok {
			_, next, err := s.cfg.Feed.Bounds(ctx, t.d, m.Partition)
			if err != nil {
				return err
			}
			end, seen[m.Partition] = next, next
		}
		if t.readTo(m.Partition) >= end {
			frozen = append(frozen, m)
		}
	}
	if len(frozen) == 0 {
		return nil
	}
	state, err := s.cfg.Tasks.Load(ctx)
	if err != nil || state.Checkpoint == nil {
		return err
	}
	if _, stopped := state.Checkpoint.Stopped[t.d.Name]; stopped {
		return nil // it has its own reason, and its mending thaws this one too
	}
	tasks, err := s.cfg.Tasks.AllTasks(ctx, knownTasks)
	if err != nil {
		return err
	}
	task, ok := repairOf(t.d.Name, frozen, tasks, state.Checkpoint.Position.GTID)
	if !ok {
		return nil
	}
	task, err = s.cfg.Tasks.Order(ctx, task)
	if err == nil {
		s.cfg.Log.Warn("a repair is ordered", "dataset", t.d.Name, "task", task.ID, "kind", string(task.Kind), "why", task.Why)
	}
	return err
}

// repairOf is the task that mends what frozen partitions lack, or false: one is open, or was ordered already. The changes
// since the lowest frozen watermark are repaired; where that could not be done (the binlog is gone), or nothing is known to
// lie before the gap, the dataset is backfilled.
func repairOf(dataset string, frozen []index.Watermark, tasks []canal.Task, position string) (canal.Task, bool) {
	for i := range tasks {
		if t := &tasks[i]; (t.Dataset == dataset || t.Dataset == "") && (t.State == canal.Queued || t.State == canal.Running || t.State == canal.Paused) {
			return canal.Task{}, false
		}
	}
	kind, why := canal.TaskKind(""), []string(nil)
	low := frozen[0]
	for _, m := range frozen {
		name := gapName(&m)
		next := canal.Rewind
		for i := len(tasks) - 1; i >= 0; i-- { // the oldest first
			t := &tasks[i]
			if t.Who != mender || t.Dataset != dataset || !slices.Contains(strings.Split(t.Why, "; "), name) {
				continue
			}
			if next = ""; t.Kind == canal.Rewind && t.State == canal.Failed {
				next = canal.Backfill
			}
		}
		if next == "" {
			continue
		}
		if m.GTID == "" {
			next = canal.Backfill
		}
		if why = append(why, name); kind != canal.Backfill {
			kind = next
		}
		if m.Heartbeat < low.Heartbeat {
			low = m
		}
	}
	if kind == "" {
		return canal.Task{}, false
	}
	out := canal.Task{Kind: kind, Dataset: dataset, GTID: low.GTID, Who: mender, Why: strings.Join(why, "; ")}
	if out.GTID == "" {
		out.GTID = position
	}
	return out, true
}

// gapName is a gap as a task's reason has it: the same for as long as it is the same gap.
func gapName(m *index.Watermark) string {
	after := m.GTID
	if after == "" {
		after = "the beginning"
	}
	return fmt.Sprintf("partition %d after %s: %s", m.Partition, after, m.Frozen)
}
