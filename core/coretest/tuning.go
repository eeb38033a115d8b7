package coretest

import (
	"fmt"
	"reflect"
	"strings"

	"strata/core"
	"strata/fault"
)

func tuningCases() []fullCase {
	return []fullCase{
		{"settings are versioned", versions},
		{"bad settings are refused with their field", badSettings},
		{"one step back is a new version", rollsBack},
	}
}

func oneLimit(amount int64) core.Settings {
	return core.Settings{Limits: []core.Limit{limit("l", "account", "1", "day", ref(amount), nil)}}
}

func versions(b *bench) {
	b.accounts(1, 2)
	none, err := b.full.Settings(b.ctx)
	if err != nil || none.Number != 0 || !reflect.DeepEqual(none.Settings, core.Settings{}) {
		b.Fatalf("%+v, %v", none, err)
	}
	first, err := b.full.PutSettings(b.ctx, 0, oneLimit(5), "alice", "Weihnachten ☃")
	if err != nil || first.Number != 1 || first.Author != "alice" || first.Reason != "Weihnachten ☃" || !first.At.Equal(Start()) {
		b.Fatalf("%+v, %v", first, err)
	}
	_, err = b.full.PutSettings(b.ctx, 0, oneLimit(6), "bob", "")
	b.wantFault(err, fault.Conflict, "another base")
	b.gets(pay("a", 1, 2, 6), core.Refused, core.LimitExceeded, "legs[0].amount")
	if _, err = b.full.PutSettings(b.ctx, 1, oneLimit(6), "bob", ""); err != nil {
		b.Fatal(err)
	}
	b.applies(pay("b", 1, 2, 6)) // in force from the next transfer on
	now, err := b.full.Settings(b.ctx)
	if err != nil || now.Number != 2 || !reflect.DeepEqual(now.Settings, oneLimit(6)) {
		b.Fatalf("%+v, %v", now, err)
	}
	all, err := b.full.SettingsHistory(b.ctx, 10)
	if err != nil || len(all) != 2 || all[0].Number != 2 || all[1].Number != 1 || !reflect.DeepEqual(all[1].Settings, oneLimit(5)) {
		b.Fatalf("%+v, %v", all, err)
	}
	if some, err := b.full.SettingsHistory(b.ctx, 1); err != nil || len(some) != 1 || some[0].Number != 2 {
		b.Fatalf("%+v, %v", some, err)
	}
	_, err = b.full.PutSettings(b.ctx, 2, oneLimit(6), "", "nobody")
	b.wantFault(err, fault.Invalid, "no author")
	_, err = b.full.PutSettings(b.ctx, 2, oneLimit(6), "bob", strings.Repeat("x", 256))
	b.wantFault(err, fault.Invalid, "a long reason")
}

func badSettings(b *bench) {
	b.put(oneLimit(5))
	for field, s := range BadSettings() {
		_, err := b.full.PutSettings(b.ctx, 1, s, "ops", "")
		if b.wantFault(err, fault.Invalid, field); !strings.Contains(err.Error(), field) {
			b.Errorf("%s is not named: %v", field, err)
		}
	}
	now, err := b.full.Settings(b.ctx)
	if err != nil || now.Number != 1 {
		b.Fatalf("%+v, %v", now, err)
	}
}

// BadSettings are settings that are wrong in one field each, by the field.
func BadSettings() map[string]core.Settings {
	out := map[string]core.Settings{}
	good := func() core.Settings {
		s := oneLimit(5)
		s.Limits = append(s.Limits, limit("m", "tenant", "", "month", nil, ref(3), "payment"))
		s.Rates = []core.Rate{{Name: "r", Key: "tenant", PerSecond: 5, Burst: 10}}
		s.Off, s.Strategies = []core.Switch{{Operation: "*"}}, strategies()
		return s
	}
	bad := func(field string, change func(*core.Settings)) {
		s := good()
		change(&s)
		out[field] = s
	}
	bad("limits[1].name", func(s *core.Settings) { s.Limits[1].Name = "l" })
	bad("limits[0].name", func(s *core.Settings) { s.Limits[0].Name = "a b" })
	bad("limits[0].scope", func(s *core.Settings) { s.Limits[0].Scope = "user" })
	bad("limits[0].match", func(s *core.Settings) { s.Limits[0].Match = "01" })
	bad("limits[1].match", func(s *core.Settings) { s.Limits[1].Match = "a b" })
	bad("limits[1].kinds[0]", func(s *core.Settings) { s.Limits[1].Kinds[0] = "" })
	bad("limits[0].unit", func(s *core.Settings) { s.Limits[0].Unit = "cny" })
	bad("limits[0].per", func(s *core.Settings) { s.Limits[0].Per = "week" })
	bad("limits[0].max_amount", func(s *core.Settings) { s.Limits[0].MaxAmount = ref(-1) })
	bad("limits[1].max_count", func(s *core.Settings) { s.Limits[1].MaxCount = ref(-1) })
	bad("limits[1].max_amount", func(s *core.Settings) { s.Limits[1].MaxCount = nil })
	bad("limits ", func(s *core.Settings) {
		for i := range core.MaxLimits {
			s.Limits = append(s.Limits, limit(fmt.Sprint(i), "ledger", "", "day", ref(1), nil))
		}
	})
	bad("rates[0].name", func(s *core.Settings) { s.Rates[0].Name = "" })
	bad("rates[0].key", func(s *core.Settings) { s.Rates[0].Key = "ip" })
	bad("rates[0].per_second", func(s *core.Settings) { s.Rates[0].PerSecond = 0 })
	bad("rates[0].burst", func(s *core.Settings) { s.Rates[0].Burst = 0 })
	bad("off[0].operation", func(s *core.Settings) { s.Off[0].Operation = "" })
	bad("off[0].tenant", func(s *core.Settings) { s.Off[0].Tenant = "a b" })
	bad("off[0].account", func(s *core.Settings) { s.Off[0].Account = -1 })
	bad("strategies[1].name", func(s *core.Settings) { s.Strategies[1].Name = "wallet" })
	bad("strategies[0].default", func(s *core.Settings) { s.Strategies[0].Default = "gold" })
	bad("strategies[0].natures", func(s *core.Settings) { s.Strategies[0].Natures = nil })
	bad("strategies[0].natures[2].name", func(s *core.Settings) { s.Strategies[0].Natures[2].Name = `"` })
	bad("strategies[0].natures[1].products[0]", func(s *core.Settings) { s.Strategies[0].Natures[1].Products = []string{"a b"} })
	bad("strategies[0].natures[3].refund_only", func(s *core.Settings) { s.Strategies[0].Natures[3].Kinds = []string{"x"} })
	return out
}

func rollsBack(b *bench) {
	_, err := b.full.RollBack(b.ctx, "ops", "")
	b.wantFault(err, fault.NotFound, "nothing to roll back")
	b.put(oneLimit(5))
	b.put(oneLimit(6))
	v, err := b.full.RollBack(b.ctx, "ops", "too high")
	if err != nil || v.Number != 3 || !reflect.DeepEqual(v.Settings, oneLimit(5)) || v.Reason != "too high" {
		b.Fatalf("%+v, %v", v, err)
	}
	if v, err = b.full.RollBack(b.ctx, "ops", ""); err != nil || v.Number != 4 || !reflect.DeepEqual(v.Settings, oneLimit(6)) {
		b.Fatalf("%+v, %v", v, err)
	}
	_, err = b.full.RollBack(b.ctx, "", "")
	b.wantFault(err, fault.Invalid, "no author")
}
