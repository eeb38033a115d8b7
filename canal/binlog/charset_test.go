package binlog

import (
	"bytes"
	"strings"
	"testing"

	"strata/local/localtest"
)

func TestCharsets_agree_with_the_server_on_every_character(t *testing.T) {
	conn := localtest.DB(t, localtest.Schema(t, localtest.Shared(t)))
	var chars []string
	for r := rune(0x20); r < 0x10000; r++ {
		if r < 0xd800 || r > 0xdfff {
			chars = append(chars, string(r))
		}
	}
	for _, name := range []string{"latin1", "latin2", "latin5", "cp1250", "cp1251", "koi8r", "gbk", "gb2312", "utf8mb3", "utf8mb4", "ascii"} {
		t.Run(name, func(t *testing.T) {
			c, err := newCharset(name)
			if err != nil {
				t.Fatal(err)
			}
			var raw []byte
			if err := conn.QueryRow("SELECT CAST(CONVERT(? USING "+name+") AS BINARY)", strings.Join(chars, "\n")).Scan(&raw); err != nil {
				t.Fatal(err)
			}
			encoded := bytes.Split(raw, []byte("\n"))
			if len(encoded) != len(chars) {
				t.Fatalf("%d characters came back of %d", len(encoded), len(chars))
			}
			known, wrong := 0, 0
			for i, b := range encoded {
				if string(b) == "?" {
					continue
				}
				known++
				out, err := c.append(nil, b)
				if err == nil && string(out) == chars[i] {
					continue
				}
				if wrong++; wrong < 10 {
					t.Errorf("%U is stored as %x: here %q %v", []rune(chars[i])[0], b, out, err)
				}
			}
			if known < 90 || wrong > 0 {
				t.Errorf("%d known, %d wrong", known, wrong)
			}
		})
	}
}
