// Package indextest is the conformance suite of strata/index: Run checks an implementation sentence by sentence, and
// against a model (catalog's own Filter.Accepts, Compare and CompareRows over rows in memory) on random rows, filters,
// orders and pages. Same holds two implementations to each other over thousands of rows.
//
// What it does not do: it checks no speed, and no crash (an implementation's own tests do).
package indextest
