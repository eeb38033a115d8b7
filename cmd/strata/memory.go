package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// MemoryPeak watches the proportional set size of this process and its servers and keeps the highest sum. Source:
// /proc/PID/smaps_rollup; 0 on systems without it.
type MemoryPeak struct{ kib atomic.Int64 }

// Run samples until ctx ends.
func (m *MemoryPeak) Run(ctx context.Context, pids func() []int) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		m.sample(pids())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *MemoryPeak) sample(pids []int) {
	sum := pssKiB(os.Getpid())
	for _, pid := range pids {
		sum += pssKiB(pid)
	}
	if sum > m.kib.Load() {
		m.kib.Store(sum)
	}
}

// MiB is the peak so far.
func (m *MemoryPeak) MiB() int64 { return m.kib.Load() / 1024 }

func pssKiB(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
