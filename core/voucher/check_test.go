package voucher

import (
	"context"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/local/localtest"
)

// rows is a Source of events in memory.
type rows []core.Event

func (r rows) Events(_ context.Context, from, to time.Time, f func(core.Event) error) error {
	for _, ev := range r {
		if !ev.AccountingDate.Before(from) && ev.AccountingDate.Before(to) {
			if err := f(ev); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestL8_one_cent_by_hand: one cent, or anything else, changed by hand in any table is found, and its row is named.
func TestL8_one_cent_by_hand(t *testing.T) {
	dsn := schema(t)
	d := openDB(t, dsn)
	s := openStore(t, d, nil)
	put(t, s, 0, shop(t), yesterday())
	doc := compiled(t, shop(t))
	q := &queue{}
	for i, id := range []string{"o1", "o2", "o3"} {
		q.add(order(t, doc, id, noon(), 1001, 5000+int64(i)))
	}
	q.add(event("n1", "unheard_of", noon(), 1, 2, 55))
	mustDrain(t, engine(t, s, q))
	wantClean(t, s, Checking{})
	hand := localtest.DB(t, dsn)
	for name, c := range map[string]struct{ change, undo, want string }{
		"a line's debit":          {"UPDATE journal SET debit = debit + 1 WHERE transfer_id = 'o2' AND line = 0", "UPDATE journal SET debit = debit - 1 WHERE transfer_id = 'o2' AND line = 0", "journal 2026-11-22 o2 2001 CNY line 0: line_differs: wanted 2001 debit CNY 5001, have 2001 debit CNY 5002"},
		"both sides of a voucher": {"UPDATE journal SET debit = IF(line=0, debit+1, debit), credit = IF(line=1, credit+1, credit) WHERE transfer_id = 'o2'", "UPDATE journal SET debit = IF(line=0, debit-1, debit), credit = IF(line=1, credit-1, credit) WHERE transfer_id = 'o2'", "journal 2026-11-22 o2 2002 CNY line 1: line_differs"},
		"a line's subject":        {"UPDATE journal SET subject = '2001.x' WHERE transfer_id = 'o1' AND line = 0", "UPDATE journal SET subject = '2001' WHERE transfer_id = 'o1' AND line = 0", "journal 2026-11-22 o1 2001 CNY line 0"},
		"a line's date":           {"UPDATE journal SET accounting_date = '2026-11-21' WHERE transfer_id = 'o1' AND line = 0", "UPDATE journal SET accounting_date = '2026-11-22' WHERE transfer_id = 'o1' AND line = 0", "journal 2026-11-21 o1 2001 CNY line 0: line_differs: wanted no line: there is no voucher"},
		"one line more":           {"INSERT INTO journal VALUES ('2026-11-22', 'zz', 0, '2001', 'CNY', 1, 0)", "DELETE FROM journal WHERE transfer_id = 'zz'", "journal 2026-11-22 zz 2001 CNY line 0"},
		"one line less":           {"UPDATE journal SET line = 100 WHERE transfer_id = 'o3' AND line = 6", "UPDATE journal SET line = 6 WHERE transfer_id = 'o3' AND line = 100", "have line 100:"},
		"a sum":                   {"UPDATE general_ledger SET credit = credit + 1 WHERE subject = '2002'", "UPDATE general_ledger SET credit = credit - 1 WHERE subject = '2002'", "general_ledger 2026-11-22 2002 CNY: gl_differs"},
		"a sum's row gone":        {"UPDATE general_ledger SET accounting_date = '2026-11-20' WHERE subject = '2002'", "UPDATE general_ledger SET accounting_date = '2026-11-22' WHERE subject = '2002'", "general_ledger 2026-11-20 2002 CNY: gl_differs: wanted debit 0 credit 0"},
		"a voucher's event":       {`UPDATE voucher SET body = REPLACE(body, '"-5001"', '"-5002"') WHERE transfer_id = 'o2'`, `UPDATE voucher SET body = REPLACE(body, '"-5002"', '"-5001"') WHERE transfer_id = 'o2'`, "voucher 2026-11-22 o2: voucher_changed"},
		"one without lines":       {`UPDATE voucher SET body = REPLACE(REPLACE(body, '"-55"', '"-56"'), '"55"', '"56"') WHERE transfer_id = 'n1'`, `UPDATE voucher SET body = REPLACE(REPLACE(body, '"-56"', '"-55"'), '"56"', '"55"') WHERE transfer_id = 'n1'`, "voucher 2026-11-22 n1: voucher_changed"},
		"a voucher's state":       {"UPDATE voucher SET state = 'booked' WHERE transfer_id = 'n1'", "UPDATE voucher SET state = 'none' WHERE transfer_id = 'n1'", "wanted state none, have state booked"},
		"a voucher's version":     {"UPDATE voucher SET rule_version = 7 WHERE transfer_id = 'o1'", "UPDATE voucher SET rule_version = 1 WHERE transfer_id = 'o1'", "have version 7"},
		"a voucher gone":          {"UPDATE voucher SET accounting_date = '2026-11-01' WHERE transfer_id = 'o1'", "UPDATE voucher SET accounting_date = '2026-11-22' WHERE transfer_id = 'o1'", "voucher 2026-11-01 o1: voucher_changed"},
		"a count":                 {"UPDATE voucher_day SET none = none + 1", "UPDATE voucher_day SET none = none - 1", "voucher_day 2026-11-22: count_differs: wanted 3 booked, 1 without rules, 0 failed"},
		"the rules":               {"UPDATE voucher_rule SET body = REPLACE(body, '6, 106', '7, 106')", "UPDATE voucher_rule SET body = REPLACE(body, '7, 106', '6, 106')", "voucher_rule: rule_changed: wanted version 1 as it was put"},
		"the newest number":       {"UPDATE voucher_head SET version = 2", "UPDATE voucher_head SET version = 1", "voucher_head: rule_changed"},
	} {
		t.Run(name, func(t *testing.T) {
			localtest.Exec(t, hand, c.change)
			out := findings(t, openStore(t, d, nil), Checking{})
			localtest.Exec(t, hand, c.undo)
			for _, f := range out {
				if strings.Contains(f.String(), c.want) {
					wantClean(t, s, Checking{})
					return
				}
			}
			t.Fatalf("not found; findings: %v", out)
		})
	}
}

// TestL7_every_transfer_has_its_voucher: a transfer that has neither voucher nor place in the feed is named, and so is a
// voucher whose transfer the ledger has otherwise or not at all.
func TestL7_every_transfer_has_its_voucher(t *testing.T) {
	s := openStore(t, openDB(t, schema(t)), nil)
	put(t, s, 0, shop(t), yesterday())
	q := &queue{}
	ledger := rows{event("a", "deposit", noon(), 9000, 1001, 5), event("b", "deposit", noon(), 9000, 1001, 6)}
	q.add(ledger...)
	mustDrain(t, engine(t, s, q))
	waiting := event("c", "deposit", noon(), 9000, 1001, 7)
	q.add(waiting)
	ledger = append(ledger, waiting)
	wantClean(t, s, Checking{Ledger: ledger, Waiting: q})
	bare := rows{{Transfer: core.Transfer{ID: "a"}, AccountingDate: core.Date(noon())}, ledger[1]} // without legs it is only looked for
	wantClean(t, s, Checking{Ledger: bare})
	lost := append(rows{event("d", "deposit", noon(), 9000, 1001, 8)}, ledger...)
	wantFinding(t, findings(t, s, Checking{Ledger: lost, Waiting: q}), VoucherMissing, "d")
	wantFinding(t, findings(t, s, Checking{Ledger: ledger[1:], Waiting: q}), NoTransfer, "a")
	other := append(rows{event("a", "deposit", noon(), 9000, 1001, 4)}, ledger[1:]...)
	wantFinding(t, findings(t, s, Checking{Ledger: other, Waiting: q}), EventDiffers, "a")
	wantClean(t, s, Checking{Ledger: other, Waiting: q, To: yesterday()})
}

func wantFinding(t *testing.T, out []Finding, kind FindingKind, transfer string) {
	t.Helper()
	if len(out) != 1 || out[0].Kind != kind || out[0].Transfer != transfer {
		t.Fatalf("findings %v instead of %s of %s", out, kind, transfer)
	}
}

// TestL8_subjects_agree_with_accounts: rules that miss an account's movement are named by day, subject and transfer.
func TestL8_subjects_agree_with_accounts(t *testing.T) {
	s := openStore(t, openDB(t, schema(t)), nil)
	put(t, s, 0, shop(t), yesterday())
	q := &queue{}
	q.add(event("a", "deposit", noon(), 9000, 1001, 5), event("b", "unheard_of", noon(), 1001, 4, 2))
	mustDrain(t, engine(t, s, q))
	out := findings(t, s, Checking{})
	if len(out) != 1 || out[0].String() != "general_ledger 2026-11-22 2001 CNY: disagrees: wanted 3 by the accounts' entries, have 5 in the general ledger (transfers b)" {
		t.Fatalf("%v", out)
	}
}

func TestDryRunShowsTheDifference(t *testing.T) {
	dsn := schema(t)
	s := openStore(t, openDB(t, dsn), nil)
	put(t, s, 0, shop(t), yesterday())
	doc := compiled(t, shop(t))
	q := &queue{}
	q.add(order(t, doc, "o1", yesterday(), 1001, 10_000), order(t, doc, "o2", noon(), 1001, 20_000), event("d1", "deposit", noon(), 9000, 1001, 5),
		event("w1", "withdrawal", noon(), 1001, 9000, 3))
	mustDrain(t, engine(t, s, q))
	before := dump(t, dsn)
	ask := DryRun{Body: shop(t), From: yesterday(), To: noon().AddDate(0, 0, 1)}
	same, err := s.DryRun(t.Context(), ask)
	if err != nil || same.Events != 4 || same.Changed != 0 || len(same.Sums) != 0 {
		t.Fatalf("%+v %v", same, err)
	}
	ask.Body = []byte(strings.ReplaceAll(strings.Replace(string(shop(t)), `"deposit", "shop_order"]`, `"deposit", "shop_order", "withdrawal"]`, 1), "6, 106", "3, 103"))
	ask.Body = []byte(strings.NewReplacer("6001 debit CNY 14", "6001 debit CNY 7", "6001.tax credit CNY 14", "6001.tax credit CNY 7").Replace(string(ask.Body)))
	ask.Limit = 2
	got, err := s.DryRun(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if got.Changed != 3 || len(got.Transfers) != 2 || !got.More || got.OldFailed+got.NewFailed != 0 {
		t.Fatalf("%+v", got)
	}
	if first := got.Transfers[0]; first.Transfer != "o1" || first.Old[5].Debit != 14 || first.New[5].Debit != 7 {
		t.Fatalf("%+v", first)
	}
	var sums []string
	for _, c := range got.Sums {
		sums = append(sums, strings.Join([]string{c.Date, c.Subject, c.OldDebit.String(), c.OldCredit.String(), c.NewDebit.String(), c.NewCredit.String()}, " "))
	}
	want := "2026-11-21 6001 14 250 7 250,2026-11-21 6001.tax 0 14 0 7,2026-11-22 1002 5 0 5 3,2026-11-22 2001 20000 5 20003 5,2026-11-22 6001 28 500 15 500,2026-11-22 6001.tax 0 28 0 15"
	if strings.Join(sums, ",") != want {
		t.Fatalf("%s", strings.Join(sums, ","))
	}
	if dump(t, dsn) != before {
		t.Fatal("a dry run wrote something")
	}
	// One version in force takes what has no voucher yet; failing is a difference.
	ask.Source = rows{event("x", "deposit", noon(), 9000, 77, 1)}
	if got, err = s.DryRun(t.Context(), ask); err != nil || got.Changed != 0 || got.OldFailed != 1 || got.NewFailed != 1 {
		t.Fatalf("%+v %v", got, err)
	}
}
