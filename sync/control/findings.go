package control

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/sync/verify"
)

const (
	keptDays   = 90
	forgetRows = 10_000 // at once
	foundRows  = 500    // of one statement
	textLimit  = 16 << 10
)

// Found is part of verify.Book.
func (b *Book) Found(ctx context.Context, list []verify.Finding) error {
	for len(list) > 0 {
		n := min(len(list), foundRows)
		if err := b.found(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (b *Book) found(ctx context.Context, list []verify.Finding) error {
	args := make([]any, 0, 12*len(list))
	for i := range list {
		f := &list[i]
		args = append(args, b.index, hashOf(f), f.Dataset, f.Shard, []byte(f.Key), cut(f.What), cut(f.Source), cut(f.Index), cut(f.Hint),
			string(verify.Open), f.Queued, f.Pass)
	}
	// From left to right: what asks for the state stands before it is set.
	_, err := b.d.SQL().ExecContext(ctx, `INSERT INTO sync_finding (target, hash, dataset, shard, row_key, what, source, idx, hint, state, queued, pass, found_at) VALUES `+
		repeat("(?,?,?,?,?,?,?,?,?,?,?,?,UTC_TIMESTAMP(6))", len(list))+` ON DUPLICATE KEY UPDATE
		found_at=IF(state='open', found_at, VALUES(found_at)), pass=IF(state='open', pass, VALUES(pass)),
		queued=IF(state='open', GREATEST(queued, VALUES(queued)), VALUES(queued)), what=VALUES(what), source=VALUES(source), idx=VALUES(idx),
		hint=VALUES(hint), settled_at=NULL, state=VALUES(state)`, args...)
	return db.Classify("store findings", err)
}

// Settle is part of verify.Book.
func (b *Book) Settle(ctx context.Context, list []verify.Finding) error {
	type group struct {
		state verify.State
		hint  string
	}
	groups := map[group][]any{}
	for i := range list {
		g := group{list[i].State, cut(list[i].Hint)}
		groups[g] = append(groups[g], hashOf(&list[i]))
	}
	for g, hashes := range groups {
		for len(hashes) > 0 {
			n := min(len(hashes), foundRows)
			set, args := "settled_at=UTC_TIMESTAMP(6)", []any{string(g.state), g.hint, b.index}
			if g.state == verify.Open {
				set = "settled_at=NULL"
			}
			_, err := b.d.SQL().ExecContext(ctx, "UPDATE sync_finding SET "+set+", state=?, hint=? WHERE target=? AND state='open' AND hash IN ("+
				repeat("?", n)+")", append(args, hashes[:n]...)...)
			if err != nil {
				return db.Classify("settle findings", err)
			}
			hashes = hashes[n:]
		}
	}
	return nil
}

// Findings is part of verify.Book.
func (b *Book) Findings(ctx context.Context, dataset string, state verify.State, after int64, limit int) ([]verify.Finding, error) {
	const op = "list findings"
	q, args := `SELECT id, dataset, shard, row_key, what, source, idx, hint, state, queued, pass, CAST(found_at AS CHAR), CAST(settled_at AS CHAR)
		FROM sync_finding WHERE target=? AND id>?`, []any{b.index, after}
	if dataset != "" {
		q, args = q+" AND dataset=?", append(args, dataset)
	}
	if state != "" {
		q, args = q+" AND state=?", append(args, string(state))
	}
	rows, err := b.d.SQL().QueryContext(ctx, q+" ORDER BY id LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	out := []verify.Finding{}
	for rows.Next() {
		var f verify.Finding
		var found, settled sql.NullString
		if err := rows.Scan(&f.ID, &f.Dataset, &f.Shard, &f.Key, &f.What, &f.Source, &f.Index, &f.Hint, &f.State, &f.Queued, &f.Pass, &found, &settled); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		if f.FoundAt, err = parseTime(found.String); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		if f.SettledAt, err = parseTime(settled.String); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out = append(out, f)
	}
	return out, db.Classify(op, rows.Err())
}

// Counts is part of verify.Book.
func (b *Book) Counts(ctx context.Context, since time.Time) (map[string]verify.Counts, error) {
	const op = "count findings"
	from := since.UTC().Format("2006-01-02 15:04:05.000000")
	rows, err := b.d.SQL().QueryContext(ctx, `SELECT dataset, SUM(found_at>=?), SUM(state='repaired' AND settled_at>=?), SUM(state='gone' AND settled_at>=?), SUM(state='open')
		FROM sync_finding WHERE target=? AND (state='open' OR found_at>=? OR settled_at>=?) GROUP BY dataset`, from, from, from, b.index, from, from)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]verify.Counts{}
	for rows.Next() {
		var name string
		var c verify.Counts
		if err := rows.Scan(&name, &c.Found, &c.Repaired, &c.Gone, &c.Open); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out[name] = c
	}
	return out, db.Classify(op, rows.Err())
}

// hashOf is what a finding is unique by.
func hashOf(f *verify.Finding) []byte {
	var r catalog.Row
	r.AppendString(f.Dataset)
	r.AppendString(f.Shard)
	r.AppendString(f.Key)
	h, _ := r.Hash(nil)
	return h[:]
}

// cut bounds a text for people, between two characters.
func cut(s string) string {
	if len(s) > textLimit {
		s = s[:textLimit]
	}
	return strings.ToValidUTF8(s, "?")
}

// repeat is n times s, with commas.
func repeat(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
