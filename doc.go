// Package strata is the module's root: it holds no code, only the tests that keep the floors of the rooms and the page of the
// laws. README.md says what strata is and which rooms it has; each room's own doc.go is its specification.
package strata
