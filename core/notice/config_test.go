package notice

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/core/memory"
	"strata/fault"
)

func TestTarget_bad_ones_are_refused_and_named(t *testing.T) {
	good := Target{Name: "shop", URL: "https://shop.example/hook", Keys: []Key{keyA()}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		edit func(*Target)
		text string // "": it is fine
	}{
		{"no name", func(x *Target) { x.Name = "" }, "name"},
		{"http elsewhere", func(x *Target) { x.URL = "http://shop.example/" }, "https"},
		{"http elsewhere that is allowed", func(x *Target) { x.URL = "http://shop.example/"; x.AllowHTTP = true }, ""},
		{"http on loopback", func(x *Target) { x.URL = "http://[::1]:8000/" }, ""},
		{"another scheme", func(x *Target) { x.URL = "file:///etc/passwd" }, "host"},
		{"a login", func(x *Target) { x.URL = "https://u:p@shop.example/" }, "login"},
		{"no URL", func(x *Target) { x.URL = "%" }, "URL"},
		{"no key", func(x *Target) { x.Keys = nil }, "keys"},
		{"three keys", func(x *Target) { x.Keys = []Key{keyA(), keyB(), {ID: "c", Secret: keyA().Secret}} }, "keys"},
		{"the same key id twice", func(x *Target) { x.Keys = []Key{keyA(), keyA()} }, "both keys"},
		{"a short secret", func(x *Target) { x.Keys = []Key{{ID: "a", Secret: []byte("short-secret")}} }, "12 bytes"},
		{"a key id with a comma", func(x *Target) { x.Keys = []Key{{ID: "a,b", Secret: keyA().Secret}} }, "keys[0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := good
			c.edit(&x)
			err := x.Validate()
			if c.text == "" && err != nil || c.text != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.text)) {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), "short-secret") {
				t.Error("the secret is shown")
			}
		})
	}
	if text := fmt.Sprintf("%v %s", good.Keys, keyA()); strings.Contains(text, "secret of") {
		t.Errorf("the secret is shown: %s", text)
	}
}

func TestConfig_all_that_is_wrong_comes_at_once(t *testing.T) {
	x := Target{Name: "shop", URL: "https://a.example", Keys: []Key{keyA()}}
	_, err := New(t.Context(), Config{Targets: []Target{x, x}, Schedule: []time.Duration{0}, Lease: time.Second})
	for _, text := range []string{"no database", "two targets", "schedule[0]", "lease"} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in %v", text, err)
		}
	}
}

func TestTargets_secrets_come_from_environment_or_file(t *testing.T) {
	getenv := func(name string) string { return map[string]string{"SHOP": "0123456789abcdef"}[name] }
	readFile := func(name string) ([]byte, error) {
		if name == "/run/key" {
			return []byte("fedcba9876543210\n"), nil
		}
		return nil, errors.New("no such file")
	}
	spec := TargetSpec{Name: "shop", URL: "https://shop.example", Keys: []KeySpec{{ID: "new", Env: "SHOP"}, {ID: "old", File: "/run/key"}}}
	out, err := Targets([]TargetSpec{spec}, getenv, readFile)
	if err != nil || string(out[0].Keys[0].Secret) != "0123456789abcdef" || string(out[0].Keys[1].Secret) != "fedcba9876543210" {
		t.Fatalf("%v, %v", out, err)
	}
	spec.Keys = []KeySpec{{ID: "a"}, {ID: "b", Env: "NOT_SET"}, {ID: "c", File: "/none"}}
	_, err = Targets([]TargetSpec{spec}, getenv, readFile)
	for _, text := range []string{"keys[0]: say env or file", "NOT_SET is not set", "keys[2]: read secret: no such file"} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in %v", text, err)
		}
	}
}

func TestVerify_refuses(t *testing.T) {
	body := []byte(`{"id":"t1"}`)
	signed := func() http.Header {
		h := http.Header{}
		Sign(h, []Key{keyA()}, "t1", body, start())
		return h
	}
	for _, c := range []struct {
		name string
		edit func(http.Header)
		body string
		key  Key
		at   time.Time
		good bool
	}{
		{"nothing of a good one", func(http.Header) {}, string(body), keyA(), start(), true},
		{"another body", func(http.Header) {}, `{"id":"t1" }`, keyA(), start(), false},
		{"another key", func(http.Header) {}, string(body), keyB(), start(), false},
		{"a key with another secret", func(http.Header) {}, string(body), Key{ID: "a", Secret: keyB().Secret}, start(), false},
		{"an old one", func(http.Header) {}, string(body), keyA(), start().Add(6 * time.Minute), false},
		{"another time", func(h http.Header) { h.Set(HeaderTimestamp, "1779012001") }, string(body), keyA(), start(), false},
		{"no time", func(h http.Header) { h.Del(HeaderTimestamp) }, string(body), keyA(), start(), false},
		{"another id", func(h http.Header) { h.Set(HeaderID, "t2") }, string(body), keyA(), start(), false},
		{"no signature", func(h http.Header) { h.Del(HeaderSignature) }, string(body), keyA(), start(), false},
		{"an empty signature", func(h http.Header) { h.Set(HeaderSignature, "a=") }, string(body), keyA(), start(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := signed()
			c.edit(h)
			err := Verify(h, []Key{c.key}, []byte(c.body), c.at, 5*time.Minute)
			if c.good && err != nil || !c.good && !fault.Is(err, fault.Denied) {
				t.Errorf("%v", err)
			}
		})
	}
}

// orders is a core.Orders in memory.
type orders map[[2]string][]string

func (o orders) ByOrder(_ context.Context, tenant, order string) ([]string, error) {
	return o[[2]string{tenant, order}], nil
}

func TestByOrder_answers_as_the_ledger(t *testing.T) {
	l, err := memory.New(memory.Config{Now: start})
	if err != nil {
		t.Fatal(err)
	}
	zero := int64(0)
	if err := l.Open(t.Context(), []core.Account{{ID: 1, Unit: "CNY"}, {ID: 2, Unit: "CNY", MinBalance: &zero}}); err != nil {
		t.Fatal(err)
	}
	pay := func(id string, from, to int64) core.Transfer {
		return core.Transfer{ID: id, Kind: "payment", OrderTime: start(), Tenant: "shop", Order: "o1",
			Legs: []core.Leg{{Account: from, Unit: "CNY", Amount: -5}, {Account: to, Unit: "CNY", Amount: 5}}}
	}
	posted, err := l.Post(t.Context(), []core.Transfer{pay("short", 2, 1), pay("good", 1, 2)})
	if err != nil || posted[0].Outcome != core.Refused || posted[1].Outcome != core.Applied {
		t.Fatalf("%+v, %v", posted, err)
	}
	o := orders{{"shop", "o1"}: {"short", "good", "forgotten"}}
	got, err := ByOrder(t.Context(), o, l, "shop", "o1")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[2].Remembered || !reflect.DeepEqual(got[2], Status{ID: "forgotten"}) {
		t.Fatalf("%+v", got)
	}
	for i, id := range []string{"short", "good"} {
		want, _, err := l.Answer(t.Context(), id)
		if err != nil || !reflect.DeepEqual(got[i], Status{ID: id, Remembered: true, Answer: want}) {
			t.Errorf("%+v instead of %+v, %v", got[i], want, err)
		}
	}
	if got[0].Answer.Code != core.BelowMinimum || len(got[1].Answer.Balances) != 2 {
		t.Errorf("%+v", got)
	}
	if none, err := ByOrder(t.Context(), o, l, "bank", "o1"); err != nil || len(none) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
}
