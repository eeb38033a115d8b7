package mysql

import (
	"fmt"
	"testing"

	"strata/core"
)

// TestL12_a_guess_sees_what_another_process_changed: this process guesses from what its own last batches left; whatever
// another one changed meanwhile, the answer and the rows are those of the truth.
func TestL12_a_guess_sees_what_another_process_changed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s start, other *running)
		pay    [2]int64 // from, to: 30
		want   core.Code
	}{
		"what is reserved of the payer": {func(t *testing.T, s start, o *running) {
			x := move("try", s.clock.Now(), 5, 1, 80)
			x.Action = core.Try
			wantApplied(t, o, x)
		}, [2]int64{5, 6}, core.BelowMinimum},
		"what is reserved for the payee": {func(t *testing.T, s start, o *running) {
			x := move("try", s.clock.Now(), 1, 6, 80)
			x.Action = core.Try
			wantApplied(t, o, x)
		}, [2]int64{5, 6}, core.AboveMaximum},
		"the minimum": {func(t *testing.T, _ start, o *running) {
			if err := o.SetBounds(t.Context(), 5, ptr(int64(71)), nil); err != nil {
				t.Fatal(err)
			}
		}, [2]int64{5, 6}, core.BelowMinimum},
		"the maximum": {func(t *testing.T, _ start, o *running) {
			if err := o.SetBounds(t.Context(), 6, ptr(int64(0)), ptr(int64(129))); err != nil {
				t.Fatal(err)
			}
		}, [2]int64{5, 6}, core.AboveMaximum},
		"no minimum any more": {func(t *testing.T, _ start, o *running) {
			if err := o.SetBounds(t.Context(), 7, nil, nil); err != nil {
				t.Fatal(err)
			}
		}, [2]int64{7, 5}, ""},
		"the state": {func(t *testing.T, _ start, o *running) {
			if err := o.SetState(t.Context(), 6, core.Frozen); err != nil {
				t.Fatal(err)
			}
		}, [2]int64{5, 6}, core.AccountFrozen},
		"the settings": {func(t *testing.T, _ start, o *running) {
			off := core.Settings{Off: []core.Switch{{Operation: "k", Account: 5}}}
			if _, err := o.PutSettings(t.Context(), 0, off, "ops", ""); err != nil {
				t.Fatal(err)
			}
		}, [2]int64{5, 6}, core.SwitchedOff},
		"the number of entries alone": {func(t *testing.T, s start, o *running) {
			wantApplied(t, o, move("there", s.clock.Now(), 5, 6, 1), move("back", s.clock.Now(), 6, 5, 1))
		}, [2]int64{5, 6}, ""},
		"the balance": {func(t *testing.T, s start, o *running) {
			wantApplied(t, o, move("spent", s.clock.Now(), 5, 1, 71))
		}, [2]int64{5, 6}, core.BelowMinimum},
		"the mode": {func(t *testing.T, s start, o *running) { // the row stays as it is
			switchTo(t, o, 7, core.Buffered)
			wantApplied(t, o, move("waits", s.clock.Now(), 1, 7, 30))
		}, [2]int64{7, 5}, ""},
		"the day": {func(t *testing.T, s start, o *running) {
			if err := o.CutDay(t.Context(), core.Date(s.clock.Now()).AddDate(0, 0, 1)); err != nil {
				t.Fatal(err)
			}
		}, [2]int64{5, 6}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, both := two(t)
			l, other := both[0], both[1]
			if err := l.SetBounds(t.Context(), 6, ptr(int64(0)), ptr(int64(200))); err != nil {
				t.Fatal(err)
			}
			for _, id := range []int64{5, 6} {
				wantApplied(t, l, move(fmt.Sprint("fill", id), s.clock.Now(), 1, id, 100))
			}
			wantApplied(t, l, move("seen", s.clock.Now(), 5, 7, 1), move("seen-back", s.clock.Now(), 7, 5, 1))
			guessed := l.Stats().Guessed
			c.change(t, s, other)
			x := move("x", s.clock.Now(), c.pay[0], c.pay[1], 30)
			a := one(t, l, x)
			if a.Code != c.want || (a.Outcome == core.Applied) != (c.want == "") {
				t.Fatalf("%+v instead of %q", a, c.want)
			}
			if again := one(t, other, x); again.Code != a.Code || again.Outcome != a.Again().Outcome {
				t.Fatalf("%+v, then %+v", a, again)
			}
			if st := l.Stats(); name != "the day" && (st.Guessed != guessed || st.Missed == 0) {
				t.Fatalf("it did not guess wrongly: %+v", st)
			}
			wantChecked(t, s)
		})
	}
}
