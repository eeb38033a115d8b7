package router

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"strata/catalog"
	"strata/fault"
)

const (
	cursorVersion = 1
	macBytes      = 16
)

// mac signs a cursor's body; the prefix keeps the key apart from other uses.
func (r *Router) mac(body []byte) []byte {
	h := hmac.New(sha256.New, r.cfg.Secret)
	h.Write([]byte("strata cursor\x00"))
	h.Write(body)
	return h.Sum(nil)[:macBytes]
}

// writeCursor makes the cursor after a row with these order cells.
func (r *Router) writeCursor(p *prepared, last *catalog.Row, position uint64) string {
	b := make([]byte, 0, 64+last.Size()+macBytes)
	b = append(b, cursorVersion)
	b = append(b, p.hash[:]...)
	b = binary.AppendUvarint(b, uint64(r.cfg.Now().Add(r.cfg.Limits.CursorLife).Unix()))
	b = binary.AppendUvarint(b, p.page+1)
	b = binary.AppendUvarint(b, position)
	for i := range last.Len() {
		c := last.Cell(i)
		if c == nil {
			b = binary.AppendUvarint(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(c))+1)
		b = append(b, c...)
	}
	return base64.RawURLEncoding.EncodeToString(append(b, r.mac(b)...))
}

// readCursor sets after, position and page of p from its query's cursor.
func (r *Router) readCursor(p *prepared) error {
	text := p.q.Cursor
	if text == "" {
		return nil
	}
	bad := func(why, hint string) error {
		return fault.New(fault.Invalid, "read cursor", "%s", why).WithHint("%s", hint)
	}
	const forged, again = "this is not a cursor of this service", "start again without a cursor"
	if len(text) > maxCursor {
		return bad(forged, again)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 1+len(p.hash)+macBytes {
		return bad(forged, again)
	}
	body := raw[:len(raw)-macBytes]
	if !hmac.Equal(r.mac(body), raw[len(body):]) || body[0] != cursorVersion {
		return bad(forged, again)
	}
	if string(body[1:1+len(p.hash)]) != string(p.hash[:]) {
		return bad("the cursor belongs to another query",
			"repeat dataset, columns, filter, order and consistency exactly as they were, or start again without a cursor")
	}
	rest := body[1+len(p.hash):]
	number := func() uint64 {
		v, n := binary.Uvarint(rest)
		rest = rest[max(n, 0):]
		return v
	}
	if expiry := time.Unix(int64(number()), 0); r.cfg.Now().After(expiry) {
		return bad("the cursor expired at "+expiry.UTC().Format(time.RFC3339), again)
	}
	p.page, p.position = number(), number()
	for range p.sort {
		n := number()
		if n > uint64(len(rest))+1 {
			return bad(forged, again)
		}
		if n == 0 {
			p.after = append(p.after, nil)
			continue
		}
		cell := string(rest[:n-1])
		p.after, rest = append(p.after, &cell), rest[n-1:]
	}
	p.q.Freshness.AtLeast = max(p.q.Freshness.AtLeast, p.position)
	return nil
}
