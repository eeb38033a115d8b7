package tables_test

import (
	"testing"

	"strata/canal/tables"
)

func TestAfter_has_what_is_being_committed(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "3e11fa47-71ca-11e1-9e33-c80aa9429563"
	for _, c := range [][3]string{
		{a + ":1-5", "", a + ":1-5"},
		{a + ":1-5", a + ":6#12:7#13", a + ":1-5," + a + ":6:7"},
		{a + ":1-5", a + ":6#12,\n" + b + ":1#4", a + ":1-5," + a + ":6," + b + ":1"},
		{"", a + ":1#12", a + ":1"},
	} {
		if got := tables.JoinOwned(c[0], c[1]); got != c[2] {
			t.Errorf("%q and %q: %q", c[0], c[1], got)
		}
	}
}
