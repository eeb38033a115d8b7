package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"strata/core"
	"strata/fault"
)

// Cases turn the parameters of a configured business case into its transfer.
type Cases interface {
	// Transfer makes the transfer with this id; the same parameters make the same transfer. fault.NotFound: no such case;
	// fault.Invalid: the parameters don't fit it.
	Transfer(ctx context.Context, name, id string, params json.RawMessage) (core.Transfer, error)
}

// Notice is a message about a transfer to somebody outside.
type Notice struct {
	ID       string
	Transfer string
	Target   string
	State    string
	Attempts int
	Next     time.Time // when it is sent next; zero: not by itself
	Said     string    // why the last attempt failed; ""
}

// Notices shows messages and sends them again.
type Notices interface {
	// ListNotices returns up to limit of a state, of all where it is "", with ids after the given one, ascending. An unknown
	// state is fault.Invalid.
	ListNotices(ctx context.Context, state, after string, limit int) ([]Notice, error)
	// CountNotices counts by state.
	CountNotices(ctx context.Context) (map[string]int64, error)
	// ResendNotice lets one be sent again now; fault.NotFound where there is none, fault.Conflict while it is being sent.
	ResendNotice(ctx context.Context, id string) error
}

// Line is one line of a voucher. Amounts are minor units, debits positive on the debit side.
type Line struct {
	Subject string
	Unit    string
	Debit   int64
	Credit  int64
}

// Voucher is the accounting record of a transfer.
type Voucher struct {
	Number string
	Rules  int64 // the version of the rules that made it
	Date   time.Time
	Lines  []Line
}

// VoucherStatus says how far accounting is.
type VoucherStatus struct {
	Waiting int64     // transfers without a voucher
	Oldest  time.Time // when the oldest of them was posted; zero: none
	Failed  int64     // of them, those that the rules can't take
	Rules   int64     // the version of the rules in force
}

// Vouchers shows accounting records.
type Vouchers interface {
	// Vouchers returns those of a transfer; fault.NotFound where there is none (yet).
	Vouchers(ctx context.Context, transfer string) ([]Voucher, error)
	// VoucherStatus says how far accounting is.
	VoucherStatus(ctx context.Context) (VoucherStatus, error)
}

func notConfigured(section string) error {
	return &problem{status: http.StatusNotFound, code: "not_configured", detail: "this ledger has no " + section}
}

// postCase posts the transfer that a case makes.
func (s *Server) postCase(q *request) (reply, error) {
	if s.cfg.Cases == nil {
		return reply{}, notConfigured("cases")
	}
	var id, params string
	if err := decode(q.body, fields{"id": text(&id), "params": object(&params)}, "params"); err != nil {
		return reply{}, err
	}
	named := core.Transfer{ID: id}
	if err := q.name(&named); err != nil {
		return reply{}, err
	}
	t, err := s.cfg.Cases.Transfer(q.ctx, q.PathValue("name"), named.ID, json.RawMessage(params))
	if err != nil {
		return reply{}, err
	}
	if t.ID != named.ID {
		return reply{}, fault.New(fault.Internal, "make transfer of case", "id %q instead of %q", t.ID, named.ID)
	}
	return s.post(q, &t)
}

type noticeForm struct {
	ID       string `json:"id"`
	Transfer string `json:"transfer"`
	Target   string `json:"target"`
	State    string `json:"state"`
	Attempts int    `json:"attempts"`
	Next     moment `json:"next_at"`
	Said     string `json:"said,omitempty"`
}

func (s *Server) listNotices(q *request) (reply, error) {
	if s.cfg.Notices == nil {
		return reply{}, notConfigured("notices")
	}
	limit, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := q.after()
	if err != nil {
		return reply{}, err
	}
	list, err := s.cfg.Notices.ListNotices(q.ctx, q.query.Get("state"), after, limit+1)
	if err != nil {
		return reply{}, err
	}
	out := struct {
		Notices []noticeForm `json:"notices"`
		Next    string       `json:"next,omitempty"`
	}{Notices: []noticeForm{}}
	if len(list) > limit {
		list = list[:limit]
		out.Next = list[limit-1].ID
	}
	for _, n := range list {
		out.Notices = append(out.Notices, noticeForm{n.ID, n.Transfer, n.Target, n.State, n.Attempts, moment(n.Next), n.Said})
	}
	return answer(out)
}

func (s *Server) countNotices(q *request) (reply, error) {
	if s.cfg.Notices == nil {
		return reply{}, notConfigured("notices")
	}
	return counts(s.cfg.Notices.CountNotices(q.ctx))
}

func (s *Server) resendNotice(q *request) (reply, error) {
	if s.cfg.Notices == nil {
		return reply{}, notConfigured("notices")
	}
	id, err := q.id("id")
	if err != nil {
		return reply{}, err
	}
	if err := decode(q.body, fields{}); err != nil {
		return reply{}, err
	}
	if err := s.cfg.Notices.ResendNotice(q.ctx, id); err != nil {
		return reply{}, err
	}
	return answer(struct {
		ID string `json:"id"`
	}{id})
}

type voucherForm struct {
	Number string     `json:"number"`
	Rules  int64      `json:"rules"`
	Date   day        `json:"date"`
	Lines  []lineForm `json:"lines"`
}

type lineForm struct {
	Subject string `json:"subject"`
	Unit    string `json:"unit"`
	Debit   digit  `json:"debit"`
	Credit  digit  `json:"credit"`
}

func (s *Server) getVouchers(q *request) (reply, error) {
	if s.cfg.Vouchers == nil {
		return reply{}, notConfigured("vouchers")
	}
	id, err := q.id("transfer")
	if err != nil {
		return reply{}, err
	}
	list, err := s.cfg.Vouchers.Vouchers(q.ctx, id)
	if err != nil {
		return reply{}, err
	}
	out := struct {
		Vouchers []voucherForm `json:"vouchers"`
	}{[]voucherForm{}}
	for _, v := range list {
		f := voucherForm{v.Number, v.Rules, day(v.Date), []lineForm{}}
		for _, l := range v.Lines {
			f.Lines = append(f.Lines, lineForm{l.Subject, l.Unit, digit(l.Debit), digit(l.Credit)})
		}
		out.Vouchers = append(out.Vouchers, f)
	}
	return answer(out)
}

func (s *Server) getVoucherStatus(q *request) (reply, error) {
	if s.cfg.Vouchers == nil {
		return reply{}, notConfigured("vouchers")
	}
	st, err := s.cfg.Vouchers.VoucherStatus(q.ctx)
	if err != nil {
		return reply{}, err
	}
	return answer(struct {
		Waiting int64  `json:"waiting"`
		Oldest  moment `json:"oldest"`
		Failed  int64  `json:"failed"`
		Rules   int64  `json:"rules"`
	}{st.Waiting, moment(st.Oldest), st.Failed, st.Rules})
}
