package daybook

import (
	"fmt"
	"strings"
	"testing"

	"strata/core"
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

// TestCheck_natures has a transfer whose credits name and don't name natures, of more accounts than can be tried blindly.
func TestCheck_natures(t *testing.T) {
	r := newRig(t, nil)
	r.run(t)
	if _, err := r.ledger.PutSettings(t.Context(), 0, core.Settings{Strategies: []core.Strategy{{Name: "wallet", Default: "cash",
		Natures: []core.NatureRule{{Name: "cash"}, {Name: "bonus"}, {Name: "card"}, {Name: "gift"}}}}}, "a", "b"); err != nil {
		t.Fatal(err)
	}
	accounts := []core.Account{{ID: 1, Name: "bank", Unit: "CNY"}}
	for id := int64(2); id <= 30; id++ {
		accounts = append(accounts, core.Account{ID: id, Name: "wallet", Unit: "CNY", Strategy: "wallet"})
	}
	if err := r.ledger.Open(t.Context(), accounts); err != nil {
		t.Fatal(err)
	}
	fill := func(id string, name func(i int) string) core.Transfer {
		x := core.Transfer{ID: id, Kind: "gift", OrderTime: r.clock.Now(), Legs: []core.Leg{{Account: 1, Unit: "CNY", Amount: -29}}}
		for i := 2; i <= 30; i++ {
			x.Legs = append(x.Legs, core.Leg{Account: int64(i), Unit: "CNY", Amount: 1, Nature: name(i)})
		}
		return x
	}
	r.post(t, fill("none", func(int) string { return "" }), fill("all", func(int) string { return "cash" }),
		fill("likely", func(i int) string { return []string{"", "bonus", "gift"}[i%3] }))
	if report := r.wantClean(t); report.Findings != 0 {
		t.Fatalf("%+v", report)
	}
	for _, id := range []string{"none", "all", "likely"} {
		r.exec(t, "UPDATE transfer_202604 SET memo='x' WHERE id=?", id)
	}
	if _, report := r.check(t); !strings.Contains(fmt.Sprint(report.Sections), "3 bodies name more natures") {
		t.Fatalf("a body that can't be proven is not counted: %+v", report)
	}
}
