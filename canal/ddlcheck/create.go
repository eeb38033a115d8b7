package ddlcheck

import (
	"context"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver" // the parser's own values of literals

	"strata/canal"
	"strata/catalog"
)

// create is the finding for a statement that alters no table: a new one, or something that concerns none.
func (c *check) create(ctx context.Context, f Finding, st canal.Statement) (Finding, error) {
	name, made := newTable(st)
	if name.Name == "" {
		f.Why = "it changes no row of a table"
		return f, nil
	}
	f.Table = name.Name
	d := c.captured(name)
	if d == nil {
		f.Why = "not a captured table"
		return f, nil
	}
	f.Dataset = d.Name
	if made == nil {
		f.worse(Notice, "its rows are sent from the first one on, if its key and columns are the dataset's", "as the topic",
			"a new shard of the dataset, whose definition is not understood here")
		return f, nil
	}
	if made.like != "" {
		from, err := c.at(ctx, made.like, d)
		if err != nil {
			return f, err
		}
		made.columns, made.key = from.names(), from.key
	}
	f.worse(Fine, "its rows are sent from the first one on", "its documents come with them", "a new shard of the dataset: it is captured by itself")
	judgeCascade(&f, d, st)
	var missing []string
	for _, col := range d.Columns {
		switch has := slices.Contains(made.columns, col.Name); {
		case has:
		case slices.Contains(d.Key, col.Name), col.Name == d.Time:
			f.worse(Refused, stops, frozen, "it has no column %s", col.Name)
		default:
			missing = append(missing, col.Name)
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(made.key)), slices.Sorted(slices.Values(d.Key))) {
		f.worse(Refused, stops, frozen, "its primary key is %q, the dataset's is %q", strings.Join(made.key, ", "), strings.Join(d.Key, ", "))
	}
	if len(missing) > 0 {
		names := strings.Join(missing, ", ")
		f.worse(Notice, "its envelopes have no "+names, names+" null", "it lacks columns of the dataset")
	}
	t := &table{name: name.Name, d: d, key: made.key}
	for _, n := range made.columns {
		t.columns = append(t.columns, catalog.Column{Name: n})
	}
	c.tables[name.Name] = t
	return f, nil
}

// definition is what a CREATE TABLE makes.
type definition struct {
	like    string
	columns []string
	key     []string
}

// newTable is the name that a CREATE TABLE makes and, where the parser understands the statement, what the table has.
func newTable(st canal.Statement) (canal.TableName, *definition) {
	name := st.Creates()
	nodes, _, err := parser.New().Parse(st.Text, "", "")
	if err != nil || len(nodes) != 1 {
		return name, nil
	}
	ct, ok := nodes[0].(*ast.CreateTableStmt)
	if !ok {
		return name, nil
	}
	d := &definition{}
	if ct.ReferTable != nil {
		d.like = ct.ReferTable.Name.O
	}
	for _, col := range ct.Cols {
		d.columns = append(d.columns, col.Name.Name.O)
		for _, o := range col.Options {
			if o.Tp == ast.ColumnOptionPrimaryKey {
				d.key = []string{col.Name.Name.O}
			}
		}
	}
	for _, k := range ct.Constraints {
		if k.Tp == ast.ConstraintPrimaryKey {
			for _, p := range k.Keys {
				if p.Column != nil {
					d.key = append(d.key, p.Column.Name.O)
				}
			}
		}
	}
	return name, d
}
