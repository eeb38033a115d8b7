package local_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"strata/local"
	"strata/local/localtest"
)

// TestElastic ends and restarts a node that has documents.
func TestElastic(t *testing.T) {
	t.Parallel()
	e := localtest.StartElastic(t, localtest.Home(t), local.ElasticConfig{Name: "elastic1", Options: map[string]string{"cluster.name": "of-this-test"}})
	ask := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, e.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 300 {
			t.Fatalf("%s %s: %s %s %v", method, path, res.Status, answer, err)
		}
		return string(answer)
	}
	if about := ask("GET", "/", ""); !strings.Contains(about, "of-this-test") || !strings.Contains(about, `"7.17.`) {
		t.Errorf("it says %s", about)
	}
	addr := e.Addr()
	for i, end := range []func() error{e.Kill, func() error { return e.Stop(t.Context()) }} {
		if err := errorsOf(e.Pause(), e.Resume()); err != nil {
			t.Fatal(err)
		}
		ask("PUT", fmt.Sprintf("/kept/_doc/%d", i), `{"付":"款"}`)
		pid := e.PID()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if e.PID() != 0 || syscall.Kill(pid, 0) == nil {
			t.Fatalf("process %d is still there", pid)
		}
		if err := e.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		for n := range i + 1 {
			if doc := ask("GET", fmt.Sprintf("/kept/_doc/%d", n), ""); !strings.Contains(doc, "款") {
				t.Errorf("after end %d: %s", i+1, doc)
			}
		}
		if e.Addr() != addr {
			t.Errorf("moved from %s to %s", addr, e.Addr())
		}
	}
}
