package verify

import (
	"context"
	"encoding/json"
	"time"

	"strata/fault"
)

// ReportVersion is the form of Daily.
const ReportVersion = 1

// Daily is a day's report. Its signature is over its written form.
type Daily struct {
	Version int       `json:"version"`
	Date    string    `json:"date"` // UTC
	MadeAt  time.Time `json:"made_at"`
	Pass    int64     `json:"pass"`
	OK      bool      `json:"ok"` // every dataset was compared whole at some time, is OK there, and nothing is open now
	// Datasets are the last whole comparisons, with rows, positions and sums per unit. Which are older than this day their At says.
	Datasets []Finished `json:"datasets"`
	// Missing are datasets that were never compared whole.
	Missing []string `json:"missing"`
	// Skipped are datasets that this pass could not compare so far.
	Skipped map[string]Skip `json:"skipped"`
	// Findings by dataset: found, repaired and gone on this day, and open now.
	Findings map[string]Counts `json:"findings"`
	Swept    map[string]Swept  `json:"swept"`
}

// ParseDaily reads the written form. Errors: fault.Proof for what is no report of this version.
func ParseDaily(body []byte) (*Daily, error) {
	var d Daily
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, fault.Wrap(fault.Proof, "parse report", err)
	}
	if d.Version != ReportVersion {
		return nil, fault.New(fault.Proof, "parse report", "version %d instead of %d", d.Version, ReportVersion)
	}
	return &d, nil
}

// daily writes the report of today, in the place of an earlier one.
func (g *reign) daily(ctx context.Context) error {
	now := g.cfg.Now().UTC()
	day := now.Truncate(24 * time.Hour)
	counts, err := g.open(ctx, day)
	if err != nil {
		return err
	}
	rep := Daily{Version: ReportVersion, Date: day.Format(time.DateOnly), MadeAt: now, Pass: g.p.Pass, OK: true, Datasets: []Finished{},
		Missing: []string{}, Skipped: g.p.Skipped, Findings: counts, Swept: g.p.Swept}
	var open int64
	for _, c := range counts {
		open += c.Open
	}
	rep.OK = open == 0
	for _, d := range g.cfg.Datasets {
		last, ok := g.p.Last[d.Name]
		if !ok {
			rep.Missing, rep.OK = append(rep.Missing, d.Name), false
			continue
		}
		rep.Datasets = append(rep.Datasets, last)
		rep.OK = rep.OK && last.OK
	}
	body, err := json.Marshal(&rep)
	if err != nil {
		return fault.Wrap(fault.Internal, "encode report", err)
	}
	if err := g.at("verify.report"); err != nil {
		return err
	}
	if err := g.cfg.Book.PutReport(ctx, rep.Date, body, g.cfg.Sign(body)); err != nil {
		return &bookError{err}
	}
	return g.at("verify.reported")
}

// open counts the findings of each dataset since a time, and notes how many are open.
func (g *reign) open(ctx context.Context, since time.Time) (map[string]Counts, error) {
	counts, err := g.cfg.Book.Counts(ctx, since)
	if err != nil {
		return nil, &bookError{err}
	}
	g.note(func(s *Stats) { s.Open = 0 })
	for _, d := range g.cfg.Datasets {
		n := counts[d.Name].Open
		g.noteOf(d.Name, func(all *Stats, one *DatasetStats) { all.Open, one.Open = all.Open+n, n })
	}
	return counts, nil
}
