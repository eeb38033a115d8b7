package mysql

import (
	"context"
	"fmt"

	"strata/archive"
	"strata/catalog"
	"strata/db"
)

// Verify is part of archive.Site.
func (s *Site) Verify(ctx context.Context, ds *catalog.Dataset, m *archive.Manifest) ([]archive.Finding, error) {
	op := "verify " + m.Shard
	shard, ok := ds.ShardOf(m.Shard)
	if !ok {
		shard = catalog.Shard{Dataset: ds.Name, Table: m.Shard, Range: catalog.Range{From: catalog.Instant(m.From), To: catalog.Instant(m.To)}}
	}
	found, err := s.verifyParts(ctx, ds, m)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	columns, key, err := db.Describe(ctx, s.cfg.Archive, m.Shard)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	own := *ds
	own.Columns, own.Key = columns, key
	w := &Work{site: s, ds: &own, shard: shard}
	w.shard.Range = catalog.All() // a row outside the range is found by its hash
	have, err := w.tallyRange(ctx, bounds{})
	if err != nil {
		return nil, db.Classify(op, err)
	}
	again := archive.NewManifest(&own, shard, m.Epoch, have)
	if again.Digest() == m.Digest() {
		return found, nil
	}
	ranged, err := w.verifyRanges(ctx, m)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	if found = append(found, ranged...); len(found) == 0 {
		found = append(found, archive.Finding{Segment: m.Segment, Shard: m.Shard, Want: m.Rows, Have: have.Rows,
			Detail: "the rows are the manifest's, but columns, key, range or sums are not"})
	}
	return found, nil
}

// verifyParts looks at what both stores say of the segment.
func (s *Site) verifyParts(ctx context.Context, ds *catalog.Dataset, m *archive.Manifest) ([]archive.Finding, error) {
	var found []archive.Finding
	for _, side := range []struct {
		d     *db.DB
		state catalog.State
	}{{s.cfg.Archive, catalog.Owned}, {s.cfg.Live, catalog.Released}} {
		p, err := readPart(ctx, side.d, ds, m.Shard)
		if err != nil {
			return nil, err
		}
		if p == nil || p.State != side.state || p.Epoch != m.Epoch || p.Manifest != m.Digest() {
			found = append(found, archive.Finding{Segment: m.Segment, Shard: m.Shard, Want: m.Rows,
				Detail: fmt.Sprintf("strata_part of %s is not %s at epoch %d with the manifest's digest", side.d.Name(), side.state, m.Epoch)})
		}
	}
	return found, nil
}

// verifyRanges names the key ranges whose rows differ.
func (w *Work) verifyRanges(ctx context.Context, m *archive.Manifest) ([]archive.Finding, error) {
	var found []archive.Finding
	for i, b := range ranges(m.Chunks) {
		var want archive.Chunk
		if i < len(m.Chunks) {
			want = m.Chunks[i]
		}
		have, err := w.tallyRange(ctx, b)
		if err != nil {
			return nil, err
		}
		if sameChunk(want, have) {
			continue
		}
		f := archive.Finding{Segment: m.Segment, Shard: m.Shard, Want: want.Rows, Have: have.Rows, Detail: "the rows are not those that were archived"}
		if b.after != nil {
			f.After = *b.after
		}
		if b.to != nil {
			f.To = *b.to
		}
		found = append(found, f)
	}
	return found, nil
}
