package voucher

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"strata/core"
	"strata/fault"
	"strata/money"
)

const maxNamedTransfers = 5

// checkDay checks one accounting date, in one snapshot.
type checkDay struct {
	*check
	date     string
	x        *tx
	journal  map[glKey]*sides     // of the rows as they are
	legs     map[glKey]*agreement // by subject and unit
	counts   [3]int64
	versions map[int64]*Document // nil: can't be used
}

// journalRow is a row of the journal.
type journalRow struct {
	id   string
	line int
	Line
}

func (d *checkDay) run(ctx context.Context) error {
	x, err := d.store.begin(ctx, true)
	if err != nil {
		return err
	}
	defer x.end()
	d.x = x
	last := ""
	for {
		rows, err := x.vouchers(ctx, "WHERE accounting_date = ? AND transfer_id > ? ORDER BY transfer_id LIMIT ?", d.date, last, pageRows)
		if err != nil {
			return err
		}
		if err := d.loadVersions(ctx, rows); err != nil {
			return err
		}
		until := "" // the last page takes the journal's rest
		if len(rows) == pageRows {
			until = rows[len(rows)-1].id
		}
		lines, err := d.lines(ctx, last, until)
		if err != nil {
			return err
		}
		d.page(rows, lines)
		if until == "" {
			break
		}
		last = until
	}
	if err := d.sums(ctx); err != nil {
		return err
	}
	d.trial()
	d.agree()
	return d.dayCounts(ctx)
}

// loadVersions makes sure of the versions that a page's vouchers were made by.
func (d *checkDay) loadVersions(ctx context.Context, rows []voucherRow) error {
	for i := range rows {
		number := rows[i].version
		if _, done := d.versions[number]; done || number == 0 || d.bad[number] {
			continue
		}
		doc, err := d.store.load(ctx, d.x.conn, number)
		if err != nil && !fault.Is(err, fault.Proof) && !fault.Is(err, fault.NotFound) {
			return err
		}
		d.versions[number] = doc
	}
	return nil
}

// lines reads the journal's rows of the transfers in (after, until]; until "" is no bound.
func (d *checkDay) lines(ctx context.Context, after, until string) (out []journalRow, err error) {
	query, args := "SELECT transfer_id, line, subject, unit, debit, credit FROM journal WHERE accounting_date = ? AND transfer_id > ?", []any{d.date, after}
	if until != "" {
		query, args = query+" AND transfer_id <= ?", append(args, until)
	}
	err = d.x.each(ctx, "read journal", func(r *sql.Rows) error {
		var j journalRow
		err := r.Scan(&j.id, &j.line, &j.Subject, &j.Unit, &j.Debit, &j.Credit)
		out = append(out, j)
		return err
	}, query+" ORDER BY transfer_id, line", args...)
	return out, err
}

// page checks vouchers against the journal's rows of the same range of transfers.
func (d *checkDay) page(rows []voucherRow, lines []journalRow) {
	for _, j := range lines {
		k := glKey{d.date, j.Subject, j.Unit}
		if d.journal[k] == nil {
			d.journal[k] = &sides{}
		}
		d.journal[k].add(j.Line)
	}
	d.out.Lines += int64(len(lines))
	d.out.Vouchers += int64(len(rows))
	for i := range rows {
		n := 0
		for n < len(lines) && lines[n].id < rows[i].id {
			n++
		}
		d.strays(lines[:n])
		lines = lines[n:]
		n = 0
		for n < len(lines) && lines[n].id == rows[i].id {
			n++
		}
		d.voucher(&rows[i], lines[:n])
		lines = lines[n:]
	}
	d.strays(lines)
}

// strays are journal rows without a voucher.
func (d *checkDay) strays(lines []journalRow) {
	for _, j := range lines {
		d.find(Finding{Kind: LineDiffers, Table: "journal", Date: d.date, Transfer: j.id, Line: j.line, Subject: j.Subject, Unit: j.Unit, Want: "no line: there is no voucher", Have: j.String()})
	}
}

func (d *checkDay) voucher(row *voucherRow, lines []journalRow) {
	d.counts[map[State]int{Booked: 0, None: 1, Failed: 2}[row.state]]++
	of := Finding{Table: "voucher", Date: d.date, Transfer: row.id, Line: -1}
	if !row.intact() {
		of.Kind, of.Want, of.Have = VoucherChanged, "the row as it was written", "another one: its hash differs"
		d.find(of)
	}
	if row.state == Failed {
		of.Kind, of.Want, of.Have = VoucherFailed, "a voucher", string(row.code)+": "+row.reason
		d.find(of)
	}
	d.balance(row.id, lines)
	ev, err := parseEvent([]byte(row.body))
	if err != nil {
		of.Kind, of.Want, of.Have = VoucherChanged, "an event", err.Error()
		d.find(of)
		return
	}
	doc := d.versions[row.version]
	if doc == nil {
		if row.version != 0 && !d.bad[row.version] {
			of.Kind, of.Want, of.Have = VoucherChanged, "a version of the rules", fmt.Sprintf("version %d", row.version)
			d.find(of)
		}
		return
	}
	d.rederive(row, doc, &ev, lines)
	d.compareAccounts(row, doc, &ev, lines)
}

// balance looks at the lines as they are.
func (d *checkDay) balance(id string, rows []journalRow) {
	lines := make([]Line, len(rows))
	for i := range rows {
		lines[i] = rows[i].Line
	}
	if unit, debit, credit, ok := balanced(lines); !ok {
		d.find(Finding{Kind: OutOfBalance, Table: "journal", Date: d.date, Transfer: id, Line: -1, Unit: unit, Want: "debits " + debit.String(), Have: "credits " + credit.String()})
	}
}

// rederive asks the voucher's own version again.
func (d *checkDay) rederive(row *voucherRow, doc *Document, ev *core.Event, have []journalRow) {
	var again made
	again.derive(doc, ev)
	want := again.lines
	if row.state == Failed {
		want = nil // the database may have refused them
	}
	if row.state != Failed && again.state != row.state {
		d.find(Finding{Kind: VoucherChanged, Table: "voucher", Date: d.date, Transfer: row.id, Line: -1, Want: "state " + string(again.state), Have: "state " + string(row.state)})
	}
	for i := range max(len(want), len(have)) {
		f := Finding{Kind: LineDiffers, Table: "journal", Date: d.date, Transfer: row.id, Line: i, Want: "no line", Have: "none"}
		if i < len(want) {
			f.Want = want[i].String()
			f.Subject, f.Unit = want[i].Subject, want[i].Unit
		}
		if i < len(have) {
			f.Have = have[i].text()
			if have[i].line != i {
				f.Have = fmt.Sprintf("line %d: %s", have[i].line, f.Have)
			}
		}
		if i >= len(want) || i >= len(have) || want[i] != have[i].Line || have[i].line != i {
			d.find(f)
		}
	}
}

// text shows both sides where both or none are above zero, which no line may be.
func (j *journalRow) text() string {
	if (j.Debit > 0) != (j.Credit > 0) && j.Debit >= 0 && j.Credit >= 0 {
		return j.String()
	}
	return fmt.Sprintf("%s debit %d credit %d %s", j.Subject, j.Debit, j.Credit, j.Unit)
}

// compareAccounts adds what the event's accounts moved and what the lines gave their subjects.
func (d *checkDay) compareAccounts(row *voucherRow, doc *Document, ev *core.Event, lines []journalRow) {
	type both struct{ legs, lines money.Sum }
	of := map[glKey]*both{}
	get := func(subject, unit string) *both {
		k := glKey{d.date, subject, unit}
		if of[k] == nil {
			of[k] = &both{}
		}
		return of[k]
	}
	for _, l := range ev.Transfer.Legs {
		if subject, ok := doc.subjects.of(l.Account); ok {
			get(subject, l.Unit).legs.Add(money.Amount(l.Amount))
		}
	}
	for _, j := range lines {
		if root, ok := doc.subjects.root(j.Subject); ok && doc.subjects.mapped[root] {
			b := get(root, j.Unit)
			b.lines.AddSum(money.SumOf(money.Amount(j.Credit)))
			b.lines.AddSum(money.SumOf(money.Amount(j.Debit)).Neg())
		}
	}
	for k, b := range of {
		if d.legs[k] == nil {
			d.legs[k] = &agreement{}
		}
		a := d.legs[k]
		a.legs.AddSum(b.legs)
		a.lines.AddSum(b.lines)
		if b.legs != b.lines && len(a.transfers) < maxNamedTransfers {
			a.transfers = append(a.transfers, row.id)
		}
	}
}

// sums compares the general ledger with the journal.
func (d *checkDay) sums(ctx context.Context) error {
	seen := map[glKey]bool{}
	err := d.x.each(ctx, "read general ledger", func(r *sql.Rows) error {
		k := glKey{date: d.date}
		var debit, credit string
		if err := r.Scan(&k.subject, &k.unit, &debit, &credit); err != nil {
			return err
		}
		d.out.Sums++
		seen[k] = true
		want := d.journal[k]
		if want == nil {
			want = &sides{}
		}
		if debit != want.debit.String() || credit != want.credit.String() {
			d.find(Finding{Kind: GLDiffers, Table: "general_ledger", Date: d.date, Line: -1, Subject: k.subject, Unit: k.unit, Want: both(want.debit.String(), want.credit.String()), Have: both(debit, credit)})
		}
		return nil
	}, "SELECT subject, unit, debit, credit FROM general_ledger WHERE accounting_date = ? ORDER BY subject, unit", d.date)
	for _, k := range slices.SortedFunc(maps.Keys(d.journal), glKey.compare) {
		if want := d.journal[k]; !seen[k] && err == nil {
			d.find(Finding{Kind: GLDiffers, Table: "general_ledger", Date: d.date, Line: -1, Subject: k.subject, Unit: k.unit, Want: both(want.debit.String(), want.credit.String()), Have: "no row"})
		}
	}
	return err
}

func both(debit, credit string) string { return "debit " + debit + " credit " + credit }

// trial is the day's trial balance over the journal.
func (d *checkDay) trial() {
	units := map[string]*sides{}
	for k, s := range d.journal {
		if units[k.unit] == nil {
			units[k.unit] = &sides{}
		}
		units[k.unit].debit.AddSum(s.debit)
		units[k.unit].credit.AddSum(s.credit)
	}
	for _, unit := range slices.Sorted(maps.Keys(units)) {
		if s := units[unit]; s.debit != s.credit {
			d.find(Finding{Kind: OutOfBalance, Table: "journal", Date: d.date, Line: -1, Unit: unit, Want: "debits " + s.debit.String(), Have: "credits " + s.credit.String()})
		}
	}
}

// agree names the subjects whose accounts moved something else.
func (d *checkDay) agree() {
	for _, k := range slices.SortedFunc(maps.Keys(d.legs), glKey.compare) {
		a := d.legs[k]
		if len(a.transfers) == 0 && a.legs == a.lines {
			continue
		}
		have := a.lines.String() + " in the general ledger"
		if len(a.transfers) > 0 {
			have += " (transfers " + strings.Join(a.transfers, ", ") + ")"
		}
		d.find(Finding{Kind: Disagrees, Table: "general_ledger", Date: d.date, Line: -1, Subject: k.subject, Unit: k.unit, Want: a.legs.String() + " by the accounts' entries", Have: have})
	}
}

func (d *checkDay) dayCounts(ctx context.Context) error {
	var have [3]int64
	err := d.x.each(ctx, "read counts", func(r *sql.Rows) error { return r.Scan(&have[0], &have[1], &have[2]) },
		"SELECT booked, none, failed FROM voucher_day WHERE accounting_date = ?", d.date)
	if err == nil && have != d.counts {
		d.find(Finding{Kind: CountDiffers, Table: "voucher_day", Date: d.date, Line: -1, Want: counts(d.counts), Have: counts(have)})
	}
	return err
}

func counts(n [3]int64) string {
	return fmt.Sprintf("%d booked, %d without rules, %d failed", n[0], n[1], n[2])
}
