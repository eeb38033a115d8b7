package elastic

import (
	"cmp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strata/catalog"
)

// TestEncode holds the forms to catalog.Compare: two cells compare as their forms do, and a bound stands where it belongs.
func TestEncode(t *testing.T) {
	columns := []catalog.Column{
		{Type: catalog.Type{Kind: catalog.Int, Size: 8}}, {Type: catalog.Type{Kind: catalog.Int, Size: 8}, Nullable: true},
		{Type: catalog.Type{Kind: catalog.Uint, Size: 8}}, {Type: catalog.Type{Kind: catalog.Decimal, Scale: 3}},
		{Type: catalog.Type{Kind: catalog.Double}}, {Type: catalog.Type{Kind: catalog.Date}},
		{Type: catalog.Type{Kind: catalog.DateTime}}, {Type: catalog.Type{Kind: catalog.Timestamp, FSP: 3}},
		{Type: catalog.Type{Kind: catalog.DateTime, FSP: 6}}, {Type: catalog.Type{Kind: catalog.Time, FSP: 2}},
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := rapid.SampledFrom(columns).Draw(rt, "column")
		f := fieldOf(c)
		cell, bound := drawCell(rt, c.Type), drawCell(rt, c.Type)
		if rapid.Bool().Draw(rt, "odd bound") {
			bound = drawBound(rt, c.Type)
		}
		v, ok := f.encodeCell([]byte(cell))
		if catalog.CheckCell(c.Type, bound) != nil {
			return // no query has it
		}
		b, how := f.encode(bound)
		if !ok || how == bad {
			rt.Fatalf("%s: cell %q is %t, bound %q is %d", c.Type.Kind, cell, ok, bound, how)
		}
		want := catalog.Compare(c.Type, []byte(cell), []byte(bound))
		got := 0
		switch {
		case how == below:
			got = 1
		case how == above:
			got = -1
		case v.isNum != b.isNum:
			rt.Fatalf("%q and %q have forms of two types", cell, bound)
		case v.isNum:
			got = cmp.Compare(v.num, b.num)
		default:
			got = strings.Compare(v.text, b.text)
		}
		if how == floor && got == 0 {
			got = -1
		}
		if got != want || how == floor && want == 0 {
			rt.Errorf("%s: %q and %q compare as %d, their forms as %d (fit %d)", c.Type.Kind, cell, bound, want, got, how)
		}
	})
}

func drawCell(t *rapid.T, of catalog.Type) string {
	frac := ""
	if of.FSP > 0 {
		frac = "." + rapid.StringMatching("[0-9]{6}").Draw(t, "fraction")[:of.FSP]
	}
	switch of.Kind {
	case catalog.Int:
		return rapid.SampledFrom([]string{"0", "-1", "1", "9223372036854775807", "-9223372036854775808", "12", "-12"}).Draw(t, "int")
	case catalog.Uint:
		return rapid.SampledFrom([]string{"0", "1", "9223372036854775807", "9223372036854775808", "18446744073709551615", "12"}).Draw(t, "uint")
	case catalog.Decimal:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})\.[0-9]{3}`).Draw(t, "decimal")
	case catalog.Double:
		return rapid.SampledFrom([]string{"0", "-0", "1", "-1", "1e+300", "-1e+300", "5e-324", "-5e-324", "0.1"}).Draw(t, "double")
	case catalog.Date:
		return rapid.StringMatching(`(0000|20[0-9]{2}|9999)-(0[0-9]|1[0-2])-([0-2][0-9]|3[01])`).Draw(t, "date")
	case catalog.Time:
		return rapid.StringMatching(`-?([0-9]{2}|[1-8][0-9]{2}):[0-5][0-9]:[0-5][0-9]`).Draw(t, "time") + frac
	default:
		return rapid.StringMatching(`(0000|20[0-2][0-9]|9999)-(0[0-9]|1[0-2])-([0-2][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]`).Draw(t, "datetime") + frac
	}
}

// drawBound is a value as people write it.
func drawBound(t *rapid.T, of catalog.Type) string {
	switch of.Kind {
	case catalog.Date, catalog.DateTime, catalog.Timestamp:
		return rapid.StringMatching(`20[0-2][0-9]-(0[1-9]|1[0-2])-([0-2][1-9])([ T]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?)?`).Draw(t, "bound")
	case catalog.Time:
		return rapid.StringMatching(`-?[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?`).Draw(t, "bound")
	default:
		return rapid.StringMatching(`-?[0-9]{1,22}(\.[0-9]{1,5})?`).Draw(t, "bound")
	}
}

func TestSuccessor(t *testing.T) {
	for p, want := range map[string]string{"a": "b", "付": "仙", "a\U0010ffff": "b", "\ud7ff": "\ue000", "a\x00": "a\x01", "\x7f": "\u0080"} {
		if got, ok := successor(p); !ok || got != want {
			t.Errorf("%q: %q", p, got)
		}
	}
	if got, ok := successor("\U0010ffff\U0010ffff"); ok {
		t.Errorf("%q", got)
	}
}

func TestNames(t *testing.T) {
	d := &catalog.Dataset{Name: "entry", Table: "entry"}
	seen := map[string]string{}
	for shard, want := range map[string]string{"entry": "s-entry-all", "entry_202611": "s-entry-202611", "entry_late_3": "s-entry-late_3",
		"entry_all": "s-entry-~~entry_all", "Entry": "s-entry-~~~45ntry", "other": "s-entry-~~other", "entry_A~": "s-entry-~41~7e"} {
		got := names{"s"}.shard(d, shard)
		if got != want {
			t.Errorf("%s: %s", shard, got)
		}
		if seen[got] != "" {
			t.Errorf("%s and %s share %s", shard, seen[got], got)
		}
		seen[got] = shard
	}
	if id := docID("s/" + strings.Repeat("付", 170)); len(id) > maxID || strings.Contains(id, "sha") {
		t.Errorf("%s", id)
	}
	if id := docID("s/" + strings.Repeat("付", 171)); len(id) != len("s/%sha256-")+64 {
		t.Errorf("%s", id)
	}
}

// TestAllApplied has one answer that is taken as it is, and all that must be read.
func TestAllApplied(t *testing.T) {
	items := []item{{id: "e/1,2", shard: &shard{index: "s-e"}}, {id: "e/1,3", shard: &shard{index: "s-e"}}}
	const good = `{"errors":false,"items":[{"index":{"_index":"s-e","_id":"e/1,2","status":201}},{"index":{"_index":"s-e","_id":"e/1,3","status":200}}]}`
	if !allApplied([]byte(good), items) {
		t.Error("the usual answer is not known")
	}
	for _, change := range [][2]string{{"false", "true"}, {"201", "409"}, {"201", "202"}, {"1,3", "1,4"}, {`"s-e","_id":"e/1,3`, `"s-f","_id":"e/1,3`},
		{`},{"index"`, `}{"index"`}, {"index\":{\"_index\":\"s-e\",\"_id\":\"e/1,2", "create\":{\"_index\":\"s-e\",\"_id\":\"e/1,2"}, {"]}", "],"},
		{`,{"index":{"_index":"s-e","_id":"e/1,3","status":200}}`, ""}, {"200}}", `200}},{"index":{}}`}} {
		if bad := strings.Replace(good, change[0], change[1], 1); bad == good || allApplied([]byte(bad), items) {
			t.Errorf("taken for success: %s", bad)
		}
	}
	for cut := range good {
		if allApplied([]byte(good[:cut]), items) {
			t.Errorf("taken for success: %s", good[:cut])
		}
	}
}
