package control_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"strata/canal"
	"strata/canal/control"
	"strata/local/localtest"
)

func TestHistory_is_thinned_out(t *testing.T) {
	t.Run("by a rule that never takes back", func(t *testing.T) {
		const last = 1 << 20
		count := 0
		for n := uint64(1); n <= last; n++ {
			gone := !control.Kept(n, n)
			if gone {
				t.Fatalf("the newest one, %d, goes", n)
			}
			if control.Kept(n, last) {
				count++
			}
		}
		if count < 900 || count > 1100 {
			t.Errorf("%d of a million are kept", count)
		}
		for n := uint64(1); n <= 3000; n++ {
			gone := false
			for newest := n; newest < n+6000; newest++ {
				if kept := control.Kept(n, newest); kept && gone {
					t.Fatalf("%d is kept at %d and went before", n, newest)
				} else if !kept {
					gone = true
				}
			}
			if !gone && n%64 != 0 {
				t.Fatalf("%d stays for ever", n)
			}
		}
	})
	t.Run("in the database", func(t *testing.T) {
		d := open(t, localtest.Schema(t, localtest.Shared(t)))
		c, other := pipeline(t, d, "live"), pipeline(t, d, "other")
		for _, c := range []*control.Control{c, other} {
			if ok, err := c.Take(t.Context(), 0, 1, "a"); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		const n = 1024
		for i := 1; i <= n; i++ {
			if ok, err := c.Remember(t.Context(), 1, &canal.Checkpoint{Seq: uint64(i)}); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if ok, err := other.Remember(t.Context(), 1, &canal.Checkpoint{Seq: 1}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		want := uint64(n)
		err := c.History(t.Context(), func(cp *canal.Checkpoint) (bool, error) {
			for !control.Kept(want, n) {
				want--
			}
			if cp.Seq != want {
				return false, fmt.Errorf("%d instead of %d", cp.Seq, want)
			}
			want--
			return true, nil
		})
		if err != nil {
			t.Error(err)
		}
		var rows int
		if err := d.SQL().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM canal_history WHERE pipeline='live'").Scan(&rows); err != nil || rows > 400 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

// The evidence log is append-only: nothing in the package could change a line or take one away.
func TestEvidence_is_only_appended(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?i)(\w+\s+\w+)\s+canal_evidence`).FindAllString(string(text), -1) {
			named++
			if !regexp.MustCompile(`(?i)insert into|not exists|detail from|log`).MatchString(m) {
				t.Errorf("%s: %s", f, m)
			}
		}
	}
	if named < 2 {
		t.Error("canal_evidence is nowhere named")
	}
}
