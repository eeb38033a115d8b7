package voucher

import (
	"fmt"
	"math/rand"
	"os"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	body, _ := os.ReadFile("testdata/shop.yaml")
	seeds := []string{string(body), oneRule("amount"), oneRule("percent(amount, 1, 'ceil')") + samplePay, "rules: [", "{\"cases\": []}", "a: &b [*b]", "? [x]\n: - y", "- - - x"}
	r := rand.New(rand.NewSource(time.Now().UnixNano()))
	start := time.Now()
	n := 0
	worst := time.Duration(0)
	for time.Since(start) < 60*time.Second {
		b := []byte(seeds[r.Intn(len(seeds))])
		if r.Intn(2) == 0 { b = b[:r.Intn(len(b)+1)] }
		for range 1 + r.Intn(6) {
			if len(b) == 0 { b = []byte("x") }
			i := r.Intn(len(b))
			switch r.Intn(4) {
			case 0: b[i] = byte(r.Intn(256))
			case 1: b = append(b[:i:i], append([]byte{"[]{}:-?|>'\"#&*!%@,\n \t\\0"[r.Intn(23)]}, b[i:]...)...)
			case 2: b = append(b[:i:i], b[i+1:]...)
			case 3: j := r.Intn(len(b)); if i > j { i, j = j, i }; b = append(b[:j:j], b[i:]...)
			}
		}
		done := make(chan string, 1)
		go func() {
			defer func() { if p := recover(); p != nil { done <- fmt.Sprint("PANIC ", p) } }()
			Compile(b); done <- ""
		}()
		t0 := time.Now()
		select {
		case why := <-done:
			if why != "" { t.Errorf("%s: %q", why, b); }
		case <-time.After(10 * time.Second):
			os.WriteFile("/tmp/hang.yaml", b, 0o644)
			t.Fatalf("HANG %q", b)
		}
		if d := time.Since(t0); d > worst { worst = d; os.WriteFile("/tmp/worst.yaml", b, 0o644) }
		n++
	}
	t.Log(n, worst)
}
