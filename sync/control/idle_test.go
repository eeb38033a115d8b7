package control_test

import (
	"context"
	"sync"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/index"
	syncer "strata/sync"
)

// idle is topics without records, and an index without documents.
type idle struct{}

func (idle) Bounds(context.Context, *catalog.Dataset, int32) (int64, int64, error) { return 0, 0, nil }

func (idle) Open(context.Context, *catalog.Dataset, int32, int64) (syncer.Stream, error) {
	return idle{}, nil
}
func (idle) Commit(context.Context, string, int32, int64, uint32) error { return nil }

func (idle) Wait(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (i idle) Next(ctx context.Context, _ syncer.Batch, dst []canal.Record) ([]canal.Record, error) {
	return dst, i.Wait(ctx)
}
func (idle) Behind() int64                                  { return 0 }
func (idle) Close() error                                   { return nil }
func (idle) Ensure(context.Context, *catalog.Dataset) error { return nil }

func (idle) Apply(context.Context, string, []index.Document) ([]index.Outcome, error) {
	return nil, nil
}
func (idle) Sweep(context.Context, string, index.Version) (int64, error)   { return 0, nil }
func (idle) Refresh(context.Context, string) error                         { return nil }
func (idle) PutWatermark(context.Context, index.Watermark) error           { return nil }
func (idle) Watermarks(context.Context, string) ([]index.Watermark, error) { return nil, nil }

// runSync runs a sync until it is stopped.
func runSync(t *testing.T, s *syncer.Sync) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}
