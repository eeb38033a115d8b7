package archive

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/fault"
)

func testDataset() *catalog.Dataset {
	return &catalog.Dataset{Name: "e", Table: "e", Time: "at", Key: []string{"id"},
		Columns: []catalog.Column{{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 8}}, {Name: "at", Type: catalog.Type{Kind: catalog.Date}},
			{Name: "unit", Type: catalog.Type{Kind: catalog.Text}}, {Name: "amount", Type: catalog.Type{Kind: catalog.Int, Size: 8}, Nullable: true}},
		Scheme: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Daily}},
		Money:  []catalog.Money{{Column: "amount", UnitColumn: "unit"}}}
}

func row(cells ...string) *catalog.Row {
	var r catalog.Row
	for _, c := range cells {
		if c == "NULL" {
			r.AppendNull()
		} else {
			r.AppendString(c)
		}
	}
	return &r
}

func tallyOf(t testing.TB, rows ...*catalog.Row) Totals {
	t.Helper()
	ta, err := NewTally(testDataset(), catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := ta.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return ta.Totals()
}

func TestTally_tells_apart(t *testing.T) {
	base := []*catalog.Row{row("1", "2026-01-01", "EUR", "5"), row("2", "2026-01-01", "EUR", "6")}
	want := tallyOf(t, base...)
	for name, rows := range map[string][]*catalog.Row{
		"NULL and empty":    {row("1", "2026-01-01", "EUR", "NULL"), base[1]},
		"a cell's border":   {row("1", "2026-01-01E", "UR", "5"), base[1]},
		"order":             {base[1], base[0]},
		"one row less":      {base[0]},
		"both rows changed": {row("1", "2026-01-01", "EUR", "6"), row("2", "2026-01-01", "EUR", "5")},
		"no rows":           {},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tallyOf(t, rows...); got.Hash == want.Hash {
				t.Error("the same hash")
			}
		})
	}
}

func TestTally_sums_exactly_by_unit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		amounts := rapid.SliceOfN(rapid.Int64(), 0, 30).Draw(rt, "amounts")
		var rows []*catalog.Row
		sums := map[string]*big.Int{}
		for i, a := range amounts {
			unit := []string{"EUR", "JPY"}[i%2]
			rows = append(rows, row(fmt.Sprint(i), "2026-01-01", unit, fmt.Sprint(a)))
			if sums[unit] == nil {
				sums[unit] = new(big.Int)
			}
			sums[unit].Add(sums[unit], big.NewInt(a))
		}
		for _, s := range tallyOf(t, rows...).Sums {
			if want := sums[s.Unit].String(); s.Amount != want {
				rt.Fatalf("%s: %s, not %s", s.Unit, s.Amount, want)
			}
		}
	})
}

func TestTally_refuses_money_without_a_unit(t *testing.T) {
	for _, r := range []*catalog.Row{row("1", "2026-01-01", "NULL", "5"), row("1", "2026-01-01", "EUR", "5.5")} {
		ta, err := NewTally(testDataset(), catalog.All())
		if err != nil {
			t.Fatal(err)
		}
		if err := ta.Add(r); !fault.Is(err, fault.Proof) {
			t.Errorf("%v", err)
		}
	}
}

func TestTally_counts_what_lies_outside(t *testing.T) {
	ds := testDataset()
	ta, err := NewTally(ds, ds.ShardAt(catalog.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))).Range)
	if err != nil {
		t.Fatal(err)
	}
	for _, day := range []string{"2026-01-01", "2026-01-02", "2025-12-31", "NULL", "0000-00-00"} {
		if err := ta.Add(row("1", day, "EUR", "1")); err != nil {
			t.Fatal(err)
		}
	}
	if ta.Outside() != 4 {
		t.Errorf("%d", ta.Outside())
	}
}

func TestManifest_is_the_same_when_made_again(t *testing.T) {
	ds := testDataset()
	var rows []*catalog.Row
	for i := range 2*ChunkRows + 1 {
		rows = append(rows, row(fmt.Sprintf("%d", i), "2026-01-01", "EUR", "1"))
	}
	shard := ds.ShardAt(catalog.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	a, b := NewManifest(ds, shard, 1, tallyOf(t, rows...)), NewManifest(ds, shard, 1, tallyOf(t, rows...))
	if a.Digest() != b.Digest() || len(a.Chunks) != 3 || a.Chunks[2].Rows != 1 || a.Chunks[0].Last != "999" {
		t.Errorf("%+v", a)
	}
	back, err := ParseManifest(a.Body())
	if err != nil || back.Digest() != a.Digest() {
		t.Errorf("%v", err)
	}
	sig := Sign([]byte("k"), a.Body())
	if !Signed([]byte("k"), a.Body(), sig) || Signed([]byte("other"), a.Body(), sig) || Signed([]byte("k"), append(a.Body(), ' '), sig) {
		t.Error("the signature does not tell")
	}
}

// Whatever the parts say, a table is never taken for sealed or released unless the archive owns it at live's epoch.
func TestL5_no_stage_trusts_an_archive_that_does_not_own(t *testing.T) {
	parts := []*Part{nil}
	for _, state := range []catalog.State{catalog.Copying, catalog.Owned, catalog.Released} {
		for epoch := range uint64(4) {
			for _, token := range []string{"", "t"} {
				parts = append(parts, &Part{Part: catalog.Part{State: state, Epoch: epoch, Token: token}})
			}
		}
	}
	for _, live := range parts {
		for _, arch := range parts {
			st := Standing{Live: live, Archive: arch}
			owns := arch != nil && arch.State == catalog.Owned
			ok := true
			switch st.Stage() {
			case Sealed, Released:
				ok = owns && live.State == catalog.Released && arch.Epoch == live.Epoch
			case Owned:
				ok = owns && arch.Epoch > st.LiveEpoch()
			case Idle, Copying:
				ok = !owns
			}
			if !ok {
				t.Errorf("%s: live %+v, archive %+v", st.Stage(), live, arch)
			}
		}
	}
}

func TestPlan_prints_what_stays_and_why(t *testing.T) {
	p := &Plan{Moves: []Move{{Dataset: "e", Shard: "e_202601", From: "2026-01-01", To: "2026-02-01", Segment: "e_202601.1", Action: Begin, Stage: "idle", Rows: 10, Bytes: 3 << 20}},
		Unmovable: []Refusal{{Dataset: "e", Shard: "e_202602", Reason: "trigger x is not strata's"}}, Young: 2}
	text := p.String()
	for _, want := range []string{"move", "2026-01-01..2026-02-01", "3.0 MiB", "stays: e_202602: trigger x is not strata's", "2 shards are too young"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	raw, err := json.Marshal(p)
	var back Plan
	if err != nil || json.Unmarshal(raw, &back) != nil || back.String() != text {
		t.Errorf("JSON gives another plan: %v", err)
	}
}

func TestNew_names_everything_that_is_wrong(t *testing.T) {
	_, err := New(Config{Log: slog.New(slog.DiscardHandler), Policies: []Policy{{Dataset: "x", Age: -1}, {Dataset: "x"}}})
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"no site", "no clock", "signing key", "no such dataset", "negative age", "there are two"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
