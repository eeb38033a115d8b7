package node_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"strata/local/localtest"
	"strata/node"
)

func TestMetrics_are_what_the_document_says(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	table := node.MetricsTable()
	if !strings.Contains(string(page), "\n"+table+"\n") {
		t.Errorf("the table of docs/metrics.md has to be:\n%s", table)
	}
	name := regexp.MustCompile(`^strata_[a-z_]+$`)
	seen := map[string]bool{}
	for line := range strings.Lines(table) {
		f := strings.Split(line, " | ")
		metric, kind, help := strings.Trim(f[0], "| `"), f[1], f[3]
		if !name.MatchString(metric) || seen[metric] || (kind == "counter") != strings.HasSuffix(metric, "_total") || !strings.HasSuffix(strings.TrimSpace(help), ". |") {
			t.Errorf("%s", line)
		}
		seen[metric] = true
	}
}

// scrape asks for the metrics and parses them.
func scrape(t *testing.T, base string) map[string]*dto.MetricFamily {
	t.Helper()
	body := get(t, base+"/metrics")
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	return families
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", url, resp.Status, err, b)
	}
	return string(b)
}

// figure is the value of a metric with these labels' values; a histogram's is its count. Of several it is their sum.
func figure(f map[string]*dto.MetricFamily, name string, labels ...string) (v float64, there bool) {
	family := f[name]
	if family == nil {
		return 0, false
	}
	for _, m := range family.GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && has[l]
		}
		if !all {
			continue
		}
		there = true
		v += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return v, there
}

// served runs a node's roles with the HTTP listener and returns its address.
func served(t *testing.T, r *rig, more string, roles node.Roles) (n *node.Node, base string) {
	t.Helper()
	urls := &urlWatch{}
	o := r.options(t, r.config(t, more))
	o.HTTP, o.Log = "127.0.0.1:0", slog.New(slog.NewTextHandler(urls, nil))
	n = openNode(t, o)
	roles.HTTP = true
	run(t, n, roles)
	localtest.Eventually(t, settle, "the listener", func() (bool, error) { base = urls.found(); return base != "", nil })
	return n, base
}

// urlWatch finds the address in a log.
type urlWatch struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *urlWatch) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *urlWatch) found() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := regexp.MustCompile(`msg=serving url=(\S+)`).FindStringSubmatch(w.text.String()); m != nil {
		return m[1]
	}
	return ""
}

const hotDataset = "datasets: [{name: hot, partitions: 2}]\n"

// A row that was changed behind capture's back is found and counted, until it is equal again.
func TestMetrics_of_the_verifier(t *testing.T) {
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE hot (id INT PRIMARY KEY, counter BIGINT NOT NULL)")
	localtest.Exec(t, r.live, "INSERT INTO hot SELECT seq, 0 FROM seq_1_to_500")
	filler := r.open(t, r.config(t, hotDataset)) // a verifier that finds no index looks again after a minute
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- filler.Run(ctx, node.Roles{Canal: true, Sync: true}) }()
	indexed(t, filler)
	stop()
	if err := errors.Join(<-done, filler.Close()); err != nil {
		t.Fatal(err)
	}
	r.text = strings.Replace(r.text, quietVerifier, "verify: {every: 1s, repair: false, rows_per_second: 100000, max_lag_ms: 10000}\n", 1)
	n, base := served(t, r, hotDataset, node.Roles{Canal: true, Sync: true})
	indexed(t, n)
	conn, err := r.live.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, q := range []string{"SET sql_log_bin=0", "UPDATE hot SET counter=7 WHERE id=3"} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	var f map[string]*dto.MetricFamily
	defer func() {
		if t.Failed() {
			t.Log(n.VerifierStats())
		}
	}()
	localtest.Eventually(t, 2*settle, "what differs is found", func() (bool, error) {
		f = scrape(t, base)
		found, _ := figure(f, "strata_verify_differences_total", "hot")
		open, _ := figure(f, "strata_verify_open_differences", "hot")
		return found > 0 && open > 0, nil
	})
	for name, ok := range map[string]func(v float64) bool{
		"strata_verify_leading": is(1), "strata_verify_rows_total": above(500), "strata_verify_pass_expected_rows": above(0), "strata_verify_compared_ok": is(0),
		"strata_verify_compared_timestamp_seconds": above(1), "strata_verify_skipped": is(0), "strata_verify_swept_tombstones_total": is(0), "strata_verify_repaired_total": is(0),
	} {
		if v, there := figure(f, name); !there || !ok(v) {
			t.Errorf("%s is %v, there: %v", name, v, there)
		}
	}
	localtest.Exec(t, r.live, "UPDATE hot SET counter=8 WHERE id=3")
	localtest.Eventually(t, settle, "it is equal again", func() (bool, error) {
		f = scrape(t, base)
		open, there := figure(f, "strata_verify_open_differences", "hot")
		ok, _ := figure(f, "strata_verify_compared_ok", "hot")
		return there && open == 0 && ok == 1, nil
	})
}

func TestMetrics_of_a_whole_pipeline(t *testing.T) {
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE hot (id INT PRIMARY KEY, counter BIGINT NOT NULL)")
	n, base := served(t, r, hotDataset, node.Roles{Canal: true, Sync: true})
	localtest.Exec(t, r.live, "INSERT INTO hot SELECT seq, 0 FROM seq_1_to_500")
	indexed(t, n)
	f := scrape(t, base)
	for _, c := range []struct {
		name   string
		labels []string
		ok     func(v float64) bool
	}{
		{"strata_canal_leading", nil, is(1)},
		{"strata_canal_term", nil, is(1)},
		{"strata_canal_lag_seconds", nil, func(v float64) bool { return v >= 0 && v < settle.Seconds() }},
		{"strata_canal_records_total", nil, above(500)},
		{"strata_canal_dataset_stopped", []string{"hot"}, is(0)},
		{"strata_canal_open_xa_transactions", nil, is(0)},
		{"strata_canal_repair_queue_keys", nil, is(0)},
		{"strata_kafka_producer_records_total", nil, above(500)},
		{"strata_kafka_producer_bytes_total", nil, above(500 * 20)},
		{"strata_kafka_producer_errors_total", nil, is(0)},
		{"strata_kafka_consumer_records_total", nil, above(500)},
		{"strata_kafka_consumer_lag_records", []string{"hot", "1"}, func(v float64) bool { return v >= 0 }},
		{"strata_sync_records_total", []string{"hot"}, above(500)},
		{"strata_sync_applied_documents_total", []string{"hot"}, is(500)},
		{"strata_sync_newer_documents_total", []string{"hot"}, is(0)},
		{"strata_sync_dataset_state", []string{"hot", "running"}, is(1)},
		{"strata_sync_dataset_state", []string{"hot", "stopped"}, is(0)},
		{"strata_sync_watermark_number", []string{"hot"}, above(500)},
		{"strata_sync_watermark_offset", []string{"hot", "0"}, above(0)},
		{"strata_sync_watermark_heartbeat", []string{"hot", "1"}, above(0)},
		{"strata_sync_partition_frozen", []string{"hot"}, is(0)},
		{"strata_sync_commit_to_searchable_seconds", nil, above(1)},
		{"strata_index_request_seconds", []string{"apply", "ok"}, above(0)},
		{"strata_index_documents_total", []string{"applied"}, is(500)},
		{"strata_index_document_bytes_total", nil, above(500 * 10)},
		{"process_resident_memory_bytes", nil, above(1 << 20)},
		{"go_goroutines", nil, above(1)},
	} {
		if v, there := figure(f, c.name, c.labels...); !there || !c.ok(v) {
			t.Errorf("%s%v is %v, there: %v", c.name, c.labels, v, there)
		}
	}
	table := node.MetricsTable()
	for name, family := range f {
		if strings.HasPrefix(name, "strata_") && (!strings.Contains(table, "`"+name+"`") || family.GetHelp() == "") {
			t.Errorf("%s is in no table", name)
		}
	}
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

func above(least float64) func(float64) bool { return func(v float64) bool { return v > least-1 } }

// What a process doesn't run has no figures: a zero would be a claim.
func TestMetrics_of_one_role(t *testing.T) {
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE hot (id INT PRIMARY KEY, counter BIGINT NOT NULL)")
	_, base := served(t, r, hotDataset, node.Roles{Sync: true})
	localtest.Eventually(t, settle, "sync's figures", func() (bool, error) {
		_, there := figure(scrape(t, base), "strata_sync_records_total", "hot")
		return there, nil
	})
	f := scrape(t, base)
	for name := range f {
		if strings.HasPrefix(name, "strata_canal_") || strings.HasPrefix(name, "strata_kafka_producer_") {
			t.Errorf("%s of a process that captures nothing", name)
		}
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n"} {
		if got := get(t, base+path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// A port that is taken ends a process whose purpose is to answer there, and no other.
func TestRun_without_its_port(t *testing.T) {
	r := newRig(t)
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	localtest.Exec(t, r.live, "CREATE TABLE hot (id INT PRIMARY KEY, counter BIGINT NOT NULL)")
	log := &urlWatch{}
	o := r.options(t, r.config(t, hotDataset))
	o.HTTP, o.Log = taken.Addr().String(), slog.New(slog.NewTextHandler(log, nil))
	n := openNode(t, o)
	if err := n.Run(t.Context(), node.Roles{Router: true, HTTP: true}); err == nil || !strings.Contains(err.Error(), o.HTTP) {
		t.Errorf("a router without its port: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, node.Roles{Canal: true, Sync: true, HTTP: true}) }()
	indexed(t, n)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if said := log.text.String(); !strings.Contains(said, "health and metrics are not served") || !strings.Contains(said, "hint=") {
		t.Errorf("the log is silent on it: %s", said)
	}
}
