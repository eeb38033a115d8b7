package daybook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/fault"
	"strata/money"
)

// CheckConfig is what Check needs.
type CheckConfig struct {
	Source Source
	// Dir is where Check puts what does not fit into memory: about as much as the ledger's rows, unnamed. "": os.TempDir().
	Dir string
	// Remembered is since when every id must be remembered, by the moment of posting; zero: since ever. It is now less the
	// ledger's horizon.
	Remembered time.Time
	// Progress is told the rows read so far, and 0 for the total, which nobody knows; nil: nobody.
	Progress func(done, total int64)
}

// Section is one part of the check. Others may add theirs to the report.
type Section struct {
	Name     string `json:"name"`
	Looked   int64  `json:"looked"`   // rows, or what Note says
	Findings int64  `json:"findings"` // of them, at most 100 are named
	Note     string `json:"note,omitempty"`
}

// CheckReport is the result. The ledger is proven if OK.
type CheckReport struct {
	OK       bool             `json:"ok"`
	Rows     map[string]int64 `json:"rows"` // by dataset
	Units    []UnitTotal      `json:"units"`
	Sections []Section        `json:"sections"`
	Findings int64            `json:"findings"`
}

// UnitTotal is the sum of a unit's entries and buffered credits, which must be zero.
type UnitTotal struct {
	Unit string `json:"unit"`
	Sum  string `json:"sum"`
}

// Add adds a section of somebody else.
func (r *CheckReport) Add(s Section) {
	r.Sections = append(r.Sections, s)
	r.Findings += s.Findings
	r.OK = r.Findings == 0
}

// The sections of the check.
const (
	inAccounts  = "accounts"
	inEntries   = "entries"
	inTransfers = "transfers"
	inAnswers   = "answers"
	inPending   = "reservations"
	inReversed  = "reversals"
	inBuffers   = "buffers"
	inFunds     = "funds"
	inDays      = "days"
	inOrders    = "orders"
	inOutbox    = "outbox"
	inLimits    = "limits"
	inSettings  = "settings"
)

func sections() []Section {
	return []Section{
		{Name: inAccounts, Note: "balance, turnovers, pending sums, number of entries, unit and mode; not names, bounds and metadata, which nothing else says"},
		{Name: inEntries, Note: "chains before and after, numbers, dates and times"},
		{Name: inTransfers, Note: "against their entries; kind, memo, metadata, product and business date by the remembered hash of the body"},
		{Name: inAnswers, Note: "balances of applied transfers against their entries; the balance told for a buffered or reserved leg, and a refusal's text, can't be derived"},
		{Name: inPending, Note: "state, end and body against the transfers; late_trys can't be derived"},
		{Name: inReversed, Note: "per leg against the reversals"},
		{Name: inBuffers, Note: "as legs of their transfers"},
		{Name: inFunds, Note: "balances and reserved parts by nature"},
		{Name: inDays, Note: "frozen balances against the entries of each date"},
		{Name: inOrders, Note: "against transfers and remembered ids"},
		{Name: inOutbox, Note: "events against their transfers"},
		{Name: inLimits, Note: "structure"},
		{Name: inSettings, Note: "the version in force is the last; the content can't be derived"},
	}
}

// kind is what a row is. Rows of one id come in this order.
type kind uint8

const (
	kTransfer kind = iota
	kEntry
	kAnswer
	kBuffer
	kReservation
	kReversed
	kOrder
	kOutbox
	kEnds  // a reservation names this id as its end
	kNames // a confirm or reverse names this id
)

// layout is a table that is looked at: its columns in the order in which cells are used.
type layout struct {
	columns string
	each    func(c *checker, v [][]byte) error
}

func layouts() map[string]layout {
	return map[string]layout{
		"account":        {"id unit balance debits credits pending_debits pending_credits entries strategy parent mode state", (*checker).account},
		"entry":          {"account_id seq transfer_id leg unit amount balance_before balance_after accounting_date order_time posted_at funds", (*checker).entry},
		"transfer":       {"id kind order_time accounting_date posted_at legs unit amount memo action of_id business_date tenant merchant_order product metadata", (*checker).transfer},
		"transfer_id":    {"id body_hash outcome answer order_time posted_at", byID(kAnswer)},
		"buffer":         {"transfer_id account_id leg unit amount accounting_date order_time posted_at funds id", (*checker).buffer},
		"reservation":    {"id state body day at expires ended_by ended_at late_trys", (*checker).reservation},
		"reversed":       {"transfer_id leg amount", byID(kReversed)},
		"merchant_order": {"transfer_id tenant merchant_order posted_at", byID(kOrder)},
		"outbox":         {"transfer_id consumer posted_at body", byID(kOutbox)},
		"fund":           {"account_id nature balance pending", (*checker).fund},
		"day_balance":    {"accounting_date account_id unit balance debits credits entries", (*checker).dayBalance},
		"day_end":        {"accounting_date accounts entries late", (*checker).dayEnd},
		"day":            {"accounting_date settings modes id", (*checker).day},
		"setting":        {"version body at", (*checker).setting},
		"account_mode":   {"account_id mode state inner_count", (*checker).accountMode},
		"limit_use":      {"name subject period amount count", (*checker).limitUse},
	}
}

// bound is a layout with the positions of its columns in the dataset at hand.
type bound struct {
	layout
	at []int
}

// checker holds what is known so far.
type checker struct {
	cfg      CheckConfig
	report   func(Finding)
	out      CheckReport
	section  map[string]*Section
	layouts  map[string]layout
	tables   map[*catalog.Dataset]*bound
	units    map[string]*money.Sum
	accounts map[int64]*tally
	days     *days
	funds    map[fundKey]*fundTally
	modes    []mode
	limits   limits
	sett     settings
	ids      *spill // everything that belongs to a transfer's id
	ends     *spill // what belongs to the original of a confirm or reverse
	read     int64
	cells    [][]byte
	image    []byte
	parts    partsCache
	x        bundle
	matched  core.Transfer // the body of the transfer at hand
	untold   bool          // it has more natures than were tried
	unproven int64         // bodies that were not found because of that
	slab     [][]byte
}

// Check derives everything from the entries again and tells report what differs, at most 100 findings a section; the report
// counts all. An error means that it could not be finished, not that something differs. Memory is for accounts, open days and
// 48 MiB of rows; the rows themselves pass over Dir.
func Check(ctx context.Context, cfg CheckConfig, report func(Finding)) (CheckReport, error) {
	if cfg.Source == nil || report == nil {
		return CheckReport{}, fault.New(fault.Invalid, "configure ledger check", "no source or no report")
	}
	if cfg.Dir == "" {
		cfg.Dir = os.TempDir()
	}
	c := &checker{cfg: cfg, report: report, section: map[string]*Section{}, layouts: layouts(), tables: map[*catalog.Dataset]*bound{},
		units: map[string]*money.Sum{}, accounts: map[int64]*tally{}, days: newDays(cfg.Dir), funds: map[fundKey]*fundTally{},
		ids: newSpill(cfg.Dir), ends: newSpill(cfg.Dir), parts: partsCache{}}
	c.out = CheckReport{Rows: map[string]int64{}, Units: []UnitTotal{}, Sections: sections()}
	for i := range c.out.Sections {
		c.section[c.out.Sections[i].Name] = &c.out.Sections[i]
	}
	defer c.ids.close()
	defer c.ends.close()
	defer c.days.close()
	if err := cfg.Source.Rows(ctx, c.row); err != nil {
		return c.out, err
	}
	err := c.close(ctx)
	for _, s := range c.out.Sections {
		c.out.Findings += s.Findings
	}
	c.out.OK = err == nil && c.out.Findings == 0
	return c.out, err
}

// row takes one row of the source.
func (c *checker) row(ds *catalog.Dataset, row *catalog.Row) error {
	b := c.tables[ds]
	if b == nil {
		var err error
		if b, err = c.bind(ds); err != nil {
			return err
		}
	}
	c.out.Rows[ds.Name]++
	if c.read++; c.cfg.Progress != nil && c.read%10_000 == 0 {
		c.cfg.Progress(c.read, 0)
	}
	c.cells = c.cells[:0]
	for _, i := range b.at {
		c.cells = append(c.cells, row.Cell(i))
	}
	return b.each(c, c.cells)
}

func (c *checker) bind(ds *catalog.Dataset) (*bound, error) {
	l, ok := c.layouts[ds.Name]
	if !ok {
		return nil, fault.New(fault.Invalid, "check ledger", "dataset %s is not part of the ledger", ds.Name)
	}
	b := &bound{layout: l}
	var errs []error
	for _, name := range strings.Fields(l.columns) {
		i := ds.Index(name)
		if i < 0 {
			errs = append(errs, fault.New(fault.Invalid, "check ledger", "%s has no column %s", ds.Name, name))
		}
		b.at = append(b.at, i)
	}
	c.tables[ds] = b
	return b, errors.Join(errs...)
}

// byID keeps the row for the id in its first cell.
func byID(k kind) func(c *checker, v [][]byte) error {
	return func(c *checker, v [][]byte) error { return c.keep(c.ids, k, v[0], v) }
}

// find reports a finding.
func (c *checker) find(section string, f Finding) {
	s := c.section[section]
	if s.Findings++; s.Findings > maxNamed {
		return
	}
	f.Section = section
	c.report(f)
}

// looked counts what a section looked at.
func (c *checker) looked(section string, n int64) { c.section[section].Looked += n }

func (c *checker) keep(s *spill, k kind, id []byte, v [][]byte) error {
	b := c.image[:0]
	for _, cell := range v {
		b = appendCell(b, cell)
	}
	c.image = b
	return s.add(k, id, b)
}

// close looks at everything once all rows are there: what each account knows of itself, then the rows of each id, then of
// each original, then the accounts that something is wrong with.
func (c *checker) close(ctx context.Context) error {
	c.closeSettings()
	c.closeModes()
	torn := c.closeAccounts()
	c.closeFunds()
	c.limits.prepare(c)
	if err := c.days.ended(); err != nil {
		return err
	}
	err := c.ids.groups(func(g []record) error {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(fault.Interrupted, "check ledger", err)
		}
		if err := torn.gather(g); err != nil {
			return err
		}
		return c.group(g)
	})
	if err != nil {
		return err
	}
	if err := c.ends.groups(c.ended); err != nil {
		return err
	}
	c.closeChains(torn)
	if err := c.closeDays(torn); err != nil {
		return err
	}
	c.closeLimits()
	if c.unproven > 0 {
		c.section[inAnswers].Note += fmt.Sprintf("; %d bodies name more natures than were tried, so that their hash proves nothing", c.unproven)
	}
	for unit, sum := range c.units {
		c.out.Units = append(c.out.Units, UnitTotal{unit, sum.String()})
		if !sum.IsZero() {
			c.find(inTransfers, Finding{Table: "entry", Key: unit, Column: "amount", Want: "0", Got: sum.String(), Text: "the entries and buffered credits of the unit do not sum to zero"})
		}
	}
	slices.SortFunc(c.out.Units, func(a, b UnitTotal) int { return strings.Compare(a.Unit, b.Unit) })
	return nil
}
