package catalog

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"strata/fault"
)

func TestCascadesInYAML(t *testing.T) {
	const src = "datasets:\n  - name: a\n    cascades: accept\n  - name: b\n    cascades: refuse\n  - name: c\n"
	specs, err := ParseSpecs([]byte(src), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []CascadeRule{CascadeAccept, CascadeRefuse, CascadeRefuse} {
		d := people()
		if specs[i].Capture(d); d.Cascades != want {
			t.Errorf("%s: %s", specs[i].Name, d.Cascades)
		}
	}
	if text, err := yaml.Marshal(specs[0]); err != nil || !strings.Contains(string(text), "cascades: accept") {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := yaml.Marshal(specs[2]); err != nil || strings.Contains(string(text), "cascades") {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := ParseSpecs([]byte(strings.Replace(src, "accept", "maybe", 1)), "f.yaml"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "not refuse or accept") {
		t.Error(err)
	}
}
