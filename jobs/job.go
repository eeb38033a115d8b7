package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"strata/fault"
)

const (
	defaultTimeout     = time.Hour
	defaultMaxCatchUp  = 31
	defaultMaxAttempts = 5
	defaultBackoff     = 10 * time.Second
	defaultLate        = time.Minute
	defaultKeep        = 1000
	maxBackoff         = time.Hour
)

// Keyed says what makes two runs of a job the same run.
type Keyed uint8

// BySlot: the instant of the slot, "2026-05-17T02:30:00Z". ByDate: the business date, "2026-05-17", which is the slot's
// date on the schedule's clock plus Job.DayShift.
const (
	BySlot Keyed = iota
	ByDate
)

// CatchUp says what becomes of slots that nobody ran in their time: no process was there, the job was paused, or the run
// before took too long.
type CatchUp uint8

// CatchUpLast runs the newest of them. CatchUpNone runs the newest if it is not later than Job.Late. CatchUpAll runs them
// all in order, the newest Job.MaxCatchUp keys at most. What is not run is counted in Status.Passed.
const (
	CatchUpLast CatchUp = iota
	CatchUpNone
	CatchUpAll
)

// Job is one thing that is done on a schedule.
type Job struct {
	// Name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter; at most 64 bytes.
	Name string
	// Schedule is read by ParseSchedule.
	Schedule string
	Keyed    Keyed
	// DayShift is added to the slot's date: -1 where a run after midnight is for the day that has ended. Between -31 and 31.
	DayShift int
	CatchUp  CatchUp
	// MaxCatchUp bounds CatchUpAll, in keys. 0: 31. At most 366.
	MaxCatchUp int
	// Late bounds CatchUpNone. 0: 1 minute.
	Late time.Duration
	// Timeout ends the context of a run. 0: 1 hour.
	Timeout time.Duration
	// MaxAttempts is how often a key fails before it stays failed. 0: 5.
	MaxAttempts int
	// Backoff is the wait after the first failure; it doubles up to an hour. 0: 10 s.
	Backoff time.Duration
	// Keep is how many runs the history has. 0: 1,000. At least 400, so that CatchUpAll never meets its end.
	Keep int
	// Run does the work of one key and returns when ctx ends; the cause of ctx says why it did (ErrLost: somebody else
	// runs the job now). It may be called again for a key that it has done in part or, after a crash before its result
	// was recorded, in whole. A panic is a failure.
	Run func(ctx context.Context, due Due) (Result, error)
}

// Due is what a run is for.
type Due struct {
	Job  string
	Key  string
	Slot time.Time // the instant that it was due at
	Date time.Time // the business date, at midnight UTC
	// Attempt counts the starts of this key, from 1.
	Attempt int
	// Token rises with every start of the job, whatever the key: a store that remembers the highest it has seen can refuse
	// a runner that has lost its lease.
	Token  uint64
	Manual bool // started by RunNow
}

// Result is what a run wants to be remembered by.
type Result struct {
	Summary string          // one line, cut at 1,000 bytes
	Details json.RawMessage // nil: none; what is larger than 64 KiB or isn't JSON is left out, and the summary says so
}

// ErrLost is the cause that ends the context of a run whose lease was taken, or could not be renewed in time, and the
// error of a run whose result could not be recorded for that reason.
var ErrLost = errors.New("the lease is lost")

// job is a checked Job with its defaults.
type job struct {
	Job
	schedule Schedule
}

func newJob(j Job) (*job, error) {
	const op = "check job"
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, op, "%q: "+format, append([]any{j.Name}, args...)...))
	}
	schedule, err := ParseSchedule(j.Schedule)
	if err != nil {
		errs = append(errs, fmt.Errorf("%s %s: %w", op, j.Name, err))
	}
	if !validName(j.Name) {
		bad("the name must be 1 to 64 of a-z, 0-9, '.', '_', '-' and begin with a letter")
	}
	if len(j.Schedule) > 255 {
		bad("the schedule is longer than 255 bytes")
	}
	if j.Run == nil {
		bad("Run is missing")
	}
	if j.Keyed > ByDate || j.CatchUp > CatchUpAll {
		bad("keyed %d or catch-up %d isn't one of the constants", j.Keyed, j.CatchUp)
	}
	if j.DayShift < -31 || j.DayShift > 31 {
		bad("a day shift of %d isn't between -31 and 31", j.DayShift)
	}
	j.MaxCatchUp, j.MaxAttempts, j.Keep = orElse(j.MaxCatchUp, defaultMaxCatchUp), orElse(j.MaxAttempts, defaultMaxAttempts), orElse(j.Keep, defaultKeep)
	j.Late, j.Timeout, j.Backoff = orElse(j.Late, defaultLate), orElse(j.Timeout, defaultTimeout), orElse(j.Backoff, defaultBackoff)
	if j.MaxCatchUp < 1 || j.MaxCatchUp > 366 {
		bad("a catch-up of %d isn't between 1 and 366", j.MaxCatchUp)
	}
	if j.MaxAttempts < 1 || j.MaxAttempts > 1000 {
		bad("%d attempts isn't between 1 and 1000", j.MaxAttempts)
	}
	if j.Keep < 400 || j.Keep > 1_000_000 {
		bad("a history of %d isn't between 400 and 1,000,000", j.Keep)
	}
	if j.Late < 0 || j.Timeout < 0 || j.Backoff < 0 {
		bad("a duration is negative")
	}
	return &job{j, schedule}, errors.Join(errs...)
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

func validName(name string) bool {
	for i, c := range []byte(name) {
		lower := c >= 'a' && c <= 'z'
		if !lower && (i == 0 || !(c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')) {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// target is a key with what it stands for.
type target struct {
	key  string
	slot time.Time
	date time.Time // the business date
}

func (j *job) target(s Slot) target {
	t := target{slot: s.At, date: s.Date.AddDate(0, 0, j.DayShift)}
	t.key = s.At.Format(time.RFC3339)
	if j.Keyed == ByDate {
		t.key = t.date.Format(time.DateOnly)
	}
	return t
}

// plan says which keys of the slots after last, up to now, are to be run, in their order, and how many slots are passed
// over. All of them count as planned up to now.
func (j *job) plan(last, now time.Time) (targets []target, passed int64) {
	limit := 1
	if j.CatchUp == CatchUpAll {
		limit = j.MaxCatchUp
	}
	taken := int64(0)
	for slot := range j.schedule.backward(last, now) {
		t := j.target(slot)
		if n := len(targets); n > 0 && targets[n-1].key == t.key {
			targets[n-1] = t // the earliest slot of a key is its own
			taken++
			continue
		}
		if len(targets) == limit || j.CatchUp == CatchUpNone && now.Sub(slot.At) > j.Late {
			break
		}
		targets = append(targets, t)
		taken++
	}
	slices.Reverse(targets)
	return targets, j.schedule.count(last, now) - taken
}

// find makes the target of a key that was named by hand; "" is the newest slot's.
func (j *job) find(key string, now time.Time) (target, error) {
	const op = "find key"
	if key == "" {
		for slot := range j.schedule.backward(time.Time{}, now) {
			return j.target(slot), nil
		}
		return target{}, fault.New(fault.Invalid, op, "job %s has not been due in ten years", j.Name).WithHint("name a key")
	}
	if j.Keyed == ByDate {
		date, err := time.Parse(time.DateOnly, key)
		if err != nil || date.Year() < 1970 {
			return target{}, fault.New(fault.Invalid, op, "job %s runs by date, and %q isn't one from 1970 on", j.Name, key).WithHint("write it as 2026-05-17")
		}
		onClock := date.AddDate(0, 0, -j.DayShift)
		t := target{key: key, slot: first(onClock, 0, 0, j.schedule.zone), date: date}
		if j.schedule.perDay(onClock) > 0 {
			t.slot = j.schedule.slot(onClock, 0).At
		}
		return t, nil
	}
	at, err := time.Parse(time.RFC3339, key)
	if err != nil || at.Year() < 1970 {
		return target{}, fault.New(fault.Invalid, op, "job %s runs by due time, and %q isn't a time from 1970 on", j.Name, key).WithHint("write it as 2026-05-17T02:30:00Z")
	}
	slot, ok := j.schedule.Next(at.Add(-time.Nanosecond))
	if !ok || !slot.At.Equal(at) {
		return target{}, fault.New(fault.Invalid, op, "%s isn't a due time of job %s (%s)", key, j.Name, j.schedule).
			WithHint("the next one after it is %s", slot.At.Format(time.RFC3339))
	}
	return j.target(slot), nil
}

// backoff is the wait after so many failures.
func (j *job) backoff(failures int) time.Duration {
	wait := j.Backoff
	for range failures - 1 {
		if wait >= maxBackoff {
			break
		}
		wait *= 2
	}
	return min(wait, max(maxBackoff, j.Backoff))
}
