package archive

import (
	"slices"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/money"
)

// moneyColumn sums one column by unit.
type moneyColumn struct {
	name   string
	at     int
	unitAt int    // -1: fixed
	unit   string // where it is fixed
	sums   map[string]*money.Sum
}

// moneyColumns are the sums that a dataset asks for. Errors: Invalid where a column is missing.
func moneyColumns(ds *catalog.Dataset) ([]*moneyColumn, error) {
	var out []*moneyColumn
	for _, m := range ds.Money {
		c := &moneyColumn{name: m.Column, at: ds.Index(m.Column), unitAt: -1, unit: m.Unit, sums: map[string]*money.Sum{}}
		if m.UnitColumn != "" {
			c.unitAt = ds.Index(m.UnitColumn)
		}
		if c.at < 0 || m.UnitColumn != "" && c.unitAt < 0 {
			return nil, fault.New(fault.Invalid, "sum "+ds.Name, "no money column %s, or no unit column %s", m.Column, m.UnitColumn)
		}
		out = append(out, c)
	}
	return out, nil
}

// add adds a row's cell; NULL adds nothing.
func (c *moneyColumn) add(row *catalog.Row) error {
	cell := row.Cell(c.at)
	if cell == nil {
		return nil
	}
	n, err := strconv.ParseInt(string(cell), 10, 64)
	if err != nil {
		return fault.New(fault.Proof, "sum column "+c.name, "%q is no amount of minor units", cell)
	}
	unit := []byte(c.unit)
	if c.unitAt >= 0 {
		if unit = row.Cell(c.unitAt); unit == nil {
			return fault.New(fault.Proof, "sum column "+c.name, "an amount without a unit")
		}
	}
	sum := c.sums[string(unit)]
	if sum == nil {
		sum = new(money.Sum)
		c.sums[string(unit)] = sum
	}
	sum.Add(money.Amount(n))
	return nil
}

// list gives the sums ordered by unit.
func (c *moneyColumn) list() []Sum {
	var out []Sum
	for unit, sum := range c.sums {
		out = append(out, Sum{Column: c.name, Unit: unit, Amount: sum.String()})
	}
	slices.SortFunc(out, func(a, b Sum) int { return strings.Compare(a.Unit, b.Unit) })
	return out
}
