package local_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"strata/fault"
	"strata/local"
)

func TestCrashFromEnvKillsTheProcessAtTheNamedHit(t *testing.T) {
	for value, want := range map[string]struct {
		killed bool
		last   string
	}{
		"save":    {true, "before 1"},
		"save:3":  {true, "before 3"},
		"other:2": {true, "before 2"},
		"save:9":  {false, "before 5"},
	} {
		t.Run(value, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childMode+"=crash", "STRATA_CRASH="+value)
			out, err := cmd.Output()
			var exit *exec.ExitError
			killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if killed != want.killed || lines[len(lines)-1] != want.last || !killed && err != nil {
				t.Errorf("killed %v, %v, said %q; want %+v", killed, err, lines, want)
			}
		})
	}
}

func TestCrashFromEnvWithoutAValueIsNilAndWithABadOneFails(t *testing.T) {
	if local.CrashFromEnv(func(string) string { return "" }) != nil {
		t.Error("not nil")
	}
	for _, bad := range []string{"save:", "save:x", "save:0", "save:-1", ":2"} {
		at := local.CrashFromEnv(func(name string) string {
			if name == "STRATA_CRASH" {
				return bad
			}
			return ""
		})
		if at == nil || !fault.Is(at("anything"), fault.Invalid) {
			t.Errorf("%q is not refused", bad)
		}
	}
}

func TestTrapSpringsOnceAtItsHit(t *testing.T) {
	trap := local.NewTrap("own", 2)
	var got []bool
	for _, point := range []string{"own", "copy", "own", "own"} {
		err := trap.At(point)
		if err != nil && !errors.Is(err, local.ErrCrash) {
			t.Fatal(err)
		}
		got = append(got, err != nil)
	}
	if !slices.Equal(got, []bool{false, false, true, false}) {
		t.Errorf("sprung at %v", got)
	}
	<-trap.Sprung()
	if h := trap.Hits(); h["own"] != 3 || h["copy"] != 1 || len(h) != 2 {
		t.Errorf("hits %v", h)
	}
}

func TestRecordListsPointsAndNeverSprings(t *testing.T) {
	trap := local.Record()
	var all sync.WaitGroup
	for _, point := range []string{"copy", "fence", "copy", ""} {
		if err := trap.At(point); err != nil {
			t.Fatal(err)
		}
		all.Go(func() { _ = trap.At("copy") })
	}
	all.Wait()
	if got := trap.Points(); !slices.Equal(got, []string{"copy", "fence", ""}) || trap.Hits()["copy"] != 6 {
		t.Errorf("points %q, hits %v", got, trap.Hits())
	}
	select {
	case <-trap.Sprung():
		t.Error("it sprang")
	default:
	}
}
