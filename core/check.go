package core

import (
	"fmt"
	"time"

	"strata/fault"
)

// maxSpan bounds EnsureShards: more is a mistyped year, and would be thousands of tables.
const maxSpan = 30 * 366 * 24 * time.Hour

// CheckAccount reports what is wrong with an account that shall be opened (fault.Invalid).
func CheckAccount(a *Account) error {
	op := fmt.Sprintf("open account %d", a.ID)
	switch {
	case a.ID < 1:
		return fault.New(fault.Invalid, op, "id: accounts are numbered from 1")
	case !ValidUnit(a.Unit):
		return fault.New(fault.Invalid, op, "unit %q is not 1 to 12 upper-case letters and digits", a.Unit)
	case !printable(a.Name, MaxNameRunes):
		return fault.New(fault.Invalid, op, "the name is not UTF-8 of at most %d characters without NUL", MaxNameRunes)
	case a.Tenant != "" && !visible(a.Tenant, MaxTenantBytes):
		return fault.New(fault.Invalid, op, "the tenant is not at most %d visible ASCII characters", MaxTenantBytes)
	case a.Side > DebitSide:
		return fault.New(fault.Invalid, op, "the side is not credit or debit")
	case a.Strategy != "" && !visible(a.Strategy, MaxStrategyBytes):
		return fault.New(fault.Invalid, op, "the strategy is not at most %d visible ASCII characters", MaxStrategyBytes)
	case !validMetadata(a.Metadata):
		return fault.New(fault.Invalid, op, "the metadata are not a JSON object of at most %d bytes", MaxMetadataBytes)
	case !ValidBounds(a.MinBalance, a.MaxBalance):
		return fault.New(fault.Invalid, op, "min_balance is above max_balance")
	}
	return nil
}

// ValidBounds reports whether a minimum and a maximum leave room for a balance.
func ValidBounds(low, high *int64) bool { return low == nil || high == nil || *low <= *high }

// Opened is the account as Open makes it of its argument: open, in real time, with no money and no entries.
func Opened(a Account, now time.Time) Account {
	return Account{ID: a.ID, Name: a.Name, Tenant: a.Tenant, Unit: a.Unit, Side: a.Side, MinBalance: a.MinBalance, MaxBalance: a.MaxBalance,
		Strategy: a.Strategy, Metadata: a.Metadata, OpenedAt: Micros(now)}
}

// SameAccount reports whether both were opened alike: id, name, tenant, unit, side, bounds, strategy, metadata.
func SameAccount(a, b *Account) bool {
	same := func(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.ID == b.ID && a.Name == b.Name && a.Tenant == b.Tenant && a.Unit == b.Unit && a.Side == b.Side && a.Strategy == b.Strategy &&
		a.Metadata == b.Metadata && same(a.MinBalance, b.MinBalance) && same(a.MaxBalance, b.MaxBalance)
}

// AccountConflict is Open's error for an id that was opened otherwise.
func AccountConflict(id int64) error {
	return fault.New(fault.Conflict, fmt.Sprintf("open account %d", id), "it is there with another name, tenant, unit, side, strategy, metadata or other bounds")
}

// CheckChange reports what is wrong with the author or the reason of a change of the settings (fault.Invalid).
func CheckChange(author, reason string) error {
	const op = "change settings"
	switch {
	case author == "" || !printable(author, MaxNameRunes):
		return fault.New(fault.Invalid, op, "author: 1 to %d characters of UTF-8 without NUL say who changes it", MaxNameRunes)
	case !printable(reason, MaxMemoRunes):
		return fault.New(fault.Invalid, op, "reason: it is not UTF-8 of at most %d characters without NUL", MaxMemoRunes)
	}
	return nil
}

// EarlierDay is CutDay's error for a date before the open one.
func EarlierDay(date, open time.Time) error {
	return fault.New(fault.Invalid, "cut day to "+date.Format(time.DateOnly), "the accounting date is %s already", open.Format(time.DateOnly))
}

// CheckSpan reports what is wrong with the range of EnsureShards (fault.Invalid).
func CheckSpan(from, to time.Time) error {
	if !from.Before(to) || to.Sub(from) > maxSpan || !Storable(from) || !Storable(to) {
		return fault.New(fault.Invalid, "make shards", "%s to %s is not a range of at most 30 years", from.Format(time.DateOnly), to.Format(time.DateOnly))
	}
	return nil
}
