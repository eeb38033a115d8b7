package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"strata/fault"
	"strata/index"
	"strata/index/indextest"
	"strata/index/sqlite"
)

func TestGenerations(t *testing.T) {
	indextest.RunGenerations(t, func(t testing.TB) (here, there index.Shelf) {
		dir := t.TempDir()
		return open(t, sqlite.Config{Dir: dir}), open(t, sqlite.Config{Dir: dir})
	})
}

// TestLostRegister: without the register nobody knows which generation answers, and the first is not made anew in its place.
func TestLostRegister(t *testing.T) {
	d, dir := indextest.Entries(), t.TempDir()
	x, err := index.NewGenerations(index.GenerationsConfig{Shelf: open(t, sqlite.Config{Dir: dir}), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	start := []index.Watermark{{Dataset: d.Name, Term: 1, Version: index.MakeVersion(1, 0)}}
	g, err := x.Begin(t.Context(), d.Name, start, index.MakeVersion(1, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	next, err := x.Open(t.Context(), d.Name, g.Number)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "generations.registry")); err != nil {
		t.Fatal(err)
	}
	y := open(t, sqlite.Config{Dir: dir})
	defer func() { _ = y.Close() }()
	if err := y.Ensure(t.Context(), d); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" {
		t.Fatalf("%v", err)
	}
}

// TestGenerationDeletedByHand: a generation that answers and has lost its documents is not fed from its start, where it would
// claim rows that it lacks.
func TestGenerationDeletedByHand(t *testing.T) {
	d, dir := indextest.Entries(), t.TempDir()
	x, err := index.NewGenerations(index.GenerationsConfig{Shelf: open(t, sqlite.Config{Dir: dir}), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Begin(t.Context(), d.Name, []index.Watermark{{Dataset: d.Name, Term: 1, Version: index.MakeVersion(1, 0)}}, index.MakeVersion(1, 1), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Handover(t.Context(), d.Name, 2, true); err != nil {
		t.Fatal(err)
	}
	if err := x.Switch(t.Context(), d.Name, 2); err != nil {
		t.Fatal(err)
	}
	if err := x.Ensure(t.Context(), d); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" {
		t.Fatalf("%v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}
