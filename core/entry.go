package core

// Entry is one leg that was applied.
type Entry struct {
	Account  int64
	Seq      int64
	Transfer string
	Leg      int // from 0
	Unit     string
	Amount   int64
	Before   int64
	After    int64
	Parts    []Part // of Amount by nature, where the account has a Strategy
}
