package elastic

import (
	"encoding/json"
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// format of the indices, in their mappings and in the state.
const format = 3

// own is the key of what strata adds to a document.
const own = "_strata"

// longBytes is how many bytes of text are surely a keyword: Elasticsearch counts UTF-16 units, of which each is at most 3
// bytes of the 32,766 that a keyword may have.
const longBytes = 10_922

// form is how a column is searched and sorted.
type form uint8

const (
	asLong     form = iota // by itself, as a number
	asKeyword              // by itself, as text
	keyLong                // by a number under _strata.k
	keyKeyword             // by a text under _strata.k
)

// field is a column in the index.
type field struct {
	name  string
	key   string // name as a key of JSON: "name":
	t     catalog.Type
	form  form
	words bool // its words are under _strata.words
}

func fieldOf(c catalog.Column) field {
	f := field{name: c.Name, key: string(catalog.AppendJSONString(nil, c.Name)) + ":", t: c.Type}
	wide := c.Type.Size == 0 || c.Type.Size >= 8
	switch c.Type.Kind {
	case catalog.Year:
		f.form = asLong
	case catalog.Int: // a missing long sorts as -2^63, which only 64 bits can be
		f.form = asLong
		if wide && c.Nullable {
			f.form = keyKeyword
		}
	case catalog.Uint: // a long has 63 bits
		f.form = asLong
		if wide {
			f.form = keyKeyword
		}
	case catalog.Decimal, catalog.Float, catalog.Double:
		f.form = keyKeyword
	case catalog.Date, catalog.DateTime, catalog.Timestamp, catalog.Time:
		f.form = keyLong
	default:
		f.form = asKeyword
	}
	return f
}

// keyed reports whether the column has a key under _strata.k.
func (f *field) keyed() bool { return f.form == keyLong || f.form == keyKeyword }

// path is what searches name.
func (f *field) path() string {
	if f.keyed() {
		return own + ".k." + f.name
	}
	return f.name
}

// wordsPath is what a Match of the column names.
func (f *field) wordsPath() string { return own + ".words." + f.name }

// mapping is the properties of an index.
func (ds *dataset) mapping() obj {
	keyword := obj{"type": "keyword"}
	stored := obj{"type": "keyword", "index": false, "doc_values": false}
	keys, words, top := obj{}, obj{}, obj{}
	for _, f := range ds.fields {
		if f.words { // this analyzer only splits: what words are, catalog has told
			words[f.name] = obj{"type": "text", "analyzer": "whitespace", "norms": false}
		}
		switch f.form {
		case asLong:
			top[f.name] = obj{"type": "long"}
		case asKeyword:
			top[f.name] = obj{"type": "keyword", "ignore_above": longBytes}
		case keyLong:
			top[f.name], keys[f.name] = stored, obj{"type": "long"}
		default:
			top[f.name], keys[f.name] = stored, keyword
		}
	}
	half := obj{"type": "long", "index": false} // read with the order, faster than a text
	mine := obj{"version": obj{"type": "long"}, "hash": obj{"properties": obj{"hi": half, "lo": half}}, "shard": keyword,
		"key": obj{"type": "keyword", "index": false}, "deleted": obj{"type": "boolean"},
		"bare": obj{"type": "boolean", "index": false, "doc_values": false}, "long": keyword}
	if len(keys) > 0 {
		mine["k"] = obj{"properties": keys}
	}
	if len(words) > 0 {
		mine["words"] = obj{"properties": words}
	}
	top[own] = obj{"properties": mine}
	return top
}

// made is what an index's mapping says about its origin.
type made struct {
	Format  int              `json:"format"`
	Dataset string           `json:"dataset"`
	Shard   string           `json:"shard"`
	Shape   *catalog.Dataset `json:"shape,omitempty"`
}

// shapeOf is what of a dataset the index depends on.
func shapeOf(d *catalog.Dataset) *catalog.Dataset {
	return &catalog.Dataset{Name: d.Name, Table: d.Table, Columns: d.Columns, Key: d.Key, Time: d.Time, Account: d.Account, Text: d.Text}
}

// createBody is the request that makes the index of a shard, with its aliases; public is one more, "": none.
func (x *Index) createBody(ds *dataset, s *shard, public string) obj {
	aliases := obj{x.names.dataset(ds.d.Name): obj{}, write(s.index): obj{}}
	if public != "" {
		aliases[public] = obj{}
	}
	return obj{
		"settings": obj{"index": x.replicas(obj{
			"number_of_shards":           x.cfg.Shards,
			"refresh_interval":           "-1",      // only Refresh makes visible
			"translog.durability":        "request", // what is acknowledged is on disk
			"max_result_window":          index.MaxLimit + 1,
			"mapping.total_fields.limit": 1000 + 3*len(ds.fields),
		})},
		"mappings": obj{
			"dynamic":    "false",
			"_meta":      obj{"strata": made{Format: format, Dataset: ds.d.Name, Shard: s.name, Shape: shapeOf(ds.d)}},
			"properties": ds.mapping(),
		},
		"aliases": aliases,
	}
}

// checkColumns refuses datasets that Elasticsearch can't hold.
func checkColumns(d *catalog.Dataset) error {
	if err := index.CheckColumns(d); err != nil {
		return err
	}
	reserved := []string{own, "_id", "_index", "_type", "_source", "_routing", "_field_names", "_ignored", "_version", "_seq_no",
		"_primary_term", "_size", "_tier", "_nested_path", "_doc_count", "_feature"}
	for _, c := range d.Columns {
		if c.Name == "" || strings.TrimSpace(c.Name) != c.Name || strings.ContainsAny(c.Name, ".*") || slices.Contains(reserved, c.Name) {
			return fault.New(fault.Invalid, "ensure index of "+d.Name, "Elasticsearch can't have a column named %q", c.Name).
				WithHint("rename the column, or leave it out of the dataset")
		}
	}
	return nil
}

// sameShape refuses a dataset of other columns than the index was made for.
func sameShape(was, d *catalog.Dataset) error {
	if was.Table != d.Table {
		return fault.New(fault.Unsafe, "ensure index of "+d.Name, "the index was made for table %s, the dataset has %s", was.Table, d.Table).
			WithHint("make another beside it: strata sync rebuild %s", index.DatasetOf(d.Name))
	}
	return index.SameShape(was, d)
}

// holds reports whether what is there has all that is wanted, with equal values; there may be more.
func holds(there, wanted any) bool {
	w, ok := wanted.(map[string]any)
	if !ok {
		return equalJSON(there, wanted)
	}
	t, ok := there.(map[string]any)
	if !ok {
		return false
	}
	for k, v := range w {
		if !holds(t[k], v) {
			return false
		}
	}
	return true
}

func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
