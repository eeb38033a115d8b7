package verify_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/catalog"
	"strata/index"
	"strata/sync/verify"
)

// strange is an index in which somebody has put documents under ids of their own: they come before and behind the others.
type strange struct {
	index.Index
	ids []string
}

func (x *strange) Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Stored) error) error {
	all := func() error {
		for _, id := range x.ids {
			if err := f(&index.Stored{Shard: shard, Foreign: id}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := all(); err != nil {
		return err
	}
	if err := x.Index.Scan(ctx, dataset, shard, after, func(d *index.Stored) error {
		if slices.Contains(x.ids, catalog.DocumentID(shard, d.Key)) {
			return nil // this is the one
		}
		return f(d)
	}); err != nil {
		return err
	}
	return all()
}

func (x *strange) Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Digest) error) error {
	all := func() error {
		for _, id := range x.ids {
			if err := f(&index.Digest{Foreign: id}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := all(); err != nil {
		return err
	}
	if err := x.Index.Digests(ctx, dataset, shard, after, func(d *index.Digest) error {
		if slices.Contains(x.ids, catalog.DocumentID(shard, d.Key)) {
			return nil
		}
		return f(d)
	}); err != nil {
		return err
	}
	return all()
}

// TestVerify_names_documents_with_ids_of_their_own, and compares the others.
func TestVerify_names_documents_with_ids_of_their_own(t *testing.T) {
	for _, mode := range []verify.Mode{verify.Full, verify.Fast} {
		s := newStand(t, ledger())
		s.cfg.Mode = mode
		s.fill(s.live, "entry_202611", 500)
		x := &strange{Index: s.x.Index, ids: []string{"copy", "entry_202611/-5,0", "entry_202611/5,5000", "entry_202611/x,y"}}
		s.x.Index = x
		s.apply(s.doc("entry_202611", entry(500, 1, 1), false)) // behind all others
		r := s.verify()
		got := map[string]verify.Difference{}
		for _, f := range r.Findings {
			got[f.Key] = f
		}
		if r.OK || r.Rows != 500 || r.Differences != 3 || r.Open != 3 || got["500,1"].What != "extra in the index" {
			t.Errorf("%s: %+v", mode, r)
		}
		for _, id := range []string{"copy", "entry_202611/x,y"} {
			if f := got["%id:"+id]; f.State != verify.Open || !strings.Contains(f.Hint, id) {
				t.Errorf("%s: %+v", mode, f)
			}
		}
		if r.Sums[0].Source != "370750" || mode == verify.Full && r.Sums[0].Index != "370751" {
			t.Errorf("%s: sums %+v", mode, r.Sums)
		}
	}
}

// TestRunner_keeps_a_finding_until_its_document_is_gone: no leader removes it, and it is found once.
func TestRunner_keeps_a_finding_until_its_document_is_gone(t *testing.T) {
	p := newPost(t, ledger())
	p.fill(p.live, "entry_202611", 450)
	x := &strange{Index: p.x.Index, ids: []string{"copy"}}
	p.x.Index = x
	p.cfg.Every = time.Millisecond
	p.ok(p.runs(p.cfg, 2))
	f := p.findings()["entry_202611/%id:copy"]
	if at := p.progress(); f.State != verify.Open || f.Pass != 1 || f.Queued || at.Last["entry"].Open != 1 || at.Last["entry"].Differences != 1 {
		t.Errorf("%+v %+v", f, at.Last)
	}
	x.ids = nil
	p.ok(p.runs(p.cfg, 2))
	if f := p.findings()["entry_202611/%id:copy"]; f.State != verify.Gone {
		t.Errorf("taken out: %+v", f)
	}
	if at := p.progress(); !at.Last["entry"].OK {
		t.Errorf("%+v", at.Last)
	}
}
