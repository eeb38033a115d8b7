package jobs

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/fault"
)

func schedule(t interface {
	Helper()
	Fatal(...any)
}, text string) Schedule {
	t.Helper()
	s, err := ParseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

// between gives the slots of backward, oldest first.
func between(s Schedule, after, upTo time.Time) []Slot {
	slots := slices.Collect(s.backward(after, upTo))
	slices.Reverse(slots)
	return slots
}

func TestParseSchedule_refuses(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"nothing":                    {"", "time zone"},
		"no zone":                    {"30 2 * * *", "time zone is missing"},
		"a descriptor without zone":  {"@daily", "time zone is missing"},
		"the machine's zone":         {"TZ=Local 30 2 * * *", "must be named"},
		"an empty zone":              {"TZ= 30 2 * * *", "must be named"},
		"an unknown zone":            {"TZ=Europe/Nowhere 30 2 * * *", "Europe/Nowhere"},
		"four fields":                {"TZ=UTC 30 2 * *", "expected"},
		"seconds":                    {"TZ=UTC 0 30 2 * * *", "expected"},
		"a minute that isn't":        {"TZ=UTC 61 2 * * *", "61"},
		"two kinds of day":           {"TZ=UTC 0 0 13 * FRI", "both restricted"},
		"a day that never comes":     {"TZ=UTC 0 0 30 2 *", "never due"},
		"an interval with a zone":    {"TZ=UTC @every 5m", "no time zone"},
		"a short interval":           {"every 500ms", "whole seconds"},
		"a broken interval":          {"every 1500ms", "whole seconds"},
		"an interval beyond a day":   {"every 25h", "up to 24h"},
		"an interval that is no one": {"every day", "invalid duration"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseSchedule(c.text)
			if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want an invalid schedule with %q", err, c.says)
			}
		})
	}
}

func TestSchedule_next(t *testing.T) {
	for _, c := range []struct{ text, after, want string }{
		{"every 5m", "2026-05-17T10:02:00Z", "2026-05-17T10:05:00Z"},
		{"@every 5m", "2026-05-17T10:05:00Z", "2026-05-17T10:10:00Z"},
		{"every 7h", "1970-01-01T00:00:00Z", "1970-01-01T07:00:00Z"},
		{"TZ=UTC 30 2 * * *", "2026-05-17T02:29:59Z", "2026-05-17T02:30:00Z"},
		{"TZ=UTC 30 2 * * *", "2026-05-17T02:30:00Z", "2026-05-18T02:30:00Z"},
		{"CRON_TZ=Asia/Shanghai 30 0 * * *", "2026-05-17T00:00:00Z", "2026-05-17T16:30:00Z"},
		{"TZ=UTC @monthly", "2026-05-17T00:00:00Z", "2026-06-01T00:00:00Z"},
		{"TZ=UTC 0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"TZ=UTC 0 9 * * 7", "2026-05-17T10:00:00Z", "2026-05-24T09:00:00Z"},
	} {
		got, ok := schedule(t, c.text).Next(instant(t, c.after))
		if !ok || !got.At.Equal(instant(t, c.want)) {
			t.Errorf("%s after %s: got %s, want %s", c.text, c.after, got.At, c.want)
		}
	}
}

func TestSchedule_days_of_another_length(t *testing.T) {
	for name, c := range map[string]struct {
		text        string
		after, upTo string
		want        []string // instant, date
	}{
		"a skipped time is due after the gap": {"TZ=America/New_York 30 2 * * *", "2026-03-07T00:00:00Z", "2026-03-09T23:00:00Z",
			[]string{"2026-03-07T07:30:00Z 2026-03-07", "2026-03-08T07:00:00Z 2026-03-08", "2026-03-09T06:30:00Z 2026-03-09"}},
		"a repeated time is due once": {"TZ=America/New_York 30 1 * * *", "2026-10-31T00:00:00Z", "2026-11-02T23:00:00Z",
			[]string{"2026-10-31T05:30:00Z 2026-10-31", "2026-11-01T05:30:00Z 2026-11-01", "2026-11-02T06:30:00Z 2026-11-02"}},
		"a midnight that isn't there": {"TZ=America/Sao_Paulo 0 0 * * *", "2018-11-03T00:00:00Z", "2018-11-05T12:00:00Z",
			[]string{"2018-11-03T03:00:00Z 2018-11-03", "2018-11-04T03:00:00Z 2018-11-04", "2018-11-05T02:00:00Z 2018-11-05"}},
		"half an hour": {"TZ=Australia/Lord_Howe 15 2 * * *", "2026-10-03T00:00:00Z", "2026-10-04T18:00:00Z",
			[]string{"2026-10-03T15:30:00Z 2026-10-04", "2026-10-04T15:15:00Z 2026-10-05"}},
		"a date that isn't there keeps its key": {"TZ=Pacific/Apia 0 12 * * *", "2011-12-29T00:00:00Z", "2011-12-31T12:00:00Z",
			[]string{"2011-12-29T22:00:00Z 2011-12-29", "2011-12-30T10:00:00Z 2011-12-30", "2011-12-30T22:00:00Z 2011-12-31"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := schedule(t, c.text)
			var got []string
			for _, slot := range between(s, instant(t, c.after), instant(t, c.upTo)) {
				got = append(got, slot.At.Format(time.RFC3339)+" "+slot.Date.Format(time.DateOnly))
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

func zones() []string {
	return []string{"UTC", "America/New_York", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "Africa/Cairo"}
}

func drawSchedule(t *rapid.T) Schedule {
	if rapid.Bool().Draw(t, "interval") {
		return schedule(t, "every "+rapid.SampledFrom([]string{"7s", "1m", "5m", "7h", "24h"}).Draw(t, "every"))
	}
	line := rapid.SampledFrom([]string{"* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * *", "15,45 0-3 * * *", "59 23 * * *", "5 */6 * * MON-FRI", "0 0 1 * *"})
	return schedule(t, "TZ="+rapid.SampledFrom(zones()).Draw(t, "zone")+" "+line.Draw(t, "line"))
}

// A slot's instant is the first one at which the zone's clock shows its time or a later one: found here by watching the clock
// minute by minute through days in which zones change.
func TestSchedule_agrees_with_a_clock_that_is_watched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		if s.every > 0 {
			s = schedule(t, "TZ=Europe/Berlin */7 1-3 * * *")
		}
		from := rapid.SampledFrom([]time.Time{time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC), time.Date(2018, 11, 3, 0, 0, 0, 0, time.UTC),
			time.Date(2018, 2, 17, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC),
			time.Date(2011, 12, 29, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 23, 0, 0, 0, 0, time.UTC)}).Draw(t, "from").
			Add(time.Duration(rapid.IntRange(0, 1440).Draw(t, "minutes")) * time.Minute)
		upTo := from.Add(60 * time.Hour)
		var want []Slot
		seen := shows(from.Add(-3 * day).In(s.zone)) // the latest time shown so far
		for at := from.Add(-3 * day); !at.After(upTo); at = at.Add(time.Minute) {
			shown := shows(at.In(s.zone))
			for ; seen.Before(shown); seen = seen.Add(time.Minute) {
				next := seen.Add(time.Minute)
				if at.After(from) && s.matches(dateOf(next)) && slices.Contains(s.hours, next.Hour()) && slices.Contains(s.minutes, next.Minute()) {
					want = append(want, Slot{at, dateOf(next)})
				}
			}
		}
		got := between(s, from, upTo)
		if !slices.Equal(got, want) {
			t.Fatalf("%s from %s:\ngot  %v\nwant %v", s, from, got, want)
		}
		if n := s.count(from, upTo); n != int64(len(got)) {
			t.Fatalf("%s from %s: counted %d of %d", s, from, n, len(got))
		}
		at := from
		for _, slot := range got {
			if !slot.At.After(at) {
				continue // several slots on one instant
			}
			next, ok := s.Next(at)
			if !ok || !next.At.Equal(slot.At) {
				t.Fatalf("%s after %s: next is %v, want %v", s, at, next.At, slot.At)
			}
			at = slot.At
		}
	})
}

func TestSchedule_counts_long_times(t *testing.T) {
	for _, text := range []string{"every 67s", "TZ=Europe/Berlin 5,10 */6 * * MON-FRI", "TZ=America/New_York 30 2 * * *"} {
		s := schedule(t, text)
		after, upTo := instant(t, "2024-01-01T00:00:13Z"), instant(t, "2024-07-03T07:15:00Z")
		if got, want := s.count(after, upTo), int64(len(between(s, after, upTo))); got != want {
			t.Errorf("%s: counted %d, want %d", text, got, want)
		}
	}
	if got := schedule(t, "TZ=UTC 0 0 * * *").count(time.Time{}, instant(t, "2024-07-03T07:15:00Z")); got != lookBackDays {
		t.Errorf("counted %d slots of all times, want those of ten years", got)
	}
}
