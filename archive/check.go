package archive

import (
	"context"
	"errors"

	"strata/fault"
)

// CheckResult is what Check looked at and found.
type CheckResult struct {
	Segments int       `json:"segments"` // sealed segments compared
	Rows     int64     `json:"rows"`     // that their manifests state
	Findings []Finding `json:"findings"`
}

// Check compares every sealed segment of the datasets with its signed manifest: rows, counts, sums, both parts. A finding
// is no error; an error means that something could not be looked at. It only reads.
func (m *Mover) Check(ctx context.Context) (CheckResult, error) {
	res := CheckResult{Findings: []Finding{}}
	segs, err := m.cfg.Control.Segments(ctx)
	if err != nil {
		return res, err
	}
	var errs []error
	for _, s := range segs {
		ds := m.dataset(s.Dataset)
		if s.State != StateSealed || ds == nil {
			continue
		}
		found, rows, err := m.check(ctx, s)
		if err != nil {
			errs = append(errs, fault.Wrap(fault.KindOf(err), "check segment "+string(s.ID), err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		res.Segments++
		res.Rows += rows
		res.Findings = append(res.Findings, found...)
	}
	return res, errors.Join(errs...)
}

func (m *Mover) check(ctx context.Context, s Segment) ([]Finding, int64, error) {
	bad := func(detail string) []Finding {
		return []Finding{{Segment: s.ID, Shard: s.Shard, Want: s.Rows, Detail: detail}}
	}
	body, err := m.cfg.Control.LoadManifest(ctx, s.ID)
	if err != nil {
		return nil, 0, err
	}
	if body == nil {
		return bad("the control database has no manifest"), 0, nil
	}
	if !Signed(m.cfg.Key, body, s.Signature) {
		return bad("the manifest's signature is not of this key"), 0, nil
	}
	man, err := ParseManifest(body)
	if err != nil {
		return nil, 0, err
	}
	found, err := m.cfg.Site.Verify(ctx, m.dataset(s.Dataset), man)
	return found, man.Rows, err
}
