package voucher

import (
	"errors"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func on(date string) time.Time {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		panic(err)
	}
	return t
}

func TestOneVersionIsInForce(t *testing.T) {
	s := openStore(t, openDB(t, schema(t)), nil)
	if _, _, err := s.InForce(t.Context(), noon()); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	put(t, s, 0, shop(t), on("2026-01-01"))
	put(t, s, 1, shop(t), on("2026-03-01"))
	put(t, s, 2, shop(t), on("2026-02-01")) // takes over from February on, and so in March
	put(t, s, 3, shop(t), on("2026-04-01"))
	for date, want := range map[string]int64{"2026-01-31": 1, "2026-02-01": 3, "2026-03-05": 3, "2026-04-01": 4, "2027-01-01": 4} {
		v, doc, err := s.InForce(t.Context(), on(date))
		times, err2 := s.timetable(t.Context())
		if err := errors.Join(err, err2); err != nil || v.Number != want || times.on(date) != want || len(doc.Cases()) != 2 {
			t.Fatalf("%s: %d, %d, %v", date, v.Number, times.on(date), err)
		}
	}
	if _, _, err := s.InForce(t.Context(), on("2025-12-31")); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
}

func TestHistoryIsKept(t *testing.T) {
	dsn := schema(t)
	d := openDB(t, dsn)
	s := openStore(t, d, nil)
	if _, err := s.RollBack(t.Context(), noon(), "ann", "x"); !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	put(t, s, 0, shop(t), on("2026-01-01"))
	second := []byte(strings.Replace(string(shop(t)), "# A shop", "# Another shop", 1))
	put(t, s, 1, second, on("2026-02-01"))
	if _, err := s.Put(t.Context(), Draft{Base: 1, Body: shop(t), Author: "eve", Reason: "late", ActiveFrom: noon()}); !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	back, err := s.RollBack(t.Context(), on("2026-03-01"), "bob", "worse than before")
	if err != nil || back.Number != 3 || string(back.Body) != string(shop(t)) {
		t.Fatalf("%+v %v", back, err)
	}
	all, err := s.History(t.Context(), 10)
	if err != nil || len(all) != 3 || all[0].Author != "bob" || all[0].Reason != "worse than before" || string(all[1].Body) != string(second) ||
		!all[0].At.Equal(noon()) || !all[0].ActiveFrom.Equal(on("2026-03-01")) {
		t.Fatalf("%+v %v", all, err)
	}
	t.Run("nothing is stored of a bad draft", func(t *testing.T) {
		for _, bad := range []Draft{{Base: 3, Body: []byte("rules: [{}]"), Author: "a", Reason: "r", ActiveFrom: noon()}, {Base: 3, Body: shop(t), Reason: "r", ActiveFrom: noon()},
			{Base: 3, Body: shop(t), Author: "a", ActiveFrom: noon()}, {Base: 3, Body: shop(t), Author: "a", Reason: "r", ActiveFrom: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)},
			{Base: -1, Body: shop(t), Author: "a", Reason: "r", ActiveFrom: noon()}, {Base: 3, Body: []byte("rules: [] # \xff"), Author: "a", Reason: "r", ActiveFrom: noon()}} {
			if _, err := s.Put(t.Context(), bad); !fault.Is(err, fault.Invalid) {
				t.Errorf("%+v: %v", bad.Author, err)
			}
		}
	})
	for i, point := range []string{"voucher.before_put", "voucher.after_put"} {
		_, err := openStore(t, d, local.NewTrap(point, 1).At).Put(t.Context(), Draft{Base: 3, Body: shop(t), Author: "a", Reason: "r", ActiveFrom: noon()})
		if status, err2 := s.Status(t.Context()); !errors.Is(err, local.ErrCrash) || err2 != nil || status.Newest != int64(3+i) {
			t.Fatalf("%s: %v, %+v %v", point, err, status, err2)
		}
	}
	wantClean(t, s, Checking{})
}

func TestChangedRulesStopTheEngine(t *testing.T) {
	dsn := schema(t)
	d := openDB(t, dsn)
	put(t, openStore(t, d, nil), 0, shop(t), yesterday())
	localtest.Exec(t, localtest.DB(t, dsn), "UPDATE voucher_rule SET active_from = '2020-01-01'")
	s := openStore(t, d, nil)
	q := &queue{}
	q.add(event("t1", "deposit", noon(), 9000, 1001, 5))
	if _, err := engine(t, s, q).Step(t.Context()); !fault.Is(err, fault.Proof) || len(q.events) != 1 {
		t.Fatalf("%v, %d waiting", err, len(q.events))
	}
}

func TestCasesRefuseBadParameters(t *testing.T) {
	d := compiled(t, shop(t))
	good := func() map[string]string {
		return map[string]string{"user": "1001", "points": "3001", "merchant": "2001", "price": "10000"}
	}
	for name, c := range map[string]struct {
		edit func(map[string]string)
		want Problem
	}{
		"missing":         {func(p map[string]string) { delete(p, "user") }, Problem{MissingParam, "shop_order", "params.user", "missing"}},
		"unknown":         {func(p map[string]string) { p["usr"] = "1" }, Problem{UnknownParam, "shop_order", "params.usr", "no such"}},
		"not a number":    {func(p map[string]string) { p["price"] = "1.5" }, Problem{BadParam, "shop_order", "params.price", "whole number"}},
		"too large":       {func(p map[string]string) { p["price"] = "9223372036854775808" }, Problem{BadParam, "shop_order", "params.price", "64 bits"}},
		"below its bound": {func(p map[string]string) { p["price"] = "0" }, Problem{BadParam, "shop_order", "params.price", "below 1"}},
		"above its bound": {func(p map[string]string) { p["fee_rate"] = "10001" }, Problem{BadParam, "shop_order", "params.fee_rate", "above 10000"}},
		"no account":      {func(p map[string]string) { p["merchant"] = "0" }, Problem{BadParam, "shop_order", "params.merchant", "numbered from 1"}},
		"not a text":      {func(p map[string]string) { p["channel"] = "\xff" }, Problem{BadParam, "shop_order", "params.channel", "UTF-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := good()
			c.edit(p)
			_, err := d.Transfer("shop_order", core.Transfer{ID: "o1", OrderTime: noon()}, p)
			wantProblem(t, err, c.want)
		})
	}
	_, err := d.Transfer("nothing", core.Transfer{}, nil)
	wantProblem(t, err, Problem{UnknownCase, "nothing", "", "no such case"})
	_, err = d.Transfer("shop_order", core.Transfer{ID: "bad id", OrderTime: noon()}, good())
	wantProblem(t, err, Problem{BadTransfer, "shop_order", "id", "visible"})
	tr, err := d.Transfer("shop_order", core.Transfer{ID: "o1", OrderTime: noon(), Order: "n7", Metadata: `{"shop":5}`}, good())
	if err != nil || tr.Kind != "shop_order" || tr.Metadata != `{"channel":"app","shop":5}` || len(tr.Legs) != 5 || tr.Order != "n7" {
		t.Fatalf("%+v %v", tr, err)
	}
}

func TestRefusedCases(t *testing.T) {
	one := func(params, values, amount string) string {
		return "cases:\n- name: c\n  params: [" + params + "]\n  values: [" + values + "]\n  legs:\n  - {account: \"1\", unit: \"'CNY'\", amount: \"" + amount + "\"}\n  - {account: \"2\", unit: \"'CNY'\", amount: \"5\"}\n"
	}
	for name, c := range map[string]struct {
		body string
		want Problem
	}{
		"unknown name":        {one("", "", "price"), Problem{BadExpression, "c", "legs[0].amount", "unknown name price"}},
		"unknown in a call":   {one("{name: p, type: amount}", "", "percent(price, p, 'floor')"), Problem{BadExpression, "c", "legs[0].amount", "unknown name price"}},
		"division":            {one("{name: p, type: amount}", "", "p / 2"), Problem{NotInteger, "c", "legs[0].amount", "/"}},
		"unknown type":        {one("{name: p, type: money}", "", "5"), Problem{BadDocument, "c", "params[0].type", "money"}},
		"name of a function":  {one("{name: min, type: amount}", "", "5"), Problem{BadDocument, "c", "params[0].name", "taken"}},
		"name twice":          {one("{name: p, type: amount}, {name: p, type: text}", "", "5"), Problem{BadDocument, "c", "params[1].name", "taken"}},
		"bad default":         {one("{name: p, type: amount, default: x}", "", "5"), Problem{BadDocument, "c", "params[0].default", "whole number"}},
		"value of a later":    {one("", "{name: a, value: b}, {name: b, value: \"1\"}", "5"), Problem{BadExpression, "c", "values.a", "unknown name b"}},
		"value is no integer": {one("", "{name: a, value: \"1 == 1\"}", "5"), Problem{BadExpression, "c", "values.a", "bool"}},
		"does not balance":    {one("", "", "5") + "samples: [{name: s, case: c}]\n", Problem{BadSample, "s", "params", "do not sum to zero"}},
		"one leg":             {"cases: [{name: c, legs: [{account: \"1\", unit: \"'CNY'\", amount: \"1\"}]}]", Problem{BadDocument, "c", "legs", "2 to"}},
		"long name":           {"cases: [{name: " + strings.Repeat("c", 33) + ", legs: []}]", Problem{BadDocument, strings.Repeat("c", 33), "name", "32"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile([]byte(c.body))
			wantProblem(t, err, c.want)
		})
	}
}
