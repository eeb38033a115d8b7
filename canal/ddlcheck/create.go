package ddlcheck

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver" // the parser's own values of literals
	"github.com/pingcap/tidb/pkg/parser/types"

	"strata/canal"
	"strata/catalog"
)

// create is the finding for a statement that alters no table: a new one, or something that concerns none.
func (c *check) create(ctx context.Context, f Finding, st canal.Statement) (Finding, error) {
	name, made := newTable(st)
	if name.Name == "" {
		if !slices.Contains(harmless(), st.Verb) {
			f.worse(Repair, "unknown", "unknown", "%s is not understood, or runs what is not in this script", cmp.Or(st.Verb, "it"))
			return f, nil
		}
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
		made.columns, made.key = slices.Clone(from.columns), from.key
	}
	f.worse(Fine, "its rows are sent from the first one on", "its documents come with them", "a new shard of the dataset: it is captured by itself")
	judgeCascade(&f, d, st)
	c.judgeNew(&f, d, made)
	c.tables[name.Name] = &table{name: name.Name, d: d, key: made.key, columns: made.columns}
	return f, nil
}

// judgeNew compares a new table with its dataset.
func (c *check) judgeNew(f *Finding, d *catalog.Dataset, made *definition) {
	var missing []string
	for _, col := range d.Columns {
		switch at := slices.IndexFunc(made.columns, func(n catalog.Column) bool { return n.Name == col.Name }); {
		case at >= 0:
			judgeKind(f, made.columns[at], col)
		case made.filled: // the query may have it
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
}

// judgeKind compares a new table's column with the dataset's. No kind: it is not known here.
func judgeKind(f *Finding, has, want catalog.Column) {
	kind := has.Type.Kind
	if kind != 0 && kind != want.Type.Kind && !(want.Type.Kind == catalog.JSON && kind == catalog.Text) {
		f.worse(Refused, stops, frozen, "its %s is a %s; the dataset has a %s", has.Name, kind, want.Type.Kind)
	}
}

// harmless are the first words of statements that change no row of a table and run nothing that isn't in the script. DDL of
// tables is looked at elsewhere.
func harmless() []string {
	return []string{"ALTER", "ANALYZE", "BACKUP", "BEGIN", "CACHE", "CHANGE", "CHECK", "CHECKSUM", "COMMIT", "CREATE", "DEALLOCATE", "DESC", "DESCRIBE", "DROP",
		"EXPLAIN", "FLUSH", "GET", "GRANT", "HELP", "INSTALL", "KILL", "LOCK", "OPTIMIZE", "PREPARE", "PURGE", "RELEASE", "RENAME", "REPAIR", "RESET",
		"REVOKE", "ROLLBACK", "SAVEPOINT", "SELECT", "SET", "SHOW", "START", "STOP", "TABLE", "UNINSTALL", "UNLOCK", "USE", "VALUES", "XA"}
}

// definition is what a CREATE TABLE makes.
type definition struct {
	like    string
	filled  bool // by a query, which may make more columns
	columns []catalog.Column
	key     []string
}

// newTable is the name that a CREATE TABLE makes and, where the parser understands the statement, what the table has.
func newTable(st canal.Statement) (canal.TableName, *definition) {
	name, text := st.Creates(), st.Text
	if st.At(1, "OR") && st.At(2, "REPLACE") { // which the parser doesn't know
		text = "CREATE " + st.After(2)
	}
	nodes, _, err := parser.New().Parse(text, "", "")
	if err != nil || len(nodes) != 1 {
		return name, nil
	}
	ct, ok := nodes[0].(*ast.CreateTableStmt)
	if !ok {
		return name, nil
	}
	d := &definition{filled: ct.Select != nil}
	if ct.ReferTable != nil {
		d.like = ct.ReferTable.Name.O
	}
	for _, col := range ct.Cols {
		column := catalog.Column{Name: col.Name.Name.O}
		typ := canal.TypedColumn{Type: strings.ToUpper(types.TypeToStr(col.Tp.GetType(), col.Tp.GetCharset())), Unsigned: mysql.HasUnsignedFlag(col.Tp.GetFlag())}
		column.Type.Kind, _ = kindOf(typ)
		d.columns = append(d.columns, column)
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
