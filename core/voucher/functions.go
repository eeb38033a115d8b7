package voucher

import (
	"fmt"
	"strconv"
)

// function is one of the functions that need nothing of the event.
type function struct {
	name  string
	call  func(...any) (any, error)
	types []any
}

// functions are the integer functions of rules and cases.
func functions() []function {
	two := []any{new(func(Whole, Whole) Whole)}
	return []function{
		{"plus", pairwise(plus), two},
		{"minus", pairwise(minus), two},
		{"times", pairwise(times), two},
		{"neg", func(p ...any) (any, error) { return take1(p, func(a Whole) (Whole, error) { return minus(0, a) }) }, []any{new(func(Whole) Whole)}},
		{"abs", func(p ...any) (any, error) { return take1(p, absolute) }, []any{new(func(Whole) Whole)}},
		{"min", extreme(func(a, b Whole) bool { return a < b }), []any{new(func(Whole, ...Whole) Whole)}},
		{"max", extreme(func(a, b Whole) bool { return a > b }), []any{new(func(Whole, ...Whole) Whole)}},
		{"mul_div", mulDiv, []any{new(func(Whole, Whole, Whole, string) Whole)}},
		{"percent", percent, []any{new(func(Whole, Whole, string) Whole)}},
		{"share", share, []any{new(func(Whole, []any, Whole) Whole)}},
		{"number", number, []any{new(func(string) Whole)}},
	}
}

func wholes(p []any) ([]Whole, error) {
	out := make([]Whole, len(p))
	for i, v := range p {
		n, ok := v.(Whole)
		if !ok {
			return nil, fmt.Errorf("argument %d is not a whole number", i+1)
		}
		out[i] = n
	}
	return out, nil
}

func pairwise(f func(a, b Whole) (Whole, error)) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		a, ok := p[0].(Whole)
		b, ok2 := p[1].(Whole)
		if !ok || !ok2 {
			return nil, fmt.Errorf("whole numbers are wanted")
		}
		return f(a, b)
	}
}

func take1(p []any, f func(Whole) (Whole, error)) (any, error) {
	a, ok := p[0].(Whole)
	if !ok {
		return nil, fmt.Errorf("a whole number is wanted")
	}
	return f(a)
}

func absolute(a Whole) (Whole, error) {
	if a < 0 {
		return minus(0, a)
	}
	return a, nil
}

func extreme(better func(a, b Whole) bool) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		n, err := wholes(p)
		if err != nil {
			return nil, err
		}
		best := n[0]
		for _, v := range n[1:] {
			if better(v, best) {
				best = v
			}
		}
		return best, nil
	}
}

func mulDiv(p ...any) (any, error) {
	n, err := wholes(p[:3])
	if err != nil {
		return nil, err
	}
	mode, _ := p[3].(string)
	return MulDiv(n[0], n[1], n[2], Rounding(mode))
}

func percent(p ...any) (any, error) {
	n, err := wholes(p[:2])
	if err != nil {
		return nil, err
	}
	mode, _ := p[2].(string)
	return MulDiv(n[0], n[1], 10_000, Rounding(mode))
}

func share(p ...any) (any, error) {
	var weights []Whole
	switch list := p[1].(type) {
	case []Whole:
		weights = list
	case []any:
		if len(list) > maxShares {
			return nil, fmt.Errorf("%d weights are over %d", len(list), maxShares)
		}
		var err error
		if weights, err = wholes(list); err != nil {
			return nil, err
		}
	}
	n, err := wholes([]any{p[0], p[2]})
	if err != nil {
		return nil, err
	}
	return Share(n[0], weights, n[1])
}

// number reads a whole number from a text, such as a metadata value.
func number(p ...any) (any, error) {
	text, _ := p[0].(string)
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a whole number of 64 bits", text)
	}
	return n, nil
}
