// Package money is exact money: whole minor units in an int64, their units, checked arithmetic and 128-bit sums.
//
// Purpose: no float and no silent overflow anywhere between a ledger row and a printed statement (law L8).
//
// Guarantees:
//   - Add, Sub and Neg return fault.Invalid instead of wrapping. A Sum holds more than 2^63 amounts of any size.
//   - Parse and Format are inverse for every Amount and Unit; Parse refuses digits that the unit doesn't have rather than
//     rounding.
//   - An amount has meaning with its unit only; nothing here adds amounts of two units, since the caller keys sums by unit.
//
// Units: the ISO 4217 codes with a minor unit (list one, with XCG and ZWG, and the funds codes) and what an installation
// declares itself, such as points. Declared ones may not redefine an ISO code with another exponent.
//
// What it does not do: exchange rates, rounding, locales, historic codes.
package money
