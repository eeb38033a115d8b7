// Package strata is the module's root: it holds no code, only the test that keeps the floors of the rooms. README.md says
// what strata is and which rooms it has; each room's own doc.go is its specification.
package strata
