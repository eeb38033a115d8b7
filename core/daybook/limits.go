package daybook

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"strata/core"
)

// limits derives what is used of limits in the open date's day and month. A limit that was changed within its period can't
// be derived: what it counted before is not known.
type limits struct {
	versions map[int64]version
	first    map[string]string // by accounting date: when the first transfer was posted
	rows     map[core.UseKey]use
	want     map[core.UseKey]*use
	current  []core.Limit
	known    map[string]bool // names of any version
	day      string
	natures  []string // of any strategy of any version
}

type version struct {
	settings core.Settings
	at       string
}

type use struct{ amount, count int64 }

// setting takes a version's body and time.
func (l *limits) setting(c *checker, number int64, body, at []byte) error {
	s, err := core.ParseSettings(body)
	if err != nil {
		c.find(inSettings, Finding{Table: "setting", Key: strconv.FormatInt(number, 10), Column: "body", Want: "settings", Got: string(body), Text: err.Error()})
		return nil //nolint:nilerr // it is named
	}
	if _, err := core.Compile(s); err != nil {
		c.find(inSettings, Finding{Table: "setting", Key: strconv.FormatInt(number, 10), Column: "body", Want: "settings", Got: string(body), Text: err.Error()})
	}
	if l.versions == nil {
		l.versions, l.known = map[int64]version{}, map[string]bool{}
	}
	l.versions[number] = version{s, string(at)}
	for _, x := range s.Limits {
		l.known[x.Name] = true
	}
	for _, st := range s.Strategies {
		for _, n := range st.Natures {
			if !slices.Contains(l.natures, n.Name) {
				l.natures = append(l.natures, n.Name)
			}
		}
	}
	return nil
}

// posted notes the first posting of each accounting date.
func (l *limits) posted(v [][]byte) {
	if l.first == nil {
		l.first = map[string]string{}
	}
	if at, ok := l.first[string(v[tDate])]; !ok || string(v[tPosted]) < at {
		l.first[string(v[tDate])] = string(v[tPosted])
	}
}

// limitUse takes a row: name subject period amount count.
func (c *checker) limitUse(v [][]byte) error {
	var u use
	if err := numbers(v, []int{3, 4}, &u.amount, &u.count); err != nil {
		return err
	}
	c.looked(inLimits, 1)
	if c.limits.rows == nil {
		c.limits.rows = map[core.UseKey]use{}
	}
	c.limits.rows[core.UseKey{Limit: c.text(v[0]), Subject: string(v[1]), Period: c.text(v[2])}] = u
	return nil
}

// prepare finds the limits of the open periods that can be derived. All rows are there.
func (l *limits) prepare(c *checker) {
	l.want, l.day = map[core.UseKey]*use{}, c.days.open
	if len(l.versions) == 0 || l.day == "" {
		return
	}
	numbers := slices.Sorted(maps.Keys(l.versions))
	last := l.versions[numbers[len(numbers)-1]]
	for _, x := range last.settings.Limits {
		since := ""
		for _, n := range slices.Backward(numbers) {
			if !hasLimit(l.versions[n].settings.Limits, x) {
				break
			}
			since = l.versions[n].at
		}
		first := ""
		for date, at := range l.first {
			if strings.HasPrefix(date, l.period(x)) && (first == "" || at < first) {
				first = at
			}
		}
		if x.Per != "transfer" && (first == "" || since < first) {
			l.current = append(l.current, x)
		}
	}
}

// isDefault reports whether the nature is a strategy's default in any version.
func (l *limits) isDefault(strategy, nature string) bool {
	for _, v := range l.versions {
		for _, st := range v.settings.Strategies {
			if st.Name == strategy && st.Default == nature {
				return true
			}
		}
	}
	return false
}

// hasStrategy reports whether any version has the strategy.
func (l *limits) hasStrategy(name string) bool {
	for _, v := range l.versions {
		for _, st := range v.settings.Strategies {
			if st.Name == name {
				return true
			}
		}
	}
	return false
}

func hasLimit(all []core.Limit, x core.Limit) bool {
	for _, y := range all {
		y.MaxAmount, y.MaxCount = x.MaxAmount, x.MaxCount // what is let through changes nothing of what is counted
		if reflect.DeepEqual(x, y) {
			return true
		}
	}
	return false
}

func (l *limits) period(x core.Limit) string {
	if x.Per == "month" {
		return l.day[:len("2006-01")]
	}
	return l.day
}

func (l *limits) add(limit, subject, period string, amount, count int64) {
	k := core.UseKey{Limit: limit, Subject: subject, Period: period}
	u := l.want[k]
	if u == nil {
		u = &use{}
		l.want[k] = u
	}
	u.amount, u.count = u.amount+amount, u.count+count
}

// count counts a post.
func (l *limits) count(x *bundle, legs []leg) {
	t := x.transfer
	if string(t[tAction]) != "post" {
		return
	}
	for _, lim := range l.current {
		period := l.period(lim)
		if !strings.HasPrefix(string(t[tDate]), period) || len(lim.Kinds) > 0 && !slices.Contains(lim.Kinds, string(t[tKind])) {
			continue
		}
		by := map[string]int64{}
		for i := range legs {
			if legs[i].amount >= 0 || string(legs[i].unit) != lim.Unit {
				continue
			}
			subject := ""
			switch lim.Scope {
			case "account":
				subject = strconv.FormatInt(legs[i].account, 10)
			case "operation":
				subject = string(t[tKind])
			case "tenant":
				if subject = string(t[tTenant]); subject == "" {
					continue
				}
			}
			if lim.Match == "" || lim.Match == subject {
				by[subject] -= legs[i].amount
			}
		}
		for subject, amount := range by {
			l.add(lim.Name, subject, period, amount, 1)
		}
	}
}

// reserved counts what a pending reservation holds; a confirmed one counts with its confirm.
func (l *limits) reserved(state string, r *core.Reservation) {
	if state != "pending" {
		return
	}
	for _, k := range r.Counted {
		l.add(k.Limit, k.Subject, k.Period, k.Amount, 1)
	}
}

// confirmed counts what was confirmed of a reservation.
func (l *limits) confirmed(r *core.Reservation, legs []core.Leg) {
	for _, k := range r.Counted {
		used := int64(0)
		for _, x := range legs {
			if x.Amount < 0 && x.Unit == k.Unit && (k.Account == 0 || x.Account == k.Account) {
				used -= x.Amount
			}
		}
		l.add(k.Limit, k.Subject, k.Period, min(used, k.Amount), 1)
	}
}

// closeLimits compares the uses.
func (c *checker) closeLimits() {
	l := &c.limits
	derived := map[string]string{} // limit → its open period
	for _, x := range l.current {
		derived[x.Name] = l.period(x)
	}
	keys := map[core.UseKey]bool{}
	for k := range l.rows {
		keys[k] = true
	}
	for k := range l.want {
		keys[k] = true
	}
	skipped := 0
	for _, k := range slices.SortedFunc(maps.Keys(keys), func(a, b core.UseKey) int {
		return cmp.Or(cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Period, b.Period))
	}) {
		row, there := l.rows[k]
		key := k.Limit + "," + k.Subject + "," + k.Period
		switch {
		case there && len(l.versions) > 0 && !l.known[k.Limit]:
			c.find(inLimits, Finding{Table: "limit_use", Key: key, Got: "a row", Text: "no version of the settings has this limit"})
			continue
		case there && (row.amount < 0 || row.count < 0):
			c.find(inLimits, Finding{Table: "limit_use", Key: key, Column: "amount", Want: "not below 0", Got: strconv.FormatInt(min(row.amount, row.count), 10)})
			continue
		case derived[k.Limit] != k.Period:
			skipped++
			continue
		}
		want := l.want[k]
		if want == nil {
			want = &use{}
		}
		if !there && *want != (use{}) {
			c.find(inLimits, Finding{Table: "limit_use", Key: key, Want: strconv.FormatInt(want.amount, 10), Text: "the row is missing"})
			continue
		}
		c.wrong(inLimits, "limit_use", key, "amount", want.amount, row.amount, "the debits of the period")
		c.wrong(inLimits, "limit_use", key, "count", want.count, row.count, "the transfers of the period")
	}
	c.section[inLimits].Note = "uses of the open day and month, of limits that were in force all the time; of the others only that they make sense: " + strconv.Itoa(skipped)
}
