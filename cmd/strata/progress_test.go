package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A task whose end nobody knows says how far it is, and not of how many.
func TestProgress_lines(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	p := NewProgress(out, false)
	p.every = 0
	p.Start("move", 0).Set(7, 0)
	p.Start("load", 10).Set(5, 10)
	raw, err := os.ReadFile(out.Name())
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	if len(lines) != 3 || strings.Contains(lines[0], " / ") || !strings.Contains(lines[0], " 7 ") || !strings.Contains(lines[1], " 5 / 10 ") {
		t.Errorf("%q", lines)
	}
}
