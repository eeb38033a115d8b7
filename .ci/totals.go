//go:build ignore

// Totals reads `go test -json` on standard input, prints one line a package and the output of what failed, and ends with
// "N passed, N failed, N skipped". It exits 1 when anything failed or when no test ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	ImportPath                    string
	Elapsed                       float64
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := map[string]*strings.Builder{}
	var passed, failed, skipped, packages int
	var skips []string
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Println(in.Text())
			continue
		}
		if e.Action == "build-output" {
			fmt.Print(e.Output)
			continue
		}
		key := e.Package + " " + e.Test
		if e.Action == "output" {
			b := out[key]
			if b == nil {
				b = &strings.Builder{}
				out[key] = b
			}
			if b.Len() < 1<<20 {
				b.WriteString(e.Output)
			}
			continue
		}
		switch {
		case e.Test == "" && (e.Action == "pass" || e.Action == "fail"):
			packages++
			fmt.Printf("%-4s %7.1fs  %s\n", e.Action, e.Elapsed, e.Package)
			if e.Action == "fail" {
				failed++ // counted once more than its tests: a package can fail without a failing test
				fmt.Print(text(out[key]))
			}
		case e.Test == "":
		case e.Action == "pass":
			passed++
		case e.Action == "skip":
			skipped++
			skips = append(skips, e.Package+" "+e.Test+": "+lastLine(text(out[key])))
		case e.Action == "fail":
			failed++
			fmt.Printf("---- FAIL %s\n%s", key, text(out[key]))
		}
		delete(out, key)
	}
	for _, s := range skips {
		fmt.Println("skipped:", s)
	}
	fmt.Printf("%d packages\n%d passed, %d failed, %d skipped\n", packages, passed, failed, skipped)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func text(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > 1 && strings.HasPrefix(lines[len(lines)-1], "--- SKIP") {
		lines = lines[:len(lines)-1]
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
