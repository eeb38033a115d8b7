package rest

import (
	"net/http"
	"strconv"

	"strata/core"
)

// accountForm is a core.Account as it is shown.
type accountForm struct {
	ID             digit  `json:"id"`
	Name           string `json:"name"`
	Tenant         string `json:"tenant"`
	Unit           string `json:"unit"`
	Side           string `json:"side"`
	MinBalance     *digit `json:"min_balance"`
	MaxBalance     *digit `json:"max_balance"`
	State          string `json:"state"`
	Mode           string `json:"mode"`
	Strategy       string `json:"strategy"`
	Metadata       any    `json:"metadata"`
	OpenedAt       moment `json:"opened_at"`
	Balance        digit  `json:"balance"`
	Available      digit  `json:"available"`
	Debits         digit  `json:"debits"`
	Credits        digit  `json:"credits"`
	PendingDebits  digit  `json:"pending_debits"`
	PendingCredits digit  `json:"pending_credits"`
	Entries        digit  `json:"entries"`
	Buffered       digit  `json:"buffered"`
}

func accountOf(a *core.Account) accountForm {
	return accountForm{ID: digit(a.ID), Name: a.Name, Tenant: a.Tenant, Unit: a.Unit, Side: a.Side.String(),
		MinBalance: maybe(a.MinBalance), MaxBalance: maybe(a.MaxBalance), State: a.State.String(), Mode: a.Mode.String(),
		Strategy: a.Strategy, Metadata: embedded(a.Metadata), OpenedAt: moment(a.OpenedAt), Balance: digit(a.Balance),
		Available: digit(a.Available()), Debits: digit(a.Debits), Credits: digit(a.Credits), PendingDebits: digit(a.PendingDebits),
		PendingCredits: digit(a.PendingCredits), Entries: digit(a.Entries), Buffered: digit(a.Buffered)}
}

// standingForm is a core.Standing.
type standingForm struct {
	Account accountForm `json:"account"`
	Funds   []fundForm  `json:"funds"`
	Uses    []useForm   `json:"uses"`
	Day     day         `json:"day"`
}

type fundForm struct {
	Nature  string `json:"nature"`
	Balance digit  `json:"balance"`
	Pending digit  `json:"pending"`
}

type useForm struct {
	Limit   string `json:"limit"`
	Subject string `json:"subject"`
	Period  string `json:"period"`
	Amount  digit  `json:"amount"`
	Count   digit  `json:"count"`
}

func newAccount(v *node) (core.Account, error) {
	var a core.Account
	err := v.members(fields{
		"id": digits(&a.ID), "name": text(&a.Name), "tenant": text(&a.Tenant), "unit": text(&a.Unit), "side": word(&a.Side, core.DebitSide),
		"min_balance": perhaps(&a.MinBalance), "max_balance": perhaps(&a.MaxBalance), "strategy": text(&a.Strategy), "metadata": object(&a.Metadata),
	}, "id", "name", "unit")
	return a, err
}

// openAccounts opens all of an array, or none.
func (s *Server) openAccounts(q *request) (reply, error) {
	root, err := scan(q.body, core.MaxDepth)
	if err != nil {
		return reply{}, err
	}
	if len(root.Items) > maxBatch {
		return reply{}, &problem{status: http.StatusRequestEntityTooLarge, code: "batch_too_large",
			detail: strconv.Itoa(len(root.Items)) + " accounts; at most " + strconv.Itoa(maxBatch) + " are opened at once"}
	}
	var accounts []core.Account
	err = root.elements(func(v *node) error {
		a, err := newAccount(v)
		accounts = append(accounts, a)
		return err
	})
	if err != nil {
		return reply{}, err
	}
	out := struct {
		Accounts []digit `json:"accounts"`
	}{[]digit{}}
	for _, a := range accounts {
		out.Accounts = append(out.Accounts, digit(a.ID))
	}
	if q.count = len(accounts); q.count > 0 {
		q.object = strconv.FormatInt(accounts[0].ID, 10)
		if err := s.cfg.Ledger.Open(q.ctx, accounts); err != nil {
			return reply{}, err
		}
	}
	return answer(out)
}

// listAccounts is one page.
func (s *Server) listAccounts(q *request) (reply, error) {
	limit, err := q.page()
	if err != nil {
		return reply{}, err
	}
	var after int64
	if raw := q.query.Get("after"); raw != "" {
		if after, err = strconv.ParseInt(raw, 10, 64); err != nil {
			return reply{}, badParameter("after", "it is not an account's id")
		}
	}
	list, err := s.cfg.Ledger.List(q.ctx, after, limit+1)
	if err != nil {
		return reply{}, err
	}
	out := struct {
		Accounts []accountForm `json:"accounts"`
		Next     *digit        `json:"next,omitempty"`
	}{Accounts: []accountForm{}}
	if len(list) > limit {
		list = list[:limit]
		out.Next = maybe(&list[limit-1].ID)
	}
	for i := range list {
		out.Accounts = append(out.Accounts, accountOf(&list[i]))
	}
	return answer(out)
}

// account is the path's id.
func (q *request) account() (int64, error) {
	q.object = q.PathValue("id")
	id, err := strconv.ParseInt(q.object, 10, 64)
	if err != nil || strconv.FormatInt(id, 10) != q.object {
		return 0, badParameter("id", "it is not an account's id")
	}
	return id, nil
}

// getAccount shows the account with all that hangs on it.
func (s *Server) getAccount(q *request) (reply, error) {
	id, err := q.account()
	if err != nil {
		return reply{}, err
	}
	return s.standing(q, id)
}

func (s *Server) standing(q *request, id int64) (reply, error) {
	st, err := s.cfg.Ledger.Standing(q.ctx, id)
	if err != nil {
		return reply{}, err
	}
	out := standingForm{Account: accountOf(&st.Account), Funds: []fundForm{}, Uses: []useForm{}, Day: day(st.Day)}
	for _, f := range st.Funds {
		out.Funds = append(out.Funds, fundForm{f.Nature, digit(f.Balance), digit(f.Pending)})
	}
	for _, u := range st.Uses {
		out.Uses = append(out.Uses, useForm{u.Limit, u.Subject, u.Period, digit(u.Amount), digit(u.Count)})
	}
	return answer(out)
}

// changeAccount changes the state, or both bounds, or the mode: each is one step of the ledger's.
func (s *Server) changeAccount(q *request) (reply, error) {
	id, err := q.account()
	if err != nil {
		return reply{}, err
	}
	root, err := scan(q.body, core.MaxDepth)
	if err != nil {
		return reply{}, err
	}
	var state core.State
	var mode core.Mode
	var low, high *int64
	var inner int
	err = root.members(fields{"state": word(&state, core.Closed), "mode": word(&mode, core.Simple), "inner": count(&inner),
		"min_balance": perhaps(&low), "max_balance": perhaps(&high)})
	if err != nil {
		return reply{}, err
	}
	hasState, hasMode := root.has("state"), root.has("mode")
	hasLow, hasHigh := root.has("min_balance"), root.has("max_balance")
	var act func() error
	switch {
	case hasState && !hasMode && !hasLow && !hasHigh && !root.has("inner"):
		act = func() error { return s.cfg.Ledger.SetState(q.ctx, id, state) }
	case hasMode && !hasState && !hasLow && !hasHigh:
		act = func() error { return s.cfg.Ledger.SwitchMode(q.ctx, id, mode, inner) }
	case hasLow && hasHigh && !hasState && !hasMode && !root.has("inner"):
		act = func() error { return s.cfg.Ledger.SetBounds(q.ctx, id, low, high) }
	default:
		return reply{}, badField(root.At, "a change is one of: state; min_balance with max_balance; mode, with inner for sub_accounts").
			hinted("make several changes one after another; null is no bound")
	}
	if err := act(); err != nil {
		return reply{}, err
	}
	return s.standing(q, id)
}
