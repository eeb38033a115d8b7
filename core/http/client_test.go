package rest_test

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rest "strata/core/http"
	"strata/core/memory"
)

// TestClient_generated_from_the_document generates a TypeScript client from the document that the server serves, lets the
// compiler check a story that uses it, and runs it. `make setup-test` installs what it needs.
func TestClient_generated_from_the_document(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	source, err := filepath.Abs("testdata/client")
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(source, "node_modules")
	if _, err := os.Stat(modules); err != nil {
		t.Skip("the npm packages are not installed; make setup-test installs them")
	}
	now := func() time.Time { return time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC) }
	ledger, err := memory.New(memory.Config{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	server, err := rest.New(rest.Config{Ledger: ledger, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(server)
	defer listener.Close()

	dir := t.TempDir()
	for _, name := range []string{"client.mts", "tsconfig.json", "package.json"} {
		raw, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), node, args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "STRATA_URL="+listener.URL, "NO_PROXY=127.0.0.1", "NO_COLOR=1")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("node %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("node_modules/openapi-typescript/bin/cli.js", listener.URL+"/v1/openapi.json", "-o", "schema.mts")
	run("node_modules/typescript/bin/tsc", "-p", ".")
	if out := run("out/client.mjs"); !strings.Contains(out, "the story is told") {
		t.Errorf("the story ended early:\n%s", out)
	}
}
