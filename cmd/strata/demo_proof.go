package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/node"
	"strata/router"
)

// Summary is what `demo --json` prints as its last line.
type Summary struct {
	OK                   bool               `json:"ok"`
	Failed               []string           `json:"failed"` // what did not hold
	Seed                 uint64             `json:"seed"`
	AsOf                 string             `json:"as_of"`
	Transfers            int64              `json:"transfers"` // asked for; some are refused as in life
	Entries              int64              `json:"entries"`
	CapturedRows         int64              `json:"captured_rows"`
	IndexedDocuments     int64              `json:"indexed_documents"`
	ArchivedRows         int64              `json:"archived_rows"`
	QueriesDuringArchive int64              `json:"queries_during_archive"`
	QueryErrors          int64              `json:"query_errors"`
	RowsMissed           int64              `json:"rows_missed"`
	RowsTwice            int64              `json:"rows_twice"`
	Search               searchSummary      `json:"search"`
	StatementRows        int64              `json:"statement_rows"`
	StatementBalanced    bool               `json:"statement_balanced"`
	StatementSHA256      string             `json:"statement_sha256"`
	Verify               verifySummary      `json:"verify"`
	MoneySumsEqual       bool               `json:"money_sums_equal"`
	TrialBalance         bool               `json:"trial_balance"`
	Lag                  lagSummary         `json:"commit_to_searchable_ms"`
	PeakPSSMiB           int64              `json:"peak_pss_mib"`
	Seconds              map[string]float64 `json:"seconds"`
	Digest               string             `json:"digest"`

	done bool
}

type searchSummary struct {
	SQL     string           `json:"sql"`
	Rows    int64            `json:"rows"`
	Sources map[string]int64 `json:"sources"` // rows by source
}

type verifySummary struct {
	OK           bool  `json:"ok"`
	RowsCompared int64 `json:"rows_compared"`
	Differences  int64 `json:"differences"`
}

type lagSummary struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// search asks one question over all 18 months that no single place would answer best: a text in the middle of a memo.
func (d *demo) search(ctx context.Context) error {
	t := d.out.Start("search 18 months", 0)
	d.sum.Search.SQL = "SELECT id, order_time, unit, amount, memo FROM transfer WHERE memo LIKE '%拉面%' ORDER BY order_time"
	q, err := d.s.node.ParseSQL(d.sum.Search.SQL)
	if err != nil {
		return err
	}
	res, err := d.s.node.Router().Query(ctx, q)
	if err != nil {
		return err
	}
	n, err := copyRows(ctx, res, discardRows{})
	if err = errors.Join(err, res.Close()); err != nil {
		return err
	}
	d.sum.Search.Rows, d.sum.Search.Sources = n, map[string]int64{}
	for _, s := range res.Served().Sources {
		d.sum.Search.Sources[s.Source] += s.Rows
	}
	t.End("%d transfers: %s", n, describeServed(res.Served()))
	return nil
}

// discardRows is the rowWriter that prints nothing.
type discardRows struct{}

func (discardRows) row(*catalog.Row) error { return nil }
func (discardRows) end() error             { return nil }

// statement exports the busiest customer's statement over all months.
func (d *demo) statement(ctx context.Context) error {
	account, err := d.hotAccount(ctx)
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, fmt.Sprintf("statement-%d.csv", account))
	f, err := os.Create(path)
	if err != nil {
		return fault.Wrap(fault.Denied, "write statement", err)
	}
	t := d.out.Start("statement", 0)
	st, err := d.s.node.Statement(ctx, node.StatementRequest{Account: account, From: d.load.From, To: d.load.To.AddDate(0, 0, 1)}, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	d.sum.StatementRows, d.sum.StatementBalanced, d.sum.StatementSHA256 = st.Rows, st.Balanced, st.SHA256
	t.End("account %d: %d entries, balanced %v, sha256 %s…, in %s", account, st.Rows, st.Balanced, st.SHA256[:12], path)
	return nil
}

// hotAccount is the account with a minimum (a customer's or a merchant's) that has most entries.
func (d *demo) hotAccount(ctx context.Context) (int64, error) {
	res, err := d.s.node.Router().Query(ctx, router.Query{Dataset: "account", Columns: []string{"id", "entries"},
		Filter: catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{{Op: catalog.IsNull, Column: "min_balance"}}}})
	if err != nil {
		return 0, err
	}
	var best, most int64
	_, err = copyRows(ctx, res, rowFunc(func(r *catalog.Row) error {
		var id, n int64
		if _, err := fmt.Sscan(r.Text(0)+" "+r.Text(1), &id, &n); err != nil {
			return err
		}
		if n > most {
			best, most = id, n
		}
		return nil
	}))
	return best, errors.Join(err, res.Close())
}

type rowFunc func(*catalog.Row) error

func (f rowFunc) row(r *catalog.Row) error { return f(r) }
func (f rowFunc) end() error               { return nil }

// verify runs every proof.
func (d *demo) verify(ctx context.Context) error {
	t := d.out.Start("verify", 0)
	rep, err := d.s.node.Verify(ctx, node.VerifyRequest{Progress: t.Set})
	if err != nil {
		t.Abort()
		return err
	}
	d.sum.Verify = verifySummary{OK: rep.OK, RowsCompared: rep.RowsCompared, Differences: rep.Differences}
	d.sum.MoneySumsEqual = rep.MoneySumsEqual
	d.sum.TrialBalance = rep.Ledger != nil && rep.Ledger.Problems == 0
	if rep.Ledger != nil {
		d.sum.Digest, d.sum.Entries = rep.Ledger.Digest, rep.Ledger.Entries
	}
	for _, line := range rep.Findings {
		d.out.Say("  DIFFERENT: %s", line)
	}
	t.End("%d rows compared, %d differences, money sums equal %v, trial balance %v", rep.RowsCompared, rep.Differences,
		rep.MoneySumsEqual, d.sum.TrialBalance)
	return nil
}

// finish completes the summary and decides whether everything held.
func (s *Summary) finish(d *demo) error {
	s.done = true
	s.Seed, s.AsOf = d.plan.Seed, d.plan.AsOf
	s.PeakPSSMiB = d.mem.MiB()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	if s.IndexedDocuments, err = d.s.node.Documents(ctx); err != nil {
		return err
	}
	capture, err := d.s.node.CaptureState(ctx)
	if err != nil {
		return err
	}
	s.CapturedRows = int64(capture.Rows)
	s.Seconds["total"] = seconds(time.Since(d.began))
	s.Failed = []string{}
	hold := func(ok bool, what string) {
		if !ok {
			s.Failed = append(s.Failed, what)
		}
	}
	hold(s.Transfers == int64(d.plan.Transfers+d.plan.Today), "every transfer was answered")
	hold(s.QueryErrors == 0, "no query failed while months moved")
	hold(s.RowsMissed == 0 && s.RowsTwice == 0, "every row was read exactly once while months moved")
	hold(s.QueriesDuringArchive > 0, "queries ran while months moved")
	hold(s.ArchivedRows > 0, "months moved")
	hold(s.StatementRows > 0 && s.StatementBalanced, "the statement balances")
	hold(s.Verify.OK && s.Verify.Differences == 0, "index, archive and ledger are proven")
	hold(s.Verify.RowsCompared > 0, "rows were compared")
	hold(s.MoneySumsEqual, "money sums are equal")
	hold(s.TrialBalance, "debits equal credits")
	s.OK = len(s.Failed) == 0
	if !s.OK {
		return fault.New(fault.Proof, "prove demo", "did not hold: %s", strings.Join(s.Failed, "; "))
	}
	return nil
}

// report prints what was proven; with JSON one object on one line of stdout.
func (d *demo) report(asJSON bool) {
	d.out.Wait()
	s := &d.sum
	if asJSON {
		d.m.answered = true
		b, _ := json.Marshal(s) // plain fields
		fmt.Fprintf(d.m.Stdout, "%s\n", b)
		return
	}
	verdict := "proven"
	if !s.OK {
		verdict = "NOT PROVEN: " + strings.Join(s.Failed, "; ")
	}
	p := func(format string, args ...any) { fmt.Fprintf(d.m.Stdout, format+"\n", args...) }
	p("\n%s", verdict)
	p("  ledger     %d transfers, %d entries; debits equal credits: %v", s.Transfers, s.Entries, s.TrialBalance)
	p("  captured   %d row changes; %d documents searchable; commit to searchable p50 %.0f ms, p99 %.0f ms", s.CapturedRows,
		s.IndexedDocuments, s.Lag.P50, s.Lag.P99)
	p("  archived   %d rows while %d queries ran: %d errors, %d rows missed, %d twice", s.ArchivedRows, s.QueriesDuringArchive,
		s.QueryErrors, s.RowsMissed, s.RowsTwice)
	p("  search     %d rows from %s", s.Search.Rows, sourceList(s.Search.Sources))
	p("  statement  %d entries, balanced: %v", s.StatementRows, s.StatementBalanced)
	p("  verify     %d rows compared, %d differences; money sums equal: %v", s.Verify.RowsCompared, s.Verify.Differences, s.MoneySumsEqual)
	p("  digest     %s", s.Digest)
	p("  took       %.1f s, %d MiB at most", s.Seconds["total"], s.PeakPSSMiB)
}

func sourceList(m map[string]int64) string {
	parts := make([]string, 0, len(m))
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("%s %d", k, v))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// serve answers on HTTP until ctx ends, and says what to try.
func (d *demo) serve(ctx context.Context) error {
	return d.s.node.Serve(ctx, d.listener, func(base string) error {
		if err := writeAddresses(d.dir, d.addresses(base)); err != nil {
			return err
		}
		e := d.s.stack.Addresses.Live
		p := func(format string, args ...any) { fmt.Fprintf(d.m.Stderr, format+"\n", args...) }
		p("\nserving GraphQL on %s/graphql; every server's address and login: %s", base, filepath.Join(d.dir, addressFile))
		p("try, in another terminal:")
		p("  bin/strata query --data %s \"SELECT unit, count(*), sum(amount) FROM entry GROUP BY unit\"", d.dir)
		p("  bin/strata explain --data %s \"SELECT * FROM transfer WHERE memo LIKE '%%拉面%%' ORDER BY order_time LIMIT 20\"", d.dir)
		p("  bin/strata archive status --data %s", d.dir)
		p("  bin/strata verify --data %s", d.dir)
		p("  curl -s %s/graphql -H 'content-type: application/json' -d '{\"query\":\"{ transfer(first: 3) { edges { node { id order_time amount unit memo } } served { complete sources { source rows } } } }\"}'", base)
		p("  mariadb -h %s -P %d -u %s -p%s %s", e.Host, e.Port, e.User, e.Password, e.Schema)
		p("ctrl-C ends it")
		return nil
	})
}
