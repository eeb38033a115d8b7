package mysql

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimes_are_written_as_the_library_does(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		at := time.UnixMicro(rapid.Int64Range(0, 253402300799999999).Draw(rt, "micros")).UTC()
		if have, want := timeText(at), at.Format("'2006-01-02 15:04:05.000000'"); have != want {
			rt.Fatalf("%s instead of %s", have, want)
		}
	})
}
