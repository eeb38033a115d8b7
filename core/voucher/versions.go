package voucher

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"strata/core"
	"strata/db"
	"strata/fault"
)

// Version is one version of the rules. Versions are never changed. In force on an accounting date is the newest version whose
// ActiveFrom is not after it: exactly one, or none before the first.
type Version struct {
	Number     int64
	Body       []byte
	Author     string
	Reason     string
	At         time.Time
	ActiveFrom time.Time // an accounting date
}

// Draft is a version that shall be put.
type Draft struct {
	// Base is the number of the newest version that the draft was made from; 0: there is none yet.
	Base   int64
	Body   []byte
	Author string
	Reason string
	// ActiveFrom is the first accounting date that the version is in force on. Vouchers that are there stay as they are.
	ActiveFrom time.Time
}

// maxVersions bounds the history: beyond it the list that every batch may have to read again would be no small one.
const maxVersions = 10_000

// Put compiles the draft, runs its samples and makes it the newest version: every voucher that is written after the return
// goes by it. Errors: fault.Invalid with Problems; fault.Conflict where Base is not the newest version. Nothing is stored then.
func (s *Store) Put(ctx context.Context, d Draft) (Version, error) {
	if err := d.check(); err != nil {
		return Version{}, err
	}
	if _, err := Compile(d.Body); err != nil {
		return Version{}, err
	}
	return s.put(ctx, d)
}

// RollBack puts the rules before the newest ones in force again from an accounting date on, as a new version. Errors:
// fault.Conflict where there are none.
func (s *Store) RollBack(ctx context.Context, activeFrom time.Time, author, reason string) (Version, error) {
	last, err := s.History(ctx, 2)
	if err != nil {
		return Version{}, err
	}
	if len(last) < 2 {
		return Version{}, fault.New(fault.Conflict, "roll back rules", "there is no version before the newest one")
	}
	return s.Put(ctx, Draft{Base: last[0].Number, Body: last[1].Body, Author: author, Reason: reason, ActiveFrom: activeFrom})
}

func (d *Draft) check() error {
	const op = "put rules"
	bad := func(what string) error { return fault.New(fault.Invalid, op, "%s", what) }
	text := func(s string, limit int) bool { return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit }
	switch {
	case d.Author == "" || !text(d.Author, 128):
		return bad("the author is not 1 to 128 characters of UTF-8")
	case d.Reason == "" || !text(d.Reason, 255):
		return bad("the reason is not 1 to 255 characters of UTF-8")
	case !core.Storable(d.ActiveFrom):
		return bad("the date from which they are in force is not between 1970 and 9999")
	case d.Base < 0 || d.Base >= maxVersions:
		return bad(fmt.Sprintf("version %d is not 0 to %d", d.Base, maxVersions-1))
	case !utf8.Valid(d.Body):
		return bad("the document is not UTF-8")
	}
	return nil
}

func (s *Store) put(ctx context.Context, d Draft) (Version, error) {
	const op = "put rules"
	v := Version{Number: d.Base + 1, Body: d.Body, Author: d.Author, Reason: d.Reason, At: s.cfg.Now().UTC().Truncate(time.Microsecond), ActiveFrom: core.Date(d.ActiveFrom)}
	x, err := s.begin(ctx, false)
	if err != nil {
		return Version{}, err
	}
	defer x.end()
	newest, err := x.head(ctx, "FOR UPDATE")
	if err != nil {
		return Version{}, err
	}
	if newest != d.Base {
		return Version{}, fault.New(fault.Conflict, op, "the newest version is %d, the draft was made from %d", newest, d.Base).
			WithHint("read the newest version and put the change again")
	}
	if err := s.at("voucher.before_put"); err != nil {
		return Version{}, err
	}
	seal := v.seal()
	if err := x.exec(ctx, op, "INSERT INTO voucher_rule (version, body, author, reason, at, active_from, seal) VALUES (?,?,?,?,?,?,?)",
		v.Number, string(v.Body), v.Author, v.Reason, stamp(v.At), day(v.ActiveFrom), seal[:]); err != nil {
		return Version{}, err
	}
	if err := x.exec(ctx, op, "UPDATE voucher_head SET version = ? WHERE id = 1", v.Number); err != nil {
		return Version{}, err
	}
	if err := x.commit(ctx); err != nil {
		return Version{}, err
	}
	return v, s.at("voucher.after_put")
}

// head locks and reads the number of the newest version.
func (x *tx) head(ctx context.Context, lock string) (newest int64, err error) {
	err = x.each(ctx, "read newest rules", func(r *sql.Rows) error { return r.Scan(&newest) }, "SELECT version FROM voucher_head WHERE id = 1 "+lock)
	return newest, err
}

// History returns up to limit versions, the newest first.
func (s *Store) History(ctx context.Context, limit int) ([]Version, error) {
	return s.versions(ctx, "ORDER BY version DESC LIMIT ?", limit)
}

// Version returns one version; fault.NotFound where there is none.
func (s *Store) Version(ctx context.Context, number int64) (Version, error) {
	all, err := s.versions(ctx, "WHERE version = ?", number)
	if err == nil && len(all) == 0 {
		err = fault.New(fault.NotFound, fmt.Sprintf("read rules version %d", number), "no such version")
	}
	if err != nil {
		return Version{}, err
	}
	return all[0], nil
}

// InForce returns the version in force on an accounting date, compiled, for its cases; fault.NotFound where there is none.
func (s *Store) InForce(ctx context.Context, date time.Time) (Version, *Document, error) {
	all, err := s.versions(ctx, "WHERE active_from <= ? ORDER BY version DESC LIMIT 1", day(date))
	if err == nil && len(all) == 0 {
		err = fault.New(fault.NotFound, "read rules in force on "+day(date), "none").WithHint("put rules that are in force from that date on")
	}
	if err != nil {
		return Version{}, nil, err
	}
	doc, err := s.load(ctx, s.cfg.DB.SQL(), all[0].Number)
	return all[0], doc, err
}

func (s *Store) versions(ctx context.Context, where string, args ...any) (out []Version, err error) {
	const op = "read rules"
	rows, err := s.cfg.DB.SQL().QueryContext(ctx, "SELECT version, body, author, reason, at, active_from, seal FROM voucher_rule "+where, args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, _, err := scanVersion(rows)
		if err != nil {
			return nil, db.Classify(op, err)
		}
		out = append(out, v)
	}
	return out, db.Classify(op, rows.Err())
}

func scanVersion(rows *sql.Rows) (v Version, intact bool, err error) {
	var at, from string
	var seal []byte
	if err := rows.Scan(&v.Number, &v.Body, &v.Author, &v.Reason, &at, &from, &seal); err != nil {
		return v, false, err
	}
	if v.At, err = time.Parse("2006-01-02 15:04:05.000000", at); err != nil {
		return v, false, err
	}
	v.ActiveFrom, err = time.Parse(time.DateOnly, from)
	want := v.seal()
	return v, string(seal) == string(want[:]), err
}

func (v *Version) seal() [32]byte {
	return sealOf(strconv.FormatInt(v.Number, 10), string(v.Body), v.Author, v.Reason, stamp(v.At), day(v.ActiveFrom))
}

// sealOf is the SHA-256 of texts, each with its length. It shows a change by hand, not one by somebody who knows how.
func sealOf(texts ...string) [32]byte {
	var buf []byte
	for _, t := range texts {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(t)))
		buf = append(buf, t...)
	}
	return sha256.Sum256(buf)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") }

// querier is the pool, or the connection of a transaction: who holds one must not wait for another.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// load returns a stored version, compiled. A row that was changed by hand is fault.Proof.
func (s *Store) load(ctx context.Context, q querier, number int64) (*Document, error) {
	s.mu.Lock()
	doc := s.docs[number]
	s.mu.Unlock()
	if doc != nil {
		return doc, nil
	}
	op := fmt.Sprintf("load rules version %d", number)
	rows, err := q.QueryContext(ctx, "SELECT version, body, author, reason, at, active_from, seal FROM voucher_rule WHERE version = ?", number)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, db.Classify(op, err)
		}
		return nil, fault.New(fault.NotFound, op, "no such version")
	}
	v, intact, err := scanVersion(rows)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	if !intact {
		return nil, fault.New(fault.Proof, op, "the row was changed after it was put")
	}
	if doc, err = compile(v.Body, false); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.docs) >= maxLoaded {
		clear(s.docs)
	}
	s.docs[number] = doc
	return doc, nil
}

// timetable says which version is in force when, as of its newest version.
type timetable struct {
	newest int64
	active []activation // by version, ascending
}

type activation struct {
	version int64
	from    string // a date: as text, it sorts
}

// timetable reads the versions' dates.
func (s *Store) timetable(ctx context.Context) (t timetable, err error) {
	const op = "read rules' dates"
	rows, err := s.cfg.DB.SQL().QueryContext(ctx, "SELECT version, active_from FROM voucher_rule ORDER BY version")
	if err != nil {
		return t, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a activation
		if err := rows.Scan(&a.version, &a.from); err != nil {
			return t, db.Classify(op, err)
		}
		t.newest, t.active = a.version, append(t.active, a)
	}
	return t, db.Classify(op, rows.Err())
}

// on is the version in force on a date; 0: none.
func (t *timetable) on(date string) int64 {
	for i := len(t.active) - 1; i >= 0; i-- {
		if t.active[i].from <= date {
			return t.active[i].version
		}
	}
	return 0
}
