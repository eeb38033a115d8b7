package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"strata/fault"
)

// Machine is where the figures come from. Fields that the system doesn't tell are empty.
type Machine struct {
	Cores     int    `json:"cores"`
	CPU       string `json:"cpu"`
	MemoryMiB int64  `json:"memory_mib"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	MariaDB   string `json:"mariadb"`
	// LoadBefore are the load averages of 1, 5 and 15 minutes before the start: others who use the machine are seen here.
	LoadBefore string `json:"load_before"`
	// FsyncMs is the median time of writing 4 KiB and syncing it in the benchmark's folder, before the start.
	FsyncMs float64 `json:"fsync_ms"`
}

func thisMachine() Machine {
	kib, _, _ := strings.Cut(strings.TrimSpace(procField("/proc/meminfo", "MemTotal")), " ")
	memory, _ := strconv.ParseInt(kib, 10, 64)
	load := strings.Fields(procFile("/proc/loadavg"))
	return Machine{Cores: runtime.NumCPU(), CPU: procField("/proc/cpuinfo", "model name"), MemoryMiB: memory / 1024,
		Kernel: strings.TrimSpace(procFile("/proc/sys/kernel/osrelease")), Go: runtime.Version(),
		LoadBefore: strings.Join(load[:min(3, len(load))], " ")}
}

func (m *Machine) lines() [][2]string {
	return [][2]string{{"cores", strconv.Itoa(m.Cores)}, {"cpu", m.CPU}, {"memory", fmt.Sprintf("%d MiB", m.MemoryMiB)},
		{"kernel", m.Kernel}, {"go", m.Go}, {"mariadb", m.MariaDB}, {"load before", m.LoadBefore},
		{"fsync of 4 KiB", fmt.Sprintf("%.2f ms", m.FsyncMs)}}
}

// fsyncMs is the median of 50 writes; the file stays for the folder's owner to remove.
func fsyncMs(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, fault.Wrap(fault.Denied, "time fsync", err)
	}
	took := make([]float64, 50)
	block := make([]byte, 4096)
	for i := range took {
		began := time.Now()
		_, err := f.Write(block)
		if err = errors.Join(err, f.Sync()); err != nil {
			return 0, errors.Join(fault.Wrap(fault.Unavailable, "time fsync", err), f.Close())
		}
		took[i] = ms(time.Since(began))
	}
	return median(took), fault.Wrap(fault.Unavailable, "time fsync", f.Close())
}

func procFile(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "" // another system
	}
	return string(b)
}

// procField is the first value of a name in a file of lines "name : value".
func procField(path, name string) string {
	for line := range strings.Lines(procFile(path)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// residentMiB is what this process has in memory now.
func residentMiB() (float64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, "read memory", err)
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, fault.Wrap(fault.Internal, "parse memory", err)
	}
	return resident * float64(os.Getpagesize()) / (1 << 20), nil
}
