package ddlcheck_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strata/canal/ddlcheck"
	"strata/catalog"
	"strata/fault"
)

// config has an unsharded dataset entry, and a sharded one e whose rows must not go.
func config() ddlcheck.Config {
	kind := func(name string, k catalog.Kind, size int) catalog.Column {
		return catalog.Column{Name: name, Type: catalog.Type{Kind: k, Size: size}}
	}
	entry := &catalog.Dataset{Name: "entry", Table: "entry", Key: []string{"id"}, Columns: []catalog.Column{
		kind("id", catalog.Int, 8), kind("amount", catalog.Int, 8), kind("note", catalog.Text, 0), kind("doc", catalog.JSON, 0)}}
	e := &catalog.Dataset{Name: "e", Table: "e", Key: []string{"id"}, Time: "at", RowsGone: catalog.GoneStop,
		Scheme: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}, Columns: []catalog.Column{
			kind("id", catalog.Int, 8), kind("at", catalog.DateTime, 0), kind("note", catalog.Text, 0)}}
	return ddlcheck.Config{Schema: "ledger", Datasets: []*catalog.Dataset{entry, e}}
}

// TestCheck_scripts runs the scripts of testdata: statements, and after each `-- found:` what is found, as it is printed.
func TestCheck_scripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, line := range strings.Split(string(raw), "\n") {
				if text, ok := strings.CutPrefix(line, "-- found: "); ok {
					want = append(want, text)
				}
			}
			found, err := ddlcheck.Check(t.Context(), config(), string(raw))
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range found {
				got := fmt.Sprintf("%s %s/%s: %s | topic: %s | index: %s", f.Severity, f.Dataset, f.Table, f.Why, f.Topic, f.Index)
				if i >= len(want) || got != want[i] {
					t.Errorf("line %d %s\n-- found: %s", f.Line, f.Statement, got)
				}
			}
			if len(found) != len(want) {
				t.Errorf("%d findings, %d expected", len(found), len(want))
			}
		})
	}
}

func TestCheck_asks_what_the_tables_are_now(t *testing.T) {
	cfg := config()
	cfg.Describe = func(_ context.Context, name string) ([]catalog.Column, []string, error) {
		if name == "entry" {
			return cfg.Datasets[0].Columns[:3], []string{"id"}, nil // without doc
		}
		return nil, nil, fault.New(fault.NotFound, "describe", "no %s", name)
	}
	found, err := ddlcheck.Check(t.Context(), cfg, "ALTER TABLE entry ADD doc JSON; ALTER TABLE e_202601 ADD INDEX (at)")
	if err != nil || len(found) != 2 || found[0].Severity != ddlcheck.Repair || !strings.Contains(found[1].Why, "no table e_202601") {
		t.Fatalf("%+v %v", found, err)
	}
	cfg.Describe = func(context.Context, string) ([]catalog.Column, []string, error) {
		return nil, nil, fault.New(fault.Unavailable, "describe", "away")
	}
	if _, err := ddlcheck.Check(t.Context(), cfg, "ALTER TABLE entry ADD doc JSON"); fault.KindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	if _, err := ddlcheck.Check(t.Context(), ddlcheck.Config{}, ""); fault.KindOf(err) != fault.Invalid {
		t.Fatal(err)
	}
}

func FuzzCheck_never_panics(f *testing.F) {
	f.Add("ALTER TABLE entry MODIFY amount INT, DROP PRIMARY KEY, ADD PRIMARY KEY (id, note(5)); CREATE TABLE e_202601 LIKE e_202512")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = ddlcheck.Check(t.Context(), config(), text)
	})
}
