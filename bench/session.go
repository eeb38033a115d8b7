package main

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"strata/fault"
)

// Session is one call of a benchmark: what was asked for, where it works, and what it has measured.
type Session struct {
	Quick  bool
	Seed   uint64
	Rounds int

	dir    string // temporary
	stderr io.Writer
	log    *slog.Logger
	report Report
	began  time.Time
}

func newSession(name string, quick bool, seed uint64) *Session {
	s := &Session{Quick: quick, Seed: seed, Rounds: 3, stderr: io.Discard, log: slog.New(slog.DiscardHandler), began: time.Now()}
	if quick {
		s.Rounds = 2
	}
	s.report = Report{Bench: name, Ratios: map[string]float64{}, Raw: []Run{}, Machine: thisMachine(), Settings: map[string]string{}}
	s.set("quick", quick)
	s.set("seed", seed)
	s.set("rounds", s.Rounds)
	return s
}

// set notes a setting under which the figures were measured.
func (s *Session) set(name string, value any) { s.report.Settings[name] = fmt.Sprint(value) }

// note adds a run.
func (s *Session) note(r Run) { s.report.Raw = append(s.report.Raw, r) }

// say tells a person who waits what is going on.
func (s *Session) say(format string, args ...any) {
	fmt.Fprintf(s.stderr, "%5.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// InTurn calls the sides one after the other, as many rounds as the session has: A B A B …
func (s *Session) InTurn(sides ...func(round int) error) error {
	for round := 1; round <= s.Rounds; round++ {
		for _, side := range sides {
			if err := side(round); err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
		}
	}
	return nil
}

// ratio notes the median over the rounds of of(a, b), where a and b are a figure of a part's two sides in the same round.
func (s *Session) ratio(name, part, sideA, sideB, figure string, of func(a, b float64) float64) error {
	a, b := s.figures(part, sideA, figure), s.figures(part, sideB, figure)
	if len(a) == 0 || len(a) != len(b) {
		return fault.New(fault.Internal, "make ratio "+name, "%d rounds of %s, %d of %s", len(a), sideA, len(b), sideB)
	}
	each := make([]float64, len(a))
	for i := range a {
		each[i] = of(a[i], b[i])
	}
	s.report.Ratios[name] = median(each)
	return nil
}

// overall notes the ratio of two sides' rates, each of which is one figure over another, summed up over all of its runs: where
// single runs differ by more than what is looked for.
func (s *Session) overall(name, part, sideA, sideB, figure, per string) error {
	rate := func(side string) float64 { return sum(s.figures(part, side, figure)) / sum(s.figures(part, side, per)) }
	v := rate(sideA) / rate(sideB)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return fault.New(fault.Internal, "make ratio "+name, "%s or %s has no figure", sideA, sideB)
	}
	s.report.Ratios[name] = v
	return nil
}

// middle notes the median of a figure over the rounds.
func (s *Session) middle(name, part, side, figure string) {
	s.report.Ratios[name] = median(s.figures(part, side, figure))
}

func (s *Session) figures(part, side, figure string) []float64 {
	var out []float64
	for _, r := range s.report.Raw {
		if v, ok := r.Figures[figure]; ok && r.Part == part && r.Side == side {
			out = append(out, v)
		}
	}
	return out
}

func quotient(a, b float64) float64 { return a / b }

func difference(a, b float64) float64 { return a - b }
