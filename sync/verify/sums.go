package verify

import (
	"cmp"
	"fmt"
	"slices"

	"strata/catalog"
	"strata/money"
)

// sums are the totals of a dataset's money columns by unit, from both sides.
type sums struct {
	d       *catalog.Dataset
	columns []int
	units   []int // position of the unit column, or -1
	totals  []map[string]*[2]money.Sum
}

func newSums(d *catalog.Dataset) *sums {
	s := &sums{d: d}
	for _, m := range d.Money {
		s.columns, s.units = append(s.columns, d.Index(m.Column)), append(s.units, d.Index(m.UnitColumn))
		s.totals = append(s.totals, map[string]*[2]money.Sum{})
	}
	return s
}

// count adds a row of the source or of the index.
func (s *sums) count(row *catalog.Row, source bool) error {
	side := 1
	if source {
		side = 0
	}
	return s.each(row, func(t *[2]money.Sum, a money.Amount) { t[side].Add(a) })
}

// both adds a row that is the same on both sides.
func (s *sums) both(row *catalog.Row) error {
	return s.each(row, func(t *[2]money.Sum, a money.Amount) {
		t[0].Add(a)
		t[1].Add(a)
	})
}

func (s *sums) each(row *catalog.Row, add func(*[2]money.Sum, money.Amount)) error {
	for i, c := range s.columns {
		if c < 0 || row.Null(c) {
			continue
		}
		amount, err := money.ParseMinor(row.Text(c))
		if err != nil {
			return fmt.Errorf("money column %s: %w", s.d.Columns[c].Name, err)
		}
		add(s.total(i, row), amount)
	}
	return nil
}

func (s *sums) total(i int, row *catalog.Row) *[2]money.Sum {
	if s.units[i] < 0 {
		return s.named(i, s.d.Money[i].Unit)
	}
	unit := row.Cell(s.units[i])
	if t := s.totals[i][string(unit)]; t != nil { // no allocation
		return t
	}
	return s.named(i, string(unit))
}

func (s *sums) named(i int, unit string) *[2]money.Sum {
	t := s.totals[i][unit]
	if t == nil {
		t = new([2]money.Sum)
		s.totals[i][unit] = t
	}
	return t
}

func (s *sums) add(o *sums) {
	for i := range o.totals {
		for unit, t := range o.totals[i] {
			mine := s.named(i, unit)
			mine[0].AddSum(t[0])
			mine[1].AddSum(t[1])
		}
	}
}

// report lists the sums; of the source alone they are neither equal nor different.
func (s *sums) report(of Side) []UnitSum {
	var out []UnitSum
	for i, totals := range s.totals {
		for unit, t := range totals {
			u := UnitSum{Column: s.d.Money[i].Column, Unit: unit, Source: t[0].String(), OK: true}
			if of == OfBoth {
				u.Index, u.OK = t[1].String(), t[0] == t[1]
			}
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b UnitSum) int { return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Unit, b.Unit)) })
	return out
}

// restore adds what report said. Columns that the dataset lacks by now are left out.
func (s *sums) restore(list []UnitSum) error {
	for _, u := range list {
		i := slices.IndexFunc(s.d.Money, func(m catalog.Money) bool { return m.Column == u.Column })
		if i < 0 {
			continue
		}
		t := s.named(i, u.Unit)
		for side, text := range []string{u.Source, u.Index} {
			if text == "" {
				continue
			}
			sum, err := money.ParseSum(text)
			if err != nil {
				return fmt.Errorf("sum of %s: %w", u.Column, err)
			}
			t[side].AddSum(sum)
		}
	}
	return nil
}
