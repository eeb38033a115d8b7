package voucher

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// The limits of a document.
const (
	MaxDocumentBytes = 256 << 10
	maxListed        = 500 // subjects, rules, cases, samples
	maxPerRule       = 100 // lines of a rule; params, values and legs of a case
	maxDepth         = 24  // of the YAML
	maxNameBytes     = 48
	maxSubjectBytes  = 64
	// MaxLines bounds a voucher: every leg of the largest transfer may have five.
	MaxLines = 5000
)

// form is the document as it is written.
type form struct {
	Subjects []subjectForm `yaml:"subjects"`
	Rules    []ruleForm    `yaml:"rules"`
	Cases    []caseForm    `yaml:"cases"`
	Samples  []sampleForm  `yaml:"samples"`
}

type subjectForm struct {
	Subject  string   `yaml:"subject"`
	Name     string   `yaml:"name"`
	Accounts []string `yaml:"accounts"` // 100-199 or 42
}

type ruleForm struct {
	Name  string     `yaml:"name"`
	When  string     `yaml:"when"`
	Each  string     `yaml:"each"` // leg, or "" : once
	Lines []lineForm `yaml:"lines"`
}

type lineForm struct {
	When    string `yaml:"when"`
	Subject string `yaml:"subject"`
	Side    string `yaml:"side"`
	Unit    string `yaml:"unit"`
	Amount  string `yaml:"amount"`
}

type caseForm struct {
	Name     string            `yaml:"name"`
	Params   []paramForm       `yaml:"params"`
	Values   []valueForm       `yaml:"values"`
	Legs     []legForm         `yaml:"legs"`
	Tenant   string            `yaml:"tenant"`
	Order    string            `yaml:"order"`
	Product  string            `yaml:"product"`
	Memo     string            `yaml:"memo"`
	Metadata map[string]string `yaml:"metadata"`
}

type paramForm struct {
	Name    string  `yaml:"name"`
	Type    string  `yaml:"type"`
	Default *string `yaml:"default"`
	Min     *int64  `yaml:"min"`
	Max     *int64  `yaml:"max"`
}

type valueForm struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

type legForm struct {
	When    string `yaml:"when"`
	Account string `yaml:"account"`
	Unit    string `yaml:"unit"`
	Amount  string `yaml:"amount"`
	Nature  string `yaml:"nature"`
}

type sampleForm struct {
	Name     string            `yaml:"name"`
	Case     string            `yaml:"case"`
	Params   map[string]string `yaml:"params"`
	Transfer map[string]any    `yaml:"transfer"`
	None     bool              `yaml:"none"`  // no rule is meant to match
	Lines    []string          `yaml:"lines"` // what is wanted: "1001 debit CNY 100"; none: any that balance
}

// Document is a compiled set of rules and cases. It is immutable and safe for concurrent use.
type Document struct {
	body       []byte
	subjects   *subjects
	rules      []rule
	cases      map[string]*Case
	caseNames  []string
	samples    []sampleForm
	evaluators sync.Pool
}

// Compile reads and compiles a document, YAML or JSON, and runs its samples. Errors: one fault.Invalid with up to 50 Problems,
// each with its code, rule and field.
func Compile(body []byte) (*Document, error) { return compile(body, true) }

// compile leaves the samples out for what was compiled before.
func compile(body []byte, samples bool) (*Document, error) {
	var bad problems
	f, problem := parse(body)
	if problem != nil {
		bad.add(problem)
		return nil, bad.err()
	}
	d := &Document{body: bytes.Clone(body), samples: f.Samples, cases: map[string]*Case{}}
	bad.count("subjects", len(f.Subjects))
	bad.count("rules", len(f.Rules))
	bad.count("cases", len(f.Cases))
	bad.count("samples", len(f.Samples))
	if bad.all != nil {
		return nil, bad.err()
	}
	d.subjects = newSubjects(f.Subjects, &bad)
	d.evaluators.New = func() any { return newEvaluator(d.subjects.of) }
	names := map[string]bool{}
	for i := range f.Rules {
		bad.name("rules", i, f.Rules[i].Name, names)
		d.rules = append(d.rules, compileRule(&f.Rules[i], &bad))
	}
	names = map[string]bool{}
	for i := range f.Cases {
		bad.name("cases", i, f.Cases[i].Name, names)
		c := compileCase(&f.Cases[i], &bad)
		d.cases[c.name] = c
		d.caseNames = append(d.caseNames, c.name)
	}
	if bad.all == nil && samples {
		d.runSamples(&bad)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	return d, nil
}

// Body is the document as it was given.
func (d *Document) Body() []byte { return bytes.Clone(d.body) }

func (c *problems) count(what string, n int) {
	if n > maxListed {
		c.add(&Problem{Code: BadDocument, Field: what, Message: fmt.Sprintf("%d of them are over %d", n, maxListed)})
	}
}

// name checks a name: it goes into messages and, of a case, into a transfer's kind.
func (c *problems) name(list string, i int, name string, seen map[string]bool) {
	p := &Problem{Code: BadDocument, Rule: name, Field: fmt.Sprintf("%s[%d].name", list, i)}
	switch {
	case !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`).MatchString(name) || len(name) > maxNameBytes:
		p.Rule, p.Message = "", fmt.Sprintf("%q is not a letter and up to %d letters, digits, _ . or -", name, maxNameBytes-1)
		c.add(p)
	case seen[name]:
		p.Message = "the name is there twice"
		c.add(p)
	}
	seen[name] = true
}

// parse reads the form. Its size, depth and anchors are looked at before the parser sees it: it would follow any depth.
func parse(body []byte) (f form, problem *Problem) {
	bad := func(format string, args ...any) (form, *Problem) {
		return f, &Problem{Code: BadDocument, Message: fmt.Sprintf(format, args...)}
	}
	defer func() { // the parser is other people's, the document is anybody's
		if why := recover(); why != nil {
			f, problem = bad("the document can't be read: %v", why)
		}
	}()
	if len(body) > MaxDocumentBytes {
		return bad("the document has %d bytes; the limit is %d", len(body), MaxDocumentBytes)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return bad("the document is empty")
	}
	if bytes.IndexByte(body, 0) >= 0 {
		return bad("the document has a NUL")
	}
	if why := tooDeep(body); why != "" {
		return bad("%s", why)
	}
	if err := yaml.UnmarshalWithOptions(body, &f, yaml.Strict()); err != nil {
		return bad("%s", strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	return f, nil
}

// tooDeep says what of the document's nesting is refused, or "".
func tooDeep(body []byte) string {
	flow, line, inLine := 0, 0, 0
	for _, t := range lexer.Tokenize(string(body)) {
		if t.Position != nil && t.Position.Line != line {
			line, inLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			inLine++
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DocumentHeaderType, token.DirectiveType:
			return fmt.Sprintf("line %d: anchors, aliases, tags and several documents are not read", line)
		}
		if flow > maxDepth || inLine > maxDepth || t.Position != nil && t.Position.IndentNum > 8*maxDepth {
			return fmt.Sprintf("line %d: it is nested deeper than %d", line, maxDepth)
		}
	}
	return ""
}
