package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"strata/fault"
)

// The first core is one server's own, the others everything else's: as on machines of their own.
const ownCore = "0"

func otherCores() string { return "1-" + strconv.Itoa(runtime.NumCPU()-1) }

// apart gives a server the first core, and this process and all its other children the others. The function that it returns
// takes that back.
func apart(ctx context.Context, server int) (together func() error, err error) {
	set := func(pid int, cores string) error {
		out, err := exec.CommandContext(ctx, "taskset", "-acp", cores, strconv.Itoa(pid)).CombinedOutput()
		if err != nil {
			return fault.New(fault.Unavailable, "set cores", "process %d: %w: %s", pid, err, out)
		}
		return nil
	}
	each := func(cores func(pid int) string) error {
		for _, pid := range family() {
			if err := set(pid, cores(pid)); err != nil {
				return err
			}
		}
		return nil
	}
	all := "0-" + strconv.Itoa(runtime.NumCPU()-1)
	together = func() error { return each(func(int) string { return all }) }
	return together, each(func(pid int) string {
		if pid == server {
			return ownCore
		}
		return otherCores()
	})
}

// keepBusy has every core but the first busy with nothing, at the lowest priority, until stop is called: two cores of a virtual
// machine may be threads of one, and what such threads take from each other must be the same on both sides of a comparison.
func keepBusy() (stop func(), err error) {
	var idlers []*exec.Cmd
	stop = func() {
		for _, c := range idlers {
			_ = c.Process.Kill() // it has nothing to lose
			_ = c.Wait()         // says that it was killed
		}
	}
	for core := 1; core < runtime.NumCPU(); core++ {
		c := exec.Command("chrt", "--idle", "0", "taskset", "-c", strconv.Itoa(core), "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			stop()
			return nil, fault.Wrap(fault.Unavailable, "keep core busy", err)
		}
		idlers = append(idlers, c)
	}
	return stop, nil
}

// idles reports whether a process runs only where nobody else wants to (SCHED_IDLE).
func idles(stat []string) bool { return len(stat) > 38 && stat[38] == "5" }

// family lists this process and its descendants.
func family() []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // a pattern that is right
	for _, f := range stats {
		if pid, parent, ok := parentOf(procFile(f)); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	out := []int{os.Getpid()}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// parentOf reads "12 (a name) S 1 …".
func parentOf(stat string) (pid, parent int, ok bool) {
	first, _, _ := strings.Cut(stat, " ")
	rest := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(rest) < 2 {
		return 0, 0, false // it has ended meanwhile
	}
	pid, err := strconv.Atoi(first)
	parent, err2 := strconv.Atoi(rest[1])
	return pid, parent, err == nil && err2 == nil
}

// cpuOf is what a process has used, user and system; nothing for one that only keeps a core busy.
func cpuOf(pid int) (time.Duration, error) {
	// What comes after the name, from the third field on (proc_pid_stat(5)).
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, "read cpu time", err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fault.New(fault.Internal, "read cpu time", "%q", b)
	}
	if idles(f) {
		return 0, nil
	}
	ticks := 0
	for _, t := range f[11:13] {
		n, err := strconv.Atoi(t)
		if err != nil {
			return 0, fault.Wrap(fault.Internal, "read cpu time", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // USER_HZ is 100 on Linux
}

// usage is the CPU time of a server, of this process, and of all its other children.
type usage struct{ server, self, others time.Duration }

func usageBeside(server int) (u usage, err error) {
	for _, pid := range family() {
		t, err := cpuOf(pid)
		if err != nil {
			return u, err
		}
		switch pid {
		case server:
			u.server += t
		case os.Getpid():
			u.self += t
		default:
			u.others += t
		}
	}
	return u, nil
}

// per are the figures of so many transactions between two readings, in µs of CPU each.
func (u usage) per(before usage, transactions float64) map[string]float64 {
	each := func(a, b time.Duration) float64 { return float64((a - b).Microseconds()) / transactions }
	return map[string]float64{"live_cpu_us": each(u.server, before.server), "capture_cpu_us": each(u.self, before.self), "others_cpu_us": each(u.others, before.others)}
}
