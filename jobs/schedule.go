package jobs

import (
	"errors"
	"fmt"
	"iter"
	"sort"
	"strings"
	"time"

	cron "github.com/netresearch/go-cron"

	"strata/fault"
)

const (
	day          = 24 * time.Hour
	searchDays   = 9 * 366 // two 29ths of February are at most 8 years apart
	lookBackDays = 3653    // slots older than ten years are forgotten
)

// Schedule says when a job is due. ParseSchedule makes one; the zero value is never due. It is immutable.
type Schedule struct {
	text           string
	every          time.Duration // an interval; 0: by the calendar below
	zone           *time.Location
	hours, minutes []int // ascending
	days, months   uint64
	weekdays       uint64
}

// Slot is one due time. At is the instant. Date is the slot's date on the schedule's own clock, at midnight UTC; for an
// interval that clock is UTC.
type Slot struct {
	At   time.Time
	Date time.Time
}

// ParseSchedule reads "every 5m" (whole seconds, up to a day, counted from 1970 in UTC, so that all processes agree) or a
// crontab line after its time zone: "TZ=Asia/Shanghai 30 0 * * *", "TZ=UTC @daily". The zone must be named. A line that
// restricts both the day of month and the day of week is refused, since crons differ on what that means, and so is one
// that is never due. Errors: Invalid.
func ParseSchedule(text string) (Schedule, error) {
	s, err := parse(text)
	if err != nil {
		return Schedule{}, fault.New(fault.Invalid, "read schedule", "%q: %w", text, err).
			WithHint("write an interval such as \"every 5m\", or a zone and five fields such as \"TZ=UTC 30 2 * * *\"")
	}
	s.text = text
	return s, nil
}

// String is the text that the schedule was read from.
func (s Schedule) String() string { return s.text }

// Next is the first slot after an instant. False: never, or not within nine years.
func (s Schedule) Next(after time.Time) (Slot, bool) {
	if s.every > 0 {
		at := s.floor(after).Add(s.every)
		return Slot{at, dateOf(at)}, true
	}
	if s.zone == nil {
		return Slot{}, false
	}
	date := dateOf(after.In(s.zone)).Add(-day)
	for range searchDays {
		if n := s.until(date, after); n < s.perDay(date) {
			return s.slot(date, n), true
		}
		date = date.Add(day)
	}
	return Slot{}, false
}

// backward yields the slots after one instant up to and with another, the newest first, at most ten years back.
func (s Schedule) backward(after, upTo time.Time) iter.Seq[Slot] {
	after = clamp(after, upTo)
	return func(yield func(Slot) bool) {
		if s.every > 0 {
			for at := s.floor(upTo); at.After(after); at = at.Add(-s.every) {
				if !yield(Slot{at, dateOf(at)}) {
					return
				}
			}
			return
		}
		if s.zone == nil {
			return
		}
		first := dateOf(after.In(s.zone)).Add(-2 * day)
		for date := dateOf(upTo.In(s.zone)).Add(day); !date.Before(first); date = date.Add(-day) {
			for i, end := s.until(date, upTo)-1, s.until(date, after); i >= end; i-- {
				if !yield(s.slot(date, i)) {
					return
				}
			}
		}
	}
}

// count is the number of slots that backward yields.
func (s Schedule) count(after, upTo time.Time) int64 {
	after = clamp(after, upTo)
	if s.every > 0 {
		return max(0, int64(s.floor(upTo).Sub(s.floor(after))/s.every))
	}
	if s.zone == nil {
		return 0
	}
	n := int64(0)
	for date := dateOf(after.In(s.zone)).Add(-2 * day); !date.After(dateOf(upTo.In(s.zone)).Add(day)); date = date.Add(day) {
		n += int64(s.until(date, upTo) - s.until(date, after))
	}
	return n
}

// slot is the i-th slot of a calendar day of the schedule's zone; its instant does not fall as i rises.
func (s Schedule) slot(date time.Time, i int) Slot {
	return Slot{first(date, s.hours[i/len(s.minutes)], s.minutes[i%len(s.minutes)], s.zone), date}
}

// until is the number of slots of a calendar day that are not after t.
func (s Schedule) until(date, t time.Time) int {
	return sort.Search(s.perDay(date), func(i int) bool { return s.slot(date, i).At.After(t) })
}

// perDay is the number of slots of a calendar day.
func (s Schedule) perDay(date time.Time) int {
	if !s.matches(date) {
		return 0
	}
	return len(s.hours) * len(s.minutes)
}

func (s Schedule) matches(date time.Time) bool {
	return s.months>>uint(date.Month())&1 == 1 && s.days>>uint(date.Day())&1 == 1 && s.weekdays>>uint(date.Weekday())&1 == 1
}

// floor is the newest slot of an interval that is not after t.
func (s Schedule) floor(t time.Time) time.Time {
	secs, every := t.Unix(), int64(s.every/time.Second)
	rest := secs % every
	if rest < 0 {
		rest += every
	}
	return time.Unix(secs-rest, 0).UTC()
}

// first is the first instant at which the zone's clock shows the time given, or a later one: a time that is skipped is the
// instant after the gap, a time that is shown twice is its first showing. It never falls while the time rises.
func first(date time.Time, hour, minute int, zone *time.Location) time.Time {
	y, mon, d := date.Date()
	want := time.Date(y, mon, d, hour, minute, 0, 0, time.UTC) // the shown time, as if it were UTC
	t := time.Date(y, mon, d, hour, minute, 0, 0, zone)
	begin, end := t.ZoneBounds()
	switch shown := shows(t); {
	case shown.After(want): // in a gap, and t behind it
		return begin.UTC()
	case shown.Before(want): // in a gap, and t before it
		return end.UTC()
	}
	if begin.IsZero() {
		return t.UTC()
	}
	// The offset before the last change may show the same time earlier.
	_, offset := begin.Add(-time.Second).Zone()
	if earlier := want.Add(-time.Duration(offset) * time.Second); earlier.Before(begin) {
		return earlier
	}
	return t.UTC()
}

// shows is what t's clock shows, as if it were UTC.
func shows(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

func dateOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func clamp(after, upTo time.Time) time.Time {
	if oldest := upTo.Add(-lookBackDays * day); after.Before(oldest) {
		return oldest
	}
	return after
}

func parse(text string) (Schedule, error) {
	for _, prefix := range []string{"every ", "@every "} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return parseEvery(strings.TrimSpace(rest))
		}
	}
	zone, fields, ok := strings.Cut(text, " ")
	name := strings.TrimPrefix(strings.TrimPrefix(zone, "CRON_"), "TZ=")
	switch {
	case !ok || name == zone:
		return Schedule{}, errors.New("the time zone is missing")
	case name == "Local" || name == "":
		return Schedule{}, errors.New("the time zone must be named, so that it is the same on every machine")
	case strings.Contains(fields, "@every"):
		return Schedule{}, errors.New("an interval has no time zone")
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	if err != nil {
		return Schedule{}, err
	}
	parsed, err := parser.Parse(text)
	if err != nil {
		return Schedule{}, err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Schedule{}, fmt.Errorf("a schedule of type %T", parsed)
	}
	const star = 1 << 63 // go-cron's mark of a field that was not restricted
	if spec.Dom&star == 0 && spec.Dow&star == 0 {
		return Schedule{}, errors.New("the day of month and the day of week are both restricted, which crons take as and, or as or")
	}
	s := Schedule{zone: spec.Location, hours: bits(spec.Hour, 23), minutes: bits(spec.Minute, 59),
		days: spec.Dom, months: spec.Month, weekdays: cron.NormalizeDOW(spec.Dow)}
	if _, ok := s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); !ok {
		return Schedule{}, errors.New("it is never due")
	}
	return s, nil
}

func parseEvery(text string) (Schedule, error) {
	every, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return Schedule{}, err
	case every < time.Second || every > day || every%time.Second != 0:
		return Schedule{}, errors.New("an interval is a number of whole seconds up to 24h")
	}
	return Schedule{every: every, zone: time.UTC}, nil
}

func bits(set uint64, last int) []int {
	var out []int
	for i := range last + 1 {
		if set>>uint(i)&1 == 1 {
			out = append(out, i)
		}
	}
	return out
}
