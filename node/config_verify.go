package node

import (
	"errors"
	"time"

	"strata/sync/verify"
)

// Verify says how role sync proves the index all the time.
type Verify struct {
	// Every is from the beginning of one pass over all rows to the beginning of the next, such as 1h; off: none is begun. A
	// pass that takes longer is followed by the next at once. Default 1h.
	Every string `yaml:"every,omitempty"`
	// Repair: what differs is sent anew by the leader. Default true.
	Repair *bool `yaml:"repair,omitempty"`
	// Mode is fast (by row hash, and a sample by cell) or full (every cell). Default fast.
	Mode string `yaml:"mode,omitempty"`
	// Sample: in mode fast one of so many rows is compared cell by cell, other ones in each pass. Default 100.
	Sample int `yaml:"sample,omitempty"`
	// RowsPerSecond bounds what is read of live and archive; it is less where that takes more than a tenth of the time, and still less
	// where servers are busy. Default 10000.
	RowsPerSecond int `yaml:"rows_per_second,omitempty"`
	// MaxLagMs: nothing is read while a dataset's watermark is older, milliseconds: what the pipeline has no time for comes before
	// proof. A watermark that is not behind is up to a heartbeat old. Default: half a second
	// more than heartbeat_ms, and at least 1500.
	MaxLagMs int `yaml:"max_lag_ms,omitempty"`
	// SweepDays is how old the tombstone of a deleted row must be before it may be removed. Default 7.
	SweepDays int `yaml:"sweep_days,omitempty"`
}

// leastEvery bounds how often a pass may begin.
const leastEvery = time.Second

func (c *Verify) defaults(heartbeatMs int) {
	if c.Every == "" {
		c.Every = "1h"
	}
	if c.Repair == nil {
		yes := true
		c.Repair = &yes
	}
	if c.Mode == "" {
		c.Mode = string(verify.Fast)
	}
	def := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	def(&c.Sample, 100)
	def(&c.RowsPerSecond, 10_000)
	def(&c.MaxLagMs, max(heartbeatMs, 1000)+500)
	def(&c.SweepDays, 7)
}

// every is the interval; false: off.
func (c *Verify) every() (time.Duration, bool, error) {
	if c.Every == "off" {
		return 0, false, nil
	}
	d, err := time.ParseDuration(c.Every)
	if err == nil && d < leastEvery {
		err = errors.New("that is too often")
	}
	return d, true, err
}

func (c *Verify) check(list *problems) {
	if _, _, err := c.every(); err != nil {
		list.add("verify.every", "verify: every: %q is no time such as 1h or 90s, and not off", c.Every)
	}
	if _, err := verify.ParseMode(c.Mode); err != nil {
		list.add("verify.mode", "verify: mode: there is no %q; the modes are fast and full", c.Mode)
	}
	for _, v := range []struct {
		name  string
		value int
	}{{"sample", c.Sample}, {"rows_per_second", c.RowsPerSecond}, {"max_lag_ms", c.MaxLagMs}, {"sweep_days", c.SweepDays}} {
		if v.value < 1 {
			list.add("verify."+v.name, "verify: %s: %d is not positive", v.name, v.value)
		}
	}
}
