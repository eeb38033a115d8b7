package main

import (
	"testing"

	"strata/catalog"
	"strata/fault"
)

func TestCheckWord_refuses_what_is_no_text(t *testing.T) {
	for text, ok := range map[string]bool{"a\xff": false, "a\x00": false, "a\u2028b": false, "": false, "付款 😀 e\u0301": true} {
		if err := checkWord("--why", text, 20); (err == nil) != ok || err != nil && fault.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReadKey_is_capture_s_form(t *testing.T) {
	for want, c := range map[string]struct {
		typed string
		t     catalog.Type
	}{
		"-7":                         {"-007", catalog.Type{Kind: catalog.Int, Size: 8}},
		"18446744073709551615":       {"18446744073709551615", catalog.Type{Kind: catalog.Uint, Size: 8}},
		"1.50":                       {"1.5", catalog.Type{Kind: catalog.Decimal, Scale: 2}},
		"0aff0000":                   {"0AFF", catalog.Type{Kind: catalog.Binary, Size: 4, Fixed: true}},
		"0a":                         {"0A", catalog.Type{Kind: catalog.Binary}},
		"2026-01-05%2000:00:00.000":  {"2026-01-05", catalog.Type{Kind: catalog.DateTime, FSP: 3}},
		"a%20付":                      {"a 付", catalog.Type{Kind: catalog.Text}},
		"3fa85f64-5717-4562-b3fc-2c": {"3FA85F64-5717-4562-b3fc-2c", catalog.Type{Kind: catalog.UUID}},
	} {
		d := &catalog.Dataset{Name: "d", Columns: []catalog.Column{{Name: "k", Type: c.t}}, Key: []string{"k"}}
		got, err := readKey(d, c.typed)
		if again, err := readKey(d, string(got)); err != nil || again != got {
			t.Errorf("%q, read again: %q, %v", got, again, err)
		}
		if string(got) != want || err != nil {
			t.Errorf("%q: %q instead of %q, %v", c.typed, got, want, err)
		}
	}
}

func TestReadKey_refuses_what_the_column_can_t_be(t *testing.T) {
	byteSize := catalog.Type{Kind: catalog.Int, Size: 1}
	for _, c := range []struct {
		typed string
		t     catalog.Type
		ok    bool
	}{
		{"-128", byteSize, true}, {"127", byteSize, true}, {"-129", byteSize, false}, {"128", byteSize, false}, {"1.0", byteSize, false},
		{"-1", catalog.Type{Kind: catalog.Uint, Size: 8}, false}, {"18446744073709551616", catalog.Type{Kind: catalog.Uint, Size: 8}, false},
		{"0.50", catalog.Type{Kind: catalog.Decimal, Scale: 1}, true}, {"0.55", catalog.Type{Kind: catalog.Decimal, Scale: 1}, false},
	} {
		d := &catalog.Dataset{Name: "d", Columns: []catalog.Column{{Name: "k", Type: c.t}}, Key: []string{"k"}}
		if _, err := readKey(d, c.typed); (err == nil) != c.ok || err != nil && fault.HintOf(err) == "" {
			t.Errorf("%q as %+v: %v", c.typed, c.t, err)
		}
	}
}

func TestCheckRange(t *testing.T) {
	d := &catalog.Dataset{Name: "d", Key: []string{"n", "s"}, Columns: []catalog.Column{{Name: "n", Type: catalog.Type{Kind: catalog.Int, Size: 8}},
		{Name: "s", Type: catalog.Type{Kind: catalog.Text}, Collation: "utf8mb4_general_ci"}}}
	for _, c := range []struct {
		from, to catalog.Key
		ok       bool
	}{{"9,a", "10,a", true}, {"10,a", "9,a", false}, {"9,b", "9,A", true}} {
		if err := checkRange(d, c.from, c.to); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
	d.Columns[1].Collation = "utf8mb4_bin"
	if err := checkRange(d, "9,b", "9,b"); err == nil {
		t.Error("an empty range is let pass")
	}
}
