package node_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"strata/fault"
	"strata/local/localtest"
	"strata/node"
	"strata/sync/verify"
)

// hand changes documents of dataset pay past strata.
type hand interface {
	remove(id int)
	change(id int)  // a cell, under its hash
	falsify(id int) // the hash
	add(id, as int) // a copy under another key
}

// sqliteHand works on the embedded index's file.
type sqliteHand struct {
	t *testing.T
	d *sql.DB
}

func (h sqliteHand) remove(id int) { localtest.Exec(h.t, h.d, "DELETE FROM doc WHERE c_id=?", id) }
func (h sqliteHand) change(id int) {
	localtest.Exec(h.t, h.d, "UPDATE doc SET c_amount=c_amount+7 WHERE c_id=?", id)
}
func (h sqliteHand) falsify(id int) {
	localtest.Exec(h.t, h.d, "UPDATE doc SET _hash=zeroblob(16) WHERE c_id=?", id)
}
func (h sqliteHand) add(id, as int) {
	localtest.Exec(h.t, h.d, "CREATE TEMP TABLE more AS SELECT * FROM doc WHERE c_id=?", id)
	localtest.Exec(h.t, h.d, "UPDATE more SET _id=_id+1000000, c_id=?", as)
	localtest.Exec(h.t, h.d, "INSERT INTO doc SELECT * FROM more")
	localtest.Exec(h.t, h.d, "DROP TABLE more")
}

// elasticHand speaks to Elasticsearch.
type elasticHand struct {
	t     *testing.T
	index string // URL
}

func (h elasticHand) call(method, path string, body any) map[string]any {
	h.t.Helper()
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			h.t.Fatal(err)
		}
		text = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.index+path, text)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		h.t.Fatalf("%s %s: %d %s %v", method, path, res.StatusCode, answer, err)
	}
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.UseNumber()
	var out map[string]any
	if err := dec.Decode(&out); err != nil {
		h.t.Fatal(err)
	}
	return out
}

func doc(id int) string { return "/_doc/" + url.PathEscape(fmt.Sprintf("pay/%d", id)) }

func (h elasticHand) source(id int) map[string]any {
	return h.call(http.MethodGet, doc(id), nil)["_source"].(map[string]any)
}

func (h elasticHand) remove(id int) { h.call(http.MethodDelete, doc(id)+"?refresh=true", nil) }

func (h elasticHand) change(id int) {
	s := h.source(id)
	s["amount"] = 4711
	h.call(http.MethodPut, doc(id)+"?refresh=true", s)
}

func (h elasticHand) falsify(id int) {
	mine, other := h.source(id), h.source(id+1)
	mine["_strata"].(map[string]any)["hash"] = other["_strata"].(map[string]any)["hash"]
	h.call(http.MethodPut, doc(id)+"?refresh=true", mine)
}

func (h elasticHand) add(id, as int) {
	s := h.source(id)
	s["id"] = as
	if k, ok := s["_strata"].(map[string]any)["key"]; ok {
		s["_strata"].(map[string]any)["key"] = strings.Replace(fmt.Sprint(k), fmt.Sprint(id), fmt.Sprint(as), 1)
	}
	h.call(http.MethodPut, doc(as)+"?refresh=true", s)
}

// TestVerifier_mends_what_was_changed_by_hand: of one document deleted, one cell changed, one document added, one hash
// falsified in the index, and one row changed past the binlog, and of documents whose rows were truncated away, each is found,
// named, repaired through the leader, and reported, by the verifier that is always on.
func TestVerifier_mends_what_was_changed_by_hand(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		mendsByHand(t, "", func(n *node.Node) hand {
			d, err := sql.Open("sqlite", "file:"+filepath.Join(n.IndexDir(), "pay.db")+"?_pragma=busy_timeout(5000)")
			if err != nil {
				t.Fatal(err)
			}
			d.SetMaxOpenConns(1)
			t.Cleanup(func() { _ = d.Close() })
			return sqliteHand{t, d}
		})
	})
	t.Run("elastic", func(t *testing.T) {
		t.Parallel()
		at, prefix := localtest.SharedElastic(t), localtest.Unique("verify")
		mendsByHand(t, fmt.Sprintf("index: {elastic: {url: %q, prefix: %s}}\n", at, prefix), func(*node.Node) hand {
			return elasticHand{t, at + "/" + prefix + "-pay-all"}
		})
	})
}

const payRows = 3000

func mendsByHand(t *testing.T, more string, open func(*node.Node) hand) {
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE pay (id INT PRIMARY KEY, amount BIGINT NOT NULL, memo VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL)")
	localtest.Exec(t, r.live, fmt.Sprintf("INSERT INTO pay SELECT seq, seq*3, CONCAT('付款 ', seq) FROM seq_1_to_%d", payRows))
	r.text = strings.Replace(r.text, quietVerifier, "", 1)
	n := r.open(t, r.config(t, more+`verify: {every: 1s, sample: 1, rows_per_second: 1000000, max_lag_ms: 10000}
datasets:
  - name: pay
    partitions: 3
    money: [{column: amount, unit: EUR}]
`))
	run(t, n, node.Roles{Canal: true, Sync: true})
	indexed(t, n)
	book, err := n.Book(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := open(n)
	h.remove(10)
	h.change(20)
	h.falsify(30)
	h.add(40, payRows+40)
	quiet := localtest.DB(t, r.stack.Addresses.Live.DSN)
	quiet.SetMaxOpenConns(1)
	localtest.Exec(t, quiet, "SET sql_log_bin=0")
	localtest.Exec(t, quiet, "UPDATE pay SET amount=-1 WHERE id=50")
	localtest.Exec(t, quiet, "DELETE FROM pay WHERE id=60")

	want := map[string]string{"10": "missing in the index", "20": "amount", "30": "the stored hash is not the row's",
		fmt.Sprint(payRows + 40): "extra in the index", "50": "amount", "60": "extra in the index"}
	localtest.Eventually(t, 2*settle, "everything is repaired", func() (bool, error) {
		list, err := book.Findings(t.Context(), "pay", "", 0, 100)
		repaired := 0
		for _, f := range list {
			if f.State == verify.Repaired {
				repaired++
			}
		}
		return repaired == len(want), err
	})
	list, err := book.Findings(t.Context(), "pay", "", 0, 100)
	if err != nil || len(list) != len(want) {
		t.Errorf("%d findings, %v", len(list), err)
	}
	for _, f := range list {
		if want[f.Key] != f.What || !f.Queued || f.Shard != "pay" {
			t.Errorf("finding %+v", f)
		}
	}
	proven(t, n, "index")
	reported(t, n, int64(len(want)))

	// Rows that go without row events: the documents stay until somebody looks.
	localtest.Exec(t, r.live, "DELETE FROM pay WHERE id > 2000")
	indexed(t, n)
	localtest.Exec(t, quiet, "DELETE FROM pay WHERE id BETWEEN 1500 AND 1600")
	rep, err := n.Verify(t.Context(), node.VerifyRequest{Parts: []string{"index"}, Dataset: "pay", Part: verify.Part{From: "1000", To: "1700"}, Mode: verify.Fast, Repair: true})
	if err != nil || !rep.OK || rep.Open != 0 || rep.RowsCompared != 599 {
		t.Errorf("%v %+v", err, rep)
	}
	proven(t, n, "index")
}

// reported waits for a signed report that has so many findings.
func reported(t *testing.T, n *node.Node, findings int64) {
	t.Helper()
	localtest.Eventually(t, settle, "a report without anything open", func() (bool, error) {
		rep, err := n.VerifierReport(t.Context(), "")
		if fault.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil || !rep.Signed {
			return false, errors.Join(err, fmt.Errorf("signed %v", rep.Signed))
		}
		f := rep.Findings["pay"]
		return rep.OK && f.Found == findings && f.Repaired == findings && f.Open == 0 && len(rep.Datasets) == 1 && len(rep.Datasets[0].Sums) == 1, nil
	})
	st, err := n.VerifierState(t.Context())
	if err != nil || st.Pass == 0 || st.Last["pay"].Rows == 0 {
		t.Errorf("%v %+v", err, st)
	}
}
