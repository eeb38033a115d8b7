package core_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/core"
	"strata/core/coretest"
	"strata/fault"
)

func anyTransfer() *rapid.Generator[core.Transfer] {
	text := rapid.StringMatching(`[!-~]{0,12}`)
	micros := rapid.Custom(func(rt *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 253_402_300_799_999_999).Draw(rt, "micros")).UTC()
	})
	return rapid.Custom(func(rt *rapid.T) core.Transfer {
		t := core.Transfer{ID: text.Draw(rt, "id"), Kind: text.Draw(rt, "kind"), OrderTime: micros.Draw(rt, "order"), Memo: strings.ReplaceAll(rapid.String().Draw(rt, "memo"), "\x00", ""), // no form holds one
			Tenant: text.Draw(rt, "tenant"), Order: text.Draw(rt, "order number"), Product: text.Draw(rt, "product"), Of: text.Draw(rt, "of"),
			Action: rapid.SampledFrom([]core.Action{core.Post, core.Try, core.Confirm, core.Cancel, core.Reverse}).Draw(rt, "action"),
			Linked: rapid.Bool().Draw(rt, "linked"), Metadata: rapid.SampledFrom([]string{"", "{}", `{"a": [1, "值\n"],  "b":null}`}).Draw(rt, "metadata")}
		if rapid.Bool().Draw(rt, "dated") {
			t.BusinessDate, t.Expires = core.Date(micros.Draw(rt, "date")), micros.Draw(rt, "expires")
		}
		t.Legs = rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) core.Leg {
			return core.Leg{Account: rapid.Int64().Draw(rt, "account"), Unit: text.Draw(rt, "unit"), Amount: rapid.Int64().Draw(rt, "amount"), Nature: text.Draw(rt, "nature")}
		}), -1, 5).Draw(rt, "legs")
		if len(t.Legs) == 0 {
			t.Legs = nil
		}
		return t
	})
}

func anyParts() *rapid.Generator[[]core.Part] {
	return rapid.Custom(func(rt *rapid.T) []core.Part {
		var parts []core.Part
		for _, n := range []string{"bonus", "card", "cash", "x~!#"} {
			if rapid.Bool().Draw(rt, n) {
				parts = append(parts, core.Part{Nature: n, Amount: rapid.Int64().Draw(rt, "amount")})
			}
		}
		return parts
	})
}

func anyBalances() *rapid.Generator[[]core.Balance] {
	return rapid.Custom(func(rt *rapid.T) []core.Balance {
		var out []core.Balance
		for range rapid.IntRange(0, 4).Draw(rt, "balances") {
			out = append(out, core.Balance{Account: rapid.Int64().Draw(rt, "account"), Seq: rapid.Int64().Draw(rt, "seq"), Balance: rapid.Int64().Draw(rt, "balance"),
				Amount: rapid.Int64().Draw(rt, "amount"), Parts: anyParts().Draw(rt, "parts")})
		}
		return out
	})
}

func TestForms(t *testing.T) {
	t.Run("a transfer reads back", rapid.MakeCheck(func(rt *rapid.T) {
		want := anyTransfer().Draw(rt, "transfer")
		raw := want.AppendJSON(nil)
		have, err := core.ParseTransfer(raw)
		if err != nil || !reflect.DeepEqual(have, want) || !json.Valid(raw) {
			rt.Fatalf("%s: %+v instead of %+v (%v)", raw, have, want, err)
		}
	}))
	t.Run("an answer reads back", rapid.MakeCheck(func(rt *rapid.T) {
		a := core.Answer{Outcome: rapid.SampledFrom([]core.Outcome{core.Applied, core.Refused}).Draw(rt, "outcome"), Code: core.Code(rapid.String().Draw(rt, "code")),
			Message: rapid.String().Draw(rt, "message"), Field: rapid.String().Draw(rt, "field"), Balances: anyBalances().Draw(rt, "balances"),
			Action: rapid.SampledFrom([]core.Action{core.Post, core.Try, core.Cancel, core.Reverse}).Draw(rt, "action")}
		raw := a.AppendJSON(nil)
		have, err := core.ParseAnswer(a.Outcome.String(), raw)
		if err != nil || !reflect.DeepEqual(have, a.Again()) {
			rt.Fatalf("%s: %+v instead of %+v (%v)", raw, have, a.Again(), err)
		}
	}))
	t.Run("a reservation reads back", rapid.MakeCheck(func(rt *rapid.T) {
		want := core.Reservation{Transfer: anyTransfer().Draw(rt, "transfer"), Parts: rapid.SliceOfN(anyParts(), 0, 4).Draw(rt, "parts")}
		if len(want.Parts) == 0 {
			want.Parts = nil
		}
		for i := range rapid.IntRange(0, 3).Draw(rt, "counted") {
			want.Counted = append(want.Counted, core.Counted{Use: core.Use{Limit: fmt.Sprint("l", i), Subject: "7", Period: "2026-05", Amount: rapid.Int64().Draw(rt, "amount"), Count: 1},
				Unit: "CNY", Account: int64(i)})
		}
		raw := core.AppendReservation(nil, &want)
		var have core.Reservation
		if err := core.ParseReservation(raw, &have); err != nil || !reflect.DeepEqual(have, want) {
			rt.Fatalf("%s: %+v instead of %+v (%v)", raw, have, want, err)
		}
	}))
	t.Run("an event reads back", rapid.MakeCheck(func(rt *rapid.T) {
		want := core.Event{Transfer: anyTransfer().Draw(rt, "transfer"), Balances: anyBalances().Draw(rt, "balances"), AccountingDate: core.Date(coretest.Start()), PostedAt: coretest.Start()}
		raw := core.AppendEvent(nil, &want)
		if have, err := core.ParseEvent(raw); err != nil || !reflect.DeepEqual(have, want) {
			rt.Fatalf("%s: %+v instead of %+v (%v)", raw, have, want, err)
		}
	}))
	t.Run("parts read back sorted", rapid.MakeCheck(func(rt *rapid.T) {
		want := anyParts().Draw(rt, "parts")
		raw := core.AppendParts(nil, rapid.Permutation(want).Draw(rt, "order"))
		have, err := core.ParseParts(string(raw))
		if err != nil || !reflect.DeepEqual(have, want) {
			rt.Fatalf("%s: %v instead of %v (%v)", raw, have, want, err)
		}
	}))
	t.Run("the answers of the first version are read", func(t *testing.T) {
		have, err := core.ParseAnswer("applied", []byte(`{"b":[[1,2,-3],[4,5,6]]}`))
		want := []core.Balance{{Account: 1, Seq: 2, Balance: -3}, {Account: 4, Seq: 5, Balance: 6}}
		if err != nil || !reflect.DeepEqual(have.Balances, want) || have.Outcome != core.Replayed {
			t.Fatalf("%+v, %v", have, err)
		}
	})
	t.Run("ten natures fit their column", func(t *testing.T) {
		var parts []core.Part
		for i := range core.MaxNatures {
			parts = append(parts, core.Part{Nature: strings.Repeat("n", core.MaxNatureBytes-1) + fmt.Sprint(i), Amount: -1 << 63})
		}
		if n := len(core.AppendParts(nil, parts)); n > 512 {
			t.Fatalf("%d bytes", n)
		}
	})
}

// TestParseTransfer_names_the_field: what is not a transfer is fault.Invalid, and says which field.
func TestParseTransfer_names_the_field(t *testing.T) {
	good := `{"id":"a","kind":"k","order_time":"2026-05-17T10:00:00Z","legs":[{"account":1,"unit":"CNY","amount":-5},{"account":"2","unit":"CNY","amount":"5"}]}`
	have, err := core.ParseTransfer([]byte(good))
	if err != nil || have.Legs[0].Amount != -5 || have.Legs[1].Account != 2 {
		t.Fatalf("%+v, %v", have, err)
	}
	for raw, field := range map[string]string{
		``: "", `[]`: "", `{`: "", `{"id":"a"} x`: "", "{\"id\":\"\xff\"}": "",
		`{"id":5}`: "id", `{"id":null}`: "id", `{"ID":"a"}`: "ID", `{"id":"a","id":"b"}`: "id", `{"nonsense":{}}`: "nonsense",
		`{"order_time":"yesterday"}`: "order_time", `{"business_date":"2026-05-17T10:00:00Z"}`: "business_date", `{"expires":7}`: "expires",
		`{"metadata":"{}"}`: "metadata", `{"action":"pay"}`: "action", `{"linked":"yes"}`: "linked", `{"legs":{}}`: "legs", `{"legs":[1]}`: "legs[0]",
		`{"legs":[{},{"amount":1.5}]}`: "legs[1].amount", `{"legs":[{"amount":"9223372036854775808"}]}`: "legs[0].amount", `{"legs":[{"amount":1e3}]}`: "legs[0].amount",
		`{"legs":[{"account":"+1"}]}`: "legs[0].account", `{"legs":[{"balance":1}]}`: "legs[0].balance", `{"legs":[{"unit":1}]}`: "legs[0].unit",
	} {
		_, err := core.ParseTransfer([]byte(raw))
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Object != field {
			t.Errorf("%s: %v names %q instead of %q", raw, err, f.Object, field)
		}
	}
}

func TestSettingsForm(t *testing.T) {
	good := `{"limits":[{"name":"l","scope":"account","match":"","unit":"CNY","per":"day","max_amount":"5","max_count":7,"kinds":["a"]}],
		"rates":[{"name":"r","key":"client","per_second":0.5,"burst":1}],"off":[{"operation":"*","tenant":"t","account":"7"}],
		"strategies":[{"name":"s","default":"cash","natures":[{"name":"cash","kinds":["a"],"products":["b"]},{"name":"x","refund_only":true}]}]}`
	s, err := core.ParseSettings([]byte(good))
	if err != nil || *s.Limits[0].MaxAmount != 5 || *s.Limits[0].MaxCount != 7 || s.Off[0].Account != 7 || !s.Strategies[0].Natures[1].RefundOnly {
		t.Fatalf("%+v, %v", s, err)
	}
	raw, err := s.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := core.ParseSettings(raw)
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Fatalf("%+v instead of %+v (%v)", again, s, err)
	}
	rules, err := core.Compile(s)
	if err != nil || !reflect.DeepEqual(rules.Settings(), s) || !rules.HasStrategy("s") || rules.HasStrategy("t") {
		t.Fatalf("%v", err)
	}
	if s.Limits[0].Kinds[0] = "changed"; rules.Settings().Limits[0].Kinds[0] != "a" {
		t.Fatal("rules share memory with what they were made of")
	}
	for raw, field := range map[string]string{
		`{"limit":[]}`: "limit", `{"limits":{}}`: "limits", `{"limits":[{"max":5}]}`: "limits[0].max", `{"limits":[{},{"max_amount":1.5}]}`: "limits[1].max_amount",
		`{"limits":[{"kinds":[5]}]}`: "limits[0].kinds", `{"rates":[{"burst":"a"}]}`: "rates[0].burst", `{"off":[{"tenant":1}]}`: "off[0].tenant",
		`{"strategies":[{"natures":[{},{"refund":true}]}]}`: "strategies[0].natures[1].refund", `{"off":[{"Operation":"*"}]}`: "off[0].Operation",
	} {
		_, err := core.ParseSettings([]byte(raw))
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Object != field {
			t.Errorf("%s: %v does not name %q", raw, err, field)
		}
	}
}

// TestHash: the body of a transfer that uses no later field is hashed as ever.
func TestHash(t *testing.T) {
	tr := core.Transfer{ID: "a", Kind: "payment", OrderTime: coretest.Start().Add(123 * time.Nanosecond), Memo: "午餐", Legs: []core.Leg{
		{Account: 1, Unit: "CNY", Amount: -5}, {Account: 2, Unit: "CNY", Amount: 5}}}
	if have := fmt.Sprintf("%x", tr.Hash()); have != firstForm {
		t.Fatalf("the first form became %s", have)
	}
	tr.OrderTime = coretest.Start()
	if have := fmt.Sprintf("%x", tr.Hash()); have != firstForm {
		t.Fatal("what is cut off is hashed")
	}
	later := tr
	later.BusinessDate = coretest.Start()
	same := later
	same.BusinessDate = core.Date(coretest.Start())
	if later.Hash() != same.Hash() || later.Hash() == tr.Hash() {
		t.Fatal("the business date is not hashed as a date")
	}
}

// TestL12_every_field_is_part_of_the_body: two transfers that differ in one field have another hash.
func TestL12_every_field_is_part_of_the_body(t *testing.T) {
	whole := func() core.Transfer {
		return core.Transfer{ID: "a", Kind: "k", OrderTime: coretest.Start(), BusinessDate: core.Date(coretest.Start()), Memo: "m", Metadata: "{}", Tenant: "t", Order: "o",
			Product: "p", Action: core.Try, Of: "x", Expires: coretest.Start(), Linked: true, Legs: []core.Leg{{Account: 1, Unit: "CNY", Amount: -5}, {Account: 2, Unit: "CNY", Amount: 5, Nature: "n"}}}
	}
	first := whole()
	seen := map[[32]byte]int{first.Hash(): -1}
	for i, change := range []func(*core.Transfer){
		func(t *core.Transfer) { t.ID = "b" }, func(t *core.Transfer) { t.Kind = "l" }, func(t *core.Transfer) { t.OrderTime = t.OrderTime.Add(time.Microsecond) },
		func(t *core.Transfer) { t.BusinessDate = t.BusinessDate.AddDate(0, 0, 1) }, func(t *core.Transfer) { t.Memo = "n" }, func(t *core.Transfer) { t.Metadata = "{ }" },
		func(t *core.Transfer) { t.Tenant = "" }, func(t *core.Transfer) { t.Order = "" }, func(t *core.Transfer) { t.Product = "" },
		func(t *core.Transfer) { t.Action = core.Post }, func(t *core.Transfer) { t.Of = "" }, func(t *core.Transfer) { t.Expires = time.Time{} },
		func(t *core.Transfer) { t.Expires = t.Expires.Add(time.Microsecond) }, func(t *core.Transfer) { t.Linked = false },
		func(t *core.Transfer) { t.Legs[1].Account = 3 }, func(t *core.Transfer) { t.Legs[1].Amount = 6 }, func(t *core.Transfer) { t.Legs[1].Unit = "USD" },
		func(t *core.Transfer) { t.Legs[1].Nature = "" }, func(t *core.Transfer) { t.Legs[1].Nature = "m" }, func(t *core.Transfer) { t.Legs = t.Legs[:1] },
		func(t *core.Transfer) { t.Tenant, t.Order = "to", "" }, // the same text in other fields
	} {
		other := whole()
		change(&other)
		hash := other.Hash()
		if with, twice := seen[hash]; twice {
			t.Errorf("change %d has the hash of change %d", i, with)
		}
		seen[hash] = i
	}
}

const firstForm = "de88ea045f69ad9add1d7fc6207d5d56b675d9519108c502afc9326a34e6dfb1"
