package binlog

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"strata/local/localtest"
)

// serverText is what the server makes of every code of so many bytes after a prefix, by code; codes that it doesn't take for
// one character are left out.
func serverText(t *testing.T, conn *sql.DB, name, prefix string, bytes int) map[int]string {
	t.Helper()
	rows, err := conn.Query(fmt.Sprintf(`WITH RECURSIVE r AS (SELECT 0 AS n UNION ALL SELECT n+1 FROM r WHERE n<%d)
		SELECT n, HEX(CONVERT(CAST(UNHEX(CONCAT('%s',LPAD(HEX(n),%d,'0'))) AS CHAR CHARACTER SET %s) USING utf8mb4)) FROM r`, 1<<(8*bytes)-1, prefix, 2*bytes, name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	out := map[int]string{}
	for rows.Next() {
		var n int
		var h sql.NullString
		if err := rows.Scan(&n, &h); err != nil {
			t.Fatal(err)
		}
		text, err := hex.DecodeString(h.String)
		if err != nil {
			t.Fatal(err)
		}
		if h.Valid && utf8.RuneCount(text) == 1 {
			out[n] = string(text)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCharsets_convert_every_code_as_the_server_does(t *testing.T) {
	t.Run("mariadb", func(t *testing.T) {
		everyCode(t, localtest.DB(t, localtest.Schema(t, localtest.Shared(t))), "SET SESSION max_recursive_iterations=100000")
	})
	t.Run("mysql", func(t *testing.T) {
		everyCode(t, localtest.DB(t, localtest.Schema(t, localtest.SharedMySQL(t))), "SET SESSION cte_max_recursion_depth=100000")
	})
}

func everyCode(t *testing.T, conn *sql.DB, before string) {
	conn.SetMaxOpenConns(1)
	if before != "" {
		localtest.Exec(t, conn, before)
	}
	names := strings.Fields("armscii8 cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 dec8 geostd8 greek hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman swe7 tis620 ascii")
	for _, name := range append(names, "big5", "sjis", "cp932", "ujis", "eucjpms", "euckr", "gbk", "gb2312") {
		t.Run(name, func(t *testing.T) {
			c, err := newCharset(name)
			if err != nil {
				t.Fatal(err)
			}
			prefixes, bytes, least := []string{""}, 2, 7000
			switch name {
			case "ujis", "eucjpms":
				prefixes = append(prefixes, "8F")
			case "big5", "sjis", "cp932", "euckr", "gbk", "gb2312":
			default:
				bytes, least = 1, 128
			}
			known, wrong := 0, 0
			for _, prefix := range prefixes {
				for n, want := range serverText(t, conn, name, prefix, bytes) {
					raw, err := hex.DecodeString(prefix + fmt.Sprintf("%0*x", 2*bytes, n))
					if err != nil {
						t.Fatal(err)
					}
					if bytes == 2 && raw[0] < 0x80 || name == "ascii" && n >= 0x80 { // two characters, or what can't be stored
						continue
					}
					known++
					if got, err := c.append(nil, raw); (err != nil || string(got) != want) && !lonely(name, raw) {
						if wrong++; wrong < 10 {
							t.Errorf("%x is %q at the server, here %q %v", raw, want, got, err)
						}
					}
				}
			}
			if known < least || wrong > 0 {
				t.Errorf("%d known, %d wrong", known, wrong)
			}
		})
	}
}

// lonely reports whether the server took the first byte for a character and cut off the rest.
func lonely(name string, raw []byte) bool { return len(raw) == 2 && lone(name, int(raw[0])) != 0 }

func TestCharsets_of_unicode_agree_with_the_server_on_every_character(t *testing.T) {
	conn := localtest.DB(t, localtest.Schema(t, localtest.Shared(t)))
	for name := range strings.FieldsSeq("ucs2 utf16 utf16le utf32 utf8mb3 utf8mb4") {
		t.Run(name, func(t *testing.T) { unicodeChars(t, conn, name) })
	}
}

func unicodeChars(t *testing.T, conn *sql.DB, name string) {
	c, err := newCharset(name)
	if err != nil {
		t.Fatal(err)
	}
	most := rune(0x10000)
	if name == "utf8mb4" || name == "utf16" || name == "utf32" {
		most = 0x20000
	}
	wrong := 0
	for from := rune(0x20); from < most; from += 2000 {
		var want []rune
		for r := from; r < min(from+2000, most); r++ {
			if utf8.ValidRune(r) {
				want = append(want, r)
			}
		}
		if len(want) == 0 {
			continue
		}
		var raw []byte
		if err := conn.QueryRow("SELECT CAST(CONVERT(? USING "+name+") AS BINARY)", string(want)).Scan(&raw); err != nil {
			t.Fatal(err)
		}
		got, err := c.append(nil, raw)
		if err != nil || utf8.RuneCount(got) != len(want) {
			t.Fatalf("from %U: %d characters instead of %d, %v", from, utf8.RuneCount(got), len(want), err)
		}
		for i, r := range []rune(string(got)) {
			if r != want[i] {
				if wrong++; wrong < 20 {
					t.Errorf("%U became %U", want[i], r)
				}
			}
		}
	}
}
