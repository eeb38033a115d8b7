// Package routertest is what the router's rooms are tested with: a dataset, places that hold it (Memory, Servers), the
// suite that every router.Source passes (Exercise), and text scripts of router behaviour (Script).
//
// Memory is a Source over rows in memory. It obeys the contract of router.Source, and it can be told to fail.
package routertest
