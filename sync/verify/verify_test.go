package verify_test

import (
	"context"
	"database/sql"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/elastic"
	"strata/local/localtest"
	"strata/sync/verify"
)

// harm breaks one thing and mends it again.
type harm struct {
	harm, mend func()
	want       verify.Difference
	sums       bool // do the sums differ too
}

func (s *stand) harms() map[string]harm {
	exec := func(on *sql.DB, q string) { localtest.Exec(s.t, on, q) }
	first := entry(-5, 0, -7)
	return map[string]harm{
		"a cell changed by hand in the archive": {
			func() { exec(s.archive, "UPDATE entry_202610 SET amount=amount+1 WHERE account_id=-5 AND seq=0") },
			func() { exec(s.archive, "UPDATE entry_202610 SET amount=amount-1 WHERE account_id=-5 AND seq=0") },
			verify.Difference{Shard: "entry_202610", Key: "-5,0", What: "amount", Source: "-6", Index: "-7"}, true},
		"a row that the index lacks": {
			func() {
				exec(s.live, "INSERT INTO entry_202612 VALUES (1,1,'x',5,'2026-12-01','2026-12-01 00:00:00',NULL)")
			},
			func() { exec(s.live, "DELETE FROM entry_202612") },
			verify.Difference{Shard: "entry_202612", Key: "1,1", What: "missing in the index", Source: "there"}, true},
		"a row that the source lacks": {
			func() { s.apply(s.doc("entry_202612", entry(2, 2, 5), false)) },
			func() { s.apply(s.doc("entry_202612", entry(2, 2, 5), true)) },
			verify.Difference{Shard: "entry_202612", Key: "2,2", What: "extra in the index", Index: "there"}, true},
		"a tombstone over a row that is there": {
			func() { s.apply(s.doc("entry_202611", first, true)) },
			func() { s.apply(s.doc("entry_202611", first, false)) },
			verify.Difference{Shard: "entry_202611", Key: "-5,0", What: "missing in the index", Source: "there"}, true},
		"a document of a shard that nobody owns": {
			func() { s.apply(s.doc("entry_202509", first, false)) },
			func() { s.apply(s.doc("entry_202509", first, true)) },
			verify.Difference{Shard: "entry_202509", Key: "-5,0", What: "extra in the index: nobody owns its shard", Index: "there"}, true},
		"a cell changed in the index, under its hash": {
			func() {
				d := s.doc("entry_202611", first, false)
				other := entry(-5, 0, -8)
				d.After = catalog.AppendJSON(nil, s.d, &other)
				s.apply(d)
			},
			func() { s.apply(s.doc("entry_202611", first, false)) },
			verify.Difference{Shard: "entry_202611", Key: "-5,0", What: "amount", Source: "-7", Index: "-8"}, true},
		"a stored hash that isn't the row's": {
			func() {
				d := s.doc("entry_202611", first, false)
				d.Hash[0] ^= 1
				s.apply(d)
			},
			func() { s.apply(s.doc("entry_202611", first, false)) },
			verify.Difference{Shard: "entry_202611", Key: "-5,0", What: "the stored hash is not the row's"}, false},
	}
}

func TestVerify(t *testing.T) {
	for _, mode := range []verify.Mode{verify.Full, verify.Fast} {
		t.Run(string(mode), func(t *testing.T) {
			s := newStand(t, ledger())
			s.cfg.Mode, s.cfg.Sample = mode, 1
			s.fill(s.live, "entry_202611", 500)
			s.fill(s.live, "entry_202612", 0)
			s.fill(s.archive, "entry_202610", 300)
			localtest.Exec(t, s.archive, "INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, token, state, segment, manifest) VALUES ('entry','entry_202610',0,1,1,'','owned','','')")
			t.Run("OK for equal sides", s.equal)
			for name, story := range s.harms() {
				t.Run(name, func(t *testing.T) { s.bites(t, story) })
			}
			t.Run("refusals", s.refusals)
		})
	}
}

func (s *stand) equal(t *testing.T) {
	var done, total int64
	s.cfg.Progress = func(d, n int64) { done, total = d, n }
	r := s.verify()
	if !r.OK || r.Rows != 800 || r.Documents != 800 || r.Shards != 3 || r.Position == 0 || len(r.Sums) != 1 || r.Mode != s.cfg.Mode {
		t.Errorf("report %+v", r)
	}
	if fast := s.cfg.Mode == verify.Fast; fast != (r.SumsOf == verify.OfSource) || fast != (r.Sums[0].Index == "") || fast != (r.Sampled == 800) ||
		!fast && r.Sums[0].Source != r.Sums[0].Index {
		t.Errorf("report %+v", r)
	}
	if total != 800 || done != total {
		t.Errorf("progress %d of %d", done, total)
	}
	if s.cfg.Mode == verify.Full {
		return
	}
	s.cfg.Sample = 4 // after as many turns every row was looked at
	defer func() { s.cfg.Sample = 1 }()
	sum := int64(0)
	for range 4 {
		s.cfg.Turn++
		r := s.verify()
		if sum += r.Sampled; r.Sampled == 0 || r.Sampled == 800 {
			t.Errorf("turn %d: %d rows", s.cfg.Turn, r.Sampled)
		}
	}
	if sum != 800 {
		t.Errorf("%d rows in all turns", sum)
	}
}

func (s *stand) bites(t *testing.T, story harm) {
	story.harm()
	r := s.verify()
	story.mend()
	if r.OK || r.Differences != 1 || r.Open != 1 || len(r.Findings) != 1 {
		t.Fatalf("report %+v", r)
	}
	got := r.Findings[0]
	if strings.HasPrefix(story.want.What, "the stored hash") {
		got.Source, got.Index = "", ""
	}
	story.want.Dataset, story.want.State, got.Hint = "entry", verify.Open, ""
	if got != story.want {
		t.Errorf("found %+v, want %+v", got, story.want)
	}
	if r.Sums[0].OK == (story.sums && s.cfg.Mode == verify.Full) {
		t.Errorf("sums %+v", r.Sums)
	}
	if after := s.verify(); !after.OK {
		t.Errorf("mended, but %+v", after)
	}
}

func (s *stand) refusals(t *testing.T) {
	t.Run("Proof where the watermark is frozen", func(t *testing.T) {
		s.x.frozen = "number 7 is missing"
		s.x.beat.Store(0)
		defer func() { s.x.frozen = ""; s.x.beat.Store(math.MaxUint64) }()
		if _, err := verify.Once(t.Context(), s.cfg); !fault.Is(err, fault.Proof) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("Timeout where the index doesn't come", func(t *testing.T) {
		cfg := s.cfg
		cfg.Wait = 20 * time.Millisecond
		s.x.beat.Store(0)
		defer s.x.beat.Store(math.MaxUint64)
		if _, err := verify.Once(t.Context(), cfg); !fault.Is(err, fault.Timeout) || fault.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
	})
}

// TestVerifyPart compares one shard, and keys of it.
func TestVerifyPart(t *testing.T) {
	for _, mode := range []verify.Mode{verify.Full, verify.Fast} {
		s := newStand(t, ledger())
		s.cfg.Mode = mode
		s.fill(s.live, "entry_202611", 970) // accounts -5 … 91, ten entries each
		s.fill(s.live, "entry_202612", 20)
		for _, account := range []int{3, 7, 8} {
			localtest.Exec(t, s.live, "UPDATE entry_202611 SET amount=amount+1 WHERE account_id=? ORDER BY seq LIMIT 1", account)
			s.apply(s.doc("entry_202611", entry(account, 1000, 5), false))
		}
		for part, want := range map[verify.Part][2]int64{
			{Shard: "entry_202611"}:                                          {970, 6},
			{Shard: "entry_202612"}:                                          {20, 0},
			{Shard: "entry_202611", From: "3,1000", To: "7,1000"}:            {40, 2},
			{Shard: "entry_202611", From: "3,999", To: "7,999"}:              {40, 2},
			{Shard: "entry_202611", From: "7,1000"}:                          {840, 2},
			{Shard: "entry_202611", To: "2,1000"}:                            {80, 0},
			{From: "8,999", To: "8,1000"}:                                    {0, 1},
			{Shard: "entry_202612", From: "-5,18446744073709551615", To: ""}: {19, 0},
		} {
			s.cfg.Part = part
			r := s.verify()
			if r.Rows != want[0] || r.Differences != want[1] {
				t.Errorf("%s %+v: %d rows, %d differences, want %v: %+v", mode, part, r.Rows, r.Differences, want, r.Findings)
			}
		}
		s.cfg.Part = verify.Part{Shard: "entry_200001"}
		if _, err := verify.Once(t.Context(), s.cfg); !fault.Is(err, fault.NotFound) {
			t.Errorf("an unknown shard: %v", err)
		}
		s.cfg.Part = verify.Part{From: "x,1"}
		if _, err := verify.Once(t.Context(), s.cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("no key: %v", err)
		}
	}
}

// TestVerifyMany has more differences than the suspects' bound, and rows to go on after it.
func TestVerifyMany(t *testing.T) {
	s := newStand(t, ledger())
	s.fill(s.live, "entry_202611", 6_000)
	localtest.Exec(t, s.live, "UPDATE entry_202611 SET amount=amount+1 WHERE seq < 5000")
	r := s.verify()
	if r.OK || r.Differences != 5_000 || len(r.Findings) != 1000 || r.Rows != 6_000 || r.Documents != 6_000 || r.Unsettled != 0 {
		r.Findings = nil
		t.Errorf("report %+v", r)
	}
}

// TestVerifyOrder compares shards whose server orders keys otherwise than by bytes.
func TestVerifyOrder(t *testing.T) {
	for collation, keys := range map[string][]string{
		"utf8mb4_general_ci": {"b", "A", "c", "B2", "a2", "é"},
		"utf8mb4_bin":        {"a", "a\x01", "a b", "z"}, // PAD SPACE: a\x01 comes before a
	} {
		t.Run(collation, func(t *testing.T) {
			text := catalog.Type{Kind: catalog.Text}
			d := &catalog.Dataset{Name: "names", Table: "names", Key: []string{"id"}, Partitions: 4,
				Columns: []catalog.Column{{Name: "id", Type: text, Collation: collation}, {Name: "v", Type: text, Collation: "utf8mb4_bin"}}}
			s := newStand(t, d)
			localtest.Exec(t, s.live, "CREATE TABLE names (id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE "+collation+" PRIMARY KEY, v TEXT COLLATE utf8mb4_bin)")
			for _, k := range keys {
				localtest.Exec(t, s.live, "INSERT INTO names VALUES (?, 'x')", k)
				x := "x"
				s.apply(s.doc("names", catalog.RowOf(&k, &x), false))
			}
			if r := s.verify(); !r.OK || r.Rows != int64(len(keys)) || r.Documents != r.Rows {
				t.Errorf("report %+v", r)
			}
			k, x := "extra", "x"
			s.apply(s.doc("names", catalog.RowOf(&k, &x), false))
			localtest.Exec(t, s.live, "INSERT INTO names VALUES ('missing', 'x')")
			localtest.Exec(t, s.live, "UPDATE names SET v='y' WHERE id=?", keys[0])
			if r := s.verify(); r.Differences != 3 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// TestVerifyChurn verifies while rows come, change and go, and the index follows behind.
func TestVerifyChurn(t *testing.T) {
	s := newStand(t, ledger())
	s.fill(s.live, "entry_202611", 20_000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s.x.beat.Store(0)
	go func() { done <- s.churn(ctx) }()
	for range 3 {
		r := s.verify()
		if r.Differences != 0 || r.Unsettled != 0 || !r.OK {
			t.Errorf("report %+v", r)
		}
	}
	cancel()
	if err := <-done; err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
}

// churn is the only writer, so everything it committed before a heartbeat that it reads is applied.
func (s *stand) churn(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		var beat uint64
		if err := s.live.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM strata_heartbeat").Scan(&beat); err != nil {
			return err
		}
		s.x.beat.Store(beat)
		n := i * 7919 % 20_000
		row, q := entry(n%97-5, n, i), "REPLACE INTO entry_202611 VALUES (?,?,?,?,?,?,NULL)"
		args := []any{row.Text(0), row.Text(1), row.Text(2), row.Text(3), row.Text(4), row.Text(5)}
		gone := i%5 == 0
		if gone {
			q, args = "DELETE FROM entry_202611 WHERE account_id=? AND seq=?", args[:2]
		}
		if _, err := s.live.ExecContext(ctx, q, args...); err != nil {
			return err
		}
		if _, err := s.x.Apply(ctx, s.d.Name, []index.Document{s.doc("entry_202611", row, gone)}); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkVerify compares 200,000 equal rows with the embedded index.
func BenchmarkVerify(b *testing.B) {
	s := newStand(b, ledger())
	s.compares(b)
}

// BenchmarkVerifyElastic compares them with an Elasticsearch.
func BenchmarkVerifyElastic(b *testing.B) {
	s := newStand(b, ledger())
	x, err := elastic.Open(b.Context(), elastic.Config{URL: localtest.SharedElastic(b), Prefix: localtest.Unique("verify"), Now: time.Now,
		Log: slog.New(slog.DiscardHandler)})
	s.ok(err)
	b.Cleanup(func() { _ = x.Close() })
	s.x.Index = x
	s.ok(x.Ensure(b.Context(), s.d))
	s.compares(b)
}

func (s *stand) compares(b *testing.B) {
	s.fill(s.live, "entry_202611", 200_000)
	s.ok(s.x.Refresh(b.Context(), s.d.Name))
	for _, mode := range []verify.Mode{verify.Full, verify.Fast} {
		b.Run(string(mode), func(b *testing.B) {
			s.cfg.Mode = mode
			n := int64(0)
			for b.Loop() {
				r := s.verify()
				if !r.OK {
					b.Fatalf("%+v", r)
				}
				n += r.Rows
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
