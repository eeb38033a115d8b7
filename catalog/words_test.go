package catalog

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"strata/fault"
)

func TestAppendWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		" -- ":                        "",
		"Refund of ORDER-17":          "refund of order 17",
		"12.50 EUR":                   "12 50 eur",
		"付款":                          "付 款",
		"付款ABC退款2号":                   "付 款 abc 退 款 2 号",
		"ＡＢＣ１２３":                      "abc123", // of full width
		"㈱":                           "株",
		"ﬁne":                         "fine",
		"STRASSE straße":              "strasse strasse",
		"ΣΊΣΥΦΟΣ σίσυφος":             "σίσυφοσ σίσυφοσ",
		"José JOSÉ jose\u0301":        "josé josé josé",
		"Jose":                        "jose", // an accent counts
		"ラーメン ﾗｰﾒﾝ":                   "ラ ー メ ン ラ ー メ ン",
		"か\u3099 が か":                 "が が か", // a voiced mark counts
		"한국어":                         "한 국 어",
		"한\uAD6D어 \u1112\u1161\u11ab": "한 국 어 한", // letters of a syllable are composed
		"人々・〆切":                       "人 々 〆 切",
		"葛\U000e0100 葛":               "葛 葛", // another drawing of the same character
		"soft\u00adhyphen":            "softhyphen",
		"one\u200btwo":                "one two",
		"हिन्दी":                      "हिन्दी", // vowel signs belong to their letters
		"\u0301a":                     "a",
		"🀄a🍜":                         "a",
		"a\x00b\xffc\n\td":            "a b c d",
		strings.Repeat("x", 130):      strings.Repeat("x", 64) + " " + strings.Repeat("x", 64) + " xx",
	} {
		if got := string(AppendWords([]byte("before "), []byte(text))); got != "before "+want {
			t.Errorf("%q has the words %q, want %q", text, got, want)
		}
	}
}

func TestPhrases(t *testing.T) {
	for value, want := range map[string][]string{
		"refund  Order":         {"refund", "order"},
		`refund "Order 17"`:     {"refund", "order 17"},
		`"a b"c"付 款"`:           {"a b", "c", "付 款"},
		"付款":                    {"付 款"},
		"付款 退款":                 {"付 款", "退 款"},
		"付款，退款":                 {"付 款", "退 款"},
		"付款ABC":                 {"付 款 abc"},
		"“a b” ＂付 款＂":           {"a b", "付 款"},
		`"" a`:                  {"a"},
		strings.Repeat("x", 65): {strings.Repeat("x", 64) + " x"},
	} {
		if got, err := Phrases(value); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q has the phrases %q, %v, want %q", value, got, err, want)
		}
	}
	for value, want := range map[string]fault.Kind{"": fault.Invalid, " ,. ": fault.Invalid, `""`: fault.Invalid, `a "b`: fault.Invalid, "🍜": fault.Invalid,
		strings.Repeat("x ", 101): fault.TooLarge, strings.Repeat("付", 101): fault.TooLarge} {
		if _, err := Phrases(value); !fault.Is(err, want) || fault.HintOf(err) == "" {
			t.Errorf("%.20q: %v", value, err)
		}
	}
	if _, err := Phrases(strings.Repeat("付", 100)); err != nil {
		t.Error(err)
	}
}

func TestMatch(t *testing.T) {
	d := shop()
	for _, c := range []struct {
		cell, value string
		want        bool
	}{
		{"Refund of order 17", "order REFUND", true},
		{"Refund of order 17", `"order 17"`, true},
		{"Refund of order 17", `"17 order"`, false},
		{"Refund of order 17", "ref", false}, // a part of a word
		{"Refund of order 17", "order 18", false},
		{"今天付款了", "付款", true},
		{"今天付款了", "款付", false},
		{"付了三笔款", "付款", false},
		{"付了三笔款", "付 款", true},
		{"付, 款", "付款", true}, // what stands between words doesn't count
		{"PAY付款", "付款 pay", true},
		{"", "a", false},
	} {
		row := RowOf(new("2026-01-01 00:00:00"), nil, &c.cell)
		if f := Cmp("who", Match, c.value); f.Check(d) != nil || f.Accepts(d, &row) != c.want {
			t.Errorf("%q, %q: not %t", c.cell, c.value, c.want)
		}
	}
	null := RowOf(new("2026-01-01 00:00:00"), nil, nil)
	is := Cmp("who", Match, "a")
	for _, f := range []Filter{is, {Op: Not, Args: []Filter{is}}} {
		if f.Accepts(d, &null) {
			t.Errorf("%s is true of NULL", f)
		}
	}
	for name, f := range map[string]Filter{"not declared": Cmp("n", Match, "1"), "no word": Cmp("who", Match, "!"), "open quote": Cmp("who", Match, `"a`),
		"two values": {Op: Match, Column: "who", Values: []string{"a", "b"}}} {
		if err := f.Check(d); !fault.Is(err, fault.Invalid) || name != "two values" && fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Cmp("who", Match, strings.Repeat("a ", 200)).Check(d); !fault.Is(err, fault.TooLarge) {
		t.Errorf("too many words: %v", err)
	}
}

// drawText is of letters of many scripts, with what joins, marks and separates them.
func drawText() *rapid.Generator[string] {
	parts := []string{"a", "B", "é", "e\u0301", "ß", "Σ", "7", "½", "①", "付", "款", "々", "が", "か\u3099", "ﾞ", "ラ", "ー", "ﾗ", "한", "\u1112", "\u1161", " ", "\u3000", ",", "。",
		"\u200b", "\u200d", "\ufe0f", "\u0301", "हि", "ก็", "🍜", "ﬁ", "İ", "\x00", "\xff", "_", strings.Repeat("y", 63), "\"", "“"}
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(parts), rapid.StringN(0, 3, -1)), 0, 12).Draw(t, "parts"), "")
	})
}

// modelWords reads words by expressions over the whole text.
func modelWords(text string) []string {
	text = regexp.MustCompile(`[\p{Cf}\x{fe00}-\x{fe0f}\x{180b}-\x{180d}\x{180f}\x{e0100}-\x{e01ef}\x{034f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{2065}\x{3164}\x{ffa0}\x{fff0}-\x{fff8}\x{e0000}-\x{e0fff}]`).
		ReplaceAllStringFunc(strings.ToValidUTF8(text, "\ufffd"), func(s string) string {
			if s == "\u200b" {
				return s
			}
			return ""
		})
	text = norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
	text = regexp.MustCompile(`[\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}ー〆〱-〵〼]\p{M}*`).ReplaceAllStringFunc(text, func(s string) string {
		if r, _ := utf8.DecodeRuneInString(s); unicode.IsMark(r) { // these scripts have some
			return s
		}
		return " " + s + " "
	})
	var out []string
	for _, w := range regexp.MustCompile(`[\p{L}\p{N}\p{M}\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}]+`).FindAllString(text, -1) {
		for r := []rune(strings.TrimLeftFunc(w, unicode.IsMark)); len(r) > 0; r = r[min(64, len(r)):] {
			out = append(out, string(r[:min(64, len(r))]))
		}
	}
	return out
}

func TestWords_equal_the_model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawText().Draw(t, "text")
		want := modelWords(text)
		if got := string(AppendWords(nil, []byte(text))); got != strings.Join(want, " ") {
			t.Fatalf("%q has the words %q, the model has %q", text, got, want)
		}
	})
}

func TestMatch_equals_the_model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, value := drawText().Draw(t, "text"), drawText().Draw(t, "value")
		if rapid.Bool().Draw(t, "part") { // a piece of the text
			r := []rune(text)
			from := rapid.IntRange(0, len(r)).Draw(t, "from")
			value = string(r[from:rapid.IntRange(from, len(r)).Draw(t, "to")])
		}
		value = strings.NewReplacer(`"`, " ", "“", " ").Replace(value)
		phrase := modelWords(value)
		d := shop()
		row := RowOf(new("2026-01-01 00:00:00"), nil, &text)
		f := Cmp("who", Match, `"`+strings.ToValidUTF8(value, " ")+`"`)
		if err := f.Check(d); (err == nil) != (len(phrase) > 0) {
			t.Fatalf("%q: %v", f.Values[0], err)
		}
		in, have := false, modelWords(text)
		for i := range have {
			in = in || len(phrase) > 0 && i+len(phrase) <= len(have) && slices.Equal(have[i:i+len(phrase)], phrase)
		}
		if f.Accepts(d, &row) != in {
			t.Fatalf("%q matches %q: not %t", text, f.Values[0], in)
		}
	})
}

func BenchmarkAppendWords(b *testing.B) {
	for name, text := range map[string]string{"ascii": "Refund of order 17 to the customer's card", "chinese": "退款：订单17，上海浦东新区，付款至客户卡"} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			for b.Loop() {
				dst = AppendWords(dst[:0], []byte(text))
			}
		})
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "付款 ABC", "\xff\xfe\u0301", `"a" “b`, strings.Repeat("\u1112", 70), "ﷺ", "e\u200d\u0301"} {
		f.Add(s, "付款")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		all := string(AppendWords(nil, []byte(text)))
		for w := range strings.SplitSeq(all, " ") {
			if len([]rune(w)) > maxWord || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' }) || w == "" && all != "" {
				t.Errorf("%q has a word %q", text, w)
			}
		}
		phrases, err := Phrases(value)
		if err == nil && len(phrases) == 0 {
			t.Errorf("%q has no phrase", value)
		}
		matches([]byte(text), phrases)
		if err == nil && !matches([]byte(value), phrases) && !strings.ContainsAny(value, `"“”„＂`) {
			t.Errorf("%q doesn't match itself", value)
		}
	})
}
