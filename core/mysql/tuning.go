package mysql

import (
	"bytes"
	"context"
	"fmt"

	"strata/core"
	"strata/fault"
)

const versionColumns = "version, body, author, reason, at"

// readVersion reads one version of the settings, which never changes.
func readVersion(ctx context.Context, x *tx, number int64) (v core.Version, err error) {
	const op = "read settings"
	err = x.each(ctx, op, fmt.Sprintf("SELECT %s FROM setting WHERE version=%d", versionColumns, number), func(cells row) (err error) {
		v, err = scanVersion(cells)
		return err
	})
	if err == nil && v.Number != number {
		err = fault.New(fault.Internal, op, "version %d is not there", number)
	}
	return v, err
}

func scanVersion(cells row) (v core.Version, err error) {
	v = core.Version{Number: cells.num(0), Author: cells.str(2), Reason: cells.str(3)}
	if v.Settings, err = core.ParseSettings(bytes.Clone(cells.raw(1))); err != nil {
		return v, err
	}
	v.At, err = cells.time(4)
	return v, err
}

// Settings is core.Tuning.
func (l *Ledger) Settings(ctx context.Context) (v core.Version, err error) {
	err = l.read(ctx, func(x *tx) error {
		return x.each(ctx, "read settings", "SELECT "+versionColumns+" FROM setting JOIN day ON day.settings=setting.version WHERE day.id=1", func(cells row) (err error) {
			v, err = scanVersion(cells)
			return err
		})
	})
	return v, err
}

// SettingsHistory is core.Tuning.
func (l *Ledger) SettingsHistory(ctx context.Context, limit int) (out []core.Version, err error) {
	err = l.read(ctx, func(x *tx) error {
		return x.each(ctx, "read settings", fmt.Sprintf("SELECT %s FROM setting ORDER BY version DESC LIMIT %d", versionColumns, bound(limit)), func(cells row) error {
			v, err := scanVersion(cells)
			out = append(out, v)
			return err
		})
	})
	return out, err
}

// PutSettings is core.Tuning.
func (l *Ledger) PutSettings(ctx context.Context, base int64, s core.Settings, author, reason string) (core.Version, error) {
	v := core.Version{Settings: s, Author: author, Reason: reason}
	err := l.tune(ctx, &v, func(_ *tx, now int64) error {
		if now != base {
			return fault.New(fault.Conflict, "put settings", "version %d is in force, the change was made from %d", now, base).
				WithHint("look at the version in force and change that")
		}
		return nil
	})
	return v, err
}

// RollBack is core.Tuning.
func (l *Ledger) RollBack(ctx context.Context, author, reason string) (core.Version, error) {
	v := core.Version{Author: author, Reason: reason}
	err := l.tune(ctx, &v, func(x *tx, now int64) (err error) {
		switch now {
		case 0:
			return fault.New(fault.NotFound, "roll settings back", "none were ever put")
		case 1:
			v.Settings = core.Settings{}
			return nil
		}
		before, err := readVersion(ctx, x, now-1)
		v.Settings = before.Settings
		return err
	})
	return v, err
}

// tune puts a version in force after the one that is, under the day's lock: the batches in flight end first, and the next
// one reads it. prepare checks and completes it, given the number in force.
func (l *Ledger) tune(ctx context.Context, v *core.Version, prepare func(x *tx, now int64) error) error {
	if err := core.CheckChange(v.Author, v.Reason); err != nil {
		return err
	}
	rules, err := core.Compile(v.Settings)
	if err != nil {
		return err
	}
	v.Settings = rules.Settings()
	planned := int64(0) // what a commit without an answer was to put in force
	return l.change(ctx, "settings", func(x *tx) error {
		now := int64(-1)
		err := x.each(ctx, "lock day", "SELECT settings FROM day WHERE id=1 FOR UPDATE", func(cells row) error {
			now = cells.num(0)
			return nil
		})
		if err != nil {
			return err
		}
		if planned > 0 && now >= planned {
			if was, err := readVersion(ctx, x, planned); err == nil && was.Author == v.Author && was.Reason == v.Reason && was.At.Equal(v.At) {
				return nil // it is there
			}
		}
		if err := prepare(x, now); err != nil {
			return err
		}
		body, err := v.Settings.AppendJSON(nil)
		if err != nil {
			return err
		}
		v.Number, v.At = now+1, core.Micros(l.cfg.Now())
		planned = v.Number
		_, err = x.insert(ctx, "put settings", "INSERT INTO setting ("+versionColumns+") VALUES ", "", 1, func(q *text, _ int) {
			q.num(v.Number)
			q.str(string(body))
			q.str(v.Author)
			q.str(v.Reason)
			q.time(v.At)
		})
		if err != nil {
			return err
		}
		_, err = x.exec(ctx, "put settings", fmt.Sprintf("UPDATE day SET settings=%d WHERE id=1", v.Number))
		return err
	})
}
