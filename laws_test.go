package strata_test

import (
	"fmt"
	"os"
	"os/exec"
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
	out, err := exec.Command("git", "grep", "-hoE", "func TestL[0-9]+_[A-Za-z0-9_]+", "--", "*_test.go").Output()
	if err != nil {
		t.Fatalf("list the tests of the laws: %v", err)
	}
	for i := 1; i <= 12; i++ {
		law := fmt.Sprintf("L%d", i)
		if !regexp.MustCompile(`func Test` + law + `_`).Match(out) {
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
		if !strings.Contains(string(out), "func "+name[1]+"\n") {
			t.Errorf("docs/laws.md shows %s, which does not exist", name[1])
		}
	}
}
