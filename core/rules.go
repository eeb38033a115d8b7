package core

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"strata/fault"
)

// The bounds of Settings. Natures: an entry's parts have to fit their column.
const (
	MaxLimits         = 200
	MaxRates          = 200
	MaxSwitches       = 200
	MaxStrategies     = 50
	MaxNatures        = 10  // of a strategy
	MaxNames          = 100 // kinds or products in one list
	MaxLimitNameBytes = 48
)

// Rules are Settings that were checked and made fast to look up. They are not changed, so they may be shared.
type Rules struct {
	settings   Settings
	limits     map[scopeKey][]*rule
	off        map[string][]Switch // by operation
	strategies map[string]*strategy
	accounts   bool // whether a limit is for accounts
}

// scopeKey says whom a limit is for: match "" is each of them.
type scopeKey struct{ scope, match string }

// rule is a Limit with its kinds as a set.
type rule struct {
	Limit
	kinds map[string]bool
	at    int // its place in the settings
}

// strategy is a Strategy with its natures as sets.
type strategy struct {
	fallback string
	natures  []natureRule
}

type natureRule struct {
	name            string
	refundOnly      bool
	kinds, products map[string]bool // nil: all
}

// Compile checks settings: fault.Invalid names every bad field and says what would be right.
func Compile(s Settings) (*Rules, error) {
	c := checker{}
	c.limits(s.Limits)
	c.rates(s.Rates)
	c.switches(s.Off)
	c.strategies(s.Strategies)
	if len(c.errs) > 0 {
		return nil, fault.Wrap(fault.Invalid, "check settings", errors.Join(c.errs...))
	}
	s = s.clone()
	r := &Rules{settings: s, limits: map[scopeKey][]*rule{}, off: map[string][]Switch{}, strategies: map[string]*strategy{}}
	for i, l := range s.Limits {
		key := scopeKey{l.Scope, l.Match}
		r.limits[key] = append(r.limits[key], &rule{l, set(l.Kinds), i})
		r.accounts = r.accounts || l.Scope == "account"
	}
	for _, o := range s.Off {
		r.off[o.Operation] = append(r.off[o.Operation], o)
	}
	for _, st := range s.Strategies {
		made := &strategy{fallback: st.Default}
		for _, n := range st.Natures {
			made.natures = append(made.natures, natureRule{n.Name, n.RefundOnly, set(n.Kinds), set(n.Products)})
		}
		r.strategies[st.Name] = made
	}
	return r, nil
}

// Settings is what the rules were made of.
func (r *Rules) Settings() Settings {
	if r == nil {
		return Settings{}
	}
	return r.settings.clone()
}

// HasStrategy reports whether there is a strategy of this name.
func (r *Rules) HasStrategy(name string) bool { return r.strategy(name) != nil }

func (r *Rules) strategy(name string) *strategy {
	if r == nil {
		return nil
	}
	return r.strategies[name]
}

func (s *strategy) has(nature string) bool {
	for i := range s.natures {
		if s.natures[i].name == nature {
			return true
		}
	}
	return false
}

// pays reports whether the nature may be debited for the operation and product.
func (n *natureRule) pays(kind, product string) bool {
	return !n.refundOnly && (n.kinds == nil || n.kinds[kind]) && (n.products == nil || n.products[product])
}

func set(names []string) map[string]bool {
	if len(names) == 0 {
		return nil
	}
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// checker collects what is wrong, field by field.
type checker struct{ errs []error }

func (c *checker) bad(field, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s %s", field, fmt.Sprintf(format, args...)))
}

// most reports whether a list is within its bound; beyond it, its elements are not looked at.
func (c *checker) most(field string, n, limit int) bool {
	if n > limit {
		c.bad(field, "has %d elements; at most %d are possible", n, limit)
	}
	return n <= limit
}

func (c *checker) text(field, s string, limit int) {
	if !visible(s, limit) {
		c.bad(field, "%q is not 1 to %d visible ASCII characters", s, limit)
	}
}

func (c *checker) names(field string, names []string, limit int) {
	if !c.most(field, len(names), MaxNames) {
		return
	}
	for i, n := range names {
		c.text(fmt.Sprintf("%s[%d]", field, i), n, limit)
	}
}

// once reports a name that stood there before.
func (c *checker) once(field, name string, seen map[string]bool) {
	if seen[name] {
		c.bad(field, "%q is there twice", name)
	}
	seen[name] = true
}

func (c *checker) limits(limits []Limit) {
	if !c.most("limits", len(limits), MaxLimits) {
		return
	}
	seen := map[string]bool{}
	for i, l := range limits {
		at := func(name string) string { return fmt.Sprintf("limits[%d].%s", i, name) }
		c.text(at("name"), l.Name, MaxLimitNameBytes)
		c.once(at("name"), l.Name, seen)
		c.match(at("match"), at("scope"), l)
		c.names(at("kinds"), l.Kinds, MaxKindBytes)
		if !ValidUnit(l.Unit) {
			c.bad(at("unit"), "%q is not 1 to 12 upper-case letters and digits", l.Unit)
		}
		switch l.Per {
		case "transfer":
			if l.MaxCount != nil {
				c.bad(at("max_count"), "is for a day or a month; this limit is per transfer")
			}
			if l.MaxAmount == nil {
				c.bad(at("max_amount"), "is missing")
			}
		case "day", "month":
			if l.MaxAmount == nil && l.MaxCount == nil {
				c.bad(at("max_amount"), "is missing, and max_count too")
			}
		default:
			c.bad(at("per"), "%q is not transfer, day or month", l.Per)
		}
		if l.MaxAmount != nil && *l.MaxAmount < 0 {
			c.bad(at("max_amount"), "%d is below 0", *l.MaxAmount)
		}
		if l.MaxCount != nil && *l.MaxCount < 0 {
			c.bad(at("max_count"), "%d is below 0", *l.MaxCount)
		}
	}
}

func (c *checker) match(field, scope string, l Limit) {
	switch l.Scope {
	case "account":
		if n, err := strconv.ParseInt(l.Match, 10, 64); l.Match != "" && (err != nil || n < 1 || strconv.FormatInt(n, 10) != l.Match) {
			c.bad(field, "%q is not an account's id", l.Match)
		}
	case "tenant", "operation":
		if l.Match != "" {
			c.text(field, l.Match, MaxTenantBytes) // as long as a kind
		}
	case "ledger":
		if l.Match != "" {
			c.bad(field, "%q is too much: there is one ledger", l.Match)
		}
	default:
		c.bad(scope, "%q is not account, tenant, operation or ledger", l.Scope)
	}
}

func (c *checker) rates(rates []Rate) {
	if !c.most("rates", len(rates), MaxRates) {
		return
	}
	seen := map[string]bool{}
	for i, r := range rates {
		at := func(name string) string { return fmt.Sprintf("rates[%d].%s", i, name) }
		c.text(at("name"), r.Name, MaxLimitNameBytes)
		c.once(at("name"), r.Name, seen)
		switch r.Key {
		case "account", "tenant", "operation", "client":
		default:
			c.bad(at("key"), "%q is not account, tenant, operation or client", r.Key)
		}
		if !(r.PerSecond > 0) || math.IsInf(r.PerSecond, 0) {
			c.bad(at("per_second"), "%v is not above 0", r.PerSecond)
		}
		if r.Burst < 1 {
			c.bad(at("burst"), "%d is below 1", r.Burst)
		}
	}
}

func (c *checker) switches(off []Switch) {
	if !c.most("off", len(off), MaxSwitches) {
		return
	}
	for i, o := range off {
		at := func(name string) string { return fmt.Sprintf("off[%d].%s", i, name) }
		c.text(at("operation"), o.Operation, MaxKindBytes)
		if o.Tenant != "" {
			c.text(at("tenant"), o.Tenant, MaxTenantBytes)
		}
		if o.Account < 0 {
			c.bad(at("account"), "%d is not an account's id", o.Account)
		}
	}
}

func (c *checker) strategies(all []Strategy) {
	if !c.most("strategies", len(all), MaxStrategies) {
		return
	}
	seen := map[string]bool{}
	for i, s := range all {
		at := func(name string) string { return fmt.Sprintf("strategies[%d].%s", i, name) }
		c.text(at("name"), s.Name, MaxStrategyBytes)
		c.once(at("name"), s.Name, seen)
		if len(s.Natures) == 0 {
			c.bad(at("natures"), "is empty")
		}
		if !c.most(at("natures"), len(s.Natures), MaxNatures) {
			continue
		}
		natures := map[string]bool{}
		for k, n := range s.Natures {
			of := func(name string) string { return fmt.Sprintf("strategies[%d].natures[%d].%s", i, k, name) }
			if !validNature(n.Name) {
				c.bad(of("name"), "%q is not 1 to %d visible ASCII characters without quote and backslash", n.Name, MaxNatureBytes)
			}
			c.once(of("name"), n.Name, natures)
			c.names(of("kinds"), n.Kinds, MaxKindBytes)
			c.names(of("products"), n.Products, MaxProductBytes)
			if n.RefundOnly && len(n.Kinds)+len(n.Products) > 0 {
				c.bad(of("refund_only"), "goes without kinds and products")
			}
		}
		if !natures[s.Default] {
			c.bad(at("default"), "%q is none of the natures", s.Default)
		}
	}
}

// period is the key of the limit's time that day is in.
func (l *Limit) period(day time.Time) string {
	if l.Per == "month" {
		return day.Format("2006-01")
	}
	return day.Format(time.DateOnly)
}
