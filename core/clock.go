package core

import (
	"sync/atomic"
	"time"
)

// Clock is a clock that is set by hand: a load of past months runs on one. The zero value stands at 1970. It is safe for
// concurrent use.
type Clock struct{ micros atomic.Int64 }

// Set sets the clock, to the microsecond.
func (c *Clock) Set(t time.Time) { c.micros.Store(t.UnixMicro()) }

// Now is what it was set to, in UTC.
func (c *Clock) Now() time.Time { return time.UnixMicro(c.micros.Load()).UTC() }
