package core_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/core"
	"strata/core/coretest"
	"strata/core/memory"
)

func row(cells ...any) *catalog.Row {
	var r catalog.Row
	for _, c := range cells {
		r.AppendString(fmt.Sprint(c))
	}
	return &r
}

func dataset(name, columns string) *catalog.Dataset {
	d := &catalog.Dataset{Name: name}
	for _, c := range strings.Fields(columns) {
		d.Columns = append(d.Columns, catalog.Column{Name: c})
	}
	return d
}

type fed struct {
	dataset string
	row     *catalog.Row
}

// books is a small ledger's rows: three transfers over three accounts in two units.
func books() []fed {
	return []fed{
		{"transfer", row("a", 2)}, {"transfer", row("b", 3)}, {"transfer", row("c", 4)},
		{"entry", row(1, 1, "a", "CNY", -5, 0, -5)}, {"entry", row(2, 1, "a", "CNY", 5, 0, 5)},
		{"entry", row(1, 2, "b", "CNY", -7, -5, -12)}, {"entry", row(2, 2, "b", "CNY", 3, 5, 8)}, {"entry", row(2, 3, "b", "CNY", 4, 8, 12)},
		{"entry", row(1, 3, "c", "CNY", -1, -12, -13)}, {"entry", row(2, 4, "c", "CNY", 1, 12, 13)},
		{"entry", row(3, 1, "c", "USD", 9, 0, 9)}, {"entry", row(3, 2, "c", "USD", -9, 9, 0)},
		{"account", row(1, "CNY", -13, 3)}, {"account", row(2, "CNY", 13, 4)}, {"account", row(3, "USD", 0, 2)},
	}
}

// places says what must be named for each change of TestTrial.
func places() map[string]string {
	return map[string]string{
		"an entry is missing":       "transfer a has 2 legs and 1 entries (account 1 entry 1)",
		"an entry is there twice":   "account 2 entry 1 is there twice",
		"a transfer is missing":     "transfer a has 2 entries and no row (account 1 entry 1, account 2 entry 1)",
		"a transfer is there twice": "transfer a has 2 rows",
		"an account is missing":     "account 3 has 2 entries and no account row",
		"an account is there twice": "account 3 has two rows",
		"a balance differs":         "account 2 entry 4, the last one, ended with 13, the account's balance is 14",
		"a hole in the numbers":     "account 2",
		"an entry of another unit":  "transfer a: its entries sum to -5 in CNY instead of 0 (account 1 entry 1, account 2 entry 1)",
		"entries swap transfers":    "transfer b: its entries sum to 2 in CNY instead of 0",
		"a chain is broken twice":   "account 2 entry 2 ended with 9, account 2 entry 3 begins with 8",
		"amounts do not add up":     "account 2 entry 1: 1 + 5 is not 5",
	}
}

func try(t *testing.T, rows []fed) core.TrialReport {
	t.Helper()
	r, _ := tryAndLocate(t, rows)
	return r
}

func tryAndLocate(t *testing.T, rows []fed) (core.TrialReport, []string) {
	t.Helper()
	trial, err := core.NewTrial(dataset("transfer", "id legs"),
		dataset("entry", "account_id seq transfer_id unit amount balance_before balance_after"), dataset("account", "id unit balance entries"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range rows {
		if err := trial.Add(f.dataset, f.row); err != nil {
			t.Fatal(err)
		}
	}
	r, l := trial.Report(), trial.Locate()
	if l == nil {
		return r, nil
	}
	if r.Problems == 0 {
		t.Error("there is something to locate, but nothing was found")
	}
	for _, f := range rows {
		if err := l.Add(f.dataset, f.row); err != nil {
			t.Fatal(err)
		}
	}
	return r, l.Findings()
}

func TestTrial(t *testing.T) {
	if r := try(t, books()); r.Problems != 0 || r.Accounts != 3 || r.Entries != 9 || r.Transfers != 3 {
		t.Fatalf("%+v", r)
	}
	for name, change := range map[string]func([]fed) []fed{
		"an entry is missing":       func(b []fed) []fed { return append(b[:4:4], b[5:]...) },
		"an entry is there twice":   func(b []fed) []fed { return append(b, b[4]) },
		"a transfer is missing":     func(b []fed) []fed { return b[1:] },
		"a transfer is there twice": func(b []fed) []fed { return append(b, b[0]) },
		"an account is missing":     func(b []fed) []fed { return b[:len(b)-1] },
		"an account is there twice": func(b []fed) []fed { return append(b, b[len(b)-1]) },
		"a balance differs":         func(b []fed) []fed { b[13].row = row(2, "CNY", 14, 4); return b },
		"a hole in the numbers":     func(b []fed) []fed { b[9].row = row(2, 5, "c", "CNY", 1, 12, 13); return b },
		"an entry of another unit":  func(b []fed) []fed { b[4].row = row(2, 1, "a", "USD", 5, 0, 5); return b },
		"entries swap transfers": func(b []fed) []fed { // sums per account and unit stay
			b[4].row, b[6].row = row(2, 1, "b", "CNY", 5, 0, 5), row(2, 2, "a", "CNY", 3, 5, 8)
			return b
		},
		"a chain is broken twice": func(b []fed) []fed { // all sums stay
			b[6].row, b[7].row = row(2, 2, "b", "CNY", 3, 6, 9), row(2, 3, "b", "CNY", 4, 8, 12)
			return b
		},
		"amounts do not add up": func(b []fed) []fed { b[4].row = row(2, 1, "a", "CNY", 5, 1, 5); return b },
	} {
		t.Run(name, func(t *testing.T) {
			r, located := tryAndLocate(t, change(books()))
			if r.Problems == 0 || len(r.Findings) == 0 {
				t.Fatal("not found")
			}
			if all := strings.Join(append(r.Findings, located...), "\n"); !strings.Contains(all, places()[name]) {
				t.Errorf("%q is not named: %s", places()[name], all)
			}
		})
	}
	t.Run("the order does not matter", rapid.MakeCheck(func(rt *rapid.T) {
		if r := try(t, rapid.Permutation(books()).Draw(rt, "rows")); r.Problems != 0 {
			rt.Fatalf("%v", r.Findings)
		}
	}))
}

// TestTrialKnowsMore: debits and credits where the accounts have them, and what waits in a buffer.
func TestTrialKnowsMore(t *testing.T) {
	rows := func() []fed {
		return []fed{{"transfer", row("a", 2)}, {"transfer", row("b", 2)},
			{"entry", row(1, 1, "a", "CNY", -5, 0, -5)}, {"entry", row(2, 1, "a", "CNY", 5, 0, 5)}, {"entry", row(2, 2, "b", "CNY", -3, 5, 2)},
			{"buffer", row(1, "b", "CNY", 3)}, {"account", row(1, "CNY", -5, 1, 5, 0)}, {"account", row(2, "CNY", 2, 2, 3, 5)}}
	}
	for name, c := range map[string]struct {
		change func([]fed)
		names  string
	}{
		"nothing":             {func([]fed) {}, ""},
		"a cent in debits":    {func(b []fed) { b[7].row = row(2, "CNY", 2, 2, 4, 5) }, "account 2: its debits sum to 3, its row says 4"},
		"a cent in credits":   {func(b []fed) { b[6].row = row(1, "CNY", -5, 1, 5, 1) }, "account 1: its credits sum to 0, its row says 1"},
		"a cent in a buffer":  {func(b []fed) { b[5].row = row(1, "b", "CNY", 4) }, "transfer b: its entries sum to 1 in CNY instead of 0 (account 2 entry 2, account 1 buffer)"},
		"a transfer's buffer": {func(b []fed) { b[5].row = row(1, "a", "CNY", 3) }, "transfer b has 2 legs and 1 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			trial, err := core.NewTrial(dataset("transfer", "id legs"), dataset("entry", "account_id seq transfer_id unit amount balance_before balance_after"),
				dataset("account", "id unit balance entries debits credits"))
			if err == nil {
				err = trial.WithBuffer(dataset("buffer", "account_id transfer_id unit amount"))
			}
			if err != nil {
				t.Fatal(err)
			}
			all := rows()
			c.change(all)
			for _, f := range all {
				if err := trial.Add(f.dataset, f.row); err != nil {
					t.Fatal(err)
				}
			}
			r := trial.Report()
			found := strings.Join(r.Findings, "\n")
			if l := trial.Locate(); l != nil {
				for _, f := range all {
					if err := l.Add(f.dataset, f.row); err != nil {
						t.Fatal(err)
					}
				}
				found += strings.Join(l.Findings(), "\n")
			}
			if (r.Problems == 0) != (c.names == "") || !strings.Contains(found, c.names) {
				t.Fatalf("%q is not named: %s", c.names, found)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	sum := func(rows []fed) string {
		var d core.Digest
		for _, f := range rows {
			d.Add(f.dataset, f.row)
		}
		return d.String()
	}
	b := books()
	rapid.Check(t, func(rt *rapid.T) {
		p := rapid.Permutation(b).Draw(rt, "rows")
		cut := rapid.IntRange(0, len(p)).Draw(rt, "cut")
		var left, right core.Digest
		for i, f := range p {
			if i < cut {
				left.Add(f.dataset, f.row)
			} else {
				right.Add(f.dataset, f.row)
			}
		}
		if left.Merge(&right); left.String() != sum(b) || left.Rows() != int64(len(b)) {
			rt.Fatal("the digest depends on order or place")
		}
	})
	for name, other := range map[string][]fed{
		"a row less": b[1:], "a row twice": append(b[:len(b):len(b)], b[0], b[0]), "another dataset": append([]fed{{"entry", b[0].row}}, b[1:]...),
		"another cell": append([]fed{{"transfer", row("a", 3)}}, b[1:]...),
	} {
		if sum(other) == sum(b) {
			t.Errorf("%s: the same digest", name)
		}
	}
}

// TestL8_sums_are_exact draws legs whose sums leave 64 bits: what is applied is balanced in big arithmetic, and no balance
// has wrapped.
func TestL8_sums_are_exact(t *testing.T) {
	clock := &core.Clock{}
	clock.Set(coretest.Start())
	rapid.Check(t, func(rt *rapid.T) {
		model, err := memory.New(memory.Config{Now: clock.Now})
		if err != nil {
			rt.Fatal(err)
		}
		both := []core.Full{newEngine(clock.Now, model), model}
		for id := range int64(3) {
			for _, l := range both {
				if err := l.Open(t.Context(), []core.Account{{ID: id + 1, Unit: "CNY"}}); err != nil {
					rt.Fatal(err)
				}
			}
		}
		for i := range 10 {
			tr := core.Transfer{ID: fmt.Sprint(i), Kind: "k", OrderTime: clock.Now(), Action: rapid.SampledFrom([]core.Action{core.Post, core.Try}).Draw(rt, "action")}
			sum := int64(0) // wraps as a careless one would
			for range rapid.IntRange(1, 5).Draw(rt, "legs") {
				a := rapid.Int64().Draw(rt, "amount")
				sum += a
				tr.Legs = append(tr.Legs, core.Leg{Account: rapid.Int64Range(1, 3).Draw(rt, "account"), Unit: "CNY", Amount: a})
			}
			tr.Legs = append(tr.Legs, core.Leg{Account: 1, Unit: "CNY", Amount: -sum})
			var got [2]core.Answer
			for k, l := range both {
				answers, err := l.Post(t.Context(), []core.Transfer{tr})
				if err != nil {
					rt.Fatal(err)
				}
				got[k] = answers[0]
			}
			exact, wide := true, new128()
			for _, l := range tr.Legs {
				exact = exact && l.Amount != 0
				wide.add(l.Amount)
			}
			if got[0].Outcome == core.Applied && (!exact || !wide.zero()) {
				rt.Fatalf("%v is taken for balanced", tr.Legs)
			}
			if got[0].Outcome != got[1].Outcome || got[0].Code != got[1].Code || got[0].Field != got[1].Field {
				rt.Fatalf("%+v instead of %+v", got[0], got[1])
			}
		}
	})
}

func TestAnswerForm(t *testing.T) {
	for _, a := range []core.Answer{
		core.Refuse(core.BelowMinimum, `account 1 "would" fall`),
		{Outcome: core.Applied, Balances: []core.Balance{{Account: -1, Seq: 1 << 62, Balance: -1 << 63, Amount: 1<<63 - 1}, {Account: 2, Seq: 1}}},
		{Outcome: core.Applied, Action: core.Cancel},
		{Outcome: core.Applied},
	} {
		got, err := core.ParseAnswer(a.Outcome.String(), a.AppendJSON(nil))
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", a.Again()) {
			t.Errorf("%+v instead of %+v (%v)", got, a.Again(), err)
		}
	}
}

func TestDatasets(t *testing.T) {
	if err := catalog.CheckSpecs(core.Datasets(nil, nil)); err != nil {
		t.Fatal(err)
	}
}
