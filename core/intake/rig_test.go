package intake

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/core/memory"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		_ = f.Value.Set("20")
	}
	os.Exit(m.Run())
}

func start() time.Time { return time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC) }

// marks are Marks in memory.
type marks map[string]Mark

func (m marks) Mark(_ context.Context, key string) (Mark, error) { return m[key], nil }

func (m marks) PutMark(_ context.Context, key string, x Mark) error {
	m[key] = x
	return nil
}

// rejected is a rejects file in memory.
type rejected struct {
	bytes.Buffer
	more []bool
}

func (r *rejected) open(more bool) (io.WriteCloser, error) {
	if !more {
		r.Reset()
	}
	r.more = append(r.more, more)
	return r, nil
}

func (r *rejected) Close() error { return nil }

func text(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// ledger is a model with a clock and the accounts 1 and 2 without a minimum and 100 to 109 with minimum 0, in CNY, and 3 in USD.
func ledger(t testing.TB) (*memory.Ledger, *core.Clock) {
	t.Helper()
	clock := &core.Clock{}
	clock.Set(start())
	l, err := memory.New(memory.Config{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	open(t, l)
	return l, clock
}

func open(t testing.TB, l core.Accounts) {
	t.Helper()
	zero := int64(0)
	as := []core.Account{{ID: 1, Name: "equity", Unit: "CNY"}, {ID: 2, Name: "fees", Unit: "CNY"}, {ID: 3, Name: "dollars", Unit: "USD"}}
	for id := int64(100); id < 110; id++ {
		as = append(as, core.Account{ID: id, Name: fmt.Sprint("user ", id), Unit: "CNY", MinBalance: &zero})
	}
	if err := l.Open(context.Background(), as); err != nil {
		t.Fatal(err)
	}
}

// of is a configuration for a file's text.
func of(kind Kind, l core.Ledger, file string) Config {
	return Config{Kind: kind, Name: kind.String() + ".csv", Open: text(file), Accounts: l, Poster: l, Days: l,
		Opening: map[string]int64{"CNY": 1}, Date: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
}

func balance(t testing.TB, l core.Accounts, id int64) core.Account {
	t.Helper()
	a, err := l.Balance(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// past is a file of transfers over several days: count transfers from the equity to the users.
func past(count int) string {
	var b strings.Builder
	b.WriteString("id,kind,order_time,memo,account,unit,amount,order\n")
	for i := range count {
		at := time.Date(2026, 4, 1+i*20/count, 8, 0, i%60, 0, time.UTC).Format(time.RFC3339)
		fmt.Fprintf(&b, "p%05d,payment,%s,\"No. %d, \"\"午餐\"\"\",1,CNY,%d,o%d\n", i, at, i, -(i + 1), i/2)
		fmt.Fprintf(&b, "p%05d,,,,%d,CNY,%d,\n", i, 100+i%10, i+1)
	}
	return b.String()
}

// poor is a transfer after past's last that is refused.
const poor = "z,pay,2026-04-21,,100,CNY,-999999999,\nz,,,,2,CNY,999999999,\n"

// pastLedger is a model whose first day lies before the files'.
func pastLedger(t testing.TB) (*memory.Ledger, *core.Clock) {
	t.Helper()
	clock := &core.Clock{}
	clock.Set(time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC))
	l, err := memory.New(memory.Config{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	open(t, l)
	return l, clock
}
