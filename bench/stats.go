package main

import (
	"math"
	"slices"
	"syscall"
	"time"
)

// median of the values; the mean of the two in the middle where their number is even, NaN of nothing.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return math.NaN()
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

func sum(values []float64) (of float64) {
	for _, v := range values {
		of += v
	}
	return of
}

// percentile is the nearest rank: the smallest value that percent of all values do not exceed; NaN of nothing.
func percentile(values []float64, percent int) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return math.NaN()
	}
	rank := (len(v)*percent + 99) / 100
	return v[max(rank, 1)-1]
}

// stopwatch measures wall and CPU time of this process.
type stopwatch struct {
	at  time.Time
	cpu time.Duration
}

func startWatch() stopwatch { return stopwatch{time.Now(), cpuTime()} }

// seconds since the start: of the wall, and of this process on all cores.
func (w stopwatch) seconds() (wall, cpu float64) {
	return time.Since(w.at).Seconds(), (cpuTime() - w.cpu).Seconds()
}

// cpuTime is what this process has used, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
