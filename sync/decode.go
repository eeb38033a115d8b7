package syncer

import (
	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// Decoder makes documents of one dataset's records. One goroutine.
type Decoder struct {
	d     *catalog.Dataset
	keys  *canal.KeyReader
	heads heads
	shard string // last one seen, which is nearly always the next one's
}

// NewDecoder makes one.
func NewDecoder(d *catalog.Dataset) *Decoder {
	return &Decoder{d: d, keys: canal.NewKeyReader(d)}
}

// unreadable is a record that is strata's own, of a shard that the dataset has, and that says nothing: it becomes a letter.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// Document is the document of a change or backfill record with a value; its memory is the record's. Errors: fault.Invalid.
func (c *Decoder) Document(r *canal.Record) (index.Document, error) {
	h := &r.Header
	if h.Shard != c.shard {
		if _, ok := c.d.ShardOf(h.Shard); !ok {
			return index.Document{}, fault.New(fault.Invalid, "apply change", "%q is not a shard of the dataset", h.Shard).
				WithHint("was the dataset's shard scheme changed? it must be the one with which the topic was written")
		}
		c.shard = h.Shard
	}
	value, err := payload(r.Value, &c.heads.value)
	if err != nil {
		return index.Document{}, &unreadable{err}
	}
	rawKey, err := payload(r.Key, &c.heads.key)
	if err != nil {
		return index.Document{}, &unreadable{err}
	}
	change, err := parseEnvelope(value)
	if err != nil {
		return index.Document{}, &unreadable{err}
	}
	key, err := c.keys.Read(rawKey)
	if err != nil {
		return index.Document{}, &unreadable{err}
	}
	doc := index.Document{Shard: c.shard, Key: key, Version: index.MakeVersion(h.Term, h.Seq), Hash: h.Hash, After: change.after}
	if change.op == 'd' {
		doc.Deleted, doc.After = true, change.before
	}
	return doc, nil
}
