package daybook

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"strata/core"
)

func (c *checker) parseAnswer(x *bundle) (core.Answer, bool) {
	a, err := core.ParseAnswer(string(x.answer[aOutcome]), x.answer[aAnswer])
	if err != nil {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "answer", Want: "an answer", Got: string(x.answer[aAnswer]), Text: err.Error()})
	}
	return a, err == nil
}

// compareAnswer compares the remembered balances with the entries. The quick way is that they are the same text.
func (c *checker) compareAnswer(x *bundle, whole []leg) (*core.Answer, bool) {
	action, known := core.ParseAction(string(x.transfer[tAction]))
	want := core.Answer{Outcome: core.Applied, Action: action, Balances: make([]core.Balance, len(whole))}
	for i, l := range whole {
		want.Balances[i] = core.Balance{Account: l.account, Seq: l.seq, Balance: l.after, Amount: l.amount}
		if len(l.funds) > 0 {
			want.Balances[i].Parts, _ = core.ParseParts(string(l.funds)) // named with the entry
		}
	}
	c.image = want.AppendJSON(c.image[:0])
	if known && string(x.answer[aOutcome]) == "applied" && bytes.Equal(c.image, x.answer[aAnswer]) && c.numbered(whole) {
		return &want, true
	}
	have, ok := c.parseAnswer(x)
	if !ok {
		return nil, false
	}
	wrong := func(what, want, got string) {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "answer", Want: want, Got: got, Text: what})
	}
	switch {
	case have.Outcome == core.Refused:
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "outcome", Want: "applied", Got: "refused", Text: "there is a transfer"})
		return nil, false
	case have.Action != action:
		wrong("the action", action.String(), have.Action.String())
	case have.Code != "":
		wrong("the code", "", string(have.Code))
	}
	t, ok := c.body(x, whole) // a body that has the remembered hash says that the legs are right
	proven := ok && action == core.Post && c.tryBody(t, string(x.answer[aHash]), whole)
	c.compareBalances(x, whole, have.Balances, proven, wrong)
	return &have, true
}

// numbered reports whether the legs are numbered from 0.
func (c *checker) numbered(whole []leg) bool {
	for i := range whole {
		if whole[i].no != int64(i) || whole[i].buffered {
			return false
		}
	}
	return true
}

// compareBalances compares leg by leg. Where both can be wrong, it names the one that other rows contradict, too.
func (c *checker) compareBalances(x *bundle, whole []leg, have []core.Balance, proven bool, wrong func(what, want, got string)) {
	legs := map[int64]*leg{}
	for i := range whole {
		legs[whole[i].no] = &whole[i]
	}
	for i := range have {
		h, l := &have[i], legs[int64(i)]
		if l == nil {
			c.find(inTransfers, Finding{Table: "entry", Key: fmt.Sprintf("%d,%d", h.Account, h.Seq), Column: "leg", Want: fmt.Sprint(i),
				Text: "transfer " + x.id + " has no entry for this leg"})
			continue
		}
		delete(legs, int64(i))
		c.compareBalance(i, l, h, proven, wrong)
	}
	for i := range whole {
		if l := &whole[i]; legs[l.no] != nil {
			table, key := l.key()
			c.find(inTransfers, Finding{Table: table, Key: key, Column: "leg", Want: fmt.Sprintf("below %d", len(have)), Got: strconv.FormatInt(l.no, 10),
				Text: "the remembered answer of transfer " + x.id + " has no such leg"})
		}
	}
}

func (c *checker) compareBalance(i int, l *leg, h *core.Balance, proven bool, wrong func(what, want, got string)) {
	table, key := l.key()
	doubt := c.inDoubt(l.row)
	say := func(column, what string, row, told int64, rowIsWrong bool) {
		switch {
		case row == told:
		case rowIsWrong:
			c.find(inEntries, Finding{Table: table, Key: key, Column: column, Want: strconv.FormatInt(told, 10), Got: strconv.FormatInt(row, 10), Text: "the remembered answer"})
		default:
			wrong(fmt.Sprintf("%s of leg %d", what, i), strconv.FormatInt(row, 10), strconv.FormatInt(told, 10))
		}
	}
	say("account_id", "the account", l.account, h.Account, !proven && (doubt || l.buffered || c.inDoubt(h.Account)))
	if h.Amount != 0 { // the first form of answers has none
		say("amount", "the amount", l.amount, h.Amount, !proven && (doubt || l.buffered))
	}
	if h.Seq != 0 && !l.buffered && l.seq != 0 && h.Account == l.row {
		say("seq", "the number", l.seq, h.Seq, doubt)
		say("balance_after", "the balance", l.after, h.Balance, doubt)
	}
	if h.Seq != 0 && l.buffered {
		wrong(fmt.Sprintf("leg %d is buffered", i), "0", strconv.FormatInt(h.Seq, 10))
	}
	parts, err := core.ParseParts(string(l.funds))
	if err == nil && !slices.Equal(parts, h.Parts) && !l.inner {
		if sumParts(h.Parts) == l.amount && (sumParts(parts) != l.amount || c.wrongFunds(l.row, parts)) {
			c.find(inFunds, Finding{Table: table, Key: key, Column: "funds", Want: string(core.AppendParts(nil, h.Parts)), Got: string(l.funds), Text: "the remembered answer"})
		} else {
			wrong(fmt.Sprintf("the parts of leg %d", i), string(l.funds), string(core.AppendParts(nil, h.Parts)))
		}
	}
}

// inDoubt reports whether the account's entries contradict one another.
func (c *checker) inDoubt(account int64) bool {
	a := c.accounts[account]
	return a == nil || a.doubt
}
