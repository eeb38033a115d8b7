package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"strata/core"
)

func TestScan_takes_what_JSON_is(t *testing.T) {
	for _, text := range []string{"0", "-0", "1.5e-3", `""`, `"\ud83d\ude00 \u00e9 \/"`, "[]", "{}", " [1 , {\"a\":null,\"b\":[true,false]}]\r\n\t", `{"":1}`, `{"a":{"a":{"a":1}}}`} {
		if _, err := scan([]byte(text), core.MaxDepth); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestScan_refuses_what_it_is_not(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf(`"n%d":1`, i))
	}
	for _, text := range []string{"", " ", "01", "-", "1.", ".5", "1e", "+1", "Infinity", "nul", "'a'", `"`, `"\x"`, `"\u12"`, `"\ud83d\u0041"`, `"\udc00"`, "\"\n\"",
		"[", "[1", "[1,]", "[,1]", "[1 2]", "{", `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{"a":1 "b":2}`, "1 1", "[1]]", "\xef\xbb\xbf1", "/**/1", "\x00",
		"{" + strings.Join(many, ",") + `,"n3":2}`, strings.Repeat("[", 17) + strings.Repeat("]", 17), strings.Repeat("[", 1<<20)} {
		if _, err := scan([]byte(text), core.MaxDepth); err == nil {
			t.Errorf("%.40q is taken", text)
		}
	}
}

// FuzzScan: what is taken is JSON for encoding/json too, with the same items; and the transfer that it says is the one that a
// plain reader finds.
func FuzzScan(f *testing.F) {
	for _, s := range []string{"1", `{"a":[1,"x",null]}`, payment("t1", ""), "[" + payment("t1", `,"memo":"\ud83d\ude00"`) + "]", `{"a":1,"\u0061":2}`, `"\u0000"`, "[[[[", "{\"a\":1e999}",
		`{"id":"t","metadata":{"a":1},"legs":[{"account":9223372036854775807,"amount":"-9223372036854775808"}]}`, "\xff", `{"legs":[{"amount":1.5}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		root, err := scan(text, core.MaxDepth)
		if err != nil {
			var p *problem
			if !errors.As(err, &p) || p.status != 400 || p.offset < 1 || p.offset > len(text)+1 {
				t.Fatalf("%v", err)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q is taken and is no JSON", text)
		}
		same(t, &root, plain(t, text))
		transfer, err := core.ParseTransfer(root.Raw)
		if err != nil {
			return
		}
		var form struct {
			ID   string `json:"id"`
			Legs []struct {
				Amount json.RawMessage `json:"amount"`
			} `json:"legs"`
		}
		if err := json.Unmarshal(text, &form); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if transfer.ID != form.ID || len(transfer.Legs) != len(form.Legs) && len(form.Legs) <= core.MaxLegs {
			t.Fatalf("%q: %+v instead of %+v", text, transfer, form)
		}
		for i, l := range transfer.Legs {
			if want := strings.Trim(string(form.Legs[i].Amount), `"`); want != "" && fmt.Sprint(l.Amount) != want && !strings.HasPrefix(strings.TrimPrefix(want, "-"), "0") && !strings.Contains(want, `\`) {
				t.Fatalf("%q: leg %d has %d", text, i, l.Amount)
			}
		}
	})
}

func plain(t *testing.T, text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatal("something follows")
	}
	return v
}

func same(t *testing.T, n *node, v any) {
	switch v := v.(type) {
	case map[string]any:
		if n.Kind != '{' || len(n.Items) != len(v) {
			t.Fatalf("%s has %d members instead of %d", n.Raw, len(n.Items), len(v))
		}
		for i := range n.Items {
			m, ok := v[n.Items[i].Name]
			if !ok {
				t.Fatalf("%s has no %q", n.Raw, n.Items[i].Name)
			}
			same(t, (*node)(&n.Items[i]), m)
		}
	case []any:
		if n.Kind != '[' || len(n.Items) != len(v) {
			t.Fatalf("%s has %d items instead of %d", n.Raw, len(n.Items), len(v))
		}
		for i := range v {
			same(t, (*node)(&n.Items[i]), v[i])
		}
	case string:
		if got := string(core.Unquote(n.Raw)); n.Kind != '"' || got != v {
			t.Fatalf("%q instead of %q", got, v)
		}
	case json.Number:
		if n.Kind != '0' || string(n.Raw) != v.String() {
			t.Fatalf("%s instead of %s", n.Raw, v)
		}
	}
}

func TestDigits(t *testing.T) {
	for _, text := range []string{"0", `"0"`, "-1", "9223372036854775807", `"-9223372036854775808"`} {
		var n int64
		root, err := scan([]byte(text), 0)
		if err == nil {
			err = digits(&n)(&root)
		}
		if err != nil || fmt.Sprint(n) != strings.Trim(text, `"`) {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"1.0", "1e3", `""`, `"1.0"`, `" 1"`, `"0x1"`, `"1_0"`, `"+1"`, "9223372036854775808", "true", "null", "[]", `"٣"`} {
		n := int64(math.MaxInt64)
		root, err := scan([]byte(text), 0)
		if err == nil {
			err = digits(&n)(&root)
		}
		if err == nil {
			t.Errorf("%s is taken as %d", text, n)
		}
	}
}
