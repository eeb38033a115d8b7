package rest

import (
	"net/http"
	"strconv"
	"time"

	"strata/core"
	"strata/fault"
)

// settingsForm is core.Settings with its 64-bit numbers as digits.
type settingsForm struct {
	Limits     []limitForm    `json:"limits"`
	Rates      []rateForm     `json:"rates"`
	Off        []switchForm   `json:"off"`
	Strategies []strategyForm `json:"strategies"`
}

type limitForm struct {
	Name      string   `json:"name"`
	Scope     string   `json:"scope"`
	Match     string   `json:"match"`
	Kinds     []string `json:"kinds,omitempty"`
	Unit      string   `json:"unit"`
	Per       string   `json:"per"`
	MaxAmount *digit   `json:"max_amount,omitempty"`
	MaxCount  *digit   `json:"max_count,omitempty"`
}

type rateForm struct {
	Name      string  `json:"name"`
	Key       string  `json:"key"`
	PerSecond float64 `json:"per_second"`
	Burst     int     `json:"burst"`
}

type switchForm struct {
	Operation string `json:"operation"`
	Tenant    string `json:"tenant,omitempty"`
	Account   *digit `json:"account,omitempty"`
}

type strategyForm struct {
	Name    string       `json:"name"`
	Default string       `json:"default"`
	Natures []natureForm `json:"natures"`
}

type natureForm struct {
	Name       string   `json:"name"`
	Kinds      []string `json:"kinds,omitempty"`
	Products   []string `json:"products,omitempty"`
	RefundOnly bool     `json:"refund_only,omitempty"`
}

type versionForm struct {
	Number   int64        `json:"number"`
	Settings settingsForm `json:"settings"`
	Author   string       `json:"author"`
	Reason   string       `json:"reason"`
	At       moment       `json:"at"`
}

func versionOf(v *core.Version) versionForm {
	s := settingsForm{Limits: []limitForm{}, Rates: []rateForm{}, Off: []switchForm{}, Strategies: []strategyForm{}}
	for _, l := range v.Settings.Limits {
		s.Limits = append(s.Limits, limitForm{l.Name, l.Scope, l.Match, l.Kinds, l.Unit, l.Per, maybe(l.MaxAmount), maybe(l.MaxCount)})
	}
	for _, r := range v.Settings.Rates {
		s.Rates = append(s.Rates, rateForm{r.Name, r.Key, r.PerSecond, r.Burst})
	}
	for _, o := range v.Settings.Off {
		f := switchForm{Operation: o.Operation, Tenant: o.Tenant}
		if o.Account != 0 {
			f.Account = maybe(&o.Account)
		}
		s.Off = append(s.Off, f)
	}
	for _, t := range v.Settings.Strategies {
		f := strategyForm{Name: t.Name, Default: t.Default, Natures: []natureForm{}}
		for _, n := range t.Natures {
			f.Natures = append(f.Natures, natureForm{n.Name, n.Kinds, n.Products, n.RefundOnly})
		}
		s.Strategies = append(s.Strategies, f)
	}
	return versionForm{Number: v.Number, Settings: s, Author: v.Author, Reason: v.Reason, At: moment(v.At)}
}

// settings is core's form of the whole document.
func settings(into *core.Settings) setter {
	return func(v *node) (err error) {
		*into, err = core.ParseSettings(v.Raw)
		return placed(v, err)
	}
}

// version answers with a version and its ETag.
func version(v *core.Version) (reply, error) {
	out, err := answer(versionOf(v))
	out.etag = etag(v.Number)
	return out, err
}

func etag(number int64) string { return `"` + strconv.FormatInt(number, 10) + `"` }

func (s *Server) getSettings(q *request) (reply, error) {
	v, err := s.cfg.Ledger.Settings(q.ctx)
	if err != nil {
		return reply{}, err
	}
	s.rates.set(v.Number, v.Settings.Rates)
	return version(&v)
}

// putSettings is a compare-and-set on the version in If-Match.
func (s *Server) putSettings(q *request) (reply, error) {
	q.object = q.Header.Get("If-Match")
	if q.object == "" {
		return reply{}, &problem{status: http.StatusPreconditionRequired, code: "version_required", field: "If-Match",
			detail: "If-Match has to say which version the change was made from", hint: "send the ETag of GET /v1/settings"}
	}
	base, err := strconv.ParseInt(q.object[min(1, len(q.object)):max(1, len(q.object)-1)], 10, 64)
	if err != nil || q.object != etag(base) {
		return reply{}, badParameter("If-Match", `it is not the ETag of a version, such as "3"`)
	}
	var next core.Settings
	var reason string
	if err := decode(q.body, fields{"settings": settings(&next), "reason": text(&reason)}, "settings"); err != nil {
		return reply{}, err
	}
	v, err := s.cfg.Ledger.PutSettings(q.ctx, base, next, q.client, reason)
	if fault.Is(err, fault.Conflict) {
		p := classify(err)
		p.status, p.code, p.field = http.StatusPreconditionFailed, "version_changed", "If-Match"
		return reply{}, p.hinted("read the settings again and make the change from them")
	}
	if err != nil {
		return reply{}, err
	}
	s.rates.set(v.Number, v.Settings.Rates)
	return version(&v)
}

func (s *Server) rollBackSettings(q *request) (reply, error) {
	var reason string
	if err := decode(q.body, fields{"reason": text(&reason)}); err != nil {
		return reply{}, err
	}
	v, err := s.cfg.Ledger.RollBack(q.ctx, q.client, reason)
	if err != nil {
		return reply{}, err
	}
	s.rates.set(v.Number, v.Settings.Rates)
	q.object = etag(v.Number)
	return version(&v)
}

func (s *Server) getSettingsHistory(q *request) (reply, error) {
	limit, err := q.page()
	if err != nil {
		return reply{}, err
	}
	list, err := s.cfg.Ledger.SettingsHistory(q.ctx, limit)
	if err != nil {
		return reply{}, err
	}
	out := struct {
		Versions []versionForm `json:"versions"`
	}{[]versionForm{}}
	for i := range list {
		out.Versions = append(out.Versions, versionOf(&list[i]))
	}
	return answer(out)
}

func (s *Server) getDay(q *request) (reply, error) {
	d, err := s.cfg.Ledger.Day(q.ctx)
	if err != nil {
		return reply{}, err
	}
	return today(d)
}

// cutDay moves the accounting date.
func (s *Server) cutDay(q *request) (reply, error) {
	var to time.Time
	if err := decode(q.body, fields{"date": date(&to)}, "date"); err != nil {
		return reply{}, err
	}
	q.object = to.Format(time.DateOnly)
	if err := s.cfg.Ledger.CutDay(q.ctx, to); err != nil {
		return reply{}, err
	}
	return today(to)
}

func today(d time.Time) (reply, error) {
	return answer(struct {
		Date day `json:"date"`
	}{day(d)})
}
