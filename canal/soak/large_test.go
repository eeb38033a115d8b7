package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// TestCapture_makes_a_letter_of_a_row_that_is_too_large: its key and a hash go to a topic of their own; the others go on.
func TestCapture_makes_a_letter_of_a_row_that_is_too_large(t *testing.T) {
	m := localtest.Shared(t)
	long := soaktest.Tables()
	long[1] = strings.Replace(long[1], "VARCHAR(200)", "MEDIUMTEXT", 1)
	r := made(t, soaktest.Setup{Seed: 51, Live: m, DSN: localtest.Schema(t, m), Tables: long, Roles: []string{"canal"}, More: "capture: {max_row_bytes: 65536}\n"})
	localtest.Exec(t, r.DB, "INSERT INTO orders VALUES (777001, 1, REPEAT('x', 100000), 0, '2026-11-22')")
	r.Write(func() { r.Commits(between) })
	r.CanalStatus(0, "1 dead letters")
	consumer, err := sarama.NewConsumerFromClient(r.Client())
	r.Fatal(err)
	defer consumer.Close()
	letters, err := consumer.ConsumePartition("strata.orders.dlq", 0, sarama.OffsetOldest)
	r.Fatal(err)
	defer letters.Close()
	select {
	case l := <-letters.Messages():
		if string(l.Key) != `{"id":777001}` || len(l.Value) > 10000 {
			t.Errorf("the letter is %s, with %d bytes", l.Key, len(l.Value))
		}
	case <-t.Context().Done():
	}
	localtest.Exec(t, r.DB, "DELETE FROM orders WHERE id=777001")
	r.proof()
}

// TestSoak_waits_for_room_to_spill: a transaction that doesn't fit into memory, nor on the disk. Nothing of it is sent, it
// is said, and it goes on when there is room.
func TestSoak_waits_for_room_to_spill(t *testing.T) {
	soaktest.SoakOnly(t)
	const rows = 200_000
	disk := filepath.Join(t.TempDir(), "disk")
	localtest.SmallDisk(t, disk, 256)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 250<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m := localtest.Shared(t)
	r := made(t, soaktest.Setup{Seed: 52, Live: m, DSN: localtest.Schema(t, m), Tables: soaktest.Tables(), Roles: []string{"canal"}, More: fmt.Sprintf("capture: {spill_dir: %q}\n", disk)})
	r.Write(func() { r.Commits(between) })
	r.proof()
	sent := r.rowsSent()
	localtest.Exec(t, r.DB, fmt.Sprintf("INSERT INTO orders SELECT 1000000+seq, 1, REPEAT('y', 150), seq, '2026-11-22' FROM seq_1_to_%d", rows))
	r.CanalStatus(1, "HALTED", "no space left on device", "make room there")
	if n := r.rowsSent(); n != sent {
		t.Errorf("%d rows were sent", n-sent)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.whole()
	if list, err := filepath.Glob(disk + "/*"); err != nil || strings.Join(list, "") != "" {
		t.Errorf("left on the disk: %v %v", list, err)
	}
}
