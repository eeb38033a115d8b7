package mysql

import (
	"encoding/hex"
	"strconv"
	"time"
)

// text builds one statement after the other in the same memory. Its literals are right for db's sessions: utf8mb4, and an
// sql_mode in which the backslash escapes.
type text struct {
	buf   []byte
	first bool   // no comma before the next
	more  []byte // a cell in the making
}

func (q *text) start(head string) { q.buf, q.first = append(q.buf[:0], head...), true }

// raw appends SQL.
func (q *text) raw(s string) { q.buf = append(q.buf, s...) }

// list appends SQL that opens a list.
func (q *text) list(s string) { q.raw(s); q.first = true }

// null appends NULL.
func (q *text) null() { q.sep(); q.raw("NULL") }

// sep stands before each row, cell or list member: a comma, but not before the first.
func (q *text) sep() {
	if !q.first {
		q.buf = append(q.buf, ',')
	}
	q.first = false
}

// open and shut enclose a row.
func (q *text) open() { q.sep(); q.buf, q.first = append(q.buf, '('), true }
func (q *text) shut() { q.buf, q.first = append(q.buf, ')'), false }

func (q *text) num(n int64) { q.sep(); q.buf = strconv.AppendInt(q.buf, n, 10) }

func (q *text) numOrNull(n *int64) {
	if n == nil {
		q.null()
		return
	}
	q.num(*n)
}

// str appends a character literal.
func (q *text) str(s string) { q.sep(); q.buf = quote(q.buf, s) }

func (q *text) bytes(b []byte) {
	q.sep()
	q.buf = append(q.buf, "X'"...)
	q.buf = append(hex.AppendEncode(q.buf, b), '\'')
}

// lit appends a literal that was made before, by timeText or dateText.
func (q *text) lit(literal string) { q.sep(); q.raw(literal) }

func (q *text) time(t time.Time) {
	q.sep()
	q.buf = appendTime(q.buf, t)
}

// appendTime is t.AppendFormat of '2006-01-02 15:04:05.000000', which takes its time for 1,500 cells of a batch.
func appendTime(dst []byte, t time.Time) []byte {
	y, m, d := t.Date()
	hh, mm, ss := t.Clock()
	dst = append(dst, '\'')
	dst = append(digits(dst, y, 1000), '-')
	dst = append(digits(dst, int(m), 10), '-')
	dst = append(digits(dst, d, 10), ' ')
	dst = append(digits(dst, hh, 10), ':')
	dst = append(digits(dst, mm, 10), ':')
	dst = append(digits(dst, ss, 10), '.')
	return append(digits(dst, t.Nanosecond()/1000, 100_000), '\'')
}

// digits appends n with as many digits as the unit, a power of ten, has.
func digits(dst []byte, n, unit int) []byte {
	for ; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+n/unit%10))
	}
	return dst
}

// timeOrNull appends NULL for the zero time.
func (q *text) timeOrNull(t time.Time) {
	if t.IsZero() {
		q.null()
		return
	}
	q.time(t.UTC())
}

func (q *text) date(t time.Time) {
	q.sep()
	q.buf = t.AppendFormat(q.buf, "20060102")
}

func timeText(t time.Time) string { return string(appendTime(nil, t)) }

// dateText is a number, which the server reads faster than a text.
func dateText(t time.Time) string { return t.Format("20060102") }

func (q *text) String() string { return string(q.buf) }

// quote appends s as a character literal. s is UTF-8, so that no byte of a longer character looks like a quote.
func quote[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '\'')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\'', '\\':
			dst = append(dst, c, c)
		case 0:
			dst = append(dst, '\\', '0')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '\'')
}

// answer appends the cells of a row of transfer_id, with the item's answer or with an empty one.
func (q *text) answer(it *item, now string, known bool) {
	q.str(it.t.ID)
	q.bytes(it.body[:])
	outcome := "refused"
	q.more = q.more[:0]
	if known {
		q.more = it.answer.AppendJSON(q.more)
		outcome = it.answer.Outcome.String()
	}
	q.str(outcome)
	q.sep()
	q.buf = quote(q.buf, q.more)
	q.time(it.order)
	q.lit(now)
}
