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

// pass hands what concerns the original of a confirm or reverse on to the second gathering.
func (c *checker) pass(x *bundle) error {
	var whole []leg
	if x.rows > 0 {
		whole = x.legs
		c.limits.count(x, whole)
	}
	var errs error
	keep := func(k kind, id []byte, v [][]byte) {
		if errs == nil {
			errs = c.keep(c.ends, k, id, v)
		}
	}
	if x.rows > 0 && (len(x.reversed) > 0 || len(x.names) > 0) {
		keep(kTransfer, []byte(x.id), append([][]byte{x.transfer[tPosted]}, legCells(whole)...))
	}
	for _, v := range x.reversed {
		c.looked(inReversed, 1)
		if x.rows > 0 {
			keep(kReversed, []byte(x.id), v)
		}
	}
	if x.rows > 0 && len(x.transfer[tOf]) > 0 {
		keep(kNames, x.transfer[tOf], append([][]byte{[]byte(x.id), x.transfer[tAction], x.transfer[tPosted]}, legCells(whole)...))
	}
	if v := x.reservation; v != nil && (string(v[rState]) == "confirmed" || len(x.names) > 0) {
		keep(kReservation, []byte(x.id), [][]byte{v[rState], v[rEndedBy], v[rBody]})
	}
	return errs
}

// legCells are account, amount and unit of each leg.
func legCells(legs []leg) [][]byte {
	var out [][]byte
	for i := range legs {
		l := &legs[i]
		if n := len(out); i > 0 && l.no == legs[i-1].no && l.inner {
			before, _ := number(out[n-2])
			out[n-2] = strconv.AppendInt(nil, before+l.amount, 10)
			continue
		}
		out = append(out, strconv.AppendInt(nil, l.account, 10), strconv.AppendInt(nil, l.amount, 10), l.unit)
	}
	return out
}

func cellLegs(v [][]byte) ([]core.Leg, error) {
	var out []core.Leg
	for ; len(v) >= 3; v = v[3:] {
		var l core.Leg
		if err := numbers(v, []int{0, 1}, &l.Account, &l.Amount); err != nil {
			return nil, err
		}
		l.Unit = string(v[2])
		out = append(out, l)
	}
	return out, nil
}

// ending is a confirm or reverse.
type ending struct {
	id, action, posted string
	legs               []core.Leg
}

// ended looks at an original with everything that names it.
func (c *checker) ended(g []record) error {
	id := string(g[0].id)
	var original []core.Leg
	remembered := false
	var partial [][][]byte
	var reservation [][]byte
	reversed := map[int]string{}
	var all []ending
	for i := range g {
		v := g[i].split(nil)
		var err error
		switch g[i].kind {
		case kTransfer:
			remembered = c.remembered(v[0])
			original, err = cellLegs(v[1:])
		case kAnswer:
			partial = append(partial, v)
		case kReservation:
			reservation = v
		case kReversed:
			var n int64
			n, err = number(v[1])
			reversed[int(n)] = string(v[2])
		case kNames:
			e := ending{id: string(v[0]), action: string(v[1]), posted: string(v[2])}
			e.legs, err = cellLegs(v[3:])
			all = append(all, e)
		}
		if err != nil {
			return err
		}
	}
	var r core.Reservation
	if reservation != nil && core.ParseReservation(reservation[2], &r) != nil {
		reservation = nil // named already
	}
	c.reversals(id, original, remembered, reversed, all)
	c.confirms(id, reservation, &r, all)
	return c.partials(partial, original, r.Transfer.Legs)
}

// place finds which legs of the original an ending's legs are of: those that are zero have left no entry. sign is -1 for a
// reversal.
func place(of, legs []core.Leg, sign int64) ([]int, bool) {
	at := make([]int, len(legs))
	k := 0
	for i, l := range legs {
		for k < len(of) && (of[k].Account != l.Account || (of[k].Amount*sign > 0) != (l.Amount > 0)) {
			k++
		}
		if k == len(of) {
			return nil, false
		}
		at[i] = k
		k++
	}
	return at, true
}

// reversals adds up what was reversed of each leg. The rows of an original that is remembered no more may be gone.
func (c *checker) reversals(id string, original []core.Leg, remembered bool, stated map[int]string, all []ending) {
	type line struct {
		account int64
		credit  bool
	}
	sums, exact := make([]int64, len(original)), true
	lines, seen := map[line]int64{}, map[line]bool{}
	twice := false
	for _, l := range original {
		k := line{l.Account, l.Amount > 0}
		twice = twice || seen[k]
		seen[k] = true
	}
	for _, e := range all {
		if e.action != "reverse" {
			continue
		}
		at, ok := place(original, e.legs, -1)
		if !ok {
			if original != nil {
				c.find(inReversed, Finding{Table: "transfer", Key: e.id, Column: "of_id", Want: "a transfer with legs on the other side", Got: id})
			}
			continue
		}
		exact = exact && (len(e.legs) == len(original) || !twice)
		for i, k := range at {
			amount := max(e.legs[i].Amount, -e.legs[i].Amount)
			sums[k] += amount
			lines[line{original[k].Account, original[k].Amount > 0}] += amount
		}
	}
	for k, l := range original {
		key := id + "," + strconv.Itoa(k)
		got, there := stated[k]
		delete(stated, k)
		if sums[k] > max(l.Amount, -l.Amount) && exact {
			c.find(inReversed, Finding{Table: "transfer", Key: id, Column: "leg " + strconv.Itoa(k), Want: "at most " + strconv.FormatInt(max(l.Amount, -l.Amount), 10),
				Got: strconv.FormatInt(sums[k], 10), Text: "more was reversed than was booked"})
		}
		switch {
		case !exact: // the legs can't be told apart: only their sums
			n, _ := strconv.ParseInt(got, 10, 64)
			lines[line{l.Account, l.Amount > 0}] -= n
		case !there && (sums[k] == 0 || !remembered):
		case !there:
			c.find(inReversed, Finding{Table: "reversed", Key: key, Want: strconv.FormatInt(sums[k], 10), Text: "the row is missing"})
		case got != strconv.FormatInt(sums[k], 10):
			c.find(inReversed, Finding{Table: "reversed", Key: key, Column: "amount", Want: strconv.FormatInt(sums[k], 10), Got: got, Text: "the entries of its reversals"})
		}
	}
	for l, rest := range lines {
		if !exact && rest != 0 {
			c.find(inReversed, Finding{Table: "reversed", Key: id, Column: "amount", Want: strconv.FormatInt(rest, 10) + " more", Text: fmt.Sprintf("of account %d", l.account)})
		}
	}
	for k, got := range stated {
		c.find(inReversed, Finding{Table: "reversed", Key: id + "," + strconv.Itoa(k), Got: got, Text: "the transfer has no such leg"})
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
		at, ok := place(r.Transfer.Legs, e.legs, 1)
		for i, k := range at {
			was, is := r.Transfer.Legs[k].Amount, e.legs[i].Amount
			ok = ok && max(is, -is) <= max(was, -was)
		}
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

// partials compares the hash of confirms and reverses in part.
func (c *checker) partials(all [][][]byte, original, reserved []core.Leg) error {
	for _, v := range all {
		t, err := core.ParseTransfer(v[2])
		if err != nil {
			return err
		}
		of, sign := original, int64(-1)
		if t.Action == core.Confirm {
			of, sign = reserved, 1
		}
		booked := t.Legs
		if at, ok := place(of, booked, sign); ok {
			t.Legs = make([]core.Leg, len(of))
			for k := range of {
				t.Legs[k] = core.Leg{Account: of[k].Account, Unit: of[k].Unit}
			}
			for i, k := range at {
				t.Legs[k].Amount = booked[i].Amount
			}
			if c.tryBody(t, string(v[1]), nil) {
				continue
			}
		}
		t.Legs = booked
		c.wrongBody(string(v[0]), string(v[1]), &t)
	}
	return nil
}
