package catalog

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/fault"
)

// drawScheme draws a scheme of up to four steps that cut no shard.
func drawScheme(t *rapid.T) Scheme {
	intervals := rapid.SampledFrom([]Interval{Daily, Weekly, Monthly, Yearly})
	s := Scheme{{From: MinInstant, Interval: intervals.Draw(t, "interval")}}
	from := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		v, old := intervals.Draw(t, "interval"), s[len(s)-1].Interval
		from = from.AddDate(0, rapid.IntRange(1, 40).Draw(t, "months"), 0)
		for !v.floor(from).Equal(from) || !old.floor(from).Equal(from) {
			from = from.AddDate(0, 0, 1)
		}
		s = append(s, Step{At(from), v})
	}
	return s
}

func drawInstant(t *rapid.T) Instant {
	return Instant(rapid.Int64Range(int64(At(time.Date(1995, 1, 1, 0, 0, 0, 0, time.UTC))), int64(At(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)))).Draw(t, "t"))
}

func TestSchemeCoversTimeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &Dataset{Name: "e", Table: "e", Time: "at", Scheme: drawScheme(t)}
		if err := d.Scheme.Validate(); err != nil {
			t.Fatal(err)
		}
		at := drawInstant(t)
		s := d.ShardAt(at)
		if !s.Range.Contains(at) {
			t.Fatalf("%s is not in %s %s", at, s.Table, s.Range)
		}
		if back, ok := d.ShardOf(s.Table); !ok || back != s {
			t.Fatalf("%+v is %+v", s, back)
		}
		// Its neighbours begin and end where it does.
		if after := d.ShardAt(s.Range.To); after.Range.From != s.Range.To || after.Table == s.Table {
			t.Fatalf("after %s %s comes %s %s", s.Table, s.Range, after.Table, after.Range)
		}
		if before := d.ShardAt(s.Range.From - 1); before.Range.To != s.Range.From || before.Table == s.Table {
			t.Fatalf("before %s %s comes %s %s", s.Table, s.Range, before.Table, before.Range)
		}
		if inside := d.ShardAt(s.Range.To - 1); inside != s {
			t.Fatalf("the last instant of %s is in %s", s.Table, inside.Table)
		}
	})
}

func TestSchemeRefuses(t *testing.T) {
	day := func(s string) Instant {
		i, _ := InstantOf(Type{Kind: Date}, []byte(s))
		return i
	}
	for name, s := range map[string]Scheme{
		"no interval":      {{From: MinInstant}},
		"not ascending":    {{day("2026-01-01"), Monthly}, {day("2026-01-01"), Daily}},
		"middle of month":  {{MinInstant, Monthly}, {day("2026-01-05"), Daily}},
		"not a Monday":     {{MinInstant, Daily}, {day("2026-01-06"), Weekly}},
		"month in a week":  {{MinInstant, Weekly}, {day("2026-01-01"), Monthly}},
		"unknown interval": {{From: MinInstant, Interval: 9}},
	} {
		if err := s.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShardOfKnowsOnlyItsOwn(t *testing.T) {
	d := &Dataset{Name: "e", Table: "e", Time: "at", Scheme: Scheme{{MinInstant, Monthly}}}
	for table, want := range map[string]bool{"e_202601": true, "e_202613": false, "e_20260101": false, "e_2026": false, "e": false, "x_202601": false,
		"e_late_1": true, "e_late_0": false, "e_late_01": false, "e_late_1x": false, "e_late_": false, "e_202601_old": false, "E_202601": false} {
		s, ok := d.ShardOf(table)
		if ok != want {
			t.Errorf("%s: %v", table, ok)
		}
		if ok && s.Late != strings.Contains(table, "late") {
			t.Errorf("%s: late is %v", table, s.Late)
		}
	}
	plain := &Dataset{Name: "p", Table: "p"}
	if s, ok := plain.ShardOf("p"); !ok || s.Range != All() {
		t.Errorf("%+v", s)
	}
	if _, ok := plain.ShardOf("p_202601"); ok {
		t.Error("an unsharded dataset has a shard")
	}
}

func TestMergeView(t *testing.T) {
	d := &Dataset{Name: "e", Table: "e", Time: "at", Scheme: Scheme{{MinInstant, Monthly}}}
	part := func(shard string, epoch uint64, st State) Part {
		s, _ := d.ShardOf(shard)
		return Part{Dataset: "e", Shard: shard, Range: s.Range, Epoch: epoch, State: st}
	}
	live := func(tables string, parts ...Part) Says {
		return Says{Store: Live, Tables: strings.Fields(tables), Parts: parts}
	}
	arch := func(parts ...Part) Says { return Says{Store: Archive, Parts: parts} }
	for name, c := range map[string]struct {
		says []Says
		want string // holdings as "table store epoch", or the error's words after "!"
	}{
		"nothing":                     {nil, ""},
		"a table without a part":      {[]Says{live("e_202601 other")}, "e_202601 live 0"},
		"late shards last":            {[]Says{live("e_late_1 e_202602 e_202601")}, "e_202601 live 0, e_202602 live 0, e_late_1 live 0"},
		"being copied":                {[]Says{live("e_202601", part("e_202601", 0, Owned)), arch(part("e_202601", 1, Copying))}, "e_202601 live 0"},
		"both own: the higher epoch":  {[]Says{live("e_202601", part("e_202601", 0, Owned)), arch(part("e_202601", 1, Owned))}, "e_202601 archive 1"},
		"in any order":                {[]Says{arch(part("e_202601", 1, Owned)), live("e_202601")}, "e_202601 archive 1"},
		"released":                    {[]Says{live("e_202601", part("e_202601", 1, Released)), arch(part("e_202601", 1, Owned))}, "e_202601 archive 1"},
		"released and dropped":        {[]Says{live("", part("e_202601", 1, Released)), arch(part("e_202601", 1, Owned))}, "e_202601 archive 1"},
		"restored":                    {[]Says{live("e_202601", part("e_202601", 2, Owned)), arch(part("e_202601", 2, Released))}, "e_202601 live 2"},
		"being restored":              {[]Says{live("e_202601", part("e_202601", 1, Copying)), arch(part("e_202601", 1, Owned))}, "e_202601 archive 1"},
		"released without an owner":   {[]Says{live("e_202601", part("e_202601", 1, Released)), arch()}, "!nobody owns it"},
		"released while being copied": {[]Says{live("", part("e_202601", 1, Released)), arch(part("e_202601", 1, Copying))}, "!nobody owns it"},
		"two owners of one epoch":     {[]Says{live("e_202601", part("e_202601", 1, Owned)), arch(part("e_202601", 1, Owned))}, "!is owned by"},
		"another dataset's parts":     {[]Says{{Store: Archive, Parts: []Part{{Dataset: "f", Shard: "e_202601", State: Owned, Epoch: 3}}}}, ""},
		"copied and not owned yet":    {[]Says{live(""), arch(part("e_202601", 1, Copying))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := MergeView(d, c.says)
			if words, bad := strings.CutPrefix(c.want, "!"); bad {
				if !fault.Is(err, fault.Proof) || !strings.Contains(err.Error(), words) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range v.Holdings {
				got = append(got, h.Shard.Table+" "+string(h.Store)+" "+string('0'+rune(h.Epoch)))
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}
