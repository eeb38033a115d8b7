package statement_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/money"
	"strata/router"
	"strata/router/routertest"
	"strata/statement"
)

// entries is the ledger's dataset in short; chained adds the ledger's own balances.
func entries(chained bool) *catalog.Dataset {
	i64 := catalog.Type{Kind: catalog.Int, Size: 8}
	text := catalog.Type{Kind: catalog.Text}
	d := &catalog.Dataset{Name: "entry", Table: "entry", Key: []string{"account_id", "seq"}, Time: "accounting_date", Account: "account_id",
		Scheme: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}, Money: []catalog.Money{{Column: "amount", UnitColumn: "unit"}},
		Columns: []catalog.Column{{Name: "account_id", Type: i64}, {Name: "seq", Type: i64}, {Name: "transfer_id", Type: text, Collation: "ascii_bin"},
			{Name: "unit", Type: text, Collation: "ascii_bin"}, {Name: "amount", Type: i64}, {Name: "accounting_date", Type: catalog.Type{Kind: catalog.Date}}}}
	if chained {
		d.Columns = append(d.Columns, catalog.Column{Name: "balance_before", Type: i64}, catalog.Column{Name: "balance_after", Type: i64})
	}
	return d
}

// rows are n entries of account 7, one a day from the first of January, of 100, -33, 100, …
func rows(n int, chained bool) map[string][]catalog.Row {
	out := map[string][]catalog.Row{}
	balance := 0
	for i := range n {
		amount := 100
		if i%2 == 1 {
			amount = -33
		}
		month, day := 1+i/28, 1+i%28
		line := fmt.Sprintf("7|%d|t%d|EUR|%d|2026-%02d-%02d", i+1, i, amount, month, day)
		if i == 3 {
			line = strings.Replace(line, "t3", `=HYPERLINK("x")`, 1)
		}
		if chained {
			line += fmt.Sprintf("|%d|%d", balance, balance+amount)
		}
		balance += amount
		shard := fmt.Sprintf("entry_2026%02d", month)
		out[shard] = append(out[shard], routertest.ParseRow(line))
	}
	return out
}

func open(t testing.TB, chained bool, n int, change func(*router.Config)) (*statement.Writer, *routertest.Memories) {
	t.Helper()
	d, w := entries(chained), routertest.NewMemories()
	for shard, rs := range rows(n, chained) {
		sh, _ := d.ShardOf(shard)
		w.Load(t, d, sh, rs)
	}
	w.Archive(t, d, "entry_202601")
	w.Beat(t)
	cfg := routertest.Config(d)
	cfg.Viewer, cfg.Sources = w, w.Sources()
	if change != nil {
		change(&cfg)
	}
	r, err := router.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.New(statement.Config{Router: r, Dataset: "entry"})
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

var february = statement.Request{Account: "7", From: "2026-01-21", To: "2026-02-15"}

func TestL8_StatementBalancesAndProvesItself(t *testing.T) {
	for _, chained := range []bool{true, false} {
		s, _ := open(t, chained, 50, nil)
		var b bytes.Buffer
		sum, err := s.Write(t.Context(), &b, february)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(bytes.NewReader(b.Bytes())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range map[int]string{
			1:  "opening|2026-01-21||||EUR||6.70||670",
			2:  "entry|2026-01-21|21|t20||EUR|1.00|7.70|100|770",
			3:  "entry|2026-01-22|22|t21||EUR|-0.33|7.37|-33|737",
			24: "closing|2026-02-15||||EUR||14.07||1407",
			25: "proof|opening + entries = closing||670 + 737 = 1407||EUR||||",
		} {
			if got := strings.Join(lines[i], "|"); got != want {
				t.Errorf("line %d is %s instead of %s", i, got, want)
			}
		}
		last := lines[len(lines)-1]
		at := bytes.LastIndex(b.Bytes(), []byte("sha256,"))
		hash := sha256.Sum256(b.Bytes()[:at])
		if last[0] != "sha256" || last[1] != hex.EncodeToString(hash[:]) || last[1] != sum.SHA256 {
			t.Errorf("the hash is %v", last)
		}
		if !sum.Balanced || sum.Rows != 22 || len(sum.Units) != 1 || sum.Units[0].Closing != "1407" || !sum.Served.Complete || len(sum.Served.Sources) != 2 {
			t.Errorf("%+v", sum)
		}
		if !strings.Contains(b.String(), "proof,source archive,,8 entries from entry_202601@1,") || !strings.HasSuffix(b.String(), "\r\n") {
			t.Error(b.String())
		}
	}
}

// TestL8_TamperedRowsAreFound: a changed amount, a removed entry, a changed balance: no file with a hash comes out.
func TestL8_TamperedRowsAreFound(t *testing.T) {
	d := entries(true)
	feb, _ := d.ShardOf("entry_202602")
	for what, tamper := range map[string]func([]catalog.Row) []catalog.Row{
		"amount":  func(r []catalog.Row) []catalog.Row { return replace(r, 5, "|100|", "|101|", "|-33|", "|-34|") },
		"removed": func(r []catalog.Row) []catalog.Row { return append(r[:5:5], r[6:]...) },
		"balance": func(r []catalog.Row) []catalog.Row { return shift(r, 5) },
	} {
		s, w := open(t, true, 50, nil)
		w.Live.Load(feb, 0, tamper(rows(50, true)["entry_202602"]))
		var b bytes.Buffer
		sum, err := s.Write(t.Context(), &b, february)
		if !fault.Is(err, fault.Proof) || sum.Balanced || strings.Contains(b.String(), "sha256,") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func replace(rows []catalog.Row, at int, pairs ...string) []catalog.Row {
	line := strings.ReplaceAll(routertest.Text(&rows[at]), " | ", "|")
	rows[at] = routertest.ParseRow(strings.NewReplacer(pairs...).Replace(line))
	return rows
}

// shift raises both balances of an entry, so that it adds up in itself.
func shift(rows []catalog.Row, at int) []catalog.Row {
	cells := strings.Split(routertest.Text(&rows[at]), " | ")
	for i := 6; i < 8; i++ {
		cells[i] = "1" + cells[i]
	}
	rows[at] = routertest.ParseRow(strings.Join(cells, "|"))
	return rows
}

// lossy drops the n-th row of every stream.
type lossy struct{ router.Source }

func (l lossy) Open(ctx context.Context, f router.Fetch) (router.Opened, error) {
	o, err := l.Source.Open(ctx, f)
	if err == nil && len(f.Aggregates) == 0 {
		o.Rows = &lossyRows{Rows: o.Rows}
	}
	return o, err
}

type lossyRows struct {
	router.Rows
	n int
}

func (l *lossyRows) Next(ctx context.Context) (*catalog.Row, error) {
	if l.n++; l.n == 3 {
		if _, err := l.Rows.Next(ctx); err != nil {
			return nil, err
		}
	}
	return l.Rows.Next(ctx)
}

// TestL8_SumsAndRowsAreTwoWitnesses: rows that the sums saw and the stream did not are found by the sums alone.
func TestL8_SumsAndRowsAreTwoWitnesses(t *testing.T) {
	s, _ := open(t, false, 50, func(c *router.Config) { c.Sources[catalog.Live] = lossy{c.Sources[catalog.Live]} })
	var b bytes.Buffer
	if _, err := s.Write(t.Context(), &b, february); !fault.Is(err, fault.Proof) || strings.Contains(b.String(), "sha256,") {
		t.Fatal(err)
	}
}

func TestPostingsDuringTheReadAreBusyAndNotAFalseProof(t *testing.T) {
	d := entries(false)
	feb, _ := d.ShardOf("entry_202602")
	s, w := open(t, false, 50, nil)
	w.Live.OnRow(func(n int) error {
		if n == 6 {
			w.Live.Load(feb, 0, append(rows(50, false)["entry_202602"], routertest.ParseRow("7|99|late|EUR|1|2026-02-01")))
		}
		return nil
	})
	if _, err := s.Write(t.Context(), io.Discard, february); !fault.Is(err, fault.Busy) {
		t.Fatal(err)
	}
}

func TestFormulasAreGuardedAndNumbersStay(t *testing.T) {
	s, _ := open(t, true, 10, nil)
	var b bytes.Buffer
	if _, err := s.Write(t.Context(), &b, statement.Request{Account: "7", From: "2026-01-01", To: "2026-02-01"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `,"'=HYPERLINK(""x"")",`) || !strings.Contains(b.String(), ",-0.33,") {
		t.Fatal(b.String())
	}
}

func TestEdges(t *testing.T) {
	s, _ := open(t, true, 10, nil)
	sum, err := s.Write(t.Context(), io.Discard, statement.Request{Account: "8", From: "2026-01-01", To: "2026-02-01"})
	if err != nil || sum.Rows != 0 || !sum.Balanced || len(sum.SHA256) != 64 {
		t.Errorf("an account without entries: %+v %v", sum, err)
	}
	for _, r := range []statement.Request{{Account: "7", From: "2026-02-01", To: "2026-02-01"}, {Account: "7", From: "x", To: "2026-02-01"}, {Account: "x", From: "2026-01-01", To: "2026-02-01"}} {
		if _, err := s.Write(t.Context(), io.Discard, r); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := statement.New(statement.Config{}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if got, err := money.Format(-33, "EUR"); err != nil || got != "-0.33" {
		t.Error(got, err)
	}
}
