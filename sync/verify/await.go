package verify

import (
	"context"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// awaitFirst and awaitLast are between two looks at the watermarks: soon for an index that is not behind, and seldom for one that
// has enough to do.
const (
	awaitFirst = 5 * time.Millisecond
	awaitLast  = 100 * time.Millisecond
)

// awaitIndex asks for the watermarks until all partitions are at the heartbeat.
func awaitIndex(ctx context.Context, x index.Reader, d *catalog.Dataset, beat uint64, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	wait := awaitFirst
	look := time.NewTimer(wait)
	defer look.Stop()
	for {
		marks, err := x.Watermarks(ctx, d.Name)
		if err != nil {
			return err
		}
		behind := int(d.Partitions) - len(marks)
		for _, m := range marks {
			if m.Heartbeat >= beat {
				continue
			}
			if behind++; m.Frozen != "" {
				return frozen(m)
			}
		}
		if behind <= 0 {
			return nil
		}
		select {
		case <-look.C:
			wait = min(2*wait, awaitLast)
			look.Reset(wait)
		case <-ctx.Done():
			return fault.New(fault.KindOf(ctx.Err()), "wait for index of "+d.Name, "%d partitions are behind heartbeat %d: %w", behind, beat, ctx.Err()).
				WithHint("are canal and sync running? `strata sync status` shows how far the index is")
		}
	}
}

// frozen is what a frozen watermark means to who waits for it.
func frozen(m index.Watermark) error {
	return fault.New(fault.Proof, "wait for index of "+m.Dataset, "partition %d is frozen at heartbeat %d: %s", m.Partition, m.Heartbeat, m.Frozen).
		WithHint("changes are missing, which are repaired from the source: `strata canal tasks` shows how far that is; where there is none, "+
			"`strata canal rewind %s --why …` begins it", m.Dataset)
}
