package node

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"strata/db"
	"strata/fault"
)

// grants is what SHOW GRANTS says of a login.
type grants struct {
	user    string
	scopes  []grant
	unclear bool // roles, or nothing that could be read: a missing privilege proves nothing
}

type grant struct {
	schema     string // a LIKE pattern; "" is everything
	privileges []string
}

// readGrants asks the server. Errors: those of the server.
func readGrants(ctx context.Context, d *db.DB) (grants, error) {
	op := "read privileges on " + d.Name()
	g := grants{}
	rows, err := d.SQL().QueryContext(ctx, "SHOW GRANTS")
	if db.Number(err) == 1290 || db.Number(err) == 1141 { // the server runs without grant tables
		g.unclear = true
		return g, nil
	}
	if err != nil {
		return g, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return g, db.Classify(op, err)
		}
		g.read(line)
	}
	g.unclear = g.unclear || len(g.scopes) == 0
	return g, db.Classify(op, rows.Err())
}

// read takes one line such as GRANT SELECT, INSERT ON `bank`.* TO `app`@`%`. What it doesn't know makes the whole unclear.
func (g *grants) read(line string) {
	m := regexp.MustCompile("^GRANT (.+) ON (\\*\\.\\*|`(?:[^`]|``)+`\\.\\*) TO ([`'].*?[`']@[`'].*?[`'])").FindStringSubmatch(line)
	if m == nil {
		// One table's or one column's privileges, a role, a revoked part.
		g.unclear = g.unclear || !strings.HasPrefix(line, "GRANT USAGE")
		return
	}
	scope := grant{}
	if g.user = m[3]; m[2] != "*.*" {
		scope.schema = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(m[2], "`"), "`.*"), "``", "`")
	}
	for p := range strings.SplitSeq(m[1], ",") {
		scope.privileges = append(scope.privileges, strings.ToUpper(strings.TrimSpace(p)))
	}
	g.scopes = append(g.scopes, scope)
}

func (s grant) has(privilege string) bool {
	return slices.Contains(s.privileges, "ALL PRIVILEGES") || slices.Contains(s.privileges, privilege) ||
		privilege == "REPLICATION SLAVE" && slices.Contains(s.privileges, "REPLICATION SLAVE ADMIN")
}

func (g grants) global(privilege string) bool {
	return slices.ContainsFunc(g.scopes, func(s grant) bool { return s.schema == "" && s.has(privilege) })
}

// on reports whether the login has the privilege on everything in a schema.
func (g grants) on(schema, privilege string) bool {
	return slices.ContainsFunc(g.scopes, func(s grant) bool {
		return s.has(privilege) && (s.schema == "" || like(s.schema, schema))
	})
}

// like matches a schema's name as grants do.
func like(pattern, name string) bool {
	var b strings.Builder
	b.WriteString("(?is)^")
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '%':
			b.WriteString(".*")
		case r == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	ok, err := regexp.MatchString(b.String()+"$", name)
	return ok && err == nil
}

// grants says which privileges on the schema are missing.
func (k *checker) grants(ctx context.Context, d *db.DB, path string, needs []string) {
	g, err := readGrants(ctx, d)
	if err != nil {
		k.list.addAll(path, err)
		return
	}
	var missing []string
	for _, p := range needs {
		if !g.unclear && !g.on(d.Schema(), p) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		list := strings.Join(missing, ", ")
		k.list.addAll(path, fault.New(fault.Denied, "check privileges on "+d.Name(), "%s on schema %s is missing", list, d.Schema()).
			WithHint("GRANT %s ON %s.* TO %s;", list, db.Quote(d.Schema()), g.user))
	}
}
