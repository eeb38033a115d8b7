package strata_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors is the table of the rooms: a package may import rooms of lower floors, its own root, and nothing else of strata.
func floors() map[string]int {
	return map[string]int{
		"fault": 0, "money": 0, "catalog": 0,
		"broker": 1, "db": 1, "index": 1, "jobs": 1,
		"core": 2, "canal": 2, "archive": 2, "router": 2, "survey": 2,
		"sync": 3, "statement": 3,
		"graphql": 4,
		"node":    5,
		"cmd":     6, "bench": 6,
	}
}

// ordered are rooms of one floor that may import those before them.
func ordered() [][]string { return [][]string{{"fault", "money", "catalog"}, {"db", "jobs"}} }

// rooted are packages within a room that are roots to its adapters, as the room's own root is: they may be imported by them.
func rooted() []string { return []string{"sync/verify"} }

// before reports whether both stand in one order, to first.
func before(to, from string) bool {
	for _, rooms := range ordered() {
		if t, f := slices.Index(rooms, to), slices.Index(rooms, from); t >= 0 && t < f {
			return true
		}
	}
	return false
}

// forbidden says why from must not import to ("" if it may). Paths are without the module's name.
func forbidden(from, to string) string {
	table := floors()
	fromRoom, fromSub, _ := strings.Cut(from, "/")
	toRoom, toSub, _ := strings.Cut(to, "/")
	if isKit(to) && !isKit(from) {
		return "test kits are for tests"
	}
	if fromRoom == "local" || toRoom == "local" {
		if toRoom == "local" && (fromRoom == "cmd" || fromRoom == "bench" || fromRoom == "local" || isKit(from)) ||
			fromRoom == "local" && toRoom == "fault" {
			return ""
		}
		return "local starts servers for cmd, bench and tests; it knows only fault"
	}
	ff, ok1 := table[fromRoom]
	tf, ok2 := table[toRoom]
	switch {
	case !ok1 || !ok2:
		return fmt.Sprintf("no floor for room %s or %s: add it to the table", fromRoom, toRoom)
	case fromRoom == toRoom:
		if fromSub != "" && toSub != "" && !isKit(from) && !slices.Contains(rooted(), to) {
			return "an adapter never imports another adapter"
		}
		if fromSub == "" && toSub != "" && ff < 6 {
			return "a root never imports its adapters"
		}
		return ""
	case ff == tf && toSub == "" && before(toRoom, fromRoom):
		return ""
	case tf >= ff:
		return "downstream imports upstream, never back"
	case toSub != "" && ff < 5 && !isKit(from):
		return "adapters meet only in node"
	}
	return ""
}

// isKit reports whether the package is a test kit, such as index/indextest.
func isKit(path string) bool {
	last := path[strings.LastIndex(path, "/")+1:]
	return strings.HasSuffix(last, "test") && strings.Contains(path, "/")
}

func TestFloors_no_package_imports_upwards(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	packages := 0
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages++
		from := strings.TrimPrefix(p.ImportPath, "strata/")
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, "strata/")
			if !ours {
				continue
			}
			if why := forbidden(from, to); why != "" {
				t.Errorf("%s imports %s: %s", from, to, why)
			}
		}
	}
	if packages < 10 {
		t.Fatalf("only %d packages were looked at", packages)
	}
}

func TestFloors_refuse(t *testing.T) {
	for _, c := range [][2]string{
		{"catalog", "db"}, {"db", "index"}, {"canal", "sync"}, {"router", "archive"}, {"router/mysql", "router/index"},
		{"router", "router/mysql"}, {"sync", "index/sqlite"}, {"graphql", "node"}, {"core", "local"}, {"fault", "catalog"},
		{"node", "index/indextest"}, {"somewhere", "fault"}, {"db", "jobs"}, {"jobs", "index"}, {"core/http", "core/mysql"},
		{"sync", "sync/verify"}, {"sync/verify", "sync/control"}, {"canal/kafka", "sync/verify"},
	} {
		if forbidden(c[0], c[1]) == "" {
			t.Errorf("%s may import %s", c[0], c[1])
		}
	}
}

func TestFloors_allow(t *testing.T) {
	for _, c := range [][2]string{
		{"catalog", "fault"}, {"catalog", "money"}, {"sync", "canal"}, {"sync/kafka", "sync"}, {"router/mysql", "db"}, {"node", "router/mysql"},
		{"cmd/strata", "local"}, {"index/indextest", "index"}, {"local", "fault"}, {"jobs", "db"}, {"core/daybook", "core"}, {"sync/control", "sync/verify"},
	} {
		if why := forbidden(c[0], c[1]); why != "" {
			t.Errorf("%s may not import %s: %s", c[0], c[1], why)
		}
	}
}
