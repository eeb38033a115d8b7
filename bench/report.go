package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"strata/fault"
)

// Run is one measured run of one side.
type Run struct {
	Part    string             `json:"part"` // what is measured
	Side    string             `json:"side"` // who: strata, or a baseline by name
	Round   int                `json:"round"`
	Figures map[string]float64 `json:"figures"`
}

// Report is what a benchmark measured.
type Report struct {
	Bench    string             `json:"bench"`
	Ratios   map[string]float64 `json:"ratios"`
	Raw      []Run              `json:"raw"`
	Machine  Machine            `json:"machine"`
	Settings map[string]string  `json:"settings"`
}

// Print writes the report for people: every run, by part, then machine, settings and ratios.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var parts []string
	for _, run := range r.Raw {
		if !slices.Contains(parts, run.Part) {
			parts = append(parts, run.Part)
		}
	}
	for _, p := range parts {
		r.printPart(t, p)
	}
	fmt.Fprintf(t, "machine\n")
	for _, l := range r.Machine.lines() {
		fmt.Fprintf(t, "  %s\t%s\n", l[0], l[1])
	}
	fmt.Fprintf(t, "settings\n")
	for _, k := range slices.Sorted(maps.Keys(r.Settings)) {
		fmt.Fprintf(t, "  %s\t%s\n", k, r.Settings[k])
	}
	fmt.Fprintf(t, "ratios (medians over the rounds, each made within one round, where a setting says nothing else)\n")
	for _, k := range slices.Sorted(maps.Keys(r.Ratios)) {
		fmt.Fprintf(t, "  %s\t%s\n", k, number(r.Ratios[k]))
	}
	return fault.Wrap(fault.Unavailable, "print report", t.Flush())
}

func (r *Report) printPart(w io.Writer, part string) {
	var runs []Run
	var names []string
	for _, run := range r.Raw {
		if run.Part != part {
			continue
		}
		runs = append(runs, run)
		for k := range run.Figures {
			if !slices.Contains(names, k) {
				names = append(names, k)
			}
		}
	}
	slices.Sort(names)
	fmt.Fprintf(w, "%s\n  side\tround\t%s\n", part, strings.Join(names, "\t"))
	for _, run := range runs {
		fmt.Fprintf(w, "  %s\t%d", run.Side, run.Round)
		for _, k := range names {
			v, ok := run.Figures[k]
			if !ok {
				fmt.Fprint(w, "\t")
				continue
			}
			fmt.Fprintf(w, "\t%s", number(v))
		}
		fmt.Fprintln(w)
	}
}

// number prints large values whole and small ones with four digits.
func number(v float64) string {
	if math.Abs(v) >= 1000 || v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// PrintJSON writes the report as one line.
func (r *Report) PrintJSON(w io.Writer) error {
	return fault.Wrap(fault.Internal, "encode report", json.NewEncoder(w).Encode(r))
}
