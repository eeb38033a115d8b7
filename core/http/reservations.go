package rest

import (
	"encoding/json"

	"strata/core"
)

// reservationForm is a core.Reservation. Its transfer is core's own form; a fence has none.
type reservationForm struct {
	ID       string          `json:"id"`
	State    string          `json:"state"`
	Transfer json.RawMessage `json:"transfer"`
	Parts    [][]partForm    `json:"parts,omitempty"`
	Day      day             `json:"day"`
	At       moment          `json:"at"`
	EndedBy  string          `json:"ended_by,omitempty"`
	EndedAt  moment          `json:"ended_at"`
	LateTrys int64           `json:"late_trys"`
}

func reservationOf(r *core.Reservation) reservationForm {
	out := reservationForm{ID: r.ID, State: r.State.String(), Day: day(r.Day), At: moment(r.At),
		EndedBy: r.EndedBy, EndedAt: moment(r.EndedAt), LateTrys: r.LateTrys}
	if len(r.Transfer.Legs) > 0 {
		out.Transfer = r.Transfer.AppendJSON(nil)
	}
	for _, parts := range r.Parts {
		out.Parts = append(out.Parts, partsOf(parts))
	}
	return out
}

func (s *Server) getReservation(q *request) (reply, error) {
	id, err := q.id("id")
	if err != nil {
		return reply{}, err
	}
	r, err := s.cfg.Ledger.Reservation(q.ctx, id)
	if err != nil {
		return reply{}, err
	}
	return answer(reservationOf(&r))
}

func (s *Server) listReservations(q *request) (reply, error) {
	limit, err := q.page()
	if err != nil {
		return reply{}, err
	}
	state, ok := parseWord(q.query.Get("state"), core.Fenced)
	if !ok {
		return reply{}, badParameter("state", "state is one of "+words(core.Fenced))
	}
	after, err := q.after()
	if err != nil {
		return reply{}, err
	}
	list, err := s.cfg.Ledger.ListReservations(q.ctx, state, after, limit+1)
	if err != nil {
		return reply{}, err
	}
	out := struct {
		Reservations []reservationForm `json:"reservations"`
		Next         string            `json:"next,omitempty"`
	}{Reservations: []reservationForm{}}
	if len(list) > limit {
		list = list[:limit]
		out.Next = list[limit-1].ID
	}
	for i := range list {
		out.Reservations = append(out.Reservations, reservationOf(&list[i]))
	}
	return answer(out)
}

func (s *Server) countReservations(q *request) (reply, error) {
	return counts(s.cfg.Ledger.CountReservations(q.ctx))
}

// counts answers how many there are of each.
func counts(all map[string]int64, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	if all == nil {
		all = map[string]int64{}
	}
	return answer(struct {
		Counts map[string]int64 `json:"counts"`
	}{all})
}
