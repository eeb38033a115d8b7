package sqltext_test

import (
	"reflect"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/router"
	sqltext "strata/router/sql"
)

func TestSelectsBecomeQueries(t *testing.T) {
	for text, want := range map[string]router.Query{
		"select * from entry": {Dataset: "entry"},
		"SELECT `id`, e.amount FROM strata.entry AS e WHERE e.id = 5 ORDER BY amount DESC, id LIMIT 10;": {Dataset: "entry", Columns: []string{"id", "amount"},
			Filter: catalog.Cmp("id", catalog.Eq, "5"), Order: []router.Order{{Column: "amount", Desc: true}, {Column: "id"}}, Limit: 10},
		"select unit, count(*) n, sum(amount) from entry group by unit order by unit": {Dataset: "entry", GroupBy: []string{"unit"},
			Aggregates: []router.Aggregate{{Func: router.Count, Name: "n"}, {Func: router.Sum, Column: "amount"}}},
	} {
		if got, err := sqltext.Parse(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
}

func TestConditions(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1 and b <> 'x' or not c >= 2.50":                   "(a = '1' and b <> 'x') or not (c >= '2.50')",
		"a in (1, -2, '3') and b not in (x'0aFF')":              "a in ('1','-2','3') and not (b in ('0aff'))",
		"a between 1 and 2":                                     "a >= '1' and a <= '2'",
		"a is null and b is not null":                           "a is null and not (b is null)",
		"a like 'x%' and b not like '%y%' or c like 'z'":        "(a prefix 'x' and not (b contains 'y')) or c = 'z'",
		"5 < a and 6 >= b":                                      "a > '5' and b <= '6'",
		"a = 18446744073709551615 and b = -9223372036854775808": "a = '18446744073709551615' and b = '-9223372036854775808'",
		"a = 12345678901234567890123.5":                         "a = '12345678901234567890123.5'",
		"d >= date '2026-01-31' and e = 1e3":                    "d >= '2026-01-31' and e = '1000'",
		`match (a) against ('付款 "order 17"') and not match(t.b) against ('x' in natural language mode)`: `a matches '付款 "order 17"' and not (b matches 'x')`,
		"a = -0 and true":      "a = '0' and true",
		`a = 'O''Brien \\ 付款'`: `a = 'O'Brien \ 付款'`,
	} {
		q, err := sqltext.Parse("select * from t where " + text)
		if err != nil || q.Filter.String() != want {
			t.Errorf("%s is %s, %v", text, q.Filter, err)
		}
	}
}

func TestEverythingElseIsRefusedWithItsPlace(t *testing.T) {
	for text, said := range map[string]string{
		"":                                  "0 statements",
		"select 1":                          "without FROM",
		"select * from a, b":                "joins",
		"select * from a join b on a.x=b.x": "joins",
		"select * from (select * from a) x": "subqueries",
		"select * from a; select * from b":  "2 statements",
		"delete from a":                     "only SELECT",
		"select * from t where match (a, b) against ('x')":                   "one column",
		"select * from t where match (a) against ('+x' in boolean mode)":     "no modes",
		"select * from t where match (a) against ('x' with query expansion)": "no modes",
		"select * from t where match (a) against (5)":                        "takes a string",
		"select * from t where match (a) against (@x)":                       "takes a string",
		"select * from t where match (u.a) against ('x')":                    `no table "u"`,
		"select * from t where match (a) against ('x') > 0.5":                "line 1 column 47",
		"select a+1 from t":                     `line 1 column 8`,
		"select * from t where a = b":           `only a value may stand here at line 1 column 27`,
		"select * from t\nwhere lower(a) = 'x'": `line 2 column 7 near "LOWER`,
		"select * from t where a = null":        "IS NULL",
		"select * from t where a like '_x'":     "wildcard _",
		"select * from t where a like 'x%y'":    "LIKE takes",
		"select * from t where a like '%x'":     "LIKE takes",
		"select * from t limit 10 offset 5":     "OFFSET",
		"select * from t limit 0":               "from 1",
		"select distinct a from t":              "DISTINCT",
		"select a from t group by a":            "",
		"select a, count(*) from t":             "GROUP BY columns in their order",
		"select count(a) from t having 1":       "HAVING",
		"select count(distinct a) from t":       "count(*) and sum",
		"select sum(a) from t order by a":       "ascending",
		"select a as b from t":                  "renamed",
		"select * from t for update":            "FOR UPDATE",
		"select * from t where a <=> 1":         "not supported",
		"select * from t where a = @x":          "only a value",
		"select * from t where a = ?":           "",
		"select * from other.t":                 "no schema",
		"select x.a from t":                     "no table",
		"select * from t union select * from u": "only SELECT",
		"select * into outfile 'x' from t":      "",
		"with x as (select 1) select * from x":  "WITH",
		"select * from t use index (x)":         "index hints",
		"select rank() over () from t":          "only a column",
		"select from t":                         "near",
	} {
		q, err := sqltext.Parse(text)
		if text == "select a from t group by a" { // the router says what is missing
			if err != nil || len(q.GroupBy) != 1 {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), said) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestL9_LongAndDeepTextsAreRefused(t *testing.T) {
	if _, err := sqltext.Parse(strings.Repeat(" ", 65<<10)); !fault.Is(err, fault.TooLarge) {
		t.Error(err)
	}
	if _, err := sqltext.Parse("select * from t where " + strings.Repeat("(", 5000) + "a=1" + strings.Repeat(")", 5000)); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if q, err := sqltext.Parse("select * from t where a=1" + strings.Repeat(" or a=1", 300)); err != nil || len(q.Filter.Args) != 301 {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"select * from t where a = 1", "select a, sum(b) from t group by a", "select * from t where a like '%x%' escape '|' limit 3",
		"select * from t where a in (x'00', -1.5e3, date '2026-01-01')", "((((", "select /*+ x */ 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := sqltext.Parse(s)
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
			t.Fatalf("%v", err)
		}
		if err == nil && q.Dataset == "" {
			t.Fatal("no dataset")
		}
	})
}
