package node_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strata/fault"
	"strata/local/localtest"
	"strata/node"
)

func check(t *testing.T, text string, now func() time.Time) node.Checked {
	t.Helper()
	return node.Check(t.Context(), node.CheckRequest{Source: []byte(text), Name: "strata.yaml", Getenv: nothing, Now: now, Log: slog.New(slog.DiscardHandler)})
}

// said is the problems, one a line.
func said(c node.Checked) string {
	var b strings.Builder
	for _, p := range c.Problems {
		fmt.Fprintf(&b, "%s: %v\n", p.At("strata.yaml"), p)
	}
	return b.String()
}

func TestCheck_servers(t *testing.T) {
	m := localtest.Shared(t)
	live, archive, control := localtest.Schema(t, m), localtest.Schema(t, m), localtest.Schema(t, m)
	localtest.Exec(t, localtest.DB(t, live), "CREATE TABLE sound (a INT PRIMARY KEY)")
	text := fmt.Sprintf("data: %s\nlive: {dsn: %q}\narchive: {dsn: %q}\ncontrol: {dsn: %q}\nkafka: {brokers: [%q]}\ndatasets: [{name: sound}]\n",
		t.TempDir(), live, archive, control, localtest.Kafka(t).Brokers()[0])
	t.Run("a sound configuration", func(t *testing.T) {
		if c := check(t, text, time.Now); len(c.Problems) != 0 || c.Datasets != 1 || len(c.Servers) != 4 {
			t.Errorf("%s%+v", said(c), c.Servers)
		}
	})
	t.Run("clocks that differ, by server", func(t *testing.T) {
		for word, shift := range map[string]time.Duration{"behind": time.Minute, "ahead": -time.Minute} {
			c := check(t, text, func() time.Time { return time.Now().Add(shift) })
			for line, server := range map[int]string{2: "live", 3: "archive", 4: "control"} {
				if !strings.Contains(said(c), fmt.Sprintf("strata.yaml:%d: the clock of %s is 1m", line, server)) || !strings.Contains(said(c), word) {
					t.Errorf("%s of %s:\n%s", word, server, said(c))
				}
			}
		}
	})
	t.Run("a table whose rows a foreign key changes unseen", func(t *testing.T) {
		localtest.Exec(t, localtest.DB(t, live), "CREATE TABLE child (a INT PRIMARY KEY, b INT, FOREIGN KEY (b) REFERENCES sound (a) ON DELETE CASCADE)")
		c := check(t, strings.Replace(text, "[{name: sound}]", "\n  - name: sound\n  - name: child", 1), time.Now)
		if len(c.Problems) != 1 || c.Problems[0].Line != 8 || !fault.Is(c.Problems[0].Err, fault.Unsafe) {
			t.Errorf("%s", said(c))
		}
		if c := check(t, strings.Replace(text, "{name: sound}", "{name: sound}, {name: child, cascades: accept}", 1), time.Now); len(c.Problems) != 0 {
			t.Errorf("%s", said(c))
		}
	})
	t.Run("an endpoint that is away is named by its own line", func(t *testing.T) {
		c := check(t, text+fmt.Sprintf("offline:\n  endpoints:\n    - {name: gone, dsn: \"a@tcp(127.0.0.1:1)/bank\"}\n    - {name: there, dsn: %q}\n", live), time.Now)
		if len(c.Problems) != 1 || c.Problems[0].Line != 9 || !fault.Is(c.Problems[0].Err, fault.Unavailable) {
			t.Errorf("%s", said(c))
		}
	})
}

func TestCheck_lines(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"an anchor is followed":         {"data: x\nlive: &l\n  dsn: a@tcp(h:1)/s\noffline: *l\narchive:\n  <<: *l\n  dns: y\n", []string{"strata.yaml:7: unknown key \"dns\""}},
		"comments only are an empty":    {"# nothing\n# at all\n", []string{"strata.yaml: data", "strata.yaml: live: dsn"}},
		"a list where a map belongs":    {goodConfig + "capture: [1]\n", []string{"strata.yaml:7: "}},
		"a number where a list belongs": {strings.Replace(goodConfig, "kafka: {brokers: [\"10.0.0.3:9092\"]}", "kafka:\n  brokers: 5", 1), []string{"strata.yaml:5: "}},
		"a tab":                         {"data: x\n\tlive: y\n", []string{"strata.yaml:2: "}},
		"all values of wrong types": {goodConfig + "    partitions: many\n    masks:\n      - {column: a, mask: blur}\nheartbeat_ms: abc\nscan_rows: [1]\ncapture: {server_id: 99999999999}\n",
			[]string{"strata.yaml:7: ", "strata.yaml:9: mask \"blur\"", "strata.yaml:10: ", "strata.yaml:11: ", "strata.yaml:12: "}},
		"a key twice":   {goodConfig + "data: again\n", []string{"strata.yaml:7: "}},
		"two documents": {goodConfig + "---\nnonsense: 1\n", []string{"strata.yaml:8: ", "second document"}},
		"binary":        {"\x00\x01\xff", []string{"strata.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := node.Check(t.Context(), node.CheckRequest{Source: []byte(c.text), Name: "strata.yaml", Getenv: nothing, Offline: true})
			for _, w := range c.want {
				if !strings.Contains(said(got), w) {
					t.Errorf("%q is not in:\n%s", w, said(got))
				}
			}
			if strings.Contains(said(got), secret) {
				t.Errorf("a password:\n%s", said(got))
			}
		})
	}
}

func TestCheck_says_each_problem_once(t *testing.T) {
	text := goodConfig + "  - name: orders\n  - name: other\n    table: orders\n"
	got := node.Check(t.Context(), node.CheckRequest{Source: []byte(text), Name: "strata.yaml", Getenv: nothing, Offline: true})
	if n := strings.Count(said(got), "both claim"); n != 1 {
		t.Errorf("%d times:\n%s", n, said(got))
	}
}

func TestCheck_reads_past_a_byte_order_mark(t *testing.T) {
	got := node.Check(t.Context(), node.CheckRequest{Source: []byte("\ufeff" + goodConfig), Name: "strata.yaml", Getenv: nothing, Offline: true})
	if len(got.Problems) > 0 {
		t.Error(said(got))
	}
}

func FuzzCheck_never_panics(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte(goodConfig + endpoints))
	f.Add([]byte("datasets: [{name: a, shards: [{from: x}]}]\n? [a]\n: b"))
	if b, err := os.ReadFile(filepath.Join("..", "strata.example.yaml")); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if bytes.Contains(src, []byte("_file")) || bytes.Contains(src, []byte("file:")) {
			return // reads files
		}
		node.Check(t.Context(), node.CheckRequest{Source: src, Name: "x", Getenv: nothing, Offline: true})
	})
}
