package sqlite

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strata/fault"
	"strata/index"
	"strata/index/indextest"
	"strata/local/localtest"
)

// empty is a new database with a table of one column.
func empty(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := connected(t, path)
	if _, err := c.exec("CREATE TABLE t (n INTEGER PRIMARY KEY, v)"); err != nil {
		t.Fatal(err)
	}
	return path
}

func connected(t *testing.T, path string) *conn {
	t.Helper()
	c, err := openConn(path, "busy_timeout(0)", "journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestConn_errors_have_their_kinds(t *testing.T) {
	t.Run("Unavailable for a file that is not there", func(t *testing.T) {
		_, err := openConn(filepath.Join(t.TempDir(), "x.db"), "synchronous(FULL)")
		if err := classify("open", err); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
			t.Error(err)
		}
	})
	t.Run("Unsafe for a file that is no database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openConn(path, "journal_mode(WAL)"); !fault.Is(classify("open", err), fault.Unsafe) {
			t.Error(err)
		}
	})
	t.Run("Busy while another one writes, and then it goes on", func(t *testing.T) {
		path := empty(t)
		one, other := connected(t, path), connected(t, path)
		run := func(c *conn, q string) {
			if _, err := c.exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		run(one, "BEGIN IMMEDIATE")
		if _, err := other.exec("BEGIN IMMEDIATE"); !fault.Is(classify("write", err), fault.Busy) {
			t.Error(err)
		}
		run(one, "COMMIT")
		run(other, "BEGIN IMMEDIATE")
		run(other, "ROLLBACK")
	})
	t.Run("what SQLite says of a statement", func(t *testing.T) {
		c := connected(t, empty(t))
		if _, err := c.prepare("INSERT INTO nowhere VALUES (1)"); err == nil || !strings.Contains(err.Error(), "no such table: nowhere") {
			t.Error(err)
		}
		s, err := c.prepare("INSERT INTO t VALUES (?, ?)")
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for i, want := range []string{"", "UNIQUE constraint failed: t.n", ""} { // and the statement can be used again
			if _, err := s.run(int64(i&^1), "x"); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

// TestConn_values: what is bound is what is stored, whatever was bound before and lay at its place.
func TestConn_values(t *testing.T) {
	c := connected(t, empty(t))
	s, err := c.prepare("REPLACE INTO t VALUES (1, ?)")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	long := strings.Repeat("付", keptRoom/2)
	for _, v := range []struct {
		value any
		is    string
	}{
		{nil, "v IS NULL"}, {int64(math.MinInt64), "v=-9223372036854775808"}, {int64(math.MaxInt64), "v=9223372036854775807"},
		{1.5, "v=1.5 AND typeof(v)='real'"}, {"", "v='' AND typeof(v)='text'"}, {[]byte{}, "v=x'' AND typeof(v)='blob'"},
		{"a\x00b", "hex(v)='610062' AND typeof(v)='text'"}, {[]byte{0, 255}, "v=x'00ff'"}, {"付款", "v='付款'"},
		{long, "length(v)=2097152 AND substr(v, -1)='付'"}, {"short", "v='short'"},
	} {
		if n, err := s.run(v.value); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		var same int64
		if err := c.integer(&same, "SELECT "+v.is+" FROM t"); err != nil || same != 1 {
			t.Errorf("%.20v is not stored as %s: %v", v.value, v.is, err)
		}
	}
	if c.room.size > keptRoom {
		t.Errorf("%d bytes are held for ever", c.room.size)
	}
}

func entryFile(t *testing.T, cfg Config) (*Index, *file) {
	t.Helper()
	cfg.Dir = t.TempDir()
	x, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	if err := x.Ensure(t.Context(), indextest.Entries()); err != nil {
		t.Fatal(err)
	}
	return x, x.files["entry"]
}

// TestGroup: who waits at the same time shares a transaction, batches and watermarks alike, and its failure.
func TestGroup(t *testing.T) {
	full := errors.New("full")
	var asked []string
	x, f := entryFile(t, Config{At: func(point string) error { asked = append(asked, point); return nil }})
	w := f.writer
	together := func(do ...func() error) []error {
		w.turn <- struct{}{}
		errs := make([]chan error, len(do))
		for i := range do {
			errs[i] = make(chan error, 1)
			go func() { errs[i] <- do[i]() }()
			localtest.Eventually(t, 10*time.Second, "it waits", func() (bool, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.queue) == i+1, nil
			})
		}
		<-w.turn
		out := make([]error, len(do))
		for i := range errs {
			out[i] = <-errs[i]
		}
		return out
	}
	apply := func(seq int) func() error {
		doc := indextest.Doc(f.d, "entry_202611", indextest.Entry(1, seq, 10, "2026-11-02", nil), index.MakeVersion(3, uint64(seq)), false)
		return func() error { _, err := x.Apply(t.Context(), "entry", []index.Document{doc}); return err }
	}
	mark := func() error {
		return x.PutWatermark(t.Context(), index.Watermark{Dataset: "entry", Version: index.MakeVersion(3, 2), Number: 2})
	}
	state := func() (docs int64, marks int) {
		docs, err := x.Count(t.Context(), index.Search{Dataset: "entry", Shards: []string{"entry_202611"}})
		all, err2 := x.Watermarks(t.Context(), "entry")
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return docs, len(all)
	}
	bad := func() error { return w.commit("sqlite.apply", "sqlite.applied", func() error { return full }) }
	for i, err := range together(apply(1), mark, bad) {
		if !errors.Is(err, full) {
			t.Errorf("request %d of a group that failed: %v", i, err)
		}
	}
	if docs, marks := state(); docs != 0 || marks != 0 || len(asked) != 0 {
		t.Errorf("%d documents, %d watermarks, %v after a group that failed", docs, marks, asked)
	}
	if err := errors.Join(together(apply(1), mark, apply(2))...); err != nil {
		t.Fatal(err)
	}
	if docs, marks := state(); docs != 2 || marks != 1 {
		t.Errorf("%d documents, %d watermarks", docs, marks)
	}
	want := "sqlite.apply sqlite.watermark sqlite.apply sqlite.applied sqlite.watermarked sqlite.applied"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("crash points of one transaction: %s", got)
	}
}

// TestCheckpoint: what is committed comes into the database while the writer goes on, long before it would have to do that itself.
func TestCheckpoint(t *testing.T) {
	x, f := entryFile(t, Config{})
	const each = 2 << 20
	memo, written := strings.Repeat("x", each), 0
	for seq := 1; written < (checkpointPages+1)*4096; seq++ {
		doc := indextest.Doc(f.d, "entry_202611", indextest.Entry(1, seq, 10, "2026-11-02", &memo), index.MakeVersion(3, uint64(seq)), false)
		if _, err := x.Apply(t.Context(), "entry", []index.Document{doc}); err != nil {
			t.Fatal(err)
		}
		written += each
	}
	localtest.Eventually(t, time.Minute, "the log is in the database", func() (bool, error) {
		s, err := os.Stat(filepath.Join(x.cfg.Dir, "entry.db"))
		return err == nil && s.Size() > checkpointPages*4096, err
	})
}
