package node

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"strata/core"
	"strata/core/voucher"
	"strata/fault"
)

func TestAPI_gets_its_paths_as_they_came(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for path, want := range map[string]int{"/v1/transfers/..": 418, "/v1/orders//7": 418, "/v1": 418, "/v1/": 418, "/healthz": 204, "/v2/accounts": 404, "/": 404} {
		w := httptest.NewRecorder()
		apiFirst(api, mux).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d instead of %d", path, w.Code, want)
		}
	}
}

func TestCaseParams(t *testing.T) {
	const at = `"order_time":"2026-11-22T08:00:00Z"`
	var head core.Transfer
	got, err := caseParams([]byte(`{"amount":5,"user":"1001","tenant":"shop","order":"A-1",`+at+`}`), &head)
	if err != nil || len(got) != 2 || got["amount"] != "5" || got["user"] != "1001" || head.Tenant != "shop" || head.Order != "A-1" || head.OrderTime.IsZero() {
		t.Errorf("%v %+v %v", got, head, err)
	}
	for text, field := range map[string]string{
		`{"amount":5}`:               "params.order_time", // a repeated call would be another body
		`{"amount":true,` + at + `}`: "params.amount",
		`{"amount":null,` + at + `}`: "params.amount",
		`{"order_time":"soon"}`:      "params.order_time",
	} {
		var e *fault.Error
		if _, err := caseParams([]byte(text), new(core.Transfer)); !errors.As(err, &e) || e.Kind != fault.Invalid || e.Object != field {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCaseProblem(t *testing.T) {
	doc, err := voucher.Compile([]byte("cases: [{name: c, params: [{name: p, type: amount}], legs: [{account: \"1\", unit: \"'CNY'\", amount: p}, {account: \"2\", unit: \"'CNY'\", amount: neg(p)}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = doc.Transfer("nobody", core.Transfer{ID: "t"}, nil)
	if err = caseProblem(err); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	_, err = doc.Transfer("c", core.Transfer{ID: "t"}, map[string]string{"p": "1.5"})
	var e *fault.Error
	if err = caseProblem(err); !errors.As(err, &e) || e.Kind != fault.Invalid || e.Object != "params.p" {
		t.Error(err)
	}
	if other := fault.New(fault.Busy, "x", "y"); caseProblem(other) != error(other) || caseProblem(nil) != nil {
		t.Error("another error changed")
	}
}
