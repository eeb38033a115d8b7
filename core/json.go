package core

import "strata/fault"

// AppendJSON appends the transfer as callers, events and reservations write it: account ids and amounts are strings of
// digits (numbers are read, too), times RFC 3339 with microseconds, dates 2006-01-02, metadata an object, empty fields left
// out: {"id":"t1","kind":"payment","order_time":"2026-11-22T08:00:00.000000Z","legs":[{"account":"1","unit":"CNY","amount":"-100"},…]}.
func (t *Transfer) AppendJSON(dst []byte) []byte { return dst }

// ParseTransfer reads AppendJSON's form. fault.Invalid names the field; an unknown field is one.
func ParseTransfer(raw []byte) (Transfer, error) {
	return Transfer{}, fault.New(fault.Internal, "parse transfer", "not yet")
}
