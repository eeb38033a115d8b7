package catalog

import "github.com/goccy/go-yaml/ast"

// CascadeRule is what capture does about a foreign key whose parent changes a table's rows without row events.
type CascadeRule uint8

// The rules.
const (
	// CascadeRefuse: such a table isn't captured.
	CascadeRefuse CascadeRule = iota
	// CascadeAccept: somebody knows that what the key changes is missing in the topic.
	CascadeAccept
)

// String is the rule as it is written in YAML.
func (c CascadeRule) String() string {
	if c == CascadeAccept {
		return "accept"
	}
	return "refuse"
}

// UnmarshalYAML reads a rule's name.
func (c *CascadeRule) UnmarshalYAML(n ast.Node) error {
	switch n.GetToken().Value {
	case "refuse":
		*c = CascadeRefuse
	case "accept":
		*c = CascadeAccept
	default:
		return yamlErrorAt(n, "cascades %q is not refuse or accept", n.GetToken().Value)
	}
	return nil
}

// MarshalYAML writes the rule's name.
func (c CascadeRule) MarshalYAML() (any, error) { return c.String(), nil }
