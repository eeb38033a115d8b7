package catalog

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"strata/fault"
)

const goodYAML = `datasets:
  - name: entry
    time: at
    shards:
      - {from: 2024-01-01, interval: month}
      - {from: 2026-06-01, interval: day}
    account: account_id
    money:
      - {column: amount, unit_column: unit}
      - {column: fee, unit: EUR}
    text: [memo, note]
    terminal_when: state = 'posted'
    partitions: 8
  - name: points
    table: Points
    key: [id, part]
  - name: hourly
    time: at
    shards: week
`

func TestParseSpecs(t *testing.T) {
	specs, err := ParseSpecs([]byte(goodYAML), "strata.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(specs) != 3 {
		t.Fatalf("%+v", specs)
	}
	e := specs[0]
	day, _ := time2026(6, 1)
	if e.Table != "entry" || len(e.Shards) != 2 || e.Shards[1] != (Step{day, Daily}) || e.Money[1].Unit != "EUR" || strings.Join(e.Text, ",") != "memo,note" || e.Partitions != 8 {
		t.Errorf("%+v", e)
	}
	if p := specs[1]; p.Table != "Points" || p.Partitions != 4 || strings.Join(p.Key, ",") != "id,part" || p.Sharded() {
		t.Errorf("%+v", p)
	}
	if h := specs[2]; !reflect.DeepEqual(h.Shards, Scheme{{MinInstant, Weekly}}) {
		t.Errorf("%+v", h)
	}
}

func TestSpecsSurviveWriting(t *testing.T) {
	specs, err := ParseSpecs([]byte(goodYAML), "strata.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(map[string]any{"datasets": specs})
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSpecs(text, "again.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(specs, again) {
		t.Errorf("%s", text)
	}
}

func TestParseSpecsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"an unknown key":           {"datasets:\n  - name: a\n    tabel: b\n", []string{"f.yaml:3", "tabel"}},
		"an unknown money key":     {"datasets:\n  - name: a\n    money:\n      - {column: x, unti: EUR}\n", []string{"f.yaml:4", "unti"}},
		"an unknown step key":      {"datasets:\n  - name: a\n    time: at\n    shards:\n      - {form: 2024-01-01, interval: month}\n", []string{"f.yaml:5", "form"}},
		"an unknown top-level key": {"datasets: []\nother: 1\n", []string{"f.yaml:2", "other"}},
		"a bad interval":           {"datasets:\n  - name: a\n    time: at\n    shards: fortnight\n", []string{"f.yaml:4", "fortnight"}},
		"a bad date":               {"datasets:\n  - name: a\n    time: at\n    shards:\n      - {from: 2024-13-01, interval: month}\n", []string{"f.yaml:5", "2024-13-01"}},
		"a wrong type":             {"datasets:\n  - name: a\n    partitions: many\n", []string{"f.yaml:3"}},
		"broken YAML":              {"datasets:\n  - name: [a\n", []string{"f.yaml:2"}},
		"a bad name":               {"datasets:\n  - name: Entry\n", []string{`"Entry"`}},
		"a name that is too long":  {"datasets:\n  - name: " + strings.Repeat("a", 41) + "\n", []string{"39"}},
		"one name twice":           {"datasets:\n  - name: a\n  - name: a\n    table: b\n", []string{"twice"}},
		"one table twice":          {"datasets:\n  - name: a\n    table: c\n  - name: b\n    table: c\n", []string{"a and b", "table c"}},
		"a shard of another":       {"datasets:\n  - name: entry\n    time: at\n    shards: month\n  - name: entry_202601\n", []string{"entry and entry_202601"}},
		"a late shard of another":  {"datasets:\n  - name: e_late_1\n  - name: e\n    time: at\n    shards: day\n", []string{"e_late_1 and e"}},
		"late shards of another":   {"datasets:\n  - name: e_late\n    time: at\n    shards: year\n  - name: e\n    time: at\n    shards: day\n", []string{"e_late and e"}},
		"strata's own tables":      {"datasets:\n  - name: strata_part\n", []string{"strata's own"}},
		"shards without time":      {"datasets:\n  - name: a\n    shards: day\n", []string{"without a time column"}},
		"a step that cuts":         {"datasets:\n  - name: a\n    time: at\n    shards:\n      - {interval: month}\n      - {from: 2026-06-03, interval: week}\n", []string{"2026-06-03"}},
		"money without a unit":     {"datasets:\n  - name: a\n    money:\n      - {column: x}\n", []string{"either unit_column or unit"}},
		"money with two units":     {"datasets:\n  - name: a\n    money:\n      - {column: x, unit: EUR, unit_column: u}\n", []string{"either unit_column or unit"}},
		"a text column twice":      {"datasets:\n  - name: a\n    text: [memo, memo]\n", []string{"text column memo is declared twice"}},
		"a text without a column":  {"datasets:\n  - name: a\n    text: [\"\"]\n", []string{"a text column without a name"}},
		"a text of another type":   {"datasets:\n  - name: a\n    text: {memo: true}\n", []string{"f.yaml:3"}},
		"a text that is masked":    {"datasets:\n  - name: a\n    text: [memo]\n    masks:\n      - {column: memo, mask: last4}\n", []string{"line 5: column memo can't be masked: it is a text column"}},
		"several problems":         {"datasets:\n  - name: A\n    partitions: -1\n  - name: B\n", []string{`"A"`, `"B"`, "-1 partitions"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseSpecs([]byte(c.src), "f.yaml")
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\ndoes not say %q", err, w)
				}
			}
		})
	}
}

func TestSpecsThatLookAlikeAreFine(t *testing.T) {
	src := "datasets:\n  - {name: entry, time: at, shards: month}\n  - {name: entry_2026}\n  - {name: entry_20261301}\n  - {name: entry_log, time: at, shards: day}\n  - {name: entry_late_0}\n"
	if _, err := ParseSpecs([]byte(src), "f.yaml"); err != nil {
		t.Error(err)
	}
}

func time2026(month, day int) (Instant, bool) {
	return InstantOf(Type{Kind: Date}, []byte{'2', '0', '2', '6', '-', '0', byte('0' + month), '-', '0', byte('0' + day)})
}

func TestCheckSpecs_finds_what_two_claim_among_many(t *testing.T) {
	monthly := Scheme{{From: MinInstant, Interval: Monthly}}
	var many []Spec
	for i := range 3000 {
		many = append(many, Spec{Name: fmt.Sprintf("t_%04d", i)})
	}
	for name, c := range map[string]struct {
		a, b  Spec
		clash bool
	}{
		"one table twice":          {Spec{Name: "a", Table: "x"}, Spec{Name: "b", Table: "x"}, true},
		"a shard":                  {Spec{Name: "a", Time: "at", Shards: monthly}, Spec{Name: "a_202601"}, true},
		"a late shard":             {Spec{Name: "a", Time: "at", Shards: monthly}, Spec{Name: "a_late_3"}, true},
		"late shards of another":   {Spec{Name: "a", Time: "at", Shards: monthly}, Spec{Name: "a_late", Time: "at", Shards: monthly}, true},
		"a table with a date":      {Spec{Name: "a"}, Spec{Name: "a_202601"}, false},
		"a day beside months":      {Spec{Name: "a", Time: "at", Shards: monthly}, Spec{Name: "a_20260101"}, false},
		"shards of a longer name":  {Spec{Name: "a", Time: "at", Shards: monthly}, Spec{Name: "a_b", Time: "at", Shards: monthly}, false},
		"one of many, by its name": {Spec{Name: "u", Table: "t_0077"}, Spec{Name: "v"}, true},
	} {
		for i, pair := range [][]Spec{{c.a, c.b}, {c.b, c.a}} {
			err := CheckSpecs(append(append([]Spec{pair[0]}, many...), pair[1]))
			if (err != nil) != c.clash || c.clash && !strings.Contains(err.Error(), "both claim table") {
				t.Errorf("%s, order %d: %v", name, i, err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string][2]bool{"": {}, "a": {true, true}, "A": {false, true}, "9": {false, true}, "_": {false, true}, "a_9": {true, true}, "a-9": {},
		"aé": {}, "aA": {false, true}, "a\n": {}, strings.Repeat("a", 40): {true, true}, strings.Repeat("a", 41): {false, true}, strings.Repeat("a", 48): {false, true},
		strings.Repeat("a", 49): {}} {
		if got := [2]bool{isName(name), isTable(name)}; got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
