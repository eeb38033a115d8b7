package catalog

import (
	"fmt"
	"math"
	"strings"
	"time"

	"strata/fault"
)

// Instant is a point of time: microseconds since 1970-01-01 00:00:00 UTC.
type Instant int64

// The ends of time, used for ranges without a bound.
const (
	MinInstant Instant = math.MinInt64
	MaxInstant Instant = math.MaxInt64
)

// At is the Instant of t.
func At(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Time is the instant as a time.Time in UTC.
func (i Instant) Time() time.Time { return time.UnixMicro(int64(i)).UTC() }

// String prints the instant as a date where it is a midnight, else to the microsecond; "-inf" and "+inf" at the ends.
func (i Instant) String() string {
	switch i {
	case MinInstant:
		return "-inf"
	case MaxInstant:
		return "+inf"
	}
	t := i.Time()
	if t.Truncate(24 * time.Hour).Equal(t) {
		return t.Format("2006-01-02")
	}
	return t.Format("2006-01-02 15:04:05.000000")
}

// Range is half-open: From <= t < To.
type Range struct{ From, To Instant }

// All is the range that holds every instant.
func All() Range { return Range{MinInstant, MaxInstant} }

// Contains reports whether t lies in the range.
func (r Range) Contains(t Instant) bool { return r.From <= t && t < r.To }

// String is "from..to".
func (r Range) String() string { return r.From.String() + ".." + r.To.String() }

// Interval is the length of a shard.
type Interval uint8

// The intervals. The zero value is none.
const (
	_ Interval = iota
	Daily
	Weekly
	Monthly
	Yearly
)

// ParseInterval reads day, week, month or year.
func ParseInterval(s string) (Interval, error) {
	switch s {
	case "day":
		return Daily, nil
	case "week":
		return Weekly, nil
	case "month":
		return Monthly, nil
	case "year":
		return Yearly, nil
	}
	return 0, fault.New(fault.Invalid, "parse interval", "%q is not day, week, month or year", s)
}

// String is the interval's name.
func (v Interval) String() string {
	return [...]string{"none", "day", "week", "month", "year"}[v]
}

// floor is the start of the interval that holds t.
func (v Interval) floor(t time.Time) time.Time {
	y, m, d := t.Date()
	switch v {
	case Daily:
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	case Weekly:
		back := (int(t.Weekday()) + 6) % 7 // Monday is 0
		return time.Date(y, m, d-back, 0, 0, 0, 0, time.UTC)
	case Monthly:
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	default:
		return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)
	}
}

func (v Interval) next(start time.Time) time.Time {
	switch v {
	case Daily:
		return start.AddDate(0, 0, 1)
	case Weekly:
		return start.AddDate(0, 0, 7)
	case Monthly:
		return start.AddDate(0, 1, 0)
	default:
		return start.AddDate(1, 0, 0)
	}
}

func (v Interval) suffix(start time.Time) string {
	switch v {
	case Daily, Weekly:
		return start.Format("20060102")
	case Monthly:
		return start.Format("200601")
	default:
		return start.Format("2006")
	}
}

// Step is one line of a Scheme: from this instant on, shards have this interval. From must be a start of both its own
// interval and the one before it, so that no shard is cut.
type Step struct {
	From     Instant
	Interval Interval
}

// Scheme is the list of steps, ascending; the first step's interval also holds before its From. Empty: unsharded.
type Scheme []Step

// Validate reports what is wrong: steps not ascending, or a boundary that would cut a shard.
func (s Scheme) Validate() error {
	for i, st := range s {
		if st.Interval < Daily || st.Interval > Yearly {
			return fault.New(fault.Invalid, "check shard scheme", "step %d has no interval", i+1)
		}
		if i == 0 {
			continue
		}
		if st.From <= s[i-1].From {
			return fault.New(fault.Invalid, "check shard scheme", "step %d does not start after step %d", i+1, i)
		}
		f := st.From.Time()
		if !st.Interval.floor(f).Equal(f) || !s[i-1].Interval.floor(f).Equal(f) {
			return fault.New(fault.Invalid, "check shard scheme", "%s is not the start of both a %s and a %s", st.From, s[i-1].Interval, st.Interval)
		}
	}
	return nil
}

func (s Scheme) at(t Instant) Interval {
	v := s[0].Interval
	for _, st := range s[1:] {
		if t < st.From {
			break
		}
		v = st.Interval
	}
	return v
}

// Shard is one physical table of a dataset for a half-open time range.
type Shard struct {
	Dataset string
	Table   string // physical name in its store's schema
	Range   Range
	Late    bool
}

// ShardAt is the shard that holds t by the scheme; for an unsharded dataset its only table.
func (d *Dataset) ShardAt(t Instant) Shard {
	if !d.Sharded() {
		return Shard{Dataset: d.Name, Table: d.Table, Range: All()}
	}
	v := d.Scheme.at(t)
	start := v.floor(t.Time())
	return Shard{Dataset: d.Name, Table: d.Table + "_" + v.suffix(start), Range: Range{At(start), At(v.next(start))}}
}

// LateShard is the n-th late shard.
func (d *Dataset) LateShard(n int) Shard {
	return Shard{Dataset: d.Name, Table: fmt.Sprintf("%s_late_%d", d.Table, n), Range: All(), Late: true}
}

// ShardOf recognises a physical table name as a shard of the dataset. Names that only look similar are not shards: the
// suffix must be exactly what the scheme gives for its time.
func (d *Dataset) ShardOf(table string) (Shard, bool) {
	if !d.Sharded() {
		return Shard{Dataset: d.Name, Table: d.Table, Range: All()}, table == d.Table
	}
	suffix, ok := strings.CutPrefix(table, d.Table+"_")
	if !ok {
		return Shard{}, false
	}
	if n, late := strings.CutPrefix(suffix, "late_"); late {
		var i int
		if _, err := fmt.Sscanf(n, "%d", &i); err != nil || i < 1 || fmt.Sprint(i) != n {
			return Shard{}, false
		}
		return d.LateShard(i), true
	}
	layout := map[int]string{8: "20060102", 6: "200601", 4: "2006"}[len(suffix)]
	if layout == "" {
		return Shard{}, false
	}
	t, err := time.Parse(layout, suffix)
	if err != nil {
		return Shard{}, false
	}
	s := d.ShardAt(At(t))
	return s, s.Table == table
}

// InstantOf reads a DATE, DATETIME or TIMESTAMP cell. ok is false for NULL, zero dates and other kinds.
func InstantOf(t Type, cell []byte) (Instant, bool) {
	if cell == nil || !t.Kind.Temporal() || len(cell) < 10 {
		return 0, false
	}
	n := func(from, to int) int {
		v := 0
		for _, c := range cell[from:to] {
			if c < '0' || c > '9' {
				return -1
			}
			v = v*10 + int(c-'0')
		}
		return v
	}
	y, mo, d := n(0, 4), n(5, 7), n(8, 10)
	if y < 0 || mo < 1 || mo > 12 || d < 1 || d > 31 {
		return 0, false
	}
	var h, mi, s, us int
	if len(cell) >= 19 {
		h, mi, s = n(11, 13), n(14, 16), n(17, 19)
		if len(cell) > 20 {
			us = n(20, len(cell))
			for i := len(cell) - 20; i < 6; i++ {
				us *= 10
			}
		}
	}
	if h < 0 || mi < 0 || s < 0 || us < 0 {
		return 0, false
	}
	return At(time.Date(y, time.Month(mo), d, h, mi, s, us*1000, time.UTC)), true
}

// AppendInstant appends the instant as the canonical text of a temporal column type.
func AppendInstant(dst []byte, t Type, i Instant) []byte {
	layout := "2006-01-02 15:04:05"
	if t.Kind == Date {
		layout = "2006-01-02"
	} else if t.FSP > 0 {
		layout += "." + strings.Repeat("0", t.FSP)
	}
	return i.Time().AppendFormat(dst, layout)
}
