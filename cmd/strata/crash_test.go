package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"strata/archive"
	"strata/canal"
	coremysql "strata/core/mysql"
	sqliteindex "strata/index/sqlite"
	syncer "strata/sync"
)

// Each start dies by SIGKILL at a named point and the next one goes on; after all points of a folder one start without a
// crash ends proven, with the ledger of a demo that was never disturbed. Chains are folders, side by side.
func TestDemo_crash_at_every_point(t *testing.T) {
	t.Parallel()
	want := served(t).sum
	for name, points := range chains() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := demoFolder(t)
			for i, point := range points {
				r := strataEnv(t, []string{"STRATA_CRASH=" + point}, append([]string{"demo", "--once", "--data", dir}, size()...)...)
				if !r.killed {
					t.Fatalf("%s, start %d: it did not die there: %s", point, i+1, r)
				}
				if i%2 == 0 { // else the next start meets the servers alive
					if err := killServers(dir); err != nil {
						t.Fatal(err)
					}
				}
			}
			same(t, prove(t, dir, size()...), want)
		})
	}
	t.Run("no point is left out", func(t *testing.T) { checkChains(t) })
}

// same expects what a demo proves to be what the undisturbed one did.
func same(t testing.TB, have, want Summary) {
	t.Helper()
	if have.Digest != want.Digest || have.Entries != want.Entries || have.Transfers != want.Transfers || have.ArchivedRows == 0 {
		t.Errorf("have %+v\nwant %+v", have, want)
	}
}

// chains are the points by folder, each in an order in which they can be reached. A number is the hit at which it dies:
// the first of a start is often before anything was done.
func chains() map[string][]string {
	move := archive.MovePoints()
	half := len(move) / 2
	return map[string][]string{
		"load": {"core.before_shard", "core.after_shard", "core.before_shard:3", "core.before_ids", "core.after_ids:5", "core.before_rows:2",
			"core.after_rows:7", "core.after_balances:3", "core.before_commit:9", "core.after_commit:4", "core.before_cut:2", "core.after_cut:3"},
		"capture": {"canal.term.before", "canal.term.after", "canal.open.before", "canal.open.after", "canal.tail.after",
			"canal.resume.before", "canal.resume.after", "canal.send.before:20", "canal.send.after:40", "canal.mark.before:2",
			"canal.mark.after:3", "canal.ack.before:2", "canal.ack.after:2", "canal.checkpoint.before", "canal.checkpoint.after"},
		"index": {"sync.apply:2", "sync.applied", "sync.refresh:2", "sync.refreshed", "sync.watermark:3", "sync.watermarked", "sync.commit",
			"sync.committed", "sqlite.apply:3", "sqlite.applied:2", "sqlite.watermark:2", "sqlite.watermarked:4"},
		"archive until own": move[:half],
		"archive from own":  move[half:],
	}
}

// checkChains expects every point of every room in some chain, but for what a demo doesn't meet: a repair of what changed
// during a copy, the return of a range and the abort of a move, which archive/mysql crashes at, a sweep of the index, which
// index/sqlite crashes at, and a dead letter, which sync/dlq crashes at.
func checkChains(t *testing.T) {
	there := map[string]bool{}
	for _, points := range chains() {
		for _, p := range points {
			name, _, _ := strings.Cut(p, ":")
			there[name] = true
		}
	}
	all := slices.Concat(coremysql.CrashPoints(), canal.CrashPoints(), syncer.CrashPoints(), sqliteindex.CrashPoints(), archive.CrashPoints())
	elsewhere := []string{archive.PointRepair, archive.PointReturnLive, archive.PointReturnArchive, archive.PointReturnFence,
		archive.PointReturnDone, archive.PointAbortCopy, archive.PointAbortFence, archive.PointAbortDone, "sqlite.sweep", "sqlite.swept",
		"sync.letter", "sync.lettered"}
	for _, p := range all {
		if !there[p] && !slices.Contains(elsewhere, p) {
			t.Errorf("%s is in no chain", p)
		}
		delete(there, p)
	}
	if len(there) > 0 {
		t.Errorf("no room has these points: %v", there)
	}
}

// TestSoak_kills kills the demo and all its servers at once, at random moments, and starts it again, until the rounds are
// over; then it must prove the undisturbed ledger.
func TestSoak_kills(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("STRATA_SOAK_ROUNDS"))
	if err != nil {
		t.Skip("set STRATA_SOAK_ROUNDS; make soak")
	}
	seed, _ := strconv.ParseUint(os.Getenv("STRATA_SOAK_SEED"), 10, 64)
	random := rand.New(rand.NewPCG(seed, 7))
	flags := []string{"--transfers=3000", "--accounts=100", "--today=500", "--as-of=2026-03-15", fmt.Sprintf("--seed=%d", seed+1)}
	began := time.Now()
	want := prove(t, demoFolder(t), flags...)
	whole := time.Since(began)
	dir := demoFolder(t)
	for round := 1; round <= rounds; round++ {
		// Early moments are as likely as late ones, whatever a start takes.
		after := time.Duration(random.Float64() * random.Float64() * float64(whole))
		phase, ended := killAfter(t, dir, after, flags)
		t.Logf("round %d: killed after %s, in: %s", round, after.Round(time.Millisecond), phase)
		if ended { // all its work is done: what is left to disturb is in a new folder
			same(t, prove(t, dir, flags...), want)
			dir = demoFolder(t)
		}
	}
	same(t, prove(t, dir, flags...), want)
}

// killAfter starts the demo and kills everything of it at the moment; phase is the last line that it had said. ended: it
// was faster.
func killAfter(t *testing.T, dir string, after time.Duration, flags []string) (phase string, ended bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	p, err := begin(ctx, nil, append([]string{"demo", "--once", "--data", dir}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
		p.end().want(t, 0)
		return "the end", true
	case <-time.After(after):
	}
	pids, err := servers(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Process.Kill()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended needs none
	}
	r := p.end()
	if !r.killed && r.code != 0 {
		t.Fatalf("it failed before it was killed: %s", r)
	}
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	return strings.Join(strings.Fields(lines[len(lines)-1]), " "), r.code == 0
}
