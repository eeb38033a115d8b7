package daybook

import (
	"strconv"
	"time"
)

// settings is what is known of the settings' versions.
type settings struct {
	inForce, modes, last int64
	id, days             int64 // of the rows of day
}

// mode is a row of account_mode.
type mode struct {
	account, inner int64
	mode, state    string
}

// setting takes a row: version body at.
func (c *checker) setting(v [][]byte) error {
	n, err := number(v[0])
	if err != nil {
		return err
	}
	c.looked(inSettings, 1)
	c.sett.last = max(c.sett.last, n)
	return c.limits.setting(c, n, v[1], v[2])
}

func (c *checker) closeSettings() {
	if c.days.open == "" {
		c.find(inSettings, Finding{Table: "day", Key: "1", Want: "a row", Text: "the ledger has no open day"})
		return
	}
	if c.sett.days != 1 || c.sett.id != 1 {
		c.find(inSettings, Finding{Table: "day", Key: strconv.FormatInt(c.sett.id, 10), Column: "id", Want: "one row, with id 1", Got: strconv.FormatInt(c.sett.days, 10) + " rows"})
	}
	c.wrong(inSettings, "day", "1", "settings", c.sett.last, c.sett.inForce, "the last version")
}

// accountMode takes a row: account_id mode state inner_count.
func (c *checker) accountMode(v [][]byte) error {
	m := mode{mode: c.text(v[1]), state: c.text(v[2])}
	if err := numbers(v, []int{0, 3}, &m.account, &m.inner); err != nil {
		return err
	}
	c.modes = append(c.modes, m)
	c.looked(inAccounts, 1)
	return nil
}

// closeModes compares the modes with the accounts.
func (c *checker) closeModes() {
	inner := map[int64]int64{}
	for id, a := range c.accounts {
		if a.parent != 0 {
			inner[a.parent]++
		}
		if p := c.accounts[a.parent]; a.parent != 0 && (p == nil || p.rows == 0) {
			c.find(inAccounts, Finding{Table: "account", Key: strconv.FormatInt(id, 10), Column: "parent", Want: "an account", Got: strconv.FormatInt(a.parent, 10)})
		}
	}
	away, seen := int64(0), map[int64]bool{}
	for _, m := range c.modes {
		key := strconv.FormatInt(m.account, 10)
		seen[m.account] = true
		a := c.accounts[m.account]
		if a == nil || a.rows == 0 {
			c.find(inAccounts, Finding{Table: "account_mode", Key: key, Got: "a row", Text: "there is no such account"})
			continue
		}
		if m.mode != "real_time" {
			away++
		}
		if m.mode != a.mode {
			c.find(inAccounts, Finding{Table: "account_mode", Key: key, Column: "mode", Want: a.mode, Got: m.mode, Text: "as the account's row"})
		}
		if m.state != a.state {
			c.find(inAccounts, Finding{Table: "account_mode", Key: key, Column: "state", Want: a.state, Got: m.state, Text: "as the account's row"})
		}
		if m.mode == "sub_accounts" {
			c.wrong(inAccounts, "account_mode", key, "inner_count", inner[m.account], m.inner, "its inner accounts")
		}
	}
	for id, a := range c.accounts {
		if a.rows > 0 && a.parent == 0 && a.mode != "real_time" && !seen[id] {
			c.find(inAccounts, Finding{Table: "account", Key: strconv.FormatInt(id, 10), Column: "mode", Want: "real_time", Got: a.mode, Text: "account_mode has no row of it"})
		}
	}
	if away > 0 && c.sett.modes == 0 {
		c.find(inAccounts, Finding{Table: "day", Key: "1", Column: "modes", Want: strconv.FormatInt(away, 10), Got: "0", Text: "accounts are not in real time"})
	}
}

func nextDate(date string) string {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return "9999-99-99"
	}
	return dateOf(t.AddDate(0, 0, 1))
}
