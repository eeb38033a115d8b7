package voucher

import (
	"os"
	"testing"

	"strata/fault"
)

// FuzzCompile: whatever the document is, it compiles or is fault.Invalid with Problems.
func FuzzCompile(f *testing.F) {
	body, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(body), oneRule("amount"), oneRule("percent(amount, 1, 'ceil')") + samplePay, "rules: [", "{\"cases\": []}", "a: &b [*b]", "? [x]\n: - y", "- - - x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Compile(body); err != nil && (!fault.Is(err, fault.Invalid) || len(Problems(err)) == 0) {
			t.Fatalf("%v", err)
		}
	})
}
