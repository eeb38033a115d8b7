package rest

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var document []byte // what routes says in the words of OpenAPI; never written to

// route is one operation of the document.
type route struct {
	method, pattern string
	name            string   // operationId
	query           []string // parameters
	body            int64    // its limit; 0: there is none
	statuses        []int    // besides those of common
	free            bool     // asks no rates
	alone           bool     // asks nobody
	run             func(s *Server, q *request) (reply, error)
}

// common are the statuses that every operation may answer.
func common() []int {
	return []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}
}

// all are the statuses of the route.
func (rt *route) all() []int {
	out := append(common(), rt.statuses...)
	if !rt.alone {
		out = append(out, http.StatusInternalServerError, http.StatusGatewayTimeout)
	}
	if !rt.free {
		out = append(out, http.StatusTooManyRequests)
	}
	if rt.body > 0 {
		out = append(out, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	return out
}

func (rt *route) changes() bool { return rt.method != http.MethodGet }

// routes is the API.
func routes() []route {
	const get, post = http.MethodGet, http.MethodPost
	posted := []int{200, 201, 409, 422}
	page := []string{"after", "limit"}
	return []route{
		{method: get, pattern: "/v1/openapi.json", name: "getDocument", statuses: []int{200}, free: true, alone: true, run: (*Server).getDocument},

		{method: post, pattern: "/v1/transfers", name: "postTransfer", body: maxBody, statuses: posted, run: (*Server).postTransfer},
		{method: post, pattern: "/v1/transfers/batch", name: "postBatch", body: maxBulk, statuses: []int{200, 422}, run: (*Server).postBatch},
		{method: get, pattern: "/v1/transfers/{id}", name: "getTransfer", statuses: []int{200, 404}, run: (*Server).getTransfer},
		{method: get, pattern: "/v1/orders/{order}", name: "getOrderOfNobody", statuses: []int{200, 404, 422}, run: (*Server).getOrder},
		{method: get, pattern: "/v1/orders/{tenant}/{order}", name: "getOrder", statuses: []int{200, 404, 422}, run: (*Server).getOrder},

		{method: post, pattern: "/v1/accounts", name: "openAccounts", body: maxBody, statuses: []int{200, 409}, run: (*Server).openAccounts},
		{method: get, pattern: "/v1/accounts", name: "listAccounts", query: page, statuses: []int{200}, run: (*Server).listAccounts},
		{method: get, pattern: "/v1/accounts/{id}", name: "getAccount", statuses: []int{200, 404}, run: (*Server).getAccount},
		{method: http.MethodPatch, pattern: "/v1/accounts/{id}", name: "changeAccount", body: maxBody, statuses: []int{200, 404, 409}, run: (*Server).changeAccount},

		{method: get, pattern: "/v1/reservations", name: "listReservations", query: append(page, "state"), statuses: []int{200}, run: (*Server).listReservations},
		{method: get, pattern: "/v1/reservations/{id}", name: "getReservation", statuses: []int{200, 404}, run: (*Server).getReservation},
		{method: get, pattern: "/v1/reservation-counts", name: "countReservations", statuses: []int{200}, run: (*Server).countReservations},

		{method: get, pattern: "/v1/settings", name: "getSettings", statuses: []int{200}, free: true, run: (*Server).getSettings},
		{method: http.MethodPut, pattern: "/v1/settings", name: "putSettings", body: maxBulk, statuses: []int{200, 412, 428}, free: true, run: (*Server).putSettings},
		{method: post, pattern: "/v1/settings/rollback", name: "rollBackSettings", body: maxBody, statuses: []int{200, 409}, free: true, run: (*Server).rollBackSettings},
		{method: get, pattern: "/v1/settings/history", name: "getSettingsHistory", query: []string{"limit"}, statuses: []int{200}, free: true, run: (*Server).getSettingsHistory},

		{method: get, pattern: "/v1/day", name: "getDay", statuses: []int{200}, run: (*Server).getDay},
		{method: post, pattern: "/v1/day/cut", name: "cutDay", body: maxBody, statuses: []int{200}, run: (*Server).cutDay},

		{method: post, pattern: "/v1/cases/{name}", name: "postCase", body: maxBody, statuses: append(posted, 404), run: (*Server).postCase},
		{method: get, pattern: "/v1/notices", name: "listNotices", query: append(page, "state"), statuses: []int{200, 404}, run: (*Server).listNotices},
		{method: get, pattern: "/v1/notice-counts", name: "countNotices", statuses: []int{200, 404}, run: (*Server).countNotices},
		{method: post, pattern: "/v1/notices/{id}/resend", name: "resendNotice", body: maxBody, statuses: []int{200, 404, 409}, run: (*Server).resendNotice},
		{method: get, pattern: "/v1/vouchers/{transfer}", name: "getVouchers", statuses: []int{200, 404}, run: (*Server).getVouchers},
		{method: get, pattern: "/v1/voucher-status", name: "getVoucherStatus", statuses: []int{200, 404}, run: (*Server).getVoucherStatus},
	}
}

func (s *Server) getDocument(*request) (reply, error) { return reply{status: 200, body: document}, nil }
