package daybook

import "testing"

func TestCheck_a_clean_ledger_has_no_findings(t *testing.T) {
	r, _ := story(t)
	report := r.wantClean(t)
	t.Logf("%+v", report)
}
