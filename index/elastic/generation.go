package elastic

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

var _ index.Shelf = (*Index)(nil)

// kindRegister is the kind of a register's document in the state.
const kindRegister = "generations"

// registerRecord is what the state has of a dataset's generations.
type registerRecord struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`
	Dataset  string          `json:"dataset"`
	Revision int64           `json:"revision"`
	Record   json.RawMessage `json:"record"`

	seqNo, term int64 // of the document, for a compare-and-set
}

func registerID(dataset string) string { return "generations:" + dataset }

// registerRecord is the zero one where there is none. It is read by id, in real time.
func (x *Index) registerRecord(ctx context.Context, dataset string) (registerRecord, error) {
	const op = "read generations"
	var rec registerRecord
	x.mu.Lock()
	closed := x.closed
	x.mu.Unlock()
	if closed {
		return rec, errClosed()
	}
	docs, err := x.getState(ctx, op, registerID(dataset))
	if err != nil {
		if x.stateMissing(err) {
			err = nil
		}
		return rec, err
	}
	if !docs[0].Found {
		return rec, nil
	}
	if err := json.Unmarshal(docs[0].Source, &rec); err != nil || rec.Dataset != dataset {
		return rec, fault.New(fault.Unsafe, op, "document %s is not strata's: %v", docs[0].ID, err)
	}
	rec.seqNo, rec.term = docs[0].SeqNo, docs[0].Term
	return rec, nil
}

// Register fulfils index.Shelf.
func (x *Index) Register(ctx context.Context, dataset string) ([]byte, int64, error) {
	rec, err := x.registerRecord(ctx, dataset)
	return rec.Record, rec.Revision, err
}

// PutRegister fulfils index.Shelf.
func (x *Index) PutRegister(ctx context.Context, dataset string, raw []byte, revision int64) (bool, error) {
	if err := x.ensureState(ctx); err != nil {
		return false, err
	}
	was, err := x.registerRecord(ctx, dataset)
	if err != nil || was.Revision != revision {
		return false, err
	}
	params := param("op_type", "create", "refresh", "true")
	if revision > 0 {
		params = param("refresh", "true", "if_seq_no", strconv.FormatInt(was.seqNo, 10), "if_primary_term", strconv.FormatInt(was.term, 10))
	}
	return x.putState(ctx, "write generations", registerID(dataset), params,
		registerRecord{ID: registerID(dataset), Kind: kindRegister, Dataset: dataset, Revision: revision + 1, Record: raw})
}

// public is the alias for people that an index of a later generation gets while that generation answers; "": none. The first
// has that alias as its own.
func (x *Index) public(ctx context.Context, stored string) (string, error) {
	dataset := index.DatasetOf(stored)
	if dataset == stored {
		return "", nil
	}
	rec, err := x.registerRecord(ctx, dataset)
	if err != nil || rec.Record == nil {
		return "", err
	}
	var r index.Register
	if err := json.Unmarshal(rec.Record, &r); err != nil || index.StoredName(dataset, r.Serving) != stored {
		return "", nil //nolint:nilerr // nothing rests on that alias
	}
	return x.names.dataset(dataset), nil
}

// Publish fulfils index.Shelf: it moves the alias for people, in one request.
func (x *Index) Publish(ctx context.Context, dataset, stored string) error {
	op, alias := "publish index of "+dataset, x.names.dataset(dataset)
	there, err := x.inventory(ctx, alias+","+x.names.dataset(stored)+"-*")
	if err != nil {
		return err
	}
	var actions []any
	for name, is := range there {
		mine := is.made != nil && is.made.Dataset == stored
		switch {
		case mine && !is.aliases[alias]:
			actions = append(actions, obj{"add": obj{"index": name, "alias": alias}})
		case !mine && is.aliases[alias]:
			actions = append(actions, obj{"remove": obj{"index": name, "alias": alias}})
		}
	}
	if len(actions) == 0 {
		return nil
	}
	return x.c.call(ctx, op, request{method: http.MethodPost, path: "/_aliases", body: obj{"actions": actions}}, nil)
}

// Remove fulfils index.Shelf: the indices first, then what the state says of them, so that a crash between both leaves a
// dataset that refuses instead of one that seems empty.
func (x *Index) Remove(ctx context.Context, stored string) error {
	op := "remove index of " + stored
	there, err := x.inventory(ctx, x.names.dataset(stored)+"-*")
	if err != nil {
		return err
	}
	for name, is := range there {
		if is.made == nil || is.made.Dataset != stored {
			return notOurs(op, name)
		}
	}
	for name := range there {
		_, err := x.c.send(ctx, request{method: http.MethodDelete, path: "/" + url.PathEscape(name)})
		if err != nil && status(err) != http.StatusNotFound {
			return classify(ctx, op, err)
		}
	}
	if err := x.removeState(ctx, op, stored); err != nil {
		return err
	}
	x.mu.Lock()
	delete(x.datasets, stored)
	x.mu.Unlock()
	return nil
}

// removeState deletes the documents of the state that say something of a stored dataset: its shards, its watermarks, itself.
func (x *Index) removeState(ctx context.Context, op, stored string) error {
	rec, err := x.datasetRecord(ctx, stored)
	if err != nil || rec == nil {
		return err
	}
	shards, err := x.shardRecords(ctx, stored)
	if err != nil {
		return err
	}
	var ids []string
	for _, s := range shards {
		ids = append(ids, s.ID)
	}
	for i := range rec.Partitions {
		ids = append(ids, markID(stored, i))
	}
	for _, id := range append(ids, datasetID(stored)) { // the dataset's own last: it says which there are
		_, err := x.c.send(ctx, request{method: http.MethodDelete, path: "/" + x.names.state() + "/_doc/" + url.PathEscape(id),
			params: param("refresh", "true")})
		if err != nil && status(err) != http.StatusNotFound {
			return classify(ctx, op, err)
		}
	}
	return nil
}

// Fits fulfils index.Shelf.
func (x *Index) Fits(ctx context.Context, d *catalog.Dataset) error {
	ds, err := x.dataset(ctx, d.Name)
	if err != nil {
		return err
	}
	return sameShape(ds.d, d)
}

// lostRegister refuses to make a dataset's first generation anew where later ones are there that no register knows.
func (x *Index) lostRegister(ctx context.Context, dataset string) error {
	if strings.Contains(dataset, ".") {
		return nil
	}
	rec, err := x.registerRecord(ctx, dataset)
	if err != nil || rec.Record != nil {
		return err
	}
	there, err := x.inventory(ctx, x.names.dataset(dataset)+".*")
	if err != nil || len(there) == 0 {
		return err
	}
	var names []string
	for name := range there {
		names = append(names, name)
	}
	slices.Sort(names)
	return fault.New(fault.Unsafe, "ensure index of "+dataset, "%s does not say which generation answers, and there are %s", x.names.state(), strings.Join(names, ", ")).
		WithHint("restore %s from its snapshot, or delete these indices: the index is made again from the topic's beginning", x.names.stateIndex())
}
