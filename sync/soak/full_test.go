package soak

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"strata/local/localtest"
)

// fill takes all the room that a folder has, and returns the file that has it.
func (r *rig) fill(dir string) string {
	r.T.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	r.Fatal(err)
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		r.T.Fatalf("the disk is not full: %v", err)
	}
	r.Fatal(f.Close())
	return name
}

// zeros are as many as anybody reads.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestIndex_waits_for_room: with the embedded index on a disk that is full for a while. It is said what is to be done, and
// nothing is lost.
func TestIndex_waits_for_room(t *testing.T) {
	r := newRig(t, parts{seed: 61})
	disk := filepath.Join(r.Data, "index")
	localtest.SmallDisk(t, disk, 24)
	r.Begin("canal")
	r.Begin("sync")
	r.Write(func() { r.Commits(between) })
	r.proof()
	ballast := r.fill(disk)
	r.Write(func() {
		r.Commits(2 * between)
		localtest.Eventually(t, limit, "sync status that says what is to be done", func() (bool, error) {
			out, code := r.Try("sync", "status", "--json")
			return code == 1 && strings.Count(out, "look at the disk of the index folder") >= 2, r.Alive()
		})
	})
	r.Fatal(os.Remove(ballast))
	r.proof()
	r.sound()
}
