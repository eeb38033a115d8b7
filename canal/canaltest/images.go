package canaltest

import (
	"context"
	"encoding/json"
	"fmt"

	"strata/canal"
	"strata/catalog"
)

// Images reads a dataset's topic as sync does and returns the row images that count, of changes and of backfills, by
// partition in order.
func Images(ctx context.Context, sink canal.Sink, d *catalog.Dataset) ([]Seen, error) {
	var out []Seen
	for p := range d.Partitions {
		first, next, err := sink.Bounds(ctx, d.Name, p)
		if err != nil {
			return nil, err
		}
		gate := canal.Gate{}
		err = sink.Read(ctx, d.Name, p, first, next, func(r *canal.Record) error {
			h := r.Header
			if !gate.Pass(&h) || h.Kind != canal.KindChange && h.Kind != canal.KindBackfill {
				return nil
			}
			var e canal.Envelope
			if err := json.Unmarshal(canal.Payload(r.Value), &e); err != nil {
				return fmt.Errorf("partition %d offset %d: %w", p, r.Offset, err)
			}
			out = append(out, Seen{p, h, string(canal.Payload(r.Key)), e.Op, string(e.Before), string(e.After)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
