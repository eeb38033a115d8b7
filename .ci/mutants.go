//go:build ignore

// Mutants proves that the tests of the laws can fail: for each entry of .ci/mutants.yaml it copies the module, changes the
// code as the entry says and runs the named test, which must turn red; before that the test must be green unchanged.
// Arguments are the names or laws to run; none means all. It exits 1 when a mutant survives.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

type mutant struct {
	Law  string `yaml:"law"`
	Name string `yaml:"name"`
	File string `yaml:"file"`
	Old  string `yaml:"old"`
	New  string `yaml:"new"`
	Pkg  string `yaml:"package"`
	Test string `yaml:"test"`
}

func main() {
	src, err := os.ReadFile(".ci/mutants.yaml")
	check(err)
	var all []mutant
	check(yaml.UnmarshalWithOptions(src, &all, yaml.Strict()))
	dir, err := os.MkdirTemp("", "mutants")
	check(err)
	defer os.RemoveAll(dir)
	check(copyTree(".", dir))
	killed, survived, run := 0, 0, 0
	green := map[string]bool{}
	for _, m := range all {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], m.Law) && !slices.Contains(os.Args[1:], m.Name) {
			continue
		}
		run++
		key := m.Pkg + " " + m.Test
		if _, seen := green[key]; !seen {
			out, err := test(dir, m)
			green[key] = err == nil && strings.Contains(out, "--- PASS")
			if !green[key] {
				fmt.Printf("%-4s %-40s the test is not green unchanged: %s\n%s\n", m.Law, m.Name, key, tail(out))
			}
		}
		if green[key] && turnsRed(dir, m) {
			killed++
			fmt.Printf("%-4s %-40s killed by %s\n", m.Law, m.Name, key)
			continue
		}
		survived++
		fmt.Printf("%-4s %-40s SURVIVED %s\n", m.Law, m.Name, key)
	}
	fmt.Printf("%d mutants: %d killed, %d survived\n", run, killed, survived)
	if survived > 0 || run == 0 {
		os.RemoveAll(dir)
		os.Exit(1)
	}
}

// turnsRed changes the copy, runs the test, and puts the file back. A mutant that does not compile is not killed.
func turnsRed(dir string, m mutant) bool {
	path := filepath.Join(dir, m.File)
	src, err := os.ReadFile(path)
	check(err)
	if n := strings.Count(string(src), m.Old); n != 1 {
		fmt.Printf("%-4s %-40s its old text stands %d times in %s, not once\n", m.Law, m.Name, n, m.File)
		return false
	}
	check(os.WriteFile(path, []byte(strings.Replace(string(src), m.Old, m.New, 1)), 0o644))
	defer func() { check(os.WriteFile(path, src, 0o644)) }()
	build := exec.Command("go", "vet", m.Pkg)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("%-4s %-40s does not compile\n%s\n", m.Law, m.Name, tail(string(out)))
		return false
	}
	_, err = test(dir, m)
	return err != nil
}

func test(dir string, m mutant) (string, error) {
	cmd := exec.Command("go", "test", "-count=1", "-v", "-timeout", "5m", "-run", m.Test, m.Pkg)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "data", "node_modules"}, d.Name()) {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), b, 0o644)
	})
}

func tail(s string) string {
	if len(s) > 2000 {
		return s[len(s)-2000:]
	}
	return s
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
}
