package daybook

import (
	"testing"

	"strata/core/coretest"
)

func TestCheck_a_clean_ledger_has_no_findings(t *testing.T) {
	r, _ := story(t)
	report := r.wantClean(t)
	for _, s := range report.Sections {
		if s.Looked == 0 {
			t.Errorf("%s: nothing was looked at", s.Name)
		}
	}
	if len(report.Units) != 2 || report.Units[0] != (UnitTotal{"CNY", "0"}) || !report.OK {
		t.Fatalf("%+v", report)
	}
	report.Add(Section{Name: "vouchers", Findings: 2})
	if report.OK || report.Findings != 2 {
		t.Fatalf("%+v", report)
	}
}

// TestL12_what_a_ledger_does_by_itself_is_consistent lets a ledger do everything that it can at random, and checks it.
func TestL12_what_a_ledger_does_by_itself_is_consistent(t *testing.T) {
	r := newRig(t, nil)
	r.run(t)
	r.clock.Set(coretest.Start())
	coretest.Random(t, r.ledger, r.clock)
	r.wantClean(t)
	open, err := r.ledger.Day(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.cut(t, open.AddDate(0, 0, 1))
	report := r.endOfDay(t, open)
	if !report.Compared || report.Accounts == 0 {
		t.Fatalf("%+v", report)
	}
	r.wantClean(t)
	if _, end := r.trial(t, open); !end.OK {
		t.Fatalf("%+v", end)
	}
}

// TestCheck_what_is_not_remembered_is_not_missed purges ids beyond the horizon.
func TestCheck_what_is_not_remembered_is_not_missed(t *testing.T) {
	r, _ := story(t)
	r.exec(t, "DELETE FROM transfer_id WHERE posted_at<'2026-05-02'")
	r.exec(t, "DELETE FROM merchant_order WHERE posted_at<'2026-05-02'")
	if all, _ := r.check(t); len(all) == 0 {
		t.Fatal("ids that must be remembered are gone, and nothing is said")
	}
	var all []Finding
	_, err := Check(t.Context(), CheckConfig{Source: r.source, Remembered: day(2)}, func(f Finding) { all = append(all, f) })
	if err != nil || len(all) > 0 {
		t.Fatalf("%v: %v", err, all)
	}
}
