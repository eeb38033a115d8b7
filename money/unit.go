package money

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"strata/fault"
)

// Unit is the code of a unit of money: an ISO 4217 code, or one that is declared.
type Unit string

// Info is what is known of a unit.
type Info struct {
	Code     Unit   `yaml:"code"`
	Numeric  int    `yaml:"-"`        // ISO's three-digit number, 0 for a declared unit
	Exponent int    `yaml:"exponent"` // digits after the point, 0 to 18
	Name     string `yaml:"name"`
}

// maxExponent keeps 1 whole unit within an Amount.
const maxExponent = 18

// Lookup finds an ISO 4217 unit; codes are upper case.
func Lookup(u Unit) (Info, bool) {
	i, ok := slices.BinarySearchFunc(isoUnits[:], u, func(e Info, u Unit) int { return strings.Compare(string(e.Code), string(u)) })
	if !ok {
		return Info{}, false
	}
	return isoUnits[i], true
}

// ISO lists the ISO 4217 units, by code.
func ISO() []Info { return slices.Clone(isoUnits[:]) }

// Units is ISO 4217 and the units that an installation declares. The zero value is ISO 4217 alone.
type Units struct {
	declared map[Unit]Info
}

// NewUnits adds declared units to ISO 4217. Errors, joined (fault.Invalid): a code that isn't 2 to 12 letters, digits,
// underscores or hyphens, a letter first; an exponent outside 0 to 18; a code twice; an ISO code with another exponent.
func NewUnits(declared []Info) (Units, error) {
	u := Units{declared: make(map[Unit]Info, len(declared))}
	code := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{1,11}$`)
	var errs []error
	for _, d := range declared {
		bad := func(format string, args ...any) {
			errs = append(errs, fault.New(fault.Invalid, "check unit "+string(d.Code), format, args...))
		}
		if !code.MatchString(string(d.Code)) {
			bad("%q is not 2 to 12 letters, digits, underscores or hyphens, a letter first", d.Code)
		}
		if d.Exponent < 0 || d.Exponent > maxExponent {
			bad("exponent %d is not 0 to %d", d.Exponent, maxExponent)
		}
		if _, twice := u.declared[d.Code]; twice {
			bad("it is declared twice")
		}
		if iso, ok := Lookup(d.Code); ok {
			if iso.Exponent != d.Exponent {
				bad("ISO 4217 gives it %d digits, not %d", iso.Exponent, d.Exponent)
			}
			d.Numeric = iso.Numeric
		}
		u.declared[d.Code] = d
	}
	if err := errors.Join(errs...); err != nil {
		return Units{}, err
	}
	return u, nil
}

// Lookup finds a unit, declared ones first.
func (u Units) Lookup(code Unit) (Info, bool) {
	if i, ok := u.declared[code]; ok {
		return i, true
	}
	return Lookup(code)
}

// Parse reads an amount such as "-12.34" with Units' exponent of code. Errors: fault.Invalid.
func (u Units) Parse(text string, code Unit) (Amount, error) {
	i, ok := u.Lookup(code)
	if !ok {
		return 0, unknown(code)
	}
	return i.Parse(text)
}

// Format writes an amount as Parse reads it. Errors: fault.Invalid for an unknown unit.
func (u Units) Format(a Amount, code Unit) (string, error) {
	i, ok := u.Lookup(code)
	if !ok {
		return "", unknown(code)
	}
	return i.Format(a), nil
}

// Parse reads an amount of an ISO 4217 unit. Errors: fault.Invalid.
func Parse(text string, code Unit) (Amount, error) { return Units{}.Parse(text, code) }

// Format writes an amount of an ISO 4217 unit. Errors: fault.Invalid.
func Format(a Amount, code Unit) (string, error) { return Units{}.Format(a, code) }

func unknown(code Unit) error {
	return fault.New(fault.Invalid, "find unit", "%q is neither an ISO 4217 code nor declared", string(code)).
		WithHint("declare the unit in the configuration: code, exponent, name")
}

// Format writes an amount in major units with all of the unit's digits: "-0.05", "12.340".
func (i Info) Format(a Amount) string { return i.place(a.String()) }

// FormatSum writes a sum like Format.
func (i Info) FormatSum(s Sum) string { return i.place(s.String()) }

// place puts the point into a text of minor units.
func (i Info) place(minor string) string {
	if i.Exponent == 0 {
		return minor
	}
	digits, negative := strings.CutPrefix(minor, "-")
	if short := i.Exponent + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	point := len(digits) - i.Exponent
	s := digits[:point] + "." + digits[point:]
	if negative {
		return "-" + s
	}
	return s
}

// Parse reads major units: digits, at most one point with at most the unit's digits after it, "-" or "+" first. Fewer
// digits after the point are fine. Errors: fault.Invalid; nothing is rounded.
func (i Info) Parse(text string) (Amount, error) {
	bad := func(why string) (Amount, error) {
		return 0, fault.New(fault.Invalid, "parse amount", "%q of %s %s", text, i.Code, why)
	}
	body := strings.TrimPrefix(text, "+")
	if len(body) == len(text) {
		body = strings.TrimPrefix(text, "-")
	}
	whole, fraction, point := strings.Cut(body, ".")
	if whole == "" || point && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return bad("is not an amount such as 12.34")
	}
	if len(fraction) > i.Exponent {
		return bad("has more digits after the point than the unit")
	}
	minor := whole + fraction + strings.Repeat("0", i.Exponent-len(fraction))
	if strings.HasPrefix(text, "-") {
		minor = "-" + minor
	}
	a, err := ParseMinor(minor)
	if err != nil {
		return bad("is over 64 bits")
	}
	return a, nil
}
