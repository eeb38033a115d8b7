package catalog

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"

	"strata/fault"
)

func people() *Dataset {
	text := Type{Kind: Text}
	return &Dataset{Name: "person", Key: []string{"id"}, Account: "id", TerminalWhen: "state IN ('gone', 'card') AND `level`>1", Columns: []Column{
		{Name: "id", Type: Type{Kind: Int, Size: 8}}, {Name: "name", Type: text, Nullable: true}, {Name: "card", Type: text}, {Name: "mail", Type: text},
		{Name: "state", Type: text}, {Name: "level", Type: Type{Kind: Int}}, {Name: "size", Type: Type{Kind: Int}}}}
}

var maskKey = []byte("0123456789abcdef")

func TestMasker(t *testing.T) {
	d := people()
	d.Masks = []Mask{{"name", MaskDrop}, {"card", MaskLast4}, {"mail", MaskHash}}
	m, err := NewMasker(d, maskKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, maskKey)
	mac.Write([]byte("a@b.c"))
	sum := hex.EncodeToString(mac.Sum(nil)[:16])
	for in, want := range map[string]string{"4111111111111234": "****1234", "12345": "****2345", "1234": "****", "7": "****", "": "****",
		"äöüßé": "****öüßé", "付款付款": "****", "x\xff\xfe12": "****\xff\xfe12"} {
		row := RowOf(ptr("1"), ptr("Ann"), &in, ptr("a@b.c"), ptr("s"), ptr("2"), nil)
		var out Row
		for range 2 { // its memory is used again
			m.Apply(&row, &out)
		}
		if !out.Null(1) || out.Text(2) != want || out.Text(3) != sum || out.Text(0) != "1" || out.Text(4) != "s" || !out.Null(6) || out.Len() != 7 {
			t.Errorf("%q: %q %q", in, out.Text(2), out.Text(3))
		}
	}
	row := RowOf(ptr("1"), nil, nil, nil, nil, nil, nil)
	var out Row
	if m.Apply(&row, &out); !out.Null(2) || !out.Null(3) {
		t.Error("NULL is masked")
	}
	if !m.Dropped(1) || m.Dropped(2) || (*Masker)(nil).Dropped(0) {
		t.Error("Dropped")
	}
	if m, err := NewMasker(people(), nil); m != nil || err != nil {
		t.Error(m, err)
	}
	for name, c := range map[string]struct {
		mask Mask
		key  string
	}{"no such column": {Mask{"nope", MaskDrop}, ""}, "no kind": {Mask{"card", 0}, ""}, "a short secret": {Mask{"card", MaskHash}, "short"}} {
		d.Masks = []Mask{c.mask}
		if _, err := NewMasker(d, []byte(c.key)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ptr(s string) *string { return &s }

// Only masked columns change, and nothing of a dropped or hashed value is left.
func TestMaskerHidesWhatItShouldAndNothingElse(t *testing.T) {
	d := people()
	cell := rapid.StringMatching(`[a-zé付0-9]{0,24}`)
	rapid.Check(t, func(rt *rapid.T) {
		d.Masks = nil
		for _, c := range []string{"name", "card", "mail"} {
			if k := MaskKind(rapid.IntRange(0, 3).Draw(rt, c)); k != 0 {
				d.Masks = append(d.Masks, Mask{c, k})
			}
		}
		m, err := NewMasker(d, maskKey)
		if err != nil {
			rt.Fatal(err)
		}
		var row, out Row
		for range d.Columns {
			if rapid.IntRange(0, 4).Draw(rt, "null") == 0 {
				row.AppendNull()
			} else {
				row.AppendString(cell.Draw(rt, "cell"))
			}
		}
		if m == nil {
			return
		}
		m.Apply(&row, &out)
		for i, k := range m.kinds {
			a, b := row.Cell(i), out.Cell(i)
			ok := a == nil && b == nil
			switch k {
			case 0:
				ok = string(a) == string(b) && (a == nil) == (b == nil)
			case MaskDrop:
				ok = b == nil
			case MaskHash:
				ok = ok || len(b) == 32 && !strings.Contains(string(b), "é")
			case MaskLast4:
				ok = ok || len([]rune(string(b))) <= 8 && strings.HasPrefix(string(b), "****") && bytes.HasSuffix(a, b[4:])
			}
			if !ok {
				rt.Fatalf("column %d, mask %s: %q became %q", i, k, a, b)
			}
		}
	})
}

func TestCheckMasks(t *testing.T) {
	d := people()
	for column, want := range map[string]string{"id": "part of the key", "STATE": "not in its table", "state": "named in terminal_when",
		"level": "named in terminal_when", "nope": "not in its table", "size": "needs a character column", "card": "", "mail": ""} {
		d.Masks = []Mask{{column, MaskLast4}}
		errs := CheckMasks(d)
		if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
			t.Errorf("%s: %v", column, errs)
		}
	}
	d.Masks = []Mask{{"size", MaskDrop}}
	if errs := CheckMasks(d); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestMasksInYAML(t *testing.T) {
	src := "datasets:\n  - name: a\n    key: [id]\n    time: at\n    shards: day\n    account: acc\n    money:\n      - {column: amount, unit_column: unit}\n" +
		"    terminal_when: state = 'card'\n    rows_gone: stop\n    masks:\n      - {column: card, mask: last4}\n      - column: name\n        mask: drop\n      - {column: mail, mask: hash}\n"
	specs, err := ParseSpecs([]byte(src), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := people()
	specs[0].Capture(d)
	if d.RowsGone != GoneStop || len(d.Masks) != 3 || d.Masks[1] != (Mask{"name", MaskDrop}) || specs[0].Masks[1].Line != 13 {
		t.Errorf("%+v %+v", d.Masks, specs[0].Masks)
	}
	text, err := yaml.Marshal(map[string]any{"datasets": specs})
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSpecs(text, "again.yaml")
	if err != nil || len(again[0].Masks) != 3 || again[0].Masks[2].Mask != MaskHash || again[0].RowsGone != GoneStop {
		t.Errorf("%v\n%s", err, text)
	}
	if text, err := yaml.Marshal(Spec{Name: "a"}); err != nil || strings.Contains(string(text), "masks") || strings.Contains(string(text), "rows_gone") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, role := range []string{"id", "AT", "acc", "amount", "unit", "state"} {
		bad := strings.Replace(src, "column: name", "column: "+role, 1)
		if _, err := ParseSpecs([]byte(bad), "f.yaml"); err == nil || !strings.Contains(err.Error(), "line 13: column "+role+" can't be masked") {
			t.Errorf("%s: %v", role, err)
		}
	}
	for change, want := range map[string]string{"mask: drop>mask: blur": "f.yaml:14", "mask: last4>mask: last4, x: 1": "f.yaml:12", "stop>explode": "f.yaml:10",
		"column: mail>column: card": "line 15: column card is masked twice", "{column: mail, >{": "line 15: a mask without a column",
		"{column: mail, mask: hash}>{column: mail}": "line 15: column mail: its mask"} {
		from, to, _ := strings.Cut(change, ">")
		if _, err := ParseSpecs([]byte(strings.Replace(src, from, to, 1)), "f.yaml"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestParseImage(t *testing.T) {
	d := &Dataset{Name: "d", Columns: []Column{{Name: "a", Type: Type{Kind: Int}}, {Name: "b", Type: Type{Kind: Text}}}}
	for in, want := range map[string]string{`{"a":1,"b":"x"}`: "1 x true", `{"b":"x","a":1}`: "1 x true", `{"a":1}`: "1 NULL false", `{"a":1,"c":{"b":2},"b":"x"}`: "1 x false",
		`{}`: "NULL NULL false", `{"a":1,"_strata":{},"b":"x"}`: "1 x true", `{"A":7,"b":"x"}`: "NULL x false"} {
		var r Row
		ok, err := ParseImage(d, []byte(in), &r)
		got := func(i int) string {
			if r.Null(i) {
				return "NULL"
			}
			return r.Text(i)
		}
		if err != nil || got(0)+" "+got(1)+map[bool]string{true: " true", false: " false"}[ok] != want {
			t.Errorf("%s: %v %v %v", in, r, ok, err)
		}
	}
	for _, in := range []string{`{"a":1,"a":2}`, `{"a":"1"}`, `{"c":1`, `[]`, `{"a":1} x`, `{"a":true}`, `{"c":tru}`} {
		if _, err := ParseImage(d, []byte(in), new(Row)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestHashAt(t *testing.T) {
	r := RowOf(ptr("a"), nil, ptr(""), ptr("b"))
	want := RowOf(ptr("b"), nil, ptr("a"), nil, ptr(""))
	a, scratch := r.HashAt([]int{3, -1, 0, 1, 2}, nil)
	if b, _ := want.Hash(scratch); a != b {
		t.Error("not the hash of the row with its cells in that order")
	}
}

// TestAppendJSONCellEscapes compares the fast way with the slow one.
func TestAppendJSONCellEscapes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte("abcdefgh\"\\\n\x00\x1f\x20\x7f\x80\xc3\xa9\xff")), 0, 40).Draw(rt, "cell")
		if got, want := string(AppendJSONCell(nil, Type{Kind: Text}, b)), string(AppendJSONString(nil, string(b))); got != want {
			rt.Fatalf("%q instead of %q", got, want)
		}
	})
}
