package strata_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Every law has a test and a mutation, docs/laws.md shows both, and what it shows exists.
func TestLaws_have_tests_and_mutations(t *testing.T) {
	page, err := os.ReadFile("docs/laws.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(".ci/mutants.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var mutants []struct {
		Law     string `yaml:"law"`
		Name    string `yaml:"name"`
		File    string `yaml:"file"`
		Old     string `yaml:"old"`
		New     string `yaml:"new"`
		Package string `yaml:"package"`
		Test    string `yaml:"test"`
	}
	if err := yaml.UnmarshalWithOptions(src, &mutants, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	out := lawTests(t)
	for i := 1; i <= 12; i++ {
		law := fmt.Sprintf("L%d", i)
		if !strings.Contains(out, "func Test"+law+"_") {
			t.Errorf("%s has no test", law)
		}
		mutated := false
		for _, m := range mutants {
			mutated = mutated || m.Law == law
		}
		if !mutated {
			t.Errorf("%s has no mutation", law)
		}
	}
	for _, m := range mutants {
		if !strings.Contains(string(page), "| "+m.Name+" |") {
			t.Errorf("docs/laws.md does not show the mutation %q", m.Name)
		}
		code, err := os.ReadFile(m.File)
		if err != nil {
			t.Error(err)
		} else if n := strings.Count(string(code), m.Old); n != 1 {
			t.Errorf("mutation %q: its old text stands %d times in %s, not once", m.Name, n, m.File)
		}
	}
	for _, name := range regexp.MustCompile(`(?m)^- .* (TestL\d+_\w+)$`).FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(out, "func "+name[1]+"\n") {
			t.Errorf("docs/laws.md shows %s, which does not exist", name[1])
		}
	}
}

// lawTests lists "func TestL…" of all test files, one a line.
func lawTests(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	fn := regexp.MustCompile(`(?m)^func TestL\d+_\w+`)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range fn.FindAll(b, -1) {
			out.Write(append(m, '\n'))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
