package memory

import (
	"context"
	"slices"

	"strata/core"
	"strata/fault"
)

// version is the version in force.
func (l *Ledger) version() core.Version {
	if len(l.versions) == 0 {
		return core.Version{}
	}
	return l.versions[len(l.versions)-1]
}

// Settings is core.Tuning.
func (l *Ledger) Settings(context.Context) (core.Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version(), nil
}

// PutSettings is core.Tuning.
func (l *Ledger) PutSettings(_ context.Context, base int64, s core.Settings, author, reason string) (core.Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(base, s, author, reason)
}

func (l *Ledger) put(base int64, s core.Settings, author, reason string) (core.Version, error) {
	if err := core.CheckChange(author, reason); err != nil {
		return core.Version{}, err
	}
	rules, err := core.Compile(s)
	if err != nil {
		return core.Version{}, err
	}
	if now := l.version().Number; now != base {
		return core.Version{}, fault.New(fault.Conflict, "put settings", "version %d is in force, not %d", now, base)
	}
	v := core.Version{Number: base + 1, Settings: rules.Settings(), Author: author, Reason: reason, At: core.Micros(l.cfg.Now())}
	l.versions = append(l.versions, v)
	return v, nil
}

// RollBack is core.Tuning.
func (l *Ledger) RollBack(_ context.Context, author, reason string) (core.Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.versions)
	if n == 0 {
		return core.Version{}, fault.New(fault.NotFound, "roll settings back", "none were put yet")
	}
	var before core.Settings
	if n > 1 {
		before = l.versions[n-2].Settings
	}
	return l.put(l.version().Number, before, author, reason)
}

// SettingsHistory is core.Tuning.
func (l *Ledger) SettingsHistory(_ context.Context, limit int) ([]core.Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.versions)
	slices.Reverse(out)
	return out[:min(len(out), max(0, limit))], nil
}
