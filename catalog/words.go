package catalog

import (
	"bytes"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"strata/fault"
)

const (
	// maxMatchWords bounds the words of a Match: an index looks each of them up.
	maxMatchWords = 100
	// maxWord bounds a word, in characters; what runs on is the next word, which touches it. No index takes words of any
	// length.
	maxWord = 64
)

// AppendWords appends the words of a text in their order, with a space between two. Indexes keep them: who changes what it
// makes raises the formats of the indexes, so that they are built anew.
func AppendWords(dst, text []byte) []byte {
	from := len(dst)
	for w := range words(text) {
		if len(dst) > from {
			dst = append(dst, ' ')
		}
		dst = append(dst, w...)
	}
	return dst
}

// Phrases reads the value of a Match: a cell matches if each phrase, which is words with a space between two, stands in the
// words that AppendWords makes of it. What is between quotes is one phrase; outside of them, words that touch are one.
// Errors: fault.Invalid (no word, a quote that isn't closed), fault.TooLarge (too many words).
func Phrases(value string) ([]string, error) {
	const op = "read text to match"
	var out []string
	n := 0
	parts := splitQuotes(value)
	if len(parts)%2 == 0 {
		return nil, fault.New(fault.Invalid, op, "a quote is not closed: %.80q", value).
			WithHint(`words, and phrases between quotes: refund "order 17"`)
	}
	for i, part := range parts {
		quoted, begun := i%2 == 1, false
		for w, touches := range words([]byte(part)) {
			if n++; n > maxMatchWords {
				return nil, fault.New(fault.TooLarge, op, "more than %d words", maxMatchWords).WithHint("look for fewer of them")
			}
			if begun && (quoted || touches) {
				out[len(out)-1] += " " + string(w)
			} else {
				out = append(out, string(w))
			}
			begun = true
		}
	}
	if n == 0 {
		return nil, fault.New(fault.Invalid, op, "no word in %.80q", value).WithHint("letters and digits make words; other signs don't")
	}
	return out, nil
}

// splitQuotes cuts a value at its quotes, straight or curved: every second part was between two.
func splitQuotes(value string) []string {
	quote := func(r rune) rune {
		if strings.ContainsRune("“”„＂", r) {
			return '"'
		}
		return r
	}
	return strings.Split(strings.Map(quote, value), `"`)
}

// matches reports whether all phrases stand in a text; each stands there with a space, or an end, on both sides.
func matches(text []byte, phrases []string) bool {
	all := append(AppendWords([]byte{' '}, text), ' ')
	for _, p := range phrases {
		if !bytes.Contains(all, []byte(" "+p+" ")) {
			return false
		}
	}
	return true
}

// words goes through the words of a text. touches: nothing stands between the word and the one before it. A word's bytes
// must not be kept.
func words(text []byte) iter.Seq2[[]byte, bool] {
	return func(yield func(word []byte, touches bool) bool) {
		text := fold(text)
		begin, end := 0, -1 // of the open word, and of the one before it
		size, alone := 0, false
		for at := 0; ; {
			r, n := utf8.DecodeRune(text[at:])
			c := gap
			if n > 0 {
				c = classOf(r)
			}
			if size > 0 && (c == gap || c == single || c == letter && alone || size == maxWord) {
				if !yield(text[begin:at], begin == end) {
					return
				}
				end, size = at, 0
			}
			switch {
			case n == 0:
				return
			case size > 0:
				size++
			case c == letter, c == single, c == mark && at == end: // a mark with nothing before it is no word
				begin, size, alone = at, 1, c == single
			}
			at += n
		}
	}
}

// class is what a character is to words.
type class uint8

const (
	gap    class = iota // between words
	letter              // runs together with its neighbours
	single              // a word by itself
	mark                // belongs to what it follows
)

func classOf(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return letter
		}
		return gap
	case unicode.IsMark(r):
		return mark
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
		return single
	case !unicode.IsLetter(r) && !unicode.IsNumber(r):
		return gap
	case r >= 0x3000 && r <= 0x30ff: // ー and others that several of these scripts share
		return single
	}
	return letter
}

// fold brings a text into the form in which words are compared: Unicode's NFKC without case, and without what is not seen
// (variation selectors, joiners, soft hyphens). Accents and voiced marks stay.
func fold(text []byte) []byte {
	if isASCII(text) {
		return bytes.ToLower(text)
	}
	seen := func(r rune) rune {
		if r >= utf8.RuneSelf && r != 0x200b && unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return r // a space of no width stands between words
	}
	return norm.NFKC.Bytes(cases.Fold().Bytes(norm.NFKC.Bytes(bytes.Map(seen, text))))
}

func isASCII(text []byte) bool {
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
