package voucher

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/core"
	"strata/fault"
)

func TestShopCompiles(t *testing.T) {
	d := compiled(t, shop(t))
	got, err := d.Derive(ptr(order(t, d, "o1", noon(), 1001, 10_000)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Lines) != 7 || strings.Join(got.Rules, ",") != "legs,fee_tax" {
		t.Fatalf("%v", got)
	}
}

func ptr[T any](v T) *T { return &v }

const head = "subjects: [{subject: \"1\"}, {subject: \"2\"}]\nrules:\n"

// oneRule is a document of one rule with one amount.
func oneRule(amount string) string {
	return head + "- name: r\n  when: kind == 'pay'\n  lines:\n  - {side: debit, subject: \"'1'\", unit: unit, amount: \"" + amount + "\"}\n  - {side: credit, subject: \"'2'\", unit: unit, amount: \"" + amount + "\"}\n"
}

func TestRefusedDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want Problem
	}{
		"misspelt field":           {oneRule("amonut"), Problem{BadExpression, "r", "lines[0].amount", "unknown name amonut"}},
		"misspelt in a call":       {oneRule("max(1, amonut)"), Problem{BadExpression, "r", "lines[0].amount", "unknown name amonut"}},
		"unknown call in a call":   {oneRule("min(amount, round(amount))"), Problem{BadExpression, "r", "lines[0].amount", "unknown name round"}},
		"no such field in a call":  {oneRule("min(1, amount.value)"), Problem{BadExpression, "r", "lines[0].amount", "no field value"}},
		"division":                 {oneRule("amount / 100"), Problem{NotInteger, "r", "lines[0].amount", "/ leaves the whole numbers"}},
		"hidden division":          {oneRule("amount > 10 / 4 ? 1 : 2"), Problem{NotInteger, "r", "lines[0].amount", "/ leaves"}},
		"float":                    {oneRule("0.5 > 0.4 ? 1 : 2"), Problem{NotInteger, "r", "lines[0].amount", "not a whole number"}},
		"power":                    {oneRule("amount ** 2"), Problem{NotInteger, "r", "lines[0].amount", "**"}},
		"range":                    {oneRule("len(1..amount)"), Problem{NotInteger, "r", "lines[0].amount", ".."}},
		"literal over 64 bits":     {oneRule("9223372036854775808"), Problem{BadExpression, "r", "lines[0].amount", ""}},
		"modulo":                   {oneRule("amount % 2"), Problem{NotInteger, "r", "lines[0].amount", "%"}},
		"negation":                 {oneRule("-amount"), Problem{NotInteger, "r", "lines[0].amount", "neg("}},
		"a text for a number":      {oneRule("kind"), Problem{BadExpression, "r", "lines[0].amount", "string instead of a whole number"}},
		"two types":                {oneRule("amount > 3 ? 1 : 'a'"), Problem{BadExpression, "r", "lines[0].amount", "no one type"}},
		"clock":                    {oneRule("now().Year()"), Problem{BadExpression, "r", "lines[0].amount", "unknown name now"}},
		"unbounded sum":            {oneRule("sum(legs, .amount)"), Problem{BadExpression, "r", "lines[0].amount", "unknown name sum"}},
		"way around the types":     {oneRule("$env['amount']"), Problem{BadExpression, "r", "lines[0].amount", "$env"}},
		"leg of no leg":            {oneRule("leg.amount"), Problem{BadExpression, "r", "lines[0].amount", "unknown name leg"}},
		"conditions inside":        {oneRule("count(legs, any(legs, .amount > 0))"), Problem{BadExpression, "r", "lines[0].amount", "inside another"}},
		"too many nodes":           {oneRule("1" + strings.Repeat("+1", 400)), Problem{BadExpression, "r", "lines[0].amount", "exceeds maximum"}},
		"too long":                 {oneRule("1" + strings.Repeat(" ", 2100)), Problem{BadExpression, "r", "lines[0].amount", "over 2000"}},
		"too few arguments":        {oneRule("mul_div(amount, 2, 3)"), Problem{BadExpression, "r", "lines[0].amount", "not enough arguments"}},
		"empty amount":             {oneRule(""), Problem{BadExpression, "r", "lines[0].amount", "empty"}},
		"no condition":             {head + "- {name: r, when: 'amount', lines: [{side: debit, subject: \"'1'\", unit: unit, amount: \"1\"}]}", Problem{BadExpression, "r", "when", "true or false"}},
		"neither debit nor credit": {head + "- {name: r, when: 'true', lines: [{side: left, subject: \"'1'\", unit: unit, amount: \"1\"}]}", Problem{BadDocument, "r", "lines[0].side", "left"}},
		"subject is a number":      {head + "- {name: r, when: 'true', lines: [{side: debit, subject: \"1001\", unit: unit, amount: \"1\"}]}", Problem{BadExpression, "r", "lines[0].subject", "quotes"}},
		"no lines":                 {head + "- {name: r, when: 'true'}", Problem{BadDocument, "r", "lines", "0 lines"}},
		"name twice":               {oneRule("1") + "- {name: r, when: 'true', lines: [{side: debit, subject: \"'1'\", unit: unit, amount: \"1\"}]}", Problem{BadDocument, "r", "rules[1].name", "twice"}},
		"unknown key":              {"rules: []\nfoo: 1", Problem{BadDocument, "", "", `unknown field "foo"`}},
		"not YAML":                 {"rules: [", Problem{BadDocument, "", "", ""}},
		"empty":                    {" \n", Problem{BadDocument, "", "", "empty"}},
		"too big":                  {"# " + strings.Repeat("x", MaxDocumentBytes), Problem{BadDocument, "", "", "limit"}},
		"anchors":                  {"subjects: &a []\nrules: *a", Problem{BadDocument, "", "", "anchors"}},
		"deep flow":                {"rules: " + strings.Repeat("[", 20_000), Problem{BadDocument, "", "", "deeper"}},
		"deep block":               {"rules:\n  " + strings.Repeat("- ", 20_000), Problem{BadDocument, "", "", "deeper"}},
		"accounts overlap":         {"subjects: [{subject: \"1\", accounts: [1-5]}, {subject: \"2\", accounts: [\"5\"]}]", Problem{BadDocument, "2", "accounts", "account 5"}},
		"sample does not balance":  {strings.Replace(oneRule("amount"), "credit", "debit", 1) + samplePay, Problem{Unbalanced, "r", "lines", "debits 14, credits 0 in CNY"}},
		"sample gives other lines": {oneRule("amount") + samplePay + "  lines: [1 debit CNY 7]\n", Problem{BadSample, "s", "lines", "1 debit CNY 7; 2 credit CNY 7"}},
		"sample without rule":      {strings.Replace(oneRule("amount"), "pay", "other", 1) + samplePay, Problem{BadSample, "s", "transfer", "no rule"}},
		"sample overflows":         {oneRule("amount * 9223372036854775807") + samplePay, Problem{NotComputable, "r", "lines[0].amount", "over 64 bits"}},
		"undeclared subject":       {strings.Replace(oneRule("amount"), "'2'", "'3'", 1) + samplePay, Problem{BadLine, "r", "lines[1].subject", "not among the subjects"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile([]byte(c.body))
			wantProblem(t, err, c.want)
		})
	}
}

const samplePay = `samples:
- name: s
  transfer: {id: t, kind: pay, order_time: "2026-01-02T03:04:05Z", legs: [{account: "1", unit: CNY, amount: "-7"}, {account: "2", unit: CNY, amount: "7"}]}
`

// wantProblem wants a Problem with this code, rule and field, and a message that contains the other's.
func wantProblem(t *testing.T, err error, want Problem) {
	t.Helper()
	all := Problems(err)
	if len(all) == 0 || !fault.Is(err, fault.Invalid) {
		t.Fatalf("no problem: %v", err)
	}
	got := *all[0]
	if got.Code != want.Code || got.Rule != want.Rule || got.Field != want.Field || !strings.Contains(got.Message, want.Message) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func TestJSONWithTabsIsRead(t *testing.T) {
	body := "{\n\t\"rules\": [\n\t\t{\"name\": \"r\", \"when\": \"true\", \"lines\": [\n\t\t\t{\"side\": \"debit\", \"subject\": \"'1'\", \"unit\": \"unit\", \"amount\": \"amount\"},\n" +
		"\t\t\t{\"side\": \"credit\", \"subject\": \"'2'\", \"unit\": \"unit\", \"amount\": \"amount\"}]}\n\t]\n}\n"
	d := compiled(t, []byte(body))
	got, err := d.Derive(ptr(event("t", "any", noon(), 1, 2, 5)))
	if err != nil || len(got.Lines) != 2 || got.Lines[0] != (Line{"1", "CNY", 5, 0}) {
		t.Fatalf("%v %v", got, err)
	}
}

func TestScopeSeesTheEvent(t *testing.T) {
	ev := event("t1", "pay", noon(), 1001, 2001, 700)
	ev.Transfer.Tenant, ev.Transfer.Order, ev.Transfer.Product, ev.Transfer.Memo = "acme", "o9", "book", "hi"
	ev.Transfer.Metadata = `{"channel":"app","fee":30,"deep":{"a":[1]},"big":9007199254740993}`
	ev.Balances[0].Parts = []core.Part{{Nature: "cash", Amount: -500}, {Nature: "bonus", Amount: -200}}
	for _, condition := range []string{
		`id == "t1" && kind == "pay" && action == "post" && tenant == "acme" && order == "o9" && product == "book" && memo == "hi"`,
		`unit == "CNY" && amount == 700 && len(legs) == 2 && legs[0].amount == -700 && legs[1].index == 1`,
		`business_date == "2026-11-22" && accounting_date == "2026-11-22"`,
		`metadata.channel == "app" && number(metadata.fee) == 30 && metadata.missing == "" && number(metadata.big) == 9007199254740993`,
		`credits("CNY") == 700 && debits("CNY") == 700 && credits("USD") == 0`,
		`sum_of(1001) == -700 && debits_of(1001) == 700 && credits_of(1001) == 0 && credits_of(2001) == 700`,
		`part(0, "bonus") == -200 && part(0, "cash") == -500 && part(1, "cash") == 0`,
		`any(legs, .account >= 1000 && .account < 2000) && none(legs, .unit == "USD")`,
		`percent(amount, 25, "half_even") == 2 && percent(amount, 25, "ceil") == 2 && min(3, 1, 2) == 1 && max(3, 5) == 5 && abs(neg(4)) == 4`,
		`share(100, [1, 1, 1], 0) + share(100, [1, 1, 1], 1) + share(100, [1, 1, 1], 2) == 100`,
		`share(amount, [amount, 1], 0) == 699`,
		`kind + "." + string(amount) == "pay.700" && kind matches "^p" && kind startsWith "pa"`,
	} {
		body := "rules:\n- name: r\n  when: |-\n    " + condition + "\n  lines:\n  - {side: debit, subject: \"'1'\", unit: unit, amount: \"1\"}\n  - {side: credit, subject: \"'1'\", unit: unit, amount: \"1\"}\n"
		got, err := compiled(t, []byte(body)).Derive(&ev)
		if err != nil || len(got.Lines) != 2 {
			t.Errorf("%s: %v %v", condition, got, err)
		}
	}
}

func TestNegativeAmountsChangeSides(t *testing.T) {
	d := compiled(t, shop(t))
	back := event("r1", "deposit", noon(), 1001, 9000, 30) // a deposit that is taken back
	got, err := d.Derive(&back)
	want := []Line{{"2001", "CNY", 30, 0}, {"1002", "CNY", 0, 30}}
	if err != nil || len(got.Lines) != 2 || got.Lines[0] != want[0] || got.Lines[1] != want[1] {
		t.Fatalf("%v %v", got.Lines, err)
	}
}

// TestL12_vouchers_balance: whatever the event and the rules are, lines that come out balance per unit, each on one side.
func TestL12_vouchers_balance(t *testing.T) {
	amounts := []string{"amount", "leg.amount", "percent(amount, 250, 'half_up')", "share(amount, [3, 2, 1], 1)", "neg(amount)", "max(10, amount - 5)", "credits(unit)", "1", "0"}
	rapid.Check(t, func(t *rapid.T) {
		var body strings.Builder
		body.WriteString("rules:\n- name: r\n  when: \"true\"\n  each: leg\n  lines:\n")
		for range rapid.IntRange(1, 4).Draw(t, "lines") {
			side := rapid.SampledFrom([]string{"debit", "credit"}).Draw(t, "side")
			body.WriteString("  - {side: " + side + ", subject: \"'1'\", unit: leg.unit, amount: \"" + rapid.SampledFrom(amounts).Draw(t, "amount") + "\"}\n")
		}
		d, err := Compile([]byte(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		ev := core.Event{Transfer: core.Transfer{ID: "t", Kind: "k", OrderTime: noon()}, AccountingDate: noon()}
		for range rapid.IntRange(1, 5).Draw(t, "pairs") {
			n := rapid.Int64Range(1, 1<<40).Draw(t, "n")
			unit := rapid.SampledFrom([]string{"CNY", "POINT"}).Draw(t, "unit")
			ev.Transfer.Legs = append(ev.Transfer.Legs, core.Leg{Account: 1, Unit: unit, Amount: n}, core.Leg{Account: 2, Unit: unit, Amount: -n})
		}
		got, err := d.Derive(&ev)
		if err != nil {
			if p := Problems(err)[0]; p.Code != Unbalanced || p.Rule != "r" {
				t.Fatal(err)
			}
			return
		}
		sums := map[string]int64{}
		for _, l := range got.Lines {
			if (l.Debit > 0) == (l.Credit > 0) || l.Debit < 0 || l.Credit < 0 {
				t.Fatalf("line %+v", l)
			}
			sums[l.Unit] += l.Debit - l.Credit
		}
		for unit, sum := range sums {
			if sum != 0 {
				t.Fatalf("%d in %s: %v", sum, unit, got.Lines)
			}
		}
	})
}

func TestEventSurvivesItsForm(t *testing.T) {
	ev := event("t1", "pay", noon(), 1001, 2001, 700)
	ev.Transfer.Metadata, ev.Transfer.BusinessDate = `{"a":"b c"}`, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	ev.Balances[0].Parts = []core.Part{{Nature: "z", Amount: -500}, {Nature: "a", Amount: -200}}
	raw := eventBody(&ev)
	again, err := parseEvent(raw)
	if err != nil {
		t.Fatal(err)
	}
	if second := eventBody(&again); string(second) != string(raw) {
		t.Fatalf("%s\n%s", raw, second)
	}
	if again.Balances[0].Parts[1].Amount != -200 || !again.AccountingDate.Equal(ev.AccountingDate) {
		t.Fatalf("%+v", again)
	}
}
