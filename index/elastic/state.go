package elastic

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
)

// Kinds of documents in the state.
const (
	kindDataset = "dataset"
	kindShard   = "shard"
	kindMark    = "mark"
)

// datasetRecord is a dataset's document in the state.
type datasetRecord struct {
	ID         string           `json:"id"`
	Kind       string           `json:"kind"`
	Dataset    string           `json:"dataset"`
	Format     int              `json:"format"`
	Partitions int              `json:"partitions"`
	Shape      *catalog.Dataset `json:"shape"`

	seqNo, term int64 // of the document, for a compare-and-set
}

// shardRecord is a shard's.
type shardRecord struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Dataset string `json:"dataset"`
	Shard   string `json:"shard"`
	Index   string `json:"index"`
	UUID    string `json:"uuid"` // Elasticsearch's for the index: one that was restored or made again has another
}

func (r *shardRecord) shard() *shard { return &shard{name: r.Shard, index: r.Index, uuid: r.UUID} }

// replicas adds to settings how many there are.
func (x *Index) replicas(settings obj) obj {
	if x.cfg.Replicas == nil {
		settings["auto_expand_replicas"] = "0-1"
	} else {
		settings["number_of_replicas"] = *x.cfg.Replicas
	}
	return settings
}

// stateBody is the request that makes the state's index.
func (x *Index) stateBody() obj {
	keyword, long := obj{"type": "keyword"}, obj{"type": "long"}
	return obj{
		"settings": obj{"index": x.replicas(obj{"number_of_shards": 1, "translog.durability": "request"})},
		"mappings": obj{
			"dynamic":    "false",
			"_meta":      obj{"strata": made{Format: format}},
			"properties": obj{"id": keyword, "kind": keyword, "dataset": keyword, "version": long, "term": long},
		},
		"aliases": obj{x.names.state(): obj{}},
	}
}

// ensureState makes the state's index where there is none, and refuses one that is not strata's.
func (x *Index) ensureState(ctx context.Context) error {
	const op = "make index state"
	there, err := x.inventory(ctx, x.names.state()+","+x.names.stateIndex())
	if err != nil {
		return err
	}
	if len(there) == 0 {
		if err := x.createIndex(ctx, op, x.names.stateIndex(), x.stateBody()); err != nil {
			return err
		}
		there, err = x.inventory(ctx, x.names.state()+","+x.names.stateIndex())
		if err != nil {
			return err
		}
	}
	for name, is := range there {
		if name != x.names.stateIndex() || is.made == nil {
			return notOurs(op, name)
		}
		if is.made.Format != format {
			return fault.New(fault.Unsafe, op, "%s has format %d, this program writes %d", name, is.made.Format, format).
				WithHint("use the program that wrote it, or another prefix")
		}
		if !is.aliases[x.names.state()] {
			return aliasMoved(op, x.names.state(), name)
		}
	}
	return nil
}

func notOurs(op, name string) error {
	return fault.New(fault.Unsafe, op, "index %s was not made by strata", name).
		WithHint("something else wrote to that name: move or delete it (curl -X DELETE <elasticsearch>/%s), or give strata another prefix", name)
}

func notSynced(op, name string) error {
	return fault.New(fault.Unsafe, op, "index %s would lose what it has acknowledged: its index.translog.durability is not request", name).
		WithHint(`curl -X PUT <elasticsearch>/%s/_settings -H 'Content-Type: application/json' -d '{"index.translog.durability":null}'`, name)
}

func restored(op, name, shard string) error {
	return fault.New(fault.Unsafe, op, "index %s of shard %s is not the one that was written to: it was restored from a snapshot, or made again", name, shard).
		WithHint("%s", hintRestored)
}

func aliasMoved(op, alias, name string) error {
	return fault.New(fault.Unsafe, op, "alias %s does not stand for %s", alias, name).
		WithHint(`put it back: curl -X POST <elasticsearch>/_aliases -H 'Content-Type: application/json' -d '{"actions":[{"add":{"index":%q,"alias":%q}}]}', and take it from where it was moved to`, name, alias)
}

func aliasTaken(op, alias, name string) error {
	return fault.New(fault.Unsafe, op, "alias %s stands for %s, which strata didn't make", alias, name).
		WithHint(`take it away: curl -X POST <elasticsearch>/_aliases -H 'Content-Type: application/json' -d '{"actions":[{"remove":{"index":%q,"alias":%q}}]}'`, name, alias)
}

func aliasTwice(op, alias, reason string) error {
	return fault.New(fault.Unsafe, op, "alias %s doesn't stand for one index alone: %s", alias, reason).
		WithHint("see GET <elasticsearch>/_alias/%s, and take it from all but its own index", alias)
}

// createIndex makes an index; one that somebody made meanwhile is no error: the caller looks at it.
func (x *Index) createIndex(ctx context.Context, op, name string, body obj) error {
	var ack struct {
		Acknowledged bool `json:"acknowledged"`
	}
	raw, err := x.c.send(ctx, request{method: http.MethodPut, path: "/" + url.PathEscape(name), body: body})
	if errorType(err) == "resource_already_exists_exception" {
		return nil
	}
	if err != nil {
		if status(err) == http.StatusBadRequest && errorType(err) == "validation_exception" { // the cluster's limit of shards
			return fault.New(fault.Unavailable, op, "%s: %w", name, err).WithHint("raise cluster.max_shards_per_node or add nodes")
		}
		return classify(ctx, op+" "+name, err)
	}
	if err := decode(op, raw, &ack); err != nil {
		return err
	}
	if !ack.Acknowledged {
		return fault.New(fault.Unavailable, op, "%s is not acknowledged by all nodes yet", name).WithHint("look at GET /_cluster/health")
	}
	return nil
}

// gotten is a document by its id.
type gotten struct {
	ID      string          `json:"_id"`
	Index   string          `json:"_index"`
	Found   bool            `json:"found"`
	Version int64           `json:"_version"`
	SeqNo   int64           `json:"_seq_no"`
	Term    int64           `json:"_primary_term"`
	Source  json.RawMessage `json:"_source"`
	Error   *detail         `json:"error"`
}

// getState reads documents of the state by id, in real time, in the order of the ids.
func (x *Index) getState(ctx context.Context, op string, ids ...string) ([]gotten, error) {
	return x.mget(ctx, op, request{method: http.MethodPost, path: "/" + x.names.state() + "/_mget", body: obj{"ids": ids}}, len(ids))
}

// startTries is how often a read by id is tried on a shard that is just being started, somebody having made its index; the
// pauses between begin with startPause and double.
const (
	startTries = 7
	startPause = 50 * time.Millisecond
)

// mget reads documents by id and refuses an answer that lacks one of them or could not read it.
func (x *Index) mget(ctx context.Context, op string, r request, n int) (docs []gotten, err error) {
	for try := range startTries {
		if docs, err = x.mgetOnce(ctx, op, r, n); !starting(err) {
			break
		}
		if late := x.cfg.Pause(ctx, startPause<<try); late != nil {
			break
		}
	}
	return docs, err
}

// starting reports whether an error says that a shard is not started yet.
func starting(err error) bool {
	return fault.Is(err, fault.Unavailable) && (strings.Contains(err.Error(), "illegal_index_shard_state_exception") || strings.Contains(err.Error(), "no_shard_available_action_exception"))
}

func (x *Index) mgetOnce(ctx context.Context, op string, r request, n int) ([]gotten, error) {
	var answer struct {
		Docs []gotten `json:"docs"`
	}
	if err := x.c.call(ctx, op, r, &answer); err != nil {
		return nil, err
	}
	if len(answer.Docs) != n {
		return nil, fault.New(fault.Unavailable, op, "%d answers to %d ids", len(answer.Docs), n)
	}
	for i := range answer.Docs {
		if e := answer.Docs[i].Error; e != nil {
			if e.Index == "" {
				e.Index = answer.Docs[i].Index
			}
			return nil, refusal(op, http.StatusServiceUnavailable, e)
		}
	}
	return answer.Docs, nil
}

// datasetRecord is nil where there is none.
func (x *Index) datasetRecord(ctx context.Context, name string) (*datasetRecord, error) {
	const op = "read index state"
	docs, err := x.getState(ctx, op, datasetID(name))
	if err != nil {
		if x.stateMissing(err) {
			return nil, nil
		}
		return nil, err
	}
	if !docs[0].Found {
		return nil, nil
	}
	return readDataset(op, &docs[0])
}

func readDataset(op string, g *gotten) (*datasetRecord, error) {
	rec := &datasetRecord{seqNo: g.SeqNo, term: g.Term}
	if err := json.Unmarshal(g.Source, rec); err != nil || rec.Shape == nil || rec.Format != format {
		return nil, fault.New(fault.Unsafe, op, "document %s is not strata's (format %d): %v", g.ID, rec.Format, err).
			WithHint("use the program that wrote it, or another prefix")
	}
	return rec, nil
}

// stateMissing reports whether an error says that there is no state at all: a new prefix.
func (x *Index) stateMissing(err error) bool { return fault.Is(err, fault.Unsafe) && isGone(err) }

// putState writes a document of the state and makes it visible to searches. params says under which condition; won is
// false where somebody was first.
func (x *Index) putState(ctx context.Context, op, id string, params url.Values, doc any) (won bool, err error) {
	params.Set("require_alias", "true")
	_, err = x.c.send(ctx, request{method: http.MethodPut, path: "/" + x.names.state() + "/_doc/" + url.PathEscape(id), params: params, body: doc})
	if status(err) == http.StatusConflict {
		return false, nil
	}
	return err == nil, classify(ctx, op, err)
}

// raisePartitions sees to it that watermarks of all partitions below n are looked for.
func (x *Index) raisePartitions(ctx context.Context, dataset string, n int) error {
	const op = "write index state"
	for range 100 { // each time somebody else was first
		rec, err := x.datasetRecord(ctx, dataset)
		if err != nil {
			return err
		}
		if rec == nil {
			return fault.New(fault.Unsafe, op, "dataset %s is gone from %s", dataset, x.names.state()).WithHint("%s", hintGone)
		}
		if rec.Partitions >= n {
			return nil
		}
		rec.Partitions = n
		won, err := x.putState(ctx, op, datasetID(dataset), param("refresh", "true", "if_seq_no", strconv.FormatInt(rec.seqNo, 10),
			"if_primary_term", strconv.FormatInt(rec.term, 10)), rec)
		if err != nil || won {
			return err
		}
	}
	return fault.New(fault.Busy, op, "dataset %s changes all the time", dataset)
}
