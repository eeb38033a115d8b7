package core_test

import "math/big"

// wide128 is the test's own exact sum.
type wide128 struct{ big.Int }

func new128() *wide128 { return &wide128{} }

func (w *wide128) add(n int64) { w.Add(&w.Int, big.NewInt(n)) }
func (w *wide128) zero() bool  { return w.Sign() == 0 }
