package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestMigrationsRunInOrderAndResumeWhereOneFailed(t *testing.T) {
	dir := t.TempDir()
	version := filepath.Join(dir, versionFile)
	if err := os.WriteFile(version, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ran []int
	broken := errors.New("disk full")
	steps := []func(string) error{
		func(string) error { ran = append(ran, 1); return nil },
		func(string) error { ran = append(ran, 2); return broken },
	}
	if err := bringToVersion(dir, steps); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	broken = nil
	if err := bringToVersion(dir, steps); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(version)
	if string(text) != "3\n" || err != nil || len(ran) != 3 || ran[0] != 1 || ran[1] != 2 || ran[2] != 2 {
		t.Errorf("version %q, %v; ran %v", text, err, ran)
	}
}

func TestASpawnThatCannotWriteItsPIDFileLeavesNoChild(t *testing.T) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "ran")
	_, err := spawn(command{kind: "probe", argv: []string{"/bin/touch", mark}, log: filepath.Join(dir, "log"),
		pidFile: filepath.Join(dir, "missing", "probe.pid")})
	if err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(mark); !os.IsNotExist(err) {
		t.Errorf("the child passed its gate: %v", err)
	}
}
