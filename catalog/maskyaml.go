package catalog

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"strata/fault"
)

// MaskSpec is a Mask as it is written: {column: card, mask: last4}.
type MaskSpec struct {
	Column string   `yaml:"column"`
	Mask   MaskKind `yaml:"mask"`
	// Line of the text it was read from; 0: none.
	Line int `yaml:"-"`
}

// UnmarshalYAML reads a mask and remembers its line.
func (m *MaskSpec) UnmarshalYAML(n ast.Node) error {
	var plain struct {
		Column string   `yaml:"column"`
		Mask   MaskKind `yaml:"mask"`
	}
	if err := yaml.NodeToValue(n, &plain, yaml.Strict()); err != nil {
		return err
	}
	*m = MaskSpec{Column: plain.Column, Mask: plain.Mask, Line: line(n)}
	return nil
}

// line is where a node begins: a mapping's own token is its first colon or brace.
func line(n ast.Node) int {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	return n.GetToken().Position.Line
}

// UnmarshalYAML reads a mask's name.
func (k *MaskKind) UnmarshalYAML(n ast.Node) error {
	i := slices.Index(maskNames[1:], n.GetToken().Value)
	if i < 0 {
		return yamlErrorAt(n, "mask %q is not drop, hash or last4", n.GetToken().Value)
	}
	*k = MaskKind(i + 1)
	return nil
}

// MarshalYAML writes the mask's name.
func (k MaskKind) MarshalYAML() (any, error) { return k.String(), nil }

// UnmarshalYAML reads a rule's name.
func (g *GoneRule) UnmarshalYAML(n ast.Node) error {
	switch n.GetToken().Value {
	case "keep":
		*g = GoneKeep
	case "stop":
		*g = GoneStop
	default:
		return yamlErrorAt(n, "rows_gone %q is not keep or stop", n.GetToken().Value)
	}
	return nil
}

// MarshalYAML writes the rule's name.
func (g GoneRule) MarshalYAML() (any, error) { return g.String(), nil }

// masks are the declared masks.
func (s Spec) masks() []Mask {
	var out []Mask
	for _, m := range s.Masks {
		out = append(out, Mask{Column: m.Column, Kind: m.Mask})
	}
	return out
}

// Capture sets on the dataset what the spec says of its capture.
func (s Spec) Capture(d *Dataset) {
	d.RowsGone, d.Cascades, d.Masks = s.RowsGone, s.Cascades, s.masks()
}

// checkMasks reports what is wrong with the masks as far as the spec alone knows, by line where that is known.
func (s Spec) checkMasks() []error {
	var errs []error
	seen := map[string]bool{}
	for _, m := range s.Masks {
		what := ""
		role := s.roleOf(m.Column)
		switch {
		case m.Column == "":
			what = "a mask without a column"
		case m.Mask < MaskDrop || m.Mask > MaskLast4:
			what = fmt.Sprintf("column %s: its mask is not drop, hash or last4", m.Column)
		case seen[m.Column]:
			what = fmt.Sprintf("column %s is masked twice", m.Column)
		case role != "":
			what = fmt.Sprintf("column %s can't be masked: it is %s", m.Column, role)
		}
		if what != "" && m.Line > 0 {
			what = fmt.Sprintf("line %d: %s", m.Line, what)
		}
		if what != "" {
			errs = append(errs, fault.New(fault.Invalid, "check dataset "+s.Name, "%s", what))
		}
		seen[m.Column] = true
	}
	return errs
}
