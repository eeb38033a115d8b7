package across

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
)

// record is a row of `across`, with its decision.
type record struct {
	id        string
	hash      [32]byte
	body      string // JSON of body; "": refused for what it is
	orderTime time.Time
	state     State
	at, due   time.Time
	attempts  int64
	parts     []Part
	decision  *decision // nil: none yet
}

// decision is a row of `across_decision`.
type decision struct {
	Commit  bool
	Code    core.Code // of an abort
	Message string
	Field   string
	Ledger  string
	By      string // a token of the turn that made it
	At      time.Time
	Cut     string // of a commit: the last date to which CutDay had cut all ledgers
}

// tables are the DDLs. `across_decision` is apart from `across` so that it is one thing that happens once: an insert.
func tables() []string {
	return []string{`CREATE TABLE IF NOT EXISTS across (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  stem CHAR(43) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  body_hash BINARY(32) NOT NULL,
  body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  order_time DATETIME(6) NOT NULL,
  state ENUM('trying','commit','abort','done') NOT NULL,
  at DATETIME(6) NOT NULL,
  due DATETIME(6) NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  parts MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  booked_from DATE NULL,
  booked_to DATE NULL,
  PRIMARY KEY (id),
  UNIQUE KEY stem (stem),
  KEY due (state, due),
  KEY booked (booked_to, booked_from),
  KEY order_time (order_time)
) ENGINE=InnoDB`, `CREATE TABLE IF NOT EXISTS across_decision (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  decision ENUM('commit','abort') NOT NULL,
  reason MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  made_by CHAR(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB`, `CREATE TABLE IF NOT EXISTS across_gate (
  id TINYINT NOT NULL,
  closing DATE NULL,
  cut DATE NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB`,
		// 1: the gate; 2: the lock of whoever cuts a day.
		`INSERT IGNORE INTO across_gate (id, closing, cut) VALUES (1, NULL, '1970-01-01'), (2, NULL, '1970-01-01')`}
}

const (
	maxTries   = 6
	firstPause = 5 * time.Millisecond
	maxPause   = 200 * time.Millisecond

	columns = `a.id, HEX(a.body_hash), a.body, a.order_time, a.state, a.at, a.due, a.attempts, a.parts,
  d.decision, d.reason, d.made_by, d.at FROM across a LEFT JOIN across_decision d ON d.id = a.id`
	stamp = "2006-01-02 15:04:05.000000"
)

var errHeld = errors.New("the day is being cut")

// store is the coordinator's three tables.
type store struct {
	db *db.DB
	at func(point string) error
}

func (s *store) makeTables(ctx context.Context) error {
	for _, ddl := range tables() {
		if _, err := s.exec(ctx, "make tables of the coordinator", ddl); err != nil {
			return err
		}
	}
	return nil
}

// begin inserts the row or returns the one that is there.
func (s *store) begin(ctx context.Context, r *record) (record, error) {
	const op = "begin transfer"
	n, err := s.exec(ctx, op, `INSERT IGNORE INTO across (id, stem, body_hash, body, order_time, state, at, due, parts)
VALUES (?, ?, UNHEX(?), ?, ?, 'trying', ?, ?, '')`, r.id, stem(r.id), hex.EncodeToString(r.hash[:]), r.body,
		r.orderTime.Format(stamp), r.at.Format(stamp), r.due.Format(stamp))
	if err != nil {
		return record{}, err
	}
	if n == 1 {
		return *r, nil
	}
	kept, found, err := s.load(ctx, r.id)
	if err == nil && !found {
		err = fault.New(fault.Unavailable, op, "the row of %s went away", r.id).WithHint("post the same again")
	}
	return kept, err
}

// load reads a row with its decision, in one statement.
func (s *store) load(ctx context.Context, id string) (record, bool, error) {
	rows, err := s.rows(ctx, "read transfer "+id, "SELECT "+columns+" WHERE a.id = ?", id)
	if err != nil || len(rows) == 0 {
		return record{}, false, err
	}
	return rows[0], true, nil
}

// decide inserts d where there is no decision, and returns the decision that is there then. errHeld: the gate is closed and d
// would be a commit.
func (s *store) decide(ctx context.Context, id string, d decision) (decision, error) {
	var got decision
	err := s.again(ctx, func() (err error) { got, err = s.decideOnce(ctx, id, d); return err })
	return got, err
}

func (s *store) decideOnce(ctx context.Context, id string, d decision) (decision, error) {
	op := "decide transfer " + id
	x, err := begin(ctx, s.db)
	if err != nil {
		return d, err
	}
	defer x.end()
	held, err := x.held(ctx, op, &d)
	if err != nil {
		return d, err
	}
	var state State
	err = x.row(ctx, op, "SELECT state FROM across WHERE id = ? FOR UPDATE", []any{id}, &state)
	if err != nil {
		return d, err
	}
	if !held {
		verb := Abort
		if d.Commit {
			verb = Commit
		}
		reason, err := json.Marshal(&d)
		if err != nil {
			return d, fault.Wrap(fault.Internal, op, err)
		}
		if _, err := x.exec(ctx, op, "INSERT IGNORE INTO across_decision (id, decision, reason, made_by, at) VALUES (?, ?, ?, ?, ?)",
			id, string(verb), string(reason), d.By, d.At.Format(stamp)); err != nil {
			return d, err
		}
		if err := s.at("across.in_decide"); err != nil {
			return d, err
		}
	}
	var verb, reason, by, at string
	err = x.row(ctx, op, "SELECT decision, reason, made_by, at FROM across_decision WHERE id = ? FOR UPDATE", []any{id}, &verb, &reason, &by, &at)
	if held && fault.Is(err, fault.NotFound) {
		return d, errHeld
	}
	if err != nil {
		return d, err
	}
	got, err := parseDecision(verb, reason, by, at)
	if err != nil {
		return d, err
	}
	if state == Trying {
		if _, err := x.exec(ctx, op, "UPDATE across SET state = ? WHERE id = ?", verb, id); err != nil {
			return d, err
		}
	}
	return *got, x.commit(ctx)
}

// save notes progress. What is done stays done.
func (s *store) save(ctx context.Context, r *record) error {
	parts, err := json.Marshal(r.parts)
	if err != nil {
		return fault.Wrap(fault.Internal, "save transfer "+r.id, err)
	}
	var from, to any
	for i := range r.parts {
		if p := &r.parts[i]; !p.To.IsZero() {
			if f := p.From.Format(time.DateOnly); from == nil || f < from.(string) {
				from = f
			}
			if t := p.To.Format(time.DateOnly); to == nil || t > to.(string) {
				to = t
			}
		}
	}
	_, err = s.exec(ctx, "save transfer "+r.id, `UPDATE across SET parts = ?, booked_from = ?, booked_to = ?,
  state = IF(? = 'trying', state, ?) WHERE id = ? AND state <> 'done'`, string(parts), from, to, string(r.state), string(r.state), r.id)
	return err
}

// due lists unfinished transfers that are due.
func (s *store) due(ctx context.Context, now time.Time, limit int) ([]record, error) {
	return s.rows(ctx, "read due transfers", "SELECT "+columns+
		" WHERE a.state IN ('trying','commit','abort') AND a.due <= ? ORDER BY a.due LIMIT ?", now.Format(stamp), limit)
}

// list lists unfinished transfers in any of the states with ids after the given one.
func (s *store) list(ctx context.Context, states []State, after string, limit int) ([]record, error) {
	args := []any{}
	for _, state := range states {
		args = append(args, string(state))
	}
	return s.rows(ctx, "list transfers", "SELECT "+columns+" WHERE a.state IN (?"+strings.Repeat(",?", len(states)-1)+
		") AND a.id > ? ORDER BY a.id LIMIT ?", append(args, after, limit)...)
}

// split lists transfers that may be booked on date or before in one ledger and after it in another.
func (s *store) split(ctx context.Context, date time.Time, limit int) ([]record, error) {
	day := date.Format(time.DateOnly)
	return s.rows(ctx, "read split transfers", "SELECT "+columns+
		" WHERE a.state = 'done' AND a.booked_to > ? AND a.booked_from <= ? ORDER BY a.id LIMIT ?", day, day, limit)
}

// claim takes a due transfer for one turn: of two processes that saw it, one gets it.
func (s *store) claim(ctx context.Context, r *record, due time.Time) (bool, error) {
	n, err := s.exec(ctx, "claim transfer "+r.id, "UPDATE across SET due = ?, attempts = attempts + 1 WHERE id = ? AND attempts = ? AND state <> 'done'",
		due.Format(stamp), r.id, r.attempts)
	return n == 1, err
}

func (s *store) count(ctx context.Context) (map[State]int64, error) {
	const op = "count transfers"
	rows, err := s.db.SQL().QueryContext(ctx, "SELECT state, COUNT(*) FROM across WHERE state IN ('trying','commit','abort') GROUP BY state")
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	out := map[State]int64{}
	for rows.Next() {
		var state State
		var n int64
		if err := rows.Scan(&state, &n); err != nil {
			return nil, db.Classify(op, err)
		}
		out[state] = n
	}
	return out, db.Classify(op, rows.Err())
}

// forget deletes up to limit done transfers that were ordered before.
func (s *store) forget(ctx context.Context, before time.Time, limit int) (int64, error) {
	const op = "forget transfers"
	x, err := begin(ctx, s.db)
	if err != nil {
		return 0, err
	}
	defer x.end()
	ids, err := x.texts(ctx, op, "SELECT id FROM across WHERE state = 'done' AND order_time < ? ORDER BY order_time LIMIT ? FOR UPDATE",
		before.Format(stamp), limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	in := " WHERE id IN (?" + strings.Repeat(",?", len(ids)-1) + ")"
	n, err := x.exec(ctx, op, "DELETE FROM across"+in, ids...)
	if err != nil {
		return 0, err
	}
	if _, err := x.exec(ctx, op, "DELETE FROM across_decision"+in, ids...); err != nil {
		return 0, err
	}
	return n, x.commit(ctx)
}

// exec runs one statement that may be run again.
func (s *store) exec(ctx context.Context, op, query string, args ...any) (n int64, err error) {
	err = s.again(ctx, func() error {
		r, err := s.db.SQL().ExecContext(ctx, query, args...)
		if err != nil {
			return db.Classify(op, err)
		}
		n, err = r.RowsAffected()
		return db.Classify(op, err)
	})
	return n, err
}

func (s *store) rows(ctx context.Context, op, query string, args ...any) ([]record, error) {
	rows, err := s.db.SQL().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []record
	for rows.Next() {
		var r record
		var hash, order, at, due, parts string
		var verb, reason, by, decided sql.NullString
		if err := rows.Scan(&r.id, &hash, &r.body, &order, &r.state, &at, &due, &r.attempts, &parts, &verb, &reason, &by, &decided); err != nil {
			return nil, db.Classify(op, err)
		}
		if err := r.parse(hash, parts, order, at, due); err != nil {
			return nil, fault.Wrap(fault.Internal, op+": "+r.id, err)
		}
		if verb.Valid {
			if r.decision, err = parseDecision(verb.String, reason.String, by.String, decided.String); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, db.Classify(op, rows.Err())
}

func (r *record) parse(hash, parts, order, at, due string) error {
	raw, err := hex.DecodeString(hash)
	if err != nil || len(raw) != len(r.hash) {
		return fmt.Errorf("body hash %q", hash)
	}
	copy(r.hash[:], raw)
	if parts != "" {
		if err := json.Unmarshal([]byte(parts), &r.parts); err != nil {
			return err
		}
	}
	for to, text := range map[*time.Time]string{&r.orderTime: order, &r.at: at, &r.due: due} {
		if *to, err = time.Parse(stamp, text); err != nil {
			return err
		}
	}
	return nil
}

func parseDecision(verb, reason, by, at string) (*decision, error) {
	d := &decision{}
	err := json.Unmarshal([]byte(reason), d)
	d.Commit, d.By = verb == string(Commit), by
	if err == nil {
		d.At, err = time.Parse(stamp, at)
	}
	return d, fault.Wrap(fault.Internal, "read decision", err)
}
