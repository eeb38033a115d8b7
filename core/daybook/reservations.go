package daybook

import (
	"fmt"
	"strconv"
	"strings"

	"strata/core"
)

// The cells of a reservation.
const (
	rID = iota
	rState
	rBody
	rDay
	rAt
	rExpires
	rEndedBy
	rEndedAt
	rLate
)

// reservation takes a row: what it holds of accounts and funds while it is pending, and what it says of its end.
func (c *checker) reservation(v [][]byte) error {
	c.looked(inPending, 1)
	if len(v[rEndedBy]) > 0 {
		if err := c.keep(c.ids, kEnds, v[rEndedBy], [][]byte{v[rID], v[rState], v[rEndedAt]}); err != nil {
			return err
		}
	}
	var r core.Reservation
	if string(v[rState]) == "pending" && core.ParseReservation(v[rBody], &r) == nil { // else it is named with its id
		for i, l := range r.Transfer.Legs {
			a := c.tally(l.Account)
			if l.Amount < 0 {
				a.reserved -= l.Amount
			} else {
				a.expect += l.Amount
			}
			if l.Amount > 0 || i >= len(r.Parts) {
				continue
			}
			for _, p := range r.Parts[i] {
				c.fundOf(l.Account, c.text([]byte(p.Nature))).reserved -= p.Amount
			}
		}
	}
	return c.keep(c.ids, kReservation, v[rID], v)
}

// reserved looks at the reservation of an id, and at the id as the end of one.
func (c *checker) reserved(x *bundle) error {
	for _, v := range x.ends {
		c.endOf(x, v)
	}
	v := x.reservation
	if v == nil {
		return nil
	}
	bad := func(column, want, got, text string) {
		c.find(inPending, Finding{Table: "reservation", Key: x.id, Column: column, Want: want, Got: got, Text: text})
	}
	state := string(v[rState])
	if ended := state == "confirmed" || state == "cancelled" || state == "fenced"; ended != (len(v[rEndedBy]) > 0) {
		bad("state, ended_by", "an id where it was ended by one", string(v[rEndedBy]), "its state is "+state)
	}
	if (v[rEndedAt] == nil) != (state == "pending") {
		bad("state, ended_at", "a time where it is not pending", string(v[rEndedAt]), "its state is "+state)
	}
	if string(v[rLate]) != "0" && state != "fenced" {
		bad("late_trys", "0", string(v[rLate]), "it is no fence")
	}
	if state == "fenced" {
		c.agree(inPending, []witness{{"reservation", x.id, "ended_at", v[rEndedAt]}, {"reservation", x.id, "at", v[rAt]}})
		return nil
	}
	var r core.Reservation
	if err := core.ParseReservation(v[rBody], &r); err != nil {
		bad("body", "a reservation", string(v[rBody]), err.Error())
		return nil
	}
	if r.Transfer.ID != x.id {
		bad("body", x.id, r.Transfer.ID, "the transfer's id")
	}
	c.tried(x, &r, bad)
	expires := ""
	if !r.Transfer.Expires.IsZero() {
		expires = r.Transfer.Expires.UTC().Format("2006-01-02 15:04:05.000000")
	}
	if expires != string(v[rExpires]) {
		bad("expires", expires, string(v[rExpires]), "the body")
	}
	day := string(v[rDay])
	for _, k := range r.Counted {
		if k.Period != day && !(len(k.Period) == len("2006-01") && strings.HasPrefix(day, k.Period)) {
			bad("day", k.Period, day, "the period in which it counts for limit "+k.Limit)
		}
	}
	c.limits.reserved(state, &r)
	return nil
}

// tried compares a reservation with the answer that its try got.
func (c *checker) tried(x *bundle, r *core.Reservation, bad func(column, want, got, text string)) {
	v := x.reservation
	if x.answer == nil {
		if c.remembered(v[rAt]) {
			c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Want: "a row", Text: "there is a reservation"})
		}
		return
	}
	if string(x.answer[aOutcome]) != "applied" {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "outcome", Want: "applied", Got: string(x.answer[aOutcome]), Text: "there is a reservation"})
		return
	}
	if !sameHash(&r.Transfer, string(x.answer[aHash])) {
		h := r.Transfer.Hash()
		bad("body", "a body with the hash "+string(x.answer[aHash]), fmt.Sprintf("%x", h), "the remembered hash of the try")
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "body_hash", Want: fmt.Sprintf("%x", h), Got: string(x.answer[aHash]), Text: "the reservation's body"})
	}
	c.agree(inPending, []witness{{"reservation", x.id, "at", v[rAt]}, {"transfer_id", x.id, "posted_at", x.answer[aPosted]}})
	if ordered := r.Transfer.OrderTime.UTC().Format("2006-01-02 15:04:05.000000"); ordered != string(x.answer[aOrdered]) {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "order_time", Want: ordered, Got: string(x.answer[aOrdered]), Text: "the reservation's body"})
	}
	a, err := core.ParseAnswer("applied", x.answer[aAnswer])
	if err != nil {
		return // named already
	}
	wrong := func(what, want, got string) {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "answer", Want: want, Got: got, Text: what})
	}
	if a.Action != core.Try || len(a.Balances) != len(r.Transfer.Legs) {
		wrong("a try with its legs", strconv.Itoa(len(r.Transfer.Legs)), fmt.Sprintf("%s with %d", a.Action, len(a.Balances)))
		return
	}
	for i, b := range a.Balances {
		if l := r.Transfer.Legs[i]; b.Account != l.Account || b.Amount != l.Amount || b.Seq != 0 {
			wrong(fmt.Sprintf("leg %d of the reservation", i), fmt.Sprintf("account %d, amount %d", l.Account, l.Amount), fmt.Sprintf("account %d, amount %d", b.Account, b.Amount))
		}
	}
}

// endOf looks at an id that a reservation names as its end.
func (c *checker) endOf(x *bundle, v [][]byte) {
	state, ok := string(v[1]), false
	switch {
	case x.answer == nil:
		ok = !c.remembered(v[2]) || v[2] == nil
	case string(x.answer[aOutcome]) != "applied":
	default:
		a, err := core.ParseAnswer("applied", x.answer[aAnswer])
		ok = err != nil || a.Action == core.Cancel && (state == "cancelled" || state == "fenced") || a.Action == core.Confirm && state == "confirmed"
	}
	if !ok {
		c.find(inPending, Finding{Table: "reservation", Key: string(v[0]), Column: "state, ended_by", Want: "what " + state + " it", Got: x.id})
	}
	if x.answer != nil && v[2] != nil && string(v[2]) != string(x.answer[aPosted]) {
		c.find(inPending, Finding{Table: "reservation", Key: string(v[0]), Column: "ended_at", Want: string(x.answer[aPosted]), Got: string(v[2]), Text: "when " + x.id + " was posted"})
	}
}

// confirms compares a reservation with what confirmed it.
func (c *checker) confirms(id string, v [][]byte, r *core.Reservation, all []ending) {
	n := 0
	for _, e := range all {
		if e.action != "confirm" {
			continue
		}
		n++
		bad := func(column, want, got, text string) {
			c.find(inPending, Finding{Table: "reservation", Key: id, Column: column, Want: want, Got: got, Text: text})
		}
		switch {
		case v == nil:
			if c.remembered([]byte(e.posted)) {
				bad("", "a row", "", "it was confirmed by "+e.id)
			}
			continue
		case string(v[0]) != "confirmed":
			bad("state", "confirmed", string(v[0]), "by "+e.id)
		case string(v[1]) != e.id:
			bad("ended_by", e.id, string(v[1]), "the confirm")
		}
		_, ok := place(r.Transfer.Legs, e.legs, 1, nil)
		if !ok {
			bad("body", "at least what was confirmed", string(v[2]), "by "+e.id)
		}
		c.limits.confirmed(r, e.legs)
	}
	if v != nil && n == 0 && string(v[0]) == "confirmed" {
		c.find(inPending, Finding{Table: "reservation", Key: id, Column: "state", Want: "pending, cancelled or expired", Got: "confirmed", Text: "no transfer confirmed it"})
	}
	if n > 1 {
		c.find(inPending, Finding{Table: "reservation", Key: id, Column: "ended_by", Want: "one confirm", Got: strconv.Itoa(n)})
	}
}
