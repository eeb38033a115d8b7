package connect_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/binlog"
	"strata/canal/control"
	"strata/canal/kafka"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

// columns are the table's, as a foreign reader is to see them: the expression that SELECT shows the cell by.
var columns = [][2]string{{"id", "id"}, {"amount", "amount"}, {"big", "big"}, {"ratio", "ratio"}, {"at", "at"}, {"stamp", "stamp"},
	{"day", "day"}, {"raw", "LOWER(HEX(raw))"}, {"doc", "doc"}, {"note", "note"}}

const table = `CREATE TABLE entry (id INT PRIMARY KEY, amount DECIMAL(14,2), big BIGINT UNSIGNED, ratio DOUBLE, at DATETIME(6),
	stamp TIMESTAMP NULL, day DATE, raw VARBINARY(8), doc JSON, note VARCHAR(40)) CHARACTER SET utf8mb4`

// rig is capture from a MariaDB to a real Kafka.
type rig struct {
	t       testing.TB
	dsn     string
	sql     *sql.DB
	db      *db.DB
	data    *catalog.Dataset
	sink    *kafka.Sink
	brokers []string
	control *control.Control
	from    string
}

func newRig(t testing.TB) *rig {
	t.Helper()
	brokers := localtest.SharedKafka(t) // first: it may skip
	r := &rig{t: t, dsn: localtest.Schema(t, localtest.Shared(t)), brokers: brokers}
	r.sql = localtest.DB(t, r.dsn+"?time_zone=%27%2B00%3A00%27")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.db, err = db.Open(t.Context(), db.Config{DSN: r.dsn, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	check(err)
	check(db.EnsureTables(t.Context(), r.db))
	localtest.Exec(t, r.sql, table)
	r.data, err = db.Resolve(t.Context(), r.db, catalog.Spec{Name: localtest.Unique("entry"), Table: "entry", Partitions: 3})
	check(err)
	r.control, err = control.Open(t.Context(), r.db, "test")
	check(err)
	r.sink, err = kafka.Open(kafka.Config{Brokers: brokers, Log: slog.New(slog.DiscardHandler)})
	check(err)
	r.from, err = db.GTIDPos(t.Context(), r.db)
	check(err)
	t.Cleanup(func() {
		if err := errors.Join(r.sink.Close(), r.db.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// exec changes the table, and returns the row with that id as it is then: nil when there is none.
func (r *rig) exec(id int, q string, args ...any) []sql.NullString {
	r.t.Helper()
	localtest.Exec(r.t, r.sql, q, args...)
	return r.rows("WHERE id=" + num(id))[num(id)]
}

// rows is what SELECT shows, by id.
func (r *rig) rows(where string) map[string][]sql.NullString {
	r.t.Helper()
	var list []string
	for _, c := range columns {
		list = append(list, c[1])
	}
	rows, err := r.sql.QueryContext(r.t.Context(), "SELECT "+strings.Join(list, ",")+" FROM entry "+where)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	out := map[string][]sql.NullString{}
	for rows.Next() {
		cells, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := rows.Scan(targets...); err != nil {
			r.t.Fatal(err)
		}
		out[cells[0].String] = cells
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// reign lets a new leader, which takes the next term, send all that is committed.
func (r *rig) reign(form canal.EnvelopeForm) {
	r.t.Helper()
	log := slog.New(slog.DiscardHandler)
	src, err := binlog.New(binlog.Config{Endpoints: []binlog.Endpoint{{Name: "live", DSN: r.dsn, ServerID: 1 + rand.Uint32N(1<<30)}},
		SpillDir: r.t.TempDir(), Datasets: []*catalog.Dataset{r.data}, Log: log})
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := canal.New(canal.Config{Name: "test", Holder: "a", Datasets: []*catalog.Dataset{r.data}, Source: src, Sink: r.sink,
		Control: r.control, Lease: r.control, Log: log, Now: time.Now, Start: r.from, Envelope: form})
	if err != nil {
		r.t.Fatal(err)
	}
	beat, err := db.Beat(r.t.Context(), r.db, catalog.At(time.Now()))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- run(ctx, l) }()
	localtest.Eventually(r.t, 2*time.Minute, "the leader has sent the heartbeat", func() (bool, error) {
		select {
		case err := <-done:
			return false, errors.Join(errors.New("it ended"), err)
		default:
			return l.Stats().Beat.Seq >= beat.Seq, nil
		}
	})
	stop()
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

// run lets the leader work until ctx ends; as in production it begins again after an error of Kafka, such as that of a
// partition whose topic was made a moment ago and has no leader yet.
func run(ctx context.Context, l *canal.Leader) error {
	for {
		err := l.Run(ctx)
		if ctx.Err() != nil || !fault.Is(err, fault.Unavailable) {
			return err
		}
	}
}
