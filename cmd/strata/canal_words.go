package main

import (
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	maxWho = 255  // characters
	maxWhy = 1000 // characters: it is a line in lists
)

// checkWords refuses a name or a reason that would not stand in the evidence as it was meant.
func checkWords(who, why string) error {
	if err := checkWord("--who", who, maxWho); err != nil {
		return err
	}
	return checkWord("--why", why, maxWhy)
}

func checkWord(flag, text string, most int) error {
	bad := func(hint, format string, args ...any) error {
		return fault.New(fault.Invalid, "read flags", flag+" "+format, args...).WithHint("%s", hint)
	}
	switch n := utf8.RuneCountInString(text); {
	case strings.TrimSpace(text) == "":
		return bad("it goes into the evidence", "is blank")
	case n > most:
		return bad("name a document that says more", "has %d characters; at most %d", n, most)
	case !utf8.ValidString(text):
		return bad("use a terminal with UTF-8", "is not UTF-8")
	case strings.ContainsFunc(text, unseen):
		return bad("write one line", "has a line break or another control character")
	}
	return nil
}

// unseen reports whether a character moves the terminal's cursor, breaks the line or turns the direction of what follows.
func unseen(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// plainLine keeps what comes from elsewhere on its line and off the terminal's controls.
func plainLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unseen(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// readKey is a key as somebody typed it, in the form in which capture has it.
func readKey(d *catalog.Dataset, typed string) (catalog.Key, error) {
	key := catalog.Key(typed)
	bad := func(err error) (catalog.Key, error) {
		return "", fault.New(fault.Invalid, "read key", "%w", err).
			WithHint("the key of %s is %s; cells are joined by commas, and in a cell a comma is %%2C, a percent sign %%25", d.Name, strings.Join(d.Key, ","))
	}
	if _, _, err := db.KeyCondition(d, "t", key); err != nil {
		return bad(err)
	}
	cells, err := key.Cells()
	if err != nil {
		return bad(err)
	}
	var row catalog.Row
	at := make([]int, len(cells))
	for i, name := range d.Key {
		c, _ := d.Column(name)
		if !holds(c.Type, cells[i]) {
			return bad(fault.New(fault.Invalid, "check value", "column %s can't be %q", name, cells[i]))
		}
		row.AppendString(canonicalCell(c.Type, cells[i]))
		at[i] = i
	}
	return catalog.KeyOf(&row, at), nil
}

// holds reports whether a column of the type can have a value; where only the server knows, true.
func holds(t catalog.Type, text string) bool {
	switch t.Kind {
	case catalog.Int, catalog.Uint:
		n, ok := new(big.Int).SetString(text, 10)
		if !ok || t.Kind == catalog.Uint && n.Sign() < 0 {
			return false
		}
		bits := 8 * t.Size
		if t.Kind == catalog.Int {
			if bits--; n.Sign() < 0 {
				n.Not(n) // -128 is as long as 127
			}
		}
		return n.BitLen() <= bits
	case catalog.Decimal:
		r := rat(text)
		return new(big.Rat).Sub(r, rat(r.FloatString(t.Scale))).Sign() == 0
	}
	return true
}

// canonicalCell is the canonical text of a value that can be of the type.
func canonicalCell(t catalog.Type, text string) string {
	switch t.Kind {
	case catalog.Int, catalog.Uint:
		if n, ok := new(big.Int).SetString(text, 10); ok {
			return n.String()
		}
	case catalog.Decimal:
		if r, ok := new(big.Rat).SetString(text); ok {
			if s := r.FloatString(t.Scale); new(big.Rat).Sub(r, rat(s)).Sign() == 0 {
				return s
			}
		}
	case catalog.Binary:
		if text = strings.ToLower(text); t.Fixed {
			text += strings.Repeat("0", max(0, 2*t.Size-len(text)))
		}
	case catalog.Bit, catalog.UUID:
		return strings.ToLower(text)
	}
	return catalog.Canonical(t, text)
}

func rat(text string) *big.Rat {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return new(big.Rat)
	}
	return r
}

// checkRange refuses bounds between which no key is. How texts are ordered is the server's collation, so they are let pass.
func checkRange(d *catalog.Dataset, from, to catalog.Key) error {
	a, err := from.Cells()
	if err != nil {
		return err
	}
	b, err := to.Cells()
	if err != nil {
		return err
	}
	for i, name := range d.Key {
		c, _ := d.Column(name)
		if c.Type.Kind == catalog.Text && !c.BinaryCollation() || c.Type.Kind == catalog.Enum || c.Type.Kind == catalog.Set {
			return nil
		}
		if n := catalog.Compare(c.Type, []byte(a[i]), []byte(b[i])); n < 0 {
			return nil
		} else if n > 0 {
			break
		}
	}
	return fault.New(fault.Invalid, "read flags", "no key is after %q and up to %q", from, to).WithHint("--from-key is the lower one, and is not sent itself")
}
