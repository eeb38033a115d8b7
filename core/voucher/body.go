package voucher

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"strata/core"
	"strata/fault"
)

// eventBody is an event as its voucher keeps it: {"transfer":{…},"balances":[[account,seq,balance,amount],…],
// "parts":[{"cash":-5},…],"accounting_date":"2026-11-22","posted_at":"…"}; parts only where a leg has some.
func eventBody(ev *core.Event) []byte {
	dst := append(make([]byte, 0, 1024), `{"transfer":`...)
	dst = ev.Transfer.AppendJSON(dst)
	dst = append(dst, `,"balances":[`...)
	parts := false
	for i, b := range ev.Balances {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, '['), b.Account, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Seq, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Balance, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Amount, 10)
		dst = append(dst, ']')
		parts = parts || len(b.Parts) > 0
	}
	dst = append(dst, ']')
	if parts {
		dst = appendParts(dst, ev.Balances)
	}
	dst = append(dst, `,"accounting_date":"`...)
	dst = ev.AccountingDate.UTC().AppendFormat(dst, time.DateOnly)
	dst = append(dst, `","posted_at":"`...)
	dst = ev.PostedAt.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	return append(dst, `"}`...)
}

// appendParts writes each leg's parts as pairs, so that their order stays.
func appendParts(dst []byte, balances []core.Balance) []byte {
	dst = append(dst, `,"parts":[`...)
	for i, b := range balances {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		for k, p := range b.Parts {
			if k > 0 {
				dst = append(dst, ',')
			}
			nature, _ := json.Marshal(p.Nature) // a text always has a JSON form
			dst = append(append(dst, `{"nature":`...), nature...)
			dst = strconv.AppendInt(append(dst, `,"amount":`...), p.Amount, 10)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// parseEvent reads what eventBody wrote.
func parseEvent(raw []byte) (core.Event, error) {
	const op = "parse voucher's event"
	var f struct {
		Transfer json.RawMessage `json:"transfer"`
		Balances [][4]int64      `json:"balances"`
		Parts    [][]struct {
			Nature string `json:"nature"`
			Amount int64  `json:"amount"`
		} `json:"parts"`
		Date string    `json:"accounting_date"`
		At   time.Time `json:"posted_at"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return core.Event{}, fault.Wrap(fault.Proof, op, err)
	}
	t, err := core.ParseTransfer(f.Transfer)
	if err != nil {
		return core.Event{}, fmt.Errorf("%s: %w", op, err)
	}
	date, err := time.Parse(time.DateOnly, f.Date)
	if err != nil {
		return core.Event{}, fault.Wrap(fault.Proof, op, err)
	}
	if f.Parts != nil && len(f.Parts) != len(f.Balances) {
		return core.Event{}, fault.New(fault.Proof, op, "%d parts and %d balances", len(f.Parts), len(f.Balances))
	}
	ev := core.Event{Transfer: t, AccountingDate: date, PostedAt: f.At.UTC()}
	for i, b := range f.Balances {
		balance := core.Balance{Account: b[0], Seq: b[1], Balance: b[2], Amount: b[3]}
		if f.Parts != nil {
			for _, p := range f.Parts[i] {
				balance.Parts = append(balance.Parts, core.Part{Nature: p.Nature, Amount: p.Amount})
			}
		}
		ev.Balances = append(ev.Balances, balance)
	}
	return ev, nil
}
