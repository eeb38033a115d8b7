package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/core"
	"strata/fault"
	"strata/local"
	"strata/money"
)

func TestImport_accounts(t *testing.T) {
	l, _ := ledger(t)
	file := "\ufeffunit,id,name,side,min_balance,max_balance,metadata\r\n" +
		"CNY,7,\"王, \"\"Ltd\"\"\",debit,-5,1000,\r\nUSD,8,,,,,\"{\"\"a\"\":1}\"\r\n"
	cfg := of(Accounts, l, file)
	res, err := Import(t.Context(), cfg)
	if err != nil || res.Opened != 2 || res.Check() != nil {
		t.Fatalf("%+v, %v", res, err)
	}
	a := balance(t, l, 7)
	if a.Name != `王, "Ltd"` || a.Unit != "CNY" || a.Side != core.DebitSide || *a.MinBalance != -5 || *a.MaxBalance != 1000 {
		t.Errorf("%+v", a)
	}
	if b := balance(t, l, 8); b.MinBalance != nil || b.MaxBalance != nil || b.Metadata != `{"a":1}` {
		t.Errorf("%+v", b)
	}
	var out rejected
	cfg = of(Accounts, l, "id,unit\n9,CNY\n7,USD\n10,CNY\n")
	cfg.Rejects = out.open
	res, err = Import(t.Context(), cfg)
	if err != nil || res.Opened != 2 || res.Refused != 1 || !fault.Is(res.Check(), fault.Proof) {
		t.Fatalf("%+v, %v", res, err)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "3,7,account_conflict,,") {
		t.Errorf("%q", out.String())
	}
}

func TestImport_balances(t *testing.T) {
	l, _ := ledger(t)
	cfg := of(Balances, l, "account,unit,amount\n100,CNY,12.34\n2,CNY,-0.5\n101,CNY,0\n102,CNY,7\n")
	cfg.Decimal = true
	for turn := range 2 {
		res, err := Import(t.Context(), cfg)
		if err != nil || res.Plan.Items != 4 || res.Plan.Empty != 1 || res.Applied+res.Replayed != 3 || res.Replayed != int64(3*turn) {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	for id, want := range map[int64]int64{100: 1234, 2: -50, 101: 0, 102: 700, 1: -1884} {
		if have := balance(t, l, id).Balance; have != want {
			t.Errorf("account %d has %d instead of %d", id, have, want)
		}
	}
	if a, ok, err := l.Answer(t.Context(), "opening-100"); !ok || err != nil || a.Outcome != core.Replayed {
		t.Errorf("%+v %t %v", a, ok, err)
	}
	if x := l.Transfers()[0].Transfer; !x.OrderTime.Equal(cfg.Date) || x.Kind != "opening" {
		t.Errorf("%+v", x)
	}
}

func TestImport_balances_that_changed_are_conflicts(t *testing.T) {
	l, _ := ledger(t)
	if _, err := Import(t.Context(), of(Balances, l, "account,unit,amount\n100,CNY,5\n")); err != nil {
		t.Fatal(err)
	}
	var out rejected
	cfg := of(Balances, l, "account,unit,amount\n100,CNY,6\n101,CNY,1\n")
	cfg.Rejects = out.open
	res, err := Import(t.Context(), cfg)
	if err != nil || res.Refused != 1 || res.Applied != 1 || balance(t, l, 100).Balance != 5 {
		t.Fatalf("%+v, %v", res, err)
	}
	if !strings.Contains(out.String(), "\n2,opening-100,id_conflict,") {
		t.Errorf("%q", out.String())
	}
}

func TestImport_past_on_its_own_clock(t *testing.T) {
	l, clock := pastLedger(t)
	first := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	cfg := of(Transfers, l, past(1200))
	cfg.Clock, cfg.OpenDay = clock, time.Date(2026, 5, 18, 0, 0, 0, 0, time.UTC)
	res, err := Import(t.Context(), cfg)
	if err != nil || res.Applied != 1200 {
		t.Fatalf("%+v, %v", res, err)
	}
	if p := res.Plan; !p.First.Equal(first.Add(8*time.Hour)) || p.Rows != 2400 || p.Items != 1200 || len(p.Units) != 1 {
		t.Errorf("%+v", p)
	}
	if day, err := l.Day(t.Context()); err != nil || !day.Equal(cfg.OpenDay) {
		t.Errorf("%s, %v", day, err)
	}
	for _, x := range l.Transfers() {
		day := core.Date(x.Transfer.OrderTime)
		if x.At.Before(x.Transfer.OrderTime) || !core.Date(x.At).Equal(day) || !x.Date.Equal(day) {
			t.Fatalf("%s is ordered at %s, posted at %s and booked on %s", x.Transfer.ID, x.Transfer.OrderTime, x.At, x.Date)
		}
	}
	if x := l.Transfers()[3].Transfer; x.Memo != `No. 3, "午餐"` || x.Order != "o1" || x.Kind != "payment" {
		t.Errorf("%+v", x)
	}
}

func TestImport_without_a_clock_books_on_the_open_day(t *testing.T) {
	l, _ := ledger(t)
	file := "id,kind,order_time,business_date,account,unit,amount\nold,pay,2024-01-01,,1,CNY,-1\nold,,,,2,CNY,1\n" +
		"new,pay,2026-05-01 08:00:00.5,2026-04-30,1,CNY,-1\nnew,pay,2026-05-01T10:00:00.5+02:00,2026-04-30,2,CNY,1\n"
	var out rejected
	cfg := of(Transfers, l, file)
	cfg.Rejects = out.open
	res, err := Import(t.Context(), cfg)
	if err != nil || res.Applied != 1 || res.Refused != 1 || out.String() == "" || !strings.Contains(out.String(), "\n2,old,too_old,") {
		t.Fatalf("%+v, %v, %q", res, err, out.String())
	}
	x := l.Transfers()[0]
	if !x.Date.Equal(core.Date(start())) || x.Transfer.BusinessDate.Format(time.DateOnly) != "2026-04-30" ||
		!x.Transfer.OrderTime.Equal(time.Date(2026, 5, 1, 8, 0, 0, 500_000_000, time.UTC)) {
		t.Errorf("%+v", x)
	}
}

func TestCheck_names_file_line_column_and_field(t *testing.T) {
	const head = "id,kind,order_time,account,unit,amount\n"
	good := "a,pay,2026-05-01,1,CNY,-1\na,pay,2026-05-01,2,CNY,1\n"
	for _, c := range []struct {
		name, file, want string
		edit             func(*Config)
	}{
		{"an empty file", "", "transfers.csv:1:1: the file is empty", nil},
		{"an unknown column", "id,kind,order_time,account,unit,amount,colour\n", "transfers.csv:1:40: colour: no such column", nil},
		{"a column twice", "id,id,kind,order_time,account,unit,amount\n", "transfers.csv:1:4: id: the column is there twice", nil},
		{"a missing column", "id;kind\n", "amount: the column is missing", nil},
		{"too few fields", head + good + "b,pay\n", "transfers.csv:4:1: 2 fields instead of 6", nil},
		{"an open quote", head + "a,\"pay,2026-05-01,1,CNY,-1\n", "transfers.csv:", nil},
		{"a bad amount", head + "a,pay,2026-05-01,1,CNY,-1.5\n" + good[len(good)/2:], "transfers.csv:2:24: amount: ", nil},
		{"a float", head + "a,pay,2026-05-01,1,CNY,1e3\n", "transfers.csv:2:24: amount: ", nil},
		{"too many digits", head + "a,pay,2026-05-01,1,CNY,1.234\n", "transfers.csv:2:24: amount: ", func(c *Config) { c.Decimal = true }},
		{"an unknown unit", head + "a,pay,2026-05-01,1,POINT,1\n", "transfers.csv:2:26: amount: ", func(c *Config) { c.Decimal = true }},
		{"a bad account", head + "a,pay,2026-05-01,-1,CNY,1\n", "transfers.csv:2:18: account: ", nil},
		{"a bad time", head + "a,pay,5/1/2026,1,CNY,1\n", "transfers.csv:2:7: order_time: ", nil},
		{"a time too exact", head + "a,pay,2026-05-01 00:00:00.0000001,1,CNY,1\n", "transfers.csv:2:7: order_time: ", nil},
		{"unbalanced", head + good + "b,pay,2026-05-01,1,CNY,-1\nb,,,2,CNY,2\n", "transfers.csv:4:1: transfer b: ", nil},
		{"a kind that changes", head + "a,pay,2026-05-01,1,CNY,-1\na,buy,,2,CNY,1\n", "transfers.csv:3:3: kind: another value", nil},
		{"a time that changes", head + "a,pay,2026-05-01,1,CNY,-1\na,,2026-05-02,2,CNY,1\n", "transfers.csv:3:4: order_time: another time", nil},
		{"an id twice", head + good + strings.ReplaceAll(good, "a,", "b,") + good, "transfers.csv:6:1: id: a is there twice, first on line 2", nil},
		{"no such account", head + "a,pay,2026-05-01,1,CNY,-1\na,,,55,CNY,1\n", "transfers.csv:2:1: account: account 55 does not exist", nil},
		{"another unit", head + "a,pay,2026-05-01,1,CNY,-1\na,,,3,CNY,1\n", "transfers.csv:2:1: unit: account 3 is in USD", nil},
		{"days out of order", head + good + "b,pay,2026-04-30,1,CNY,-1\nb,,,2,CNY,1\n", "transfers.csv:4:1: order_time: 2026-04-30 comes after 2026-05-01",
			func(c *Config) { c.Clock = &core.Clock{} }},
		{"a row without an end", head + good + "b,\"" + strings.Repeat("x", 3<<20), "transfers.csv:3:1: after this row one is longer", nil},
		{"not UTF-8", head + "a,p\xff,2026-05-01,1,CNY,-1\na,,,2,CNY,1\n", "transfers.csv:2:1: transfer a: ", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _ := ledger(t)
			cfg := of(Transfers, l, c.file)
			if c.edit != nil {
				c.edit(&cfg)
			}
			_, err := Import(t.Context(), cfg)
			var p *ProblemsError
			if !fault.Is(err, fault.Invalid) || !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if len(l.Transfers()) != 0 {
				t.Error("something was posted")
			}
		})
	}
}

func TestCheck_of_balances_names_what_is_wrong(t *testing.T) {
	for _, c := range []struct{ name, row, want string }{
		{"no opening account", "3,USD,1,", "balances.csv:2:3: unit: no opening account"},
		{"the opening account itself", "1,CNY,1,", "balances.csv:2:1: account: it is the opening account"},
		{"a negative nature", "2,CNY,-1,cash", "balances.csv:2:10: nature: "},
		{"the same account twice", "2,CNY,1,\n2,CNY,1,", "balances.csv:3:1: account: opening-2 is there twice, first on line 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _ := ledger(t)
			if _, err := Check(t.Context(), of(Balances, l, "account,unit,amount,nature\n"+c.row+"\n")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	l, _ := ledger(t)
	for id, want := range map[int64]string{55: "does not exist", 3: "is in USD"} {
		cfg := of(Balances, l, "account,unit,amount\n2,CNY,1\n")
		cfg.Opening = map[string]int64{"CNY": id}
		if _, err := Check(t.Context(), cfg); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

func TestCheck_shows_at_most_fifty_problems(t *testing.T) {
	l, _ := ledger(t)
	_, err := Check(t.Context(), of(Accounts, l, "id,unit\n"+strings.Repeat("x,CNY\n", 80)))
	var p *ProblemsError
	if !errors.As(err, &p) || p.Count != 80 || len(p.Problems) != 50 || !strings.Contains(err.Error(), "and 30 more") {
		t.Errorf("%v", err)
	}
}

func TestCheck_writes_nothing_and_counts(t *testing.T) {
	l, _ := ledger(t)
	cfg := of(Transfers, l, past(10))
	p, err := Check(t.Context(), cfg)
	if err != nil || len(l.Transfers()) != 0 {
		t.Fatal(err)
	}
	if u := p.Units[0]; p.Items != 10 || p.Rows != 20 || u.Unit != "CNY" || u.Items != 20 || u.Debits != money.SumOf(55) || u.Credits != money.SumOf(55) {
		t.Errorf("%+v", p)
	}
}

func TestImport_a_refused_transfer_does_not_stop_the_others(t *testing.T) {
	l, _ := ledger(t)
	var out rejected
	file := "id,kind,order_time,account,unit,amount\n=poor,pay,2026-05-01,100,CNY,-1\n=poor,,,2,CNY,1\nrich,pay,2026-05-01,1,CNY,-1\nrich,,,100,CNY,1\n"
	cfg := of(Transfers, l, file)
	cfg.Rejects, cfg.Marks = out.open, marks{}
	for range 2 {
		res, err := Import(t.Context(), cfg)
		if err != nil || res.Mark != (Mark{Items: 2, Applied: 1, Refused: 1}) || !fault.Is(res.Check(), fault.Proof) {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	want := "line,id,code,field,message\n2,'=poor,below_minimum,"
	if !strings.HasPrefix(out.String(), want) || strings.Count(out.String(), "\n") != 2 || len(out.more) != 1 {
		t.Errorf("%q %v", out.String(), out.more)
	}
}

func TestImport_a_file_that_changes_meanwhile_is_seen(t *testing.T) {
	l, _ := ledger(t)
	cfg := of(Transfers, l, past(3))
	opens := 0
	cfg.Open = func() (io.ReadCloser, error) {
		if opens++; opens == 2 {
			return io.NopCloser(strings.NewReader(past(4))), nil
		}
		return io.NopCloser(strings.NewReader(past(3))), nil
	}
	if _, err := Import(t.Context(), cfg); !fault.Is(err, fault.Proof) {
		t.Errorf("%v", err)
	}
}

// busyLedger is busy twice before each call.
type busyLedger struct {
	core.Ledger
	calls int
}

func (b *busyLedger) Post(ctx context.Context, ts []core.Transfer) ([]core.Answer, error) {
	if b.calls++; b.calls%3 != 0 {
		return nil, fault.Wrap(fault.Busy, "post", &core.RetryAfter{After: 30 * time.Millisecond})
	}
	return b.Ledger.Post(ctx, ts)
}

func TestImport_waits_for_a_busy_ledger_as_it_says(t *testing.T) {
	l, _ := ledger(t)
	cfg := of(Transfers, &busyLedger{Ledger: l}, past(600))
	var waits []time.Duration
	cfg.Wait = func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		return nil
	}
	if res, err := Import(t.Context(), cfg); err != nil || res.Applied != 600 || len(waits) != 4 || waits[0] != 30*time.Millisecond {
		t.Errorf("%+v, %v, %v", res, err, waits)
	}
}

func TestImport_goes_on_after_a_crash_at_every_point(t *testing.T) {
	for _, point := range CrashPoints() {
		t.Run(point, func(t *testing.T) {
			l, clock := pastLedger(t)
			var out rejected
			file := past(1100) + poor
			cfg := of(Transfers, l, file)
			cfg.Clock, cfg.Marks, cfg.Rejects = clock, marks{}, out.open
			for nth := 3; ; nth += 4 {
				cfg.At = local.NewTrap(point, nth).At
				res, err := Import(t.Context(), cfg)
				if err == nil {
					if res.Mark != (Mark{Items: 1101, Applied: 1100, Refused: 1}) || res.Plan.Items != 1101 {
						t.Fatalf("%+v", res)
					}
					break
				}
				if !errors.Is(err, local.ErrCrash) || nth > 100 {
					t.Fatal(err)
				}
			}
			if len(l.Transfers()) != 1100 || strings.Count(out.String(), "\nz") != 0 || strings.Count(out.String(), ",z,below_minimum,") != 1 {
				t.Errorf("%d transfers, %q", len(l.Transfers()), out.String())
			}
			for _, x := range l.Transfers() {
				if !x.Date.Equal(core.Date(x.Transfer.OrderTime)) {
					t.Fatalf("%s is ordered at %s and booked on %s", x.Transfer.ID, x.Transfer.OrderTime, x.Date)
				}
			}
		})
	}
}

// Whatever the file, stopped wherever: an import twice is an import once, and the balances are the file's sums.
func TestImport_twice_is_once(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l, _ := ledger(t)
		var file strings.Builder
		file.WriteString("id,kind,order_time,account,unit,amount\n")
		want := map[int64]*big.Int{}
		count := rapid.IntRange(0, 1300).Draw(r, "transfers")
		legs := rapid.SliceOfN(rapid.Int64Range(1, 1<<40), 1, 4)
		for i := range count {
			total := int64(0)
			for k, amount := range legs.Draw(r, "legs") {
				id := int64(100 + (i+k)%10)
				fmt.Fprintf(&file, "t%d,pay,2026-05-01,%d,CNY,%d\n", i, id, amount)
				add(want, id, amount)
				total += amount
			}
			fmt.Fprintf(&file, "t%d,,,1,CNY,%d\n", i, -total)
			add(want, 1, -total)
		}
		cfg := of(Transfers, l, file.String())
		if rapid.Bool().Draw(r, "marks") {
			cfg.Marks = marks{}
		}
		cfg.At = local.NewTrap(rapid.SampledFrom(CrashPoints()[2:]).Draw(r, "point"), rapid.IntRange(1, 3).Draw(r, "nth")).At
		for range 2 {
			if _, err := Import(t.Context(), cfg); err != nil && !errors.Is(err, local.ErrCrash) {
				r.Fatal(err)
			}
		}
		cfg.At = nil
		if _, err := Import(t.Context(), cfg); err != nil {
			r.Fatal(err)
		}
		res, err := Import(t.Context(), cfg)
		if err != nil || res.Applied != 0 || res.Skipped+res.Replayed != int64(count) || len(l.Transfers()) != count {
			r.Fatalf("%+v, %v: %d transfers", res, err, len(l.Transfers()))
		}
		for id, sum := range want {
			if have := balance(t, l, id).Balance; big.NewInt(have).Cmp(sum) != 0 {
				r.Fatalf("account %d has %d instead of %s", id, have, sum)
			}
		}
	})
}

func add(to map[int64]*big.Int, id, amount int64) {
	if to[id] == nil {
		to[id] = new(big.Int)
	}
	to[id].Add(to[id], big.NewInt(amount))
}

func TestConfig_all_that_is_wrong_comes_at_once(t *testing.T) {
	_, err := Check(t.Context(), Config{Kind: Balances, Clock: &core.Clock{}, Series: "far too long a name"})
	for _, want := range []string{"no file", "clock", "opening balances need the account", "their date", "series"} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
