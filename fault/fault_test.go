package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// The exit codes are the design's: 0 done, 1 a proof failed, 2 usage, 3 a server refused or is away, 4 busy, 130 interrupted.
func TestExitCode_is_documented(t *testing.T) {
	for kind, want := range map[Kind]int{Internal: 3, Invalid: 2, NotFound: 2, Conflict: 3, Proof: 1, Denied: 3, Unsafe: 3,
		Unavailable: 3, Timeout: 3, Busy: 4, TooLarge: 2, Stale: 3, Interrupted: 130} {
		if got := ExitCode(New(kind, "do thing", "cause")); got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
	}
	if got := ExitCode(nil); got != 0 {
		t.Errorf("no error: %d", got)
	}
}

func TestKindOf_is_the_outermost(t *testing.T) {
	inner := New(Busy, "lock row", "held")
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{inner, Busy},
		{fmt.Errorf("post batch: %w", inner), Busy},
		{Wrap(Unavailable, "post batch", inner), Unavailable},
		{errors.Join(errors.New("other"), inner), Busy},
		{fmt.Errorf("read: %w", context.Canceled), Interrupted},
		{context.DeadlineExceeded, Timeout},
		{Wrap(Proof, "verify", context.Canceled), Proof},
		{errors.New("plain"), Internal},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
	if Wrap(Busy, "op", nil) != nil || Is(nil, Internal) {
		t.Error("no error became one")
	}
}

func TestHintOf_is_the_outermost_that_says_something(t *testing.T) {
	inner := New(Invalid, "parse", "bad").WithHint("write %d", 7)
	if got := HintOf(fmt.Errorf("load: %w", Wrap(Unsafe, "check", inner))); got != "write 7" {
		t.Errorf("%q", got)
	}
	if got := HintOf(Wrap(Unsafe, "check", inner).(*Error).WithHint("outer")); got != "outer" {
		t.Errorf("%q", got)
	}
	if got := HintOf(errors.New("plain")); got != "" {
		t.Errorf("%q", got)
	}
}

func TestError_reads_verb_object_cause(t *testing.T) {
	e := &Error{Kind: NotFound, Op: "find dataset", Object: "orders", Err: errors.New("no such"), Hint: "not in the text"}
	if got := e.Error(); got != "find dataset orders: no such" {
		t.Errorf("%q", got)
	}
}
