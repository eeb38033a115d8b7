package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"strata/core"
	"strata/fault"
)

// postTransfer posts one.
func (s *Server) postTransfer(q *request) (reply, error) {
	root, err := scan(q.body, core.MaxDepth)
	if err != nil {
		return reply{}, err
	}
	if root.Kind == '[' {
		return reply{}, badField(root.At, "a transfer is an object").hinted("post an array to /v1/transfers/batch")
	}
	t, err := parseTransfer(&root, "")
	if err != nil {
		return reply{}, err
	}
	if err := q.name(&t); err != nil {
		return reply{}, err
	}
	return s.post(q, &t)
}

// parseTransfer is core's, with the place of the mistake.
func parseTransfer(n *node, field string) (core.Transfer, error) {
	t, err := core.ReadTransfer((*core.Value)(n))
	return t, in(field, placed(n, err))
}

// placed is core's complaint about a value, as one about a field of the body.
func placed(n *node, err error) error {
	if err == nil {
		return nil
	}
	p := badField(n.At, "%s", err)
	var e *fault.Error
	if errors.As(err, &e) {
		p.field, p.hint, p.offset = e.Object, e.Hint, offsetOf(n, e.Object)+1
		if e.Err != nil {
			p.detail = e.Err.Error()
		}
	}
	return p
}

// offsetOf is where a field such as legs[1].amount stands in the body, or the nearest that is around it.
func offsetOf(n *node, field string) int {
	for _, step := range strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		i := slices.IndexFunc(n.Items, func(v core.Value) bool { return v.Name == step })
		if n.Kind == '[' {
			if number, err := strconv.Atoi(step); err == nil {
				i = number
			}
		}
		if i < 0 || i >= len(n.Items) {
			break
		}
		n = (*node)(&n.Items[i])
	}
	return n.At
}

// key is the Idempotency-Key header, in quotes or not; "" where there is none.
func (q *request) key() string {
	if v := q.Header["Idempotency-Key"]; len(v) > 0 {
		return strings.TrimSuffix(strings.TrimPrefix(v[0], `"`), `"`)
	}
	return ""
}

// name gives the transfer the header's id, or sees that both are the same.
func (q *request) name(t *core.Transfer) error {
	key := q.key()
	if t.ID == "" {
		t.ID = key
	}
	q.object = t.ID
	if key != "" && key != t.ID {
		return &problem{status: http.StatusBadRequest, code: "idempotency_key_mismatch", field: "id", detail: "the Idempotency-Key header is not the transfer's id"}
	}
	return nil
}

// post asks the rates and the ledger.
func (s *Server) post(q *request, t *core.Transfer) (reply, error) {
	if err := callers(t); err != nil {
		return reply{}, err
	}
	one := []core.Transfer{*t}
	if err := s.admit(q, one); err != nil {
		return reply{}, err
	}
	answers, err := s.cfg.Ledger.Post(q.ctx, one)
	if err != nil {
		return reply{}, ambiguous(err)
	}
	if len(answers) != 1 {
		return reply{}, fault.New(fault.Internal, "post transfer", "%d answers for one transfer", len(answers))
	}
	a := &answers[0]
	if status := statusOf(a); status >= 300 {
		return reply{}, &problem{status: status, code: string(a.Code), detail: a.Message, field: a.Field, id: t.ID, outcome: a.Outcome.String()}
	}
	return reply{status: statusOf(a), body: appendAnswer(make([]byte, 0, 256), t.ID, a)}, nil
}

// ambiguous says what to do where nothing is known about a transfer.
func ambiguous(err error) error {
	p := classify(err)
	if p.hint == "" {
		p.hint = "post the same again: its id sees to it that it is booked once"
	}
	return p
}

func statusOf(a *core.Answer) int {
	switch a.Outcome {
	case core.Applied:
		return http.StatusCreated
	case core.Replayed:
		return http.StatusOK
	case core.Conflict:
		return http.StatusConflict
	case core.Refused:
		return http.StatusUnprocessableEntity
	}
	return http.StatusServiceUnavailable
}

// postBatch posts an array in one call.
func (s *Server) postBatch(q *request) (reply, error) {
	root, err := scan(q.body, core.MaxDepth)
	if err != nil {
		return reply{}, err
	}
	if root.Kind != '[' {
		return reply{}, badField(root.At, "a batch is an array of transfers").hinted("post a single one to /v1/transfers")
	}
	if q.key() != "" {
		return reply{}, &problem{status: http.StatusBadRequest, code: "idempotency_key_mismatch", detail: "a batch has no key: each of its transfers has an id"}
	}
	if len(root.Items) > maxBatch {
		return reply{}, &problem{status: http.StatusRequestEntityTooLarge, code: "batch_too_large",
			detail: strconv.Itoa(len(root.Items)) + " transfers; a batch has at most " + strconv.Itoa(maxBatch)}
	}
	transfers := make([]core.Transfer, len(root.Items))
	for i := range root.Items {
		if transfers[i], err = parseTransfer((*node)(&root.Items[i]), "["+strconv.Itoa(i)+"]"); err != nil {
			return reply{}, err
		}
		if err := callers(&transfers[i]); err != nil {
			return reply{}, in("["+strconv.Itoa(i)+"]", err)
		}
	}
	if q.count = len(transfers); q.count == 0 {
		return reply{status: http.StatusOK, body: []byte("[]")}, nil
	}
	q.object = transfers[0].ID
	if err := s.admit(q, transfers); err != nil {
		return reply{}, err
	}
	answers, err := s.cfg.Ledger.Post(q.ctx, transfers)
	if err != nil {
		return reply{}, ambiguous(err)
	}
	if len(answers) != len(transfers) {
		return reply{}, fault.New(fault.Internal, "post batch", "%d answers for %d transfers", len(answers), len(transfers))
	}
	body := append(make([]byte, 0, 192*len(answers)), '[')
	for i := range answers {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendAnswer(body, transfers[i].ID, &answers[i])
	}
	return reply{status: http.StatusOK, body: append(body, ']')}, nil
}

// getTransfer answers what the id is remembered with.
func (s *Server) getTransfer(q *request) (reply, error) {
	id, err := q.id("id")
	if err != nil {
		return reply{}, err
	}
	a, known, err := s.cfg.Ledger.Answer(q.ctx, id)
	if err != nil {
		return reply{}, err
	}
	if !known {
		return reply{}, &problem{status: http.StatusNotFound, code: "not_found", field: "id", detail: "no transfer with this id is remembered"}
	}
	return reply{status: http.StatusOK, body: appendAnswer(nil, id, &a)}, nil
}

// getOrder answers for all transfers of a merchant's order number.
func (s *Server) getOrder(q *request) (reply, error) {
	tenant, err := q.id("tenant") // "": the path without one
	if err != nil {
		return reply{}, err
	}
	order, err := q.id("order")
	if err != nil {
		return reply{}, err
	}
	ids, err := s.cfg.Ledger.ByOrder(q.ctx, tenant, order)
	if err != nil {
		return reply{}, err
	}
	if len(ids) == 0 {
		return reply{}, &problem{status: http.StatusNotFound, code: "not_found", field: "order", detail: "no transfer named this order number"}
	}
	if len(ids) > maxPage {
		return reply{}, fault.New(fault.TooLarge, "answer order", "it has %d transfers, at most %d are answered", len(ids), maxPage).
			WithHint("ask for each of them by its id")
	}
	body := appendText(appendText([]byte(`{"tenant":`), tenant, `,"order":`), order, `,"transfers":[`)
	for i, id := range ids {
		a, known, err := s.cfg.Ledger.Answer(q.ctx, id)
		if err != nil {
			return reply{}, err
		}
		if i > 0 {
			body = append(body, ',')
		}
		if known {
			body = appendAnswer(body, id, &a)
		} else {
			body = appendText(append(body, `{"id":`...), id, `,"outcome":"forgotten"}`)
		}
	}
	return reply{status: http.StatusOK, body: append(body, "]}"...)}, nil
}

// appendAnswer writes one answer. Amounts, balances and numbers are strings of digits.
func appendAnswer(dst []byte, id string, a *core.Answer) []byte {
	dst = appendText(append(dst, `{"id":`...), id, `,"outcome":"`)
	dst = append(append(dst, a.Outcome.String()...), '"')
	if a.Action != core.Post {
		dst = append(append(append(dst, `,"action":"`...), a.Action.String()...), '"')
	}
	if a.Code != "" {
		dst = appendText(append(dst, `,"code":`...), string(a.Code), "")
	}
	if a.Message != "" {
		dst = appendText(append(dst, `,"message":`...), a.Message, "")
	}
	if a.Field != "" {
		dst = appendText(append(dst, `,"field":`...), a.Field, "")
	}
	if a.Balances == nil {
		return append(dst, '}')
	}
	dst = append(dst, `,"balances":[`...)
	for i := range a.Balances {
		b := &a.Balances[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendDigits(dst, `{"account":"`, b.Account)
		dst = appendDigits(dst, `","seq":"`, b.Seq)
		dst = appendDigits(dst, `","balance":"`, b.Balance)
		dst = append(appendDigits(dst, `","amount":"`, b.Amount), '"')
		if b.Parts != nil {
			dst = appendParts(append(dst, `,"parts":`...), b.Parts)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']', '}')
}

func appendDigits(dst []byte, before string, n int64) []byte {
	return strconv.AppendInt(append(dst, before...), n, 10)
}

func appendParts(dst []byte, parts []core.Part) []byte {
	dst = append(dst, '[')
	for i, p := range parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"nature":`...), p.Nature, "")
		dst = append(appendDigits(dst, `,"amount":"`, p.Amount), `"}`...)
	}
	return append(dst, ']')
}

// appendText writes a JSON string and what follows it.
func appendText(dst []byte, text, after string) []byte {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			raw, _ := json.Marshal(text) // strings always have a JSON form
			return append(append(dst, raw...), after...)
		}
	}
	return append(append(append(append(dst, '"'), text...), '"'), after...)
}
