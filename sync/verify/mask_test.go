package verify_test

import (
	"bytes"
	"fmt"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/local/localtest"
	"strata/sync/verify"
)

func TestVerify_masks_the_source_before_it_compares(t *testing.T) {
	d := ledger()
	d.Masks = []catalog.Mask{{Column: "transfer_id", Kind: catalog.MaskHash}, {Column: "memo", Kind: catalog.MaskDrop}}
	s := newStand(t, d)
	s.cfg.MaskKey = []byte("0123456789abcdef")
	masker, err := catalog.NewMasker(d, s.cfg.MaskKey)
	s.ok(err)
	localtest.Exec(t, s.live, "CREATE TABLE entry_202611 "+entryColumns)
	for i := range 40 {
		memo := fmt.Sprintf("memo %d", i)
		row := entry(i, 1, i)
		localtest.Exec(t, s.live, fmt.Sprintf("INSERT INTO entry_202611 VALUES (%s,%s,'%s',%s,'%s','%s','%s')", row.Text(0), row.Text(1), row.Text(2), row.Text(3),
			row.Text(4), row.Text(5), memo))
		var masked catalog.Row
		masker.Apply(&row, &masked)
		doc := s.doc("entry_202611", masked, false)
		doc.After = bytes.Replace(doc.After, []byte(`,"memo":null`), nil, 1) // as capture leaves it out
		s.apply(doc)
	}
	if r := s.verify(); !r.OK || r.Rows != 40 || r.Rechecked != 0 {
		t.Errorf("report %+v", r)
	}
	bare := entry(7, 1, 7)
	s.apply(s.doc("entry_202611", bare, false))
	r := s.verify()
	if r.OK || r.Differences != 1 || r.Findings[0].What != "transfer_id" || r.Findings[0].Source == bare.Text(2) || r.Findings[0].Index != bare.Text(2) {
		t.Errorf("a value in the open is not found: %+v", r)
	}
	s.cfg.MaskKey = nil
	if _, err := verify.Once(t.Context(), s.cfg); !fault.Is(err, fault.Invalid) {
		t.Errorf("without the secret: %v", err)
	}
}
