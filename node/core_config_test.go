package node_test

import (
	"strings"
	"testing"

	"strata/fault"
	"strata/node"
)

const goodCore = goodConfig + `ledger: true
core:
  notices:
    targets:
      - {name: shop, url: "https://shop.example.com/hook?token=` + secret + `", keys: [{id: k, env: K}]}
  across:
    transit: {CNY: 9}
    ledgers:
      east: {dsn: "app:` + secret + `@tcp(10.0.0.4:3306)/bank", transit: {CNY: 9}}
`

// TestCoreConfig: what is wrong with the ledger's part is said by check-config, not first by the start.
func TestCoreConfig(t *testing.T) {
	t.Run("no secret is shown", func(t *testing.T) {
		c := parse(t, goodCore)
		text, err := c.Effective()
		if err != nil || strings.Contains(text, secret) || !strings.Contains(text, "https://shop.example.com/hook?***") {
			t.Errorf("%v %s", err, text)
		}
		if !strings.Contains(c.Core.Notices.Targets[0].URL, secret) {
			t.Error("the configuration itself lost its URL")
		}
	})
	for name, c := range map[string]struct{ from, to, want string }{
		"scheme":            {"https://shop", "ftp://shop", "https is needed"},
		"http elsewhere":    {"https://shop", "http://shop", "allow_http"},
		"login in a URL":    {"https://shop", "https://me:" + secret + "@shop", "login"},
		"no key":            {"keys: [{id: k, env: K}]", "keys: []", "0 keys"},
		"key of nowhere":    {"{id: k, env: K}", "{id: k}", "env or file"},
		"no name":           {"name: shop", `name: ""`, "name"},
		"two of a name":     {"    targets:\n", "    targets:\n      - {name: shop, url: \"https://a.example.com\", keys: [{id: k, env: K}]}\n", "twice"},
		"no transit":        {"    transit: {CNY: 9}\n    ledgers", "    ledgers", "transit: an account by unit"},
		"transit account":   {"    transit: {CNY: 9}\n", "    transit: {CNY: -9}\n", "-9"},
		"transit unit":      {"/bank\", transit: {CNY: 9}", "/bank\", transit: {cny: 9}", "east: transit: cny"},
		"own name":          {"east: {", "main: {", "own name"},
		"no name of ledger": {"east: {", `"a b": {`, "visible ASCII"},
		"the same database": {"10.0.0.4", "10.0.0.1", "east is the database of main"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodCore, c.from, c.to, 1)
			_, err := node.Parse([]byte(text), "strata.yaml", nothing)
			if text == goodCore || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("%v", err)
			}
		})
	}
}
