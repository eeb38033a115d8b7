package catalog

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strata/fault"
)

// wide is a dataset with a column of every form that JSON knows.
func wide() *Dataset {
	d := &Dataset{Name: "wide"}
	for _, c := range []struct {
		name string
		kind Kind
	}{{"id", Int}, {"big", Uint}, {"amount", Decimal}, {"ratio", Double}, {"day", Date}, {"year", Year}, {"note", Text}, {"raw", Binary}, {"quo\"te\\", Text}} {
		d.Columns = append(d.Columns, Column{Name: c.name, Type: Type{Kind: c.kind}, Nullable: true})
	}
	return d
}

// drawCell draws a canonical cell of a kind.
func drawCell(t *rapid.T, k Kind) []byte {
	if rapid.IntRange(0, 9).Draw(t, "null") == 0 {
		return nil
	}
	gen := map[Kind]*rapid.Generator[string]{
		Int: rapid.StringMatching(`-?[1-9][0-9]{0,18}|0`), Uint: rapid.StringMatching(`[1-9][0-9]{0,18}|0`),
		Decimal: rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})\.[0-9]{2}`), Double: rapid.StringMatching(`-?[0-9]\.[0-9]{1,5}e[-+][0-9]{2}|-?[1-9]`),
		Date: rapid.StringMatching(`[0-9]{4}-[0-9]{2}-[0-9]{2}`), Year: rapid.StringMatching(`0000|19[0-9]{2}`),
		Text: rapid.OneOf(rapid.String(), rapid.StringMatching("[a\"\\\\\n\x01é付😀]{0,9}")), Binary: rapid.StringMatching(`([0-9a-f]{2}){0,8}`),
	}[k]
	return append([]byte{}, strings.ToValidUTF8(gen.Draw(t, "cell"), "?")...)
}

func drawRow(t *rapid.T, d *Dataset) Row {
	var r Row
	for _, c := range d.Columns {
		r.Append(drawCell(t, c.Type.Kind))
	}
	return r
}

func TestJSONRoundTrip(t *testing.T) {
	d := wide()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRow(t, d)
		text := AppendJSON([]byte("x"), d, &r)[1:]
		if !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		var again Row
		if err := ParseJSON(d, text, &again); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !r.Equal(&again) {
			t.Fatalf("%s", text)
		}
		// The standard library reads and writes the columns in another order, with its own escapes.
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		fields["_strata"] = json.RawMessage(`{"v": [1, {"deep": "}"}], "ok": true}`)
		other, err := json.MarshalIndent(fields, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		again.Reset()
		if err := ParseJSON(d, other, &again); err != nil {
			t.Fatalf("%v\n%s", err, other)
		}
		if !r.Equal(&again) {
			t.Fatalf("%s", other)
		}
	})
}

func TestJSONUnescapes(t *testing.T) {
	d := &Dataset{Name: "d", Columns: []Column{{Name: "a", Type: Type{Kind: Text}}}}
	for in, want := range map[string]string{`\u00e9`: "é", `\uD83D\uDE00`: "😀", `\/\b\f`: "/\b\f", `\u0000`: "\x00", "": ""} {
		var r Row
		if err := ParseJSON(d, []byte(`{"\u0061":"`+in+`"}`), &r); err != nil || r.Text(0) != want || r.Null(0) {
			t.Errorf("%s: %q, %v", in, r.Text(0), err)
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	d := &Dataset{Name: "d", Columns: []Column{{Name: "a", Type: Type{Kind: Int}}, {Name: "b", Type: Type{Kind: Text}}}}
	for in, want := range map[string]string{
		`{"a":1}`:                      "column b is missing",
		`{"a":1,"b":"x","c":1}`:        `key "c" is no column`,
		`{"a":1,"a":2,"b":"x"}`:        "column a is there twice",
		`{"a":"1","b":"x"}`:            "a string instead of a number",
		`{"a":1.5,"b":"x"}`:            "no integer",
		`{"a":1,"b":2}`:                "a number instead of a string",
		`{"a":01,"b":"x"}`:             "malformed number",
		`{"a":-,"b":"x"}`:              "malformed number",
		`{"a":1,"b":true}`:             "is no cell",
		`{"a":1,"b":{"c":1}}`:          "is no cell",
		`{"a":1,"b":"x"} x`:            "text after the object",
		`{"a":1,"b":"x"`:               "no ','",
		`{"a":1,"b":"x",}`:             "no string",
		`{"a":1,"b":"x`:                "without an end",
		"{\"a\":1,\"b\":\"\n\"}":       "control character",
		"{\"a\":1,\"b\":\"\xff\"}":     "not UTF-8",
		`{"a":1,"b":"\uD83D"}`:         "malformed",
		`{"a":1,"b":"\uD83Dx\u0041"}`:  "malformed",
		`{"a":1,"b":"\u12"}`:           "malformed",
		`{"a":1,"b":"\x"}`:             "backslash",
		`[1]`:                          "no '{'",
		``:                             "no '{'",
		`{"a":1,"b":"x","_strata":nul`: "no value",
		`{"a":1,"b":"x","_strata":` + strings.Repeat("[", 99): "too deep",
	} {
		var r Row
		err := ParseJSON(d, []byte(in), &r)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

// What ParseJSON accepts, the standard library accepts, and it survives another round.
func FuzzParseJSON(f *testing.F) {
	d := wide()
	r := RowOf(make([]*string, len(d.Columns))...)
	f.Add(AppendJSON(nil, d, &r))
	f.Add([]byte(`{"id":-1,"big":2,"amount":"1.50","ratio":1e+06,"day":"2026-01-31","year":0,"note":"\uD83D\uDE00\n","raw":"00ff","quo\"te\\":"","_strata":{"v":[1]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var r, again Row
		if ParseJSON(d, in, &r) != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatalf("accepted %q", in)
		}
		out := AppendJSON(nil, d, &r)
		if err := ParseJSON(d, out, &again); err != nil || !r.Equal(&again) {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
	})
}

func benchRow() (*Dataset, Row) {
	d := wide()
	var r Row
	for _, c := range []string{"123456789012", "42", "-1234.50", "0.25", "2026-01-31", "2026", "a note of some length for customer 4711", "00ff00ff00ff00ff", "x"} {
		r.AppendString(c)
	}
	return d, r
}

func BenchmarkAppendJSON(b *testing.B) {
	d, r := benchRow()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendJSON(dst[:0], d, &r)
	}
}

func BenchmarkParseJSON(b *testing.B) {
	d, r := benchRow()
	text := AppendJSON(nil, d, &r)
	var into Row
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseJSON(d, text, &into); err != nil {
			b.Fatal(err)
		}
	}
}
