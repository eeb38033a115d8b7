package soak

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	_ "modernc.org/sqlite" // the driver of the embedded index's files
)

// image is a document as it is stored.
type image struct {
	version uint64
	v       int64 // of the row
	bare    bool  // a tombstone without an image: v is not known
	deleted bool
}

// mark is a watermark.
type mark struct {
	Version   uint64 `json:"version"`
	Heartbeat uint64 `json:"heartbeat"`
	Frozen    string `json:"frozen"`
}

// searchCopy is an index by the documented form of what is in it, and nothing else of strata's.
type searchCopy interface {
	// marks are a dataset's watermarks by partition; those that are not there are missing.
	marks(ctx context.Context, dataset string) (map[int]mark, error)
	// images are the documents of some keys; those that are not there are missing.
	images(ctx context.Context, dataset string, keys []int) (map[int]image, error)
	// forget deletes a dataset's watermarks.
	forget(ctx context.Context, dataset string) error
}

// itemAt is the time of the load's item with that key, and its shard.
func itemAt(n int) (at, shard string) {
	month := 10 + n%2
	return fmt.Sprintf("2026-%d-%02d 10:00:00.123", month, 1+n%28), fmt.Sprintf("item_2026%d", month)
}

// embedded is the index in SQLite files.
type embedded struct {
	t   *testing.T
	dir string
	mu  sync.Mutex
	dbs map[string]*sql.DB
}

func newEmbedded(t *testing.T, data string) *embedded {
	return &embedded{t: t, dir: filepath.Join(data, "index"), dbs: map[string]*sql.DB{}}
}

// db opens a dataset's file, which must be there.
func (e *embedded) db(dataset string) (*sql.DB, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if have := e.dbs[dataset]; have != nil {
		return have, nil
	}
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(filepath.Join(e.dir, dataset+".db"))+"?mode=rw&_pragma=busy_timeout(20000)")
	if err != nil {
		return nil, err
	}
	e.t.Cleanup(func() { _ = db.Close() })
	e.dbs[dataset] = db
	return db, nil
}

func (e *embedded) query(ctx context.Context, dataset, q string, row func(scan func(...any) error) error) error {
	db, err := e.db(dataset)
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, q)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (e *embedded) marks(ctx context.Context, dataset string) (map[int]mark, error) {
	out := map[int]mark{}
	return out, e.query(ctx, dataset, "SELECT part, version, heartbeat, frozen FROM watermark", func(scan func(...any) error) error {
		var p int
		var m mark
		err := scan(&p, &m.Version, &m.Heartbeat, &m.Frozen)
		out[p] = m
		return err
	})
}

func (e *embedded) images(ctx context.Context, dataset string, keys []int) (map[int]image, error) {
	column, want := map[string]string{"orders": "c_id", "items": "c_n"}[dataset], map[int]bool{}
	for _, k := range keys {
		want[k] = true
	}
	out := map[int]image{}
	return out, e.query(ctx, dataset, "SELECT "+column+", _version, _deleted, c_v FROM doc", func(scan func(...any) error) error {
		var key, deleted int
		var m image
		var v sql.NullInt64
		if err := scan(&key, &m.version, &deleted, &v); err != nil {
			return err
		}
		if m.deleted, m.bare, m.v = deleted > 0, deleted == 2, v.Int64; want[key] {
			out[key] = m
		}
		return nil
	})
}

func (e *embedded) forget(ctx context.Context, dataset string) error {
	db, err := e.db(dataset)
	if err == nil {
		_, err = db.ExecContext(ctx, "DELETE FROM watermark")
	}
	return err
}

// elasticsearch is the index there.
type elasticsearch struct {
	url    string
	prefix string
}

// call sends a request and reads the answer.
func (e *elasticsearch) call(ctx context.Context, method, path string, body, into any) error {
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, e.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	return err
}

// got is an answer to _mget.
type got struct {
	Docs []struct {
		Found   bool            `json:"found"`
		Version uint64          `json:"_version"`
		Source  json.RawMessage `json:"_source"`
		Error   json.RawMessage `json:"error"`
	} `json:"docs"`
}

// get reads documents by index and id.
func (e *elasticsearch) get(ctx context.Context, docs []map[string]any) (got, error) {
	var answer got
	if err := e.call(ctx, http.MethodPost, "/_mget", map[string]any{"docs": docs}, &answer); err != nil {
		return answer, err
	}
	if len(answer.Docs) != len(docs) {
		return answer, fmt.Errorf("%d answers to %d ids", len(answer.Docs), len(docs))
	}
	for _, d := range answer.Docs {
		if d.Error != nil {
			return answer, fmt.Errorf("%s", d.Error)
		}
	}
	return answer, nil
}

const partitionsAsked = 16 // more than any dataset has

func (e *elasticsearch) marks(ctx context.Context, dataset string) (map[int]mark, error) {
	var docs []map[string]any
	for p := range partitionsAsked {
		docs = append(docs, map[string]any{"_index": e.prefix + ".state", "_id": fmt.Sprintf("mark:%s:%d", dataset, p)})
	}
	answer, err := e.get(ctx, docs)
	out := map[int]mark{}
	for p, d := range answer.Docs {
		var m mark
		if err == nil && d.Found {
			err = json.Unmarshal(d.Source, &m)
			out[p] = m
		}
	}
	return out, err
}

func (e *elasticsearch) images(ctx context.Context, dataset string, keys []int) (map[int]image, error) {
	var docs []map[string]any
	for _, k := range keys {
		index, id := e.prefix+"-orders-all", fmt.Sprintf("orders/%d", k)
		if dataset == "items" {
			at, shard := itemAt(k)
			index, id = e.prefix+"-items-"+shard[len("item_"):], fmt.Sprintf("%s/%d,%s%%20%s", shard, k, at[:10], at[11:])
		}
		docs = append(docs, map[string]any{"_index": index, "_id": id})
	}
	answer, err := e.get(ctx, docs)
	if err != nil {
		return nil, err
	}
	out := map[int]image{}
	for i, d := range answer.Docs {
		if !d.Found {
			continue
		}
		var s struct {
			V   *int64 `json:"v"`
			Own struct {
				Version uint64 `json:"version"`
				Deleted bool   `json:"deleted"`
			} `json:"_strata"`
		}
		if err := json.Unmarshal(d.Source, &s); err != nil {
			return nil, err
		}
		if s.Own.Version != d.Version {
			return nil, errors.Join(errWrong, fmt.Errorf("%s has version %d, and says that it has %d", d.Source, d.Version, s.Own.Version))
		}
		m := image{version: d.Version, deleted: s.Own.Deleted, bare: s.V == nil}
		if s.V != nil {
			m.v = *s.V
		}
		out[keys[i]] = m
	}
	return out, nil
}

func (e *elasticsearch) forget(ctx context.Context, dataset string) error {
	marks, err := e.marks(ctx, dataset)
	for p := range marks {
		err = errors.Join(err, e.call(ctx, http.MethodDelete, fmt.Sprintf("/%s.state/_doc/mark:%s:%d", e.prefix, dataset, p), nil, nil))
	}
	return err
}

// errWrong marks what an index must never show, beside the errors of servers that are away.
var errWrong = errors.New("the index is wrong")
