package daybook

import (
	"fmt"
	"strconv"

	"strata/core"
)

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

// place finds which legs of the original an ending's legs are of: those that are zero have left no entry. It calls try with
// every way to see it, at most maxTries, until that says yes; nil takes the first. sign is -1 for a reversal.
func place(of, legs []core.Leg, sign int64, try func(at []int) bool) ([]int, bool) {
	at := make([]int, len(legs))
	tries := 0
	var from func(i, k int) bool
	from = func(i, k int) bool {
		if i == len(legs) {
			tries++
			return try == nil || try(at) || tries == maxTries
		}
		for ; k <= len(of)-(len(legs)-i); k++ {
			was, is := of[k].Amount*sign, legs[i].Amount
			if of[k].Account != legs[i].Account || (was > 0) != (is > 0) || max(is, -is) > max(was, -was) {
				continue
			}
			at[i] = k
			if from(i+1, k+1) {
				return true
			}
		}
		return false
	}
	return at, from(0, 0)
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
		at, ok := place(original, e.legs, -1, nil)
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
		booked, proven := t.Legs, false
		place(of, booked, sign, func(at []int) bool {
			t.Legs = make([]core.Leg, len(of))
			for k := range of {
				t.Legs[k] = core.Leg{Account: of[k].Account, Unit: of[k].Unit}
			}
			for i, k := range at {
				t.Legs[k].Amount = booked[i].Amount
			}
			proven = c.tryBody(t, string(v[1]), nil)
			return proven
		})
		if proven {
			continue
		}
		t.Legs = booked
		c.wrongBody(string(v[0]), string(v[1]), &t)
	}
	return nil
}
