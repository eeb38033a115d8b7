package jobs

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/fault"
)

func nothing(context.Context, Due) (Result, error) { return Result{}, nil }

func checked(t interface {
	Helper()
	Fatal(...any)
}, j Job) *job {
	t.Helper()
	if j.Run == nil {
		j.Run = nothing
	}
	c, err := newJob(j)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func keys(targets []target) []string {
	var out []string
	for _, t := range targets {
		out = append(out, t.key)
	}
	return out
}

// Whatever the ticks, every slot is planned exactly once and in order, or counted as passed over.
func TestPlan_every_slot_once_in_order_whatever_the_ticks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		j := checked(t, Job{Name: "j", Schedule: s.String(), CatchUp: CatchUpAll, MaxCatchUp: rapid.IntRange(1, 366).Draw(t, "max")})
		begin := time.Date(2026, 3, 6, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 400*86400).Draw(t, "begin")) * time.Second)
		at := begin
		var got []string
		var lastSlot time.Time
		passedBefore := make(map[string]bool)
		for range rapid.IntRange(1, 8).Draw(t, "ticks") {
			next := at.Add(time.Duration(rapid.IntRange(0, 3*86400).Draw(t, "wait")) * time.Second)
			targets, passed := j.plan(at, next)
			all := between(s, at, next)
			if len(targets) > j.MaxCatchUp || int64(len(all)) < passed {
				t.Fatalf("%d planned of at most %d, %d passed of %d", len(targets), j.MaxCatchUp, passed, len(all))
			}
			for _, slot := range all[:passed] {
				passedBefore[j.target(slot).key] = true
			}
			if len(all) == 0 && (len(targets) > 0 || passed != 0) {
				t.Fatal("something was planned of nothing")
			}
			for _, target := range targets {
				if !target.slot.After(lastSlot) || !target.slot.After(at) || target.slot.After(next) {
					t.Fatalf("%s is out of order or not due", target.key)
				}
				lastSlot = target.slot
				got = append(got, target.key)
			}
			at = next
		}
		var want []string
		for _, slot := range between(s, begin, at) {
			key := j.target(slot).key
			if !passedBefore[key] && (len(want) == 0 || want[len(want)-1] != key) {
				want = append(want, key)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s from %s to %s:\ngot  %v\nwant %v", s, begin, at, got, want)
		}
	})
}

func TestPlan_by_date_every_date_once(t *testing.T) {
	for _, zone := range zones() {
		for _, line := range []string{"0 0 * * *", "30 2 * * *", "30 23 * * *", "0 * * * *"} {
			j := checked(t, Job{Name: "j", Schedule: "TZ=" + zone + " " + line, Keyed: ByDate, DayShift: -1, CatchUp: CatchUpAll, MaxCatchUp: 366})
			from, to := instant(t, "2026-01-15T12:00:00Z"), instant(t, "2026-12-15T12:00:00Z")
			targets, passed := j.plan(from, to)
			got := keys(targets)
			first, last := targets[0].date, targets[len(targets)-1].date
			if days := int(last.Sub(first)/day) + 1; days != len(got) || days < 333 || passed != 0 {
				t.Errorf("%s: %d dates of %d days, %d passed", j.schedule, len(got), days, passed)
			}
			if !slices.IsSorted(got) || len(slices.Compact(got)) != len(targets) {
				t.Errorf("%s: dates out of order or twice", j.schedule)
			}
		}
	}
}

func TestPlan_catch_up(t *testing.T) {
	last, now := instant(t, "2026-05-10T01:00:00Z"), instant(t, "2026-05-17T01:00:30Z")
	for name, c := range map[string]struct {
		edit   func(*Job)
		want   []string
		passed int64
	}{
		"last: the newest":            {func(*Job) {}, []string{"2026-05-17"}, 6},
		"none: the newest in time":    {func(j *Job) { j.CatchUp = CatchUpNone }, []string{"2026-05-17"}, 6},
		"none: not what is late":      {func(j *Job) { j.CatchUp, j.Late = CatchUpNone, 29*time.Second }, nil, 7},
		"all: the newest, up to some": {func(j *Job) { j.CatchUp, j.MaxCatchUp = CatchUpAll, 3 }, []string{"2026-05-15", "2026-05-16", "2026-05-17"}, 4},
		"by slot":                     {func(j *Job) { j.Keyed = BySlot }, []string{"2026-05-17T01:00:00Z"}, 6},
		"the day before":              {func(j *Job) { j.DayShift = -1 }, []string{"2026-05-16"}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			j := Job{Name: "j", Schedule: "TZ=UTC 0 1 * * *", Keyed: ByDate}
			c.edit(&j)
			targets, passed := checked(t, j).plan(last, now)
			if got := keys(targets); !slices.Equal(got, c.want) || passed != c.passed {
				t.Fatalf("got %v and %d passed, want %v and %d", got, passed, c.want, c.passed)
			}
		})
	}
}

func TestPlan_a_key_is_due_at_its_earliest_slot(t *testing.T) {
	j := checked(t, Job{Name: "j", Schedule: "TZ=UTC 0 6-9 * * *", Keyed: ByDate, CatchUp: CatchUpAll})
	targets, passed := j.plan(instant(t, "2026-05-10T01:00:00Z"), instant(t, "2026-05-11T07:00:00Z"))
	if len(targets) != 2 || passed != 0 || !targets[0].slot.Equal(instant(t, "2026-05-10T06:00:00Z")) || !targets[1].slot.Equal(instant(t, "2026-05-11T06:00:00Z")) {
		t.Fatalf("got %+v, %d passed", targets, passed)
	}
}

func TestJob_refused(t *testing.T) {
	for name, edit := range map[string]func(*Job){
		"no name":              func(j *Job) { j.Name = "" },
		"capitals":             func(j *Job) { j.Name = "Cut" },
		"a digit first":        func(j *Job) { j.Name = "1cut" },
		"a name that is long":  func(j *Job) { j.Name = strings.Repeat("a", 65) },
		"a formatting verb":    func(j *Job) { j.Name = "%d" },
		"no run":               func(j *Job) { j.Run = nil },
		"no schedule":          func(j *Job) { j.Schedule = "" },
		"an unknown key":       func(j *Job) { j.Keyed = 9 },
		"an unknown catch-up":  func(j *Job) { j.CatchUp = 9 },
		"a catch-up of 367":    func(j *Job) { j.MaxCatchUp = 367 },
		"negative attempts":    func(j *Job) { j.MaxAttempts = -1 },
		"a negative timeout":   func(j *Job) { j.Timeout = -1 },
		"a far day":            func(j *Job) { j.DayShift = 32 },
		"a history of nothing": func(j *Job) { j.Keep = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			j := Job{Name: "cut", Schedule: "every 5m", Run: nothing}
			edit(&j)
			if _, err := newJob(j); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "%!") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestFind(t *testing.T) {
	now := instant(t, "2026-05-17T12:00:00Z")
	byDate := checked(t, Job{Name: "d", Schedule: "TZ=Asia/Shanghai 30 0 * * MON-FRI", Keyed: ByDate, DayShift: -1})
	bySlot := checked(t, Job{Name: "s", Schedule: "every 5m"})
	for _, c := range []struct {
		j                     *job
		key, found, slot, day string
	}{
		{byDate, "", "2026-05-14", "2026-05-14T16:30:00Z", "2026-05-14"},
		{byDate, "2026-05-10", "2026-05-10", "2026-05-10T16:30:00Z", "2026-05-10"},
		{byDate, "2026-05-16", "2026-05-16", "2026-05-16T16:00:00Z", "2026-05-16"}, // not a slot's date: its midnight
		{bySlot, "", "2026-05-17T12:00:00Z", "2026-05-17T12:00:00Z", "2026-05-17"},
		{bySlot, "2026-05-17T09:05:00+02:00", "2026-05-17T07:05:00Z", "2026-05-17T07:05:00Z", "2026-05-17"},
		{byDate, "yesterday", "", "", ""}, {byDate, "2026-02-30", "", "", ""}, {byDate, "1969-12-31", "", "", ""},
		{bySlot, "2026-05-17", "", "", ""}, {bySlot, "2026-05-17T07:06:00Z", "", "", ""},
	} {
		got, err := c.j.find(c.key, now)
		if c.found == "" {
			if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
				t.Errorf("%s: got %v", c.key, err)
			}
			continue
		}
		if err != nil || got.key != c.found || !got.slot.Equal(instant(t, c.slot)) || got.date.Format(time.DateOnly) != c.day {
			t.Errorf("%s: got %+v, %v", c.key, got, err)
		}
	}
}

func TestBackoff_doubles_to_an_hour(t *testing.T) {
	j := checked(t, Job{Name: "j", Schedule: "every 5m"})
	for failures, want := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 4: 80 * time.Second, 12: time.Hour, 1000: time.Hour} {
		if got := j.backoff(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}
