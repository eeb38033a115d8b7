package binlog_test

import (
	"errors"
	"testing"

	"strata/canal"
	"strata/canal/binlog"
	"strata/db"
	"strata/fault"
)

func TestVerdict_a_place_is_lost_only_where_no_endpoint_may_have_it(t *testing.T) {
	away := fault.New(fault.Unavailable, "open", "refused")
	never := fault.New(fault.Unsafe, "open", "never: %w", canal.ErrLost).WithHint("h1")
	purged := fault.New(fault.Unsafe, "open", "gone: %w", binlog.ErrPurged).WithHint("h2")
	behind := fault.New(fault.Unavailable, "open", "behind: %w", binlog.ErrBehind)
	denied := fault.New(fault.Denied, "open", "no").WithHint("h3")
	for name, c := range map[string]struct {
		errs []error
		kind fault.Kind
		lost bool
	}{
		"one away":           {[]error{away}, fault.Unavailable, false},
		"one purged":         {[]error{purged}, fault.Unsafe, true},
		"away and never":     {[]error{away, never}, fault.Unsafe, true},
		"away and purged":    {[]error{purged, away}, fault.Unavailable, false},
		"behind and never":   {[]error{never, behind}, fault.Unavailable, false},
		"behind and purged":  {[]error{purged, behind}, fault.Unavailable, false},
		"purged and never":   {[]error{purged, never}, fault.Unsafe, true},
		"denied and away":    {[]error{denied, away}, fault.Unavailable, false},
		"denied and denied":  {[]error{denied, denied}, fault.Denied, false},
		"denied and purged":  {[]error{denied, purged}, fault.Unsafe, true},
		"all of the purged":  {[]error{purged, purged}, fault.Unsafe, true},
		"never, both of two": {[]error{never, never}, fault.Unsafe, true},
	} {
		err := binlog.Verdict(c.errs...)
		if !fault.Is(err, c.kind) || errors.Is(err, canal.ErrLost) != c.lost || c.lost && fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

func TestReached_compares_within_domains_and_servers(t *testing.T) {
	maria := newRig(t).configuredAs(db.MariaDB)
	mysql := newRig(t).configuredAs(db.MySQL)
	const a, b = "11111111-2222-3333-4444-555555555555", "21111111-2222-3333-4444-555555555555"
	for _, c := range []struct {
		src      *binlog.Source
		at, want string
		reached  bool
	}{
		{maria, "", "", true}, {maria, "0-1-5", "", true}, {maria, "", "0-1-1", false},
		{maria, "0-1-5", "0-1-5", true}, {maria, "0-1-5", "0-1-6", false}, {maria, "0-2-6", "0-1-5", true},
		{maria, "0-2-5", "0-1-5", false}, {maria, "0-1-5", "0-1-5,1-1-1", false}, {maria, "1-1-1,0-1-5", "0-1-4,1-1-1", true},
		{maria, "0-1-100", "1-1-5", false},
		{mysql, "", "", true}, {mysql, a + ":1-9", a + ":1-9", true}, {mysql, a + ":1-9", a + ":10", false}, {mysql, a + ":1-9:11-12", a + ":10", false},
		{mysql, a + ":1-9", b + ":1", false}, {mysql, a + ":1-9,\n" + b + ":1-3", b + ":2", true},
		{mysql, a + ":1-9", a + ":tag:1", false}, {mysql, a + ":1-9:tag:1-2", a + ":tag:1", true},
	} {
		if got, err := c.src.Reached(c.at, c.want); err != nil || got != c.reached {
			t.Errorf("%q has %q: %v, %v", c.at, c.want, got, err)
		}
	}
	for _, bad := range []string{"0-1", "x", "0-1-x", a, "0-1-5;"} {
		if _, err := maria.Reached(bad, ""); !fault.Is(err, fault.Invalid) && bad != a {
			t.Errorf("mariadb %q: %v", bad, err)
		}
		if _, err := mysql.Reached("", bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("mysql %q: %v", bad, err)
		}
	}
}
