package verify

import "time"

// Stats are a Runner's counts since the start of the process.
type Stats struct {
	Leads       bool   `json:"leads"` // this process has the lease
	Pass        int64  `json:"pass"`
	Dataset     string `json:"dataset"` // in work
	Held        bool   `json:"held"`    // it waits for the pipeline
	Rows        int64  `json:"rows"`
	Differences int64  `json:"differences"`
	Repaired    int64  `json:"repaired"`
	Open        int64  `json:"open"` // as of the last look
	Skipped     int64  `json:"skipped"`
	Swept       int64  `json:"swept"`
	Passes      int64  `json:"passes"` // finished
	// Datasets are those that were looked at, in the configuration's order.
	Datasets []DatasetStats `json:"datasets"`
}

// DatasetStats are the part of one dataset.
type DatasetStats struct {
	Dataset     string `json:"dataset"`
	Rows        int64  `json:"rows"`
	Differences int64  `json:"differences"`
	Repaired    int64  `json:"repaired"`
	Swept       int64  `json:"swept"`
	// Of the lease's holder, as the control database has it.
	Open       int64     `json:"open"`        // as of the last look
	PassRows   int64     `json:"pass_rows"`   // compared in this pass, of about PassTotal
	PassTotal  int64     `json:"pass_total"`  // 0: not begun
	Skipped    bool      `json:"skipped"`     // it can't be compared now
	ComparedAt time.Time `json:"compared_at"` // end of the last whole comparison; zero: there was none
	ComparedOK bool      `json:"compared_ok"` // what it said
}

// Stats is a picture of now.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	for _, d := range r.cfg.Datasets {
		if of := r.of[d.Name]; of != nil {
			s.Datasets = append(s.Datasets, *of)
		}
	}
	return s
}

func (r *Runner) note(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

// noteOf changes the counts of all and those of a dataset.
func (r *Runner) noteOf(dataset string, f func(all *Stats, one *DatasetStats)) {
	r.note(func(s *Stats) {
		if r.of[dataset] == nil {
			r.of[dataset] = &DatasetStats{Dataset: dataset}
		}
		f(s, r.of[dataset])
	})
}

// notePlaces tells how far the pass is, as it was saved.
func (g *reign) notePlaces() {
	for _, d := range g.cfg.Datasets {
		last, whole := g.p.Last[d.Name]
		at := g.p.Places[d.Name]
		_, skipped := g.p.Skipped[d.Name]
		g.noteOf(d.Name, func(_ *Stats, s *DatasetStats) {
			s.Skipped, s.ComparedAt, s.ComparedOK = skipped, last.At, last.OK
			switch {
			case at != nil:
				s.PassRows, s.PassTotal = at.Report.Rows+at.Rows, at.Total
			case whole && last.Pass == g.p.Pass:
				s.PassRows, s.PassTotal = last.Rows, last.Rows
			default:
				s.PassRows, s.PassTotal = 0, 0
			}
		})
	}
}
