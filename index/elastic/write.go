package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// item is one document of a batch on its way.
type item struct {
	at       int // in the batch
	shard    *shard
	id       string
	version  index.Version
	from, to int // its two lines in batch.text
}

// batch is one Apply. Its memory is the next one's.
type batch struct {
	ds    *dataset
	docs  []index.Document
	out   []index.Outcome
	text  []byte
	items []item
	head  []byte // how the first line of a document of the shard begins
	of    *shard // head's
	// scratch, reused from document to document
	row   catalog.Row
	keys  []byte
	words []byte
	hash  []byte
}

// maxKept is how much text of a batch is kept for the next one.
const maxKept = 8 << 20

func (x *Index) batch(ds *dataset, docs []index.Document) *batch {
	b, ok := x.batches.Get().(*batch)
	if !ok {
		b = &batch{}
	}
	b.ds, b.docs, b.out = ds, docs, make([]index.Outcome, len(docs))
	size := 0
	for i := range docs {
		size += len(docs[i].After) + 600
	}
	b.text, b.items = slices.Grow(b.text[:0], size), b.items[:0]
	return b
}

func (x *Index) release(b *batch) {
	clear(b.items)
	if b.ds, b.docs, b.out, b.of = nil, nil, nil, nil; cap(b.text) <= maxKept {
		x.batches.Put(b)
	}
}

// Apply fulfils index.Writer.
func (x *Index) Apply(ctx context.Context, dataset string, docs []index.Document) ([]index.Outcome, error) {
	op := "apply to " + dataset
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), op, err)
	}
	ds, err := x.dataset(ctx, dataset)
	if err != nil {
		return nil, err
	}
	b := x.batch(ds, docs)
	defer x.release(b)
	shards := map[string]*shard{}
	for i := range docs {
		if err := b.check(&docs[i]); err != nil {
			b.out[i] = index.Outcome{Status: index.Refused, Reason: err.Error()}
			continue
		}
		s := shards[docs[i].Shard]
		if s == nil {
			if s, err = x.ensureShard(ctx, ds, docs[i].Shard); err != nil {
				return nil, err
			}
			shards[docs[i].Shard] = s
		}
		if err := b.encode(i, s); err != nil {
			b.out[i] = index.Outcome{Status: index.Refused, Reason: err.Error()}
		}
	}
	for _, s := range shards { // when it is over: a refresh meanwhile doesn't count. Without an answer too: it may be written
		defer s.written.Add(1)
	}
	if err := x.send(ctx, op, b); err != nil {
		return nil, err
	}
	if err := x.storedVersions(ctx, op, b); err != nil {
		return nil, err
	}
	return b.out, nil
}

// check refuses what is not a row of the dataset, and leaves the row's cells in b.row.
func (b *batch) check(doc *index.Document) error {
	const op = "encode document"
	if doc.Shard == "" || strings.Contains(doc.Shard, "/") || doc.Version == 0 || doc.Version > math.MaxInt64 {
		return fault.New(fault.Invalid, op, "shard %q version %d", doc.Shard, doc.Version)
	}
	if doc.After == nil {
		if !doc.Deleted {
			return fault.New(fault.Invalid, op, "no image")
		}
		return b.ds.rowOfKey(doc.Key, &b.row)
	}
	asDeclared, err := catalog.ParseImage(b.ds.d, doc.After, &b.row)
	if err != nil {
		return err
	}
	if !asDeclared {
		var h catalog.Hash
		if h, b.hash = b.row.Hash(b.hash); h != doc.Hash {
			return fault.New(fault.Invalid, op, "the image has other columns than the dataset, and its hash is another row's").
				WithHint("does the topic belong to this dataset? were its columns declared otherwise when it was written?")
		}
	}
	if key := catalog.KeyOf(&b.row, b.ds.keys); key != doc.Key {
		return fault.New(fault.Invalid, op, "the image has key %s, the document %s", key, doc.Key)
	}
	for _, k := range b.ds.keys {
		f := &b.ds.fields[k]
		if b.row.Null(k) {
			return fault.New(fault.Invalid, op, "key column %s is NULL", f.name)
		}
		if f.isLong(b.row.Cell(k)) {
			return fault.New(fault.Invalid, op, "key column %s has more than %d bytes", f.name, longBytes)
		}
	}
	return nil
}

// rowOfKey makes a row of a key: NULL beside it.
func (ds *dataset) rowOfKey(key catalog.Key, row *catalog.Row) error {
	cells, err := key.Cells()
	if err != nil {
		return err
	}
	if len(cells) != len(ds.keys) {
		return fault.New(fault.Invalid, "parse key "+string(key), "%d cells instead of %d", len(cells), len(ds.keys))
	}
	row.Reset()
	at := make([]int, len(ds.fields))
	for i, k := range ds.keys {
		at[k] = i + 1
		if f := &ds.fields[k]; f.form != asKeyword {
			if _, ok := f.encodeCell([]byte(cells[i])); !ok {
				return fault.New(fault.Invalid, "parse key "+string(key), "%.80q is not a cell of type %s", cells[i], f.t.Kind)
			}
		}
	}
	for _, i := range at {
		if i == 0 {
			row.AppendNull()
		} else {
			row.AppendString(cells[i-1])
		}
	}
	return nil
}

// encode appends the two lines of a document whose row is in b.row.
func (b *batch) encode(i int, s *shard) error {
	doc := &b.docs[i]
	it := item{at: i, shard: s, id: docID(doc.ID()), version: doc.Version, from: len(b.text)}
	if s != b.of {
		b.head = catalog.AppendJSONString(append(b.head[:0], `{"index":{"_index":`...), write(s.index))
		b.head, b.of = append(b.head, `,"_id":`...), s
	}
	dst := b.text
	dst = append(dst, b.head...)
	dst = catalog.AppendJSONString(dst, it.id)
	dst = append(dst, `,"version_type":"external","version":`...)
	dst = strconv.AppendUint(dst, uint64(doc.Version), 10)
	dst = append(dst, "}}\n"...)
	image := doc.After
	switch {
	case image == nil:
		dst = b.appendKeyColumns(dst)
	case hasNewline(image):
		var one bytes.Buffer
		if err := json.Compact(&one, image); err != nil {
			return fault.Wrap(fault.Invalid, "encode document", err)
		}
		image = one.Bytes()
		fallthrough
	default:
		end := bytes.LastIndexByte(image, '}')
		dst = append(dst, image[:end]...)
	}
	dst, err := b.appendOwn(dst, doc)
	if err != nil {
		return err // b.text is as it was
	}
	dst = append(dst, "}\n"...)
	b.text = dst
	it.to = len(b.text)
	b.items = append(b.items, it)
	return nil
}

// appendKeyColumns begins the object of a tombstone without an image.
func (b *batch) appendKeyColumns(dst []byte) []byte {
	dst = append(dst, '{')
	for i, k := range b.ds.keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, b.ds.fields[k].key...)
		dst = catalog.AppendJSONCell(dst, b.ds.fields[k].t, b.row.Cell(k))
	}
	return dst
}

// appendOwn appends what strata adds to a document: its last key.
func (b *batch) appendOwn(dst []byte, doc *index.Document) ([]byte, error) {
	dst = append(dst, `,"`+own+`":{"version":`...)
	dst = strconv.AppendUint(dst, uint64(doc.Version), 10)
	hi, lo := halves(doc.Hash)
	dst = append(dst, `,"hash":{"hi":`...)
	dst = strconv.AppendInt(dst, hi, 10)
	dst = append(dst, `,"lo":`...)
	dst = strconv.AppendInt(dst, lo, 10)
	dst = append(dst, `},"shard":`...)
	dst = catalog.AppendJSONString(dst, doc.Shard)
	dst = append(dst, `,"deleted":`...)
	dst = strconv.AppendBool(dst, doc.Deleted)
	if doc.After == nil {
		dst = append(dst, `,"bare":true`...)
	}
	if slices.ContainsFunc(b.ds.keys, func(k int) bool { return !b.ds.fields[k].sortsBack(b.row.Cell(k)) }) {
		dst = append(dst, `,"key":`...)
		dst = catalog.AppendJSONString(dst, string(doc.Key))
	}
	b.keys, b.words = b.keys[:0], b.words[:0]
	var long []string
	for i := range b.ds.fields {
		f := &b.ds.fields[i]
		cell := b.row.Cell(i)
		if cell == nil {
			continue
		}
		if f.isLong(cell) {
			long = append(long, f.name)
		} else if f.words && !doc.Deleted {
			b.appendWords(f, cell)
		}
		if f.form == asKeyword {
			continue
		}
		v, ok := f.encodeCell(cell)
		if !ok {
			return nil, fault.New(fault.Invalid, "encode column "+f.name, "%.80q is not a cell of type %s", cell, f.t.Kind)
		}
		if !f.keyed() {
			continue
		}
		b.keys = v.appendTo(append(append(b.keys, ','), f.key...))
	}
	for i, name := range long {
		if i == 0 {
			dst = append(dst, `,"long":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = catalog.AppendJSONString(dst, name)
	}
	if len(long) > 0 {
		dst = append(dst, ']')
	}
	if len(b.keys) > 0 {
		dst = append(append(append(dst, `,"k":{`...), b.keys[1:]...), '}')
	}
	if len(b.words) > 0 {
		dst = append(append(append(dst, `,"words":{`...), b.words[1:]...), '}')
	}
	return append(dst, '}'), nil
}

// appendWords adds a column's words to b.words. They need no escaping: letters, digits, marks and spaces.
func (b *batch) appendWords(f *field, cell []byte) {
	b.words = append(append(append(b.words, ','), f.key...), '"')
	b.words = append(catalog.AppendWords(b.words, cell), '"')
}

// newer is the outcome where a document is there that Elasticsearch takes for newer. One that somebody else wrote is no reason to
// leave strata's out.
func newer(it *item, there *gotten) index.Outcome {
	var is struct {
		Own struct {
			Version index.Version `json:"version"`
		} `json:"_strata"`
	}
	if err := json.Unmarshal(there.Source, &is); err != nil || is.Own.Version < it.version {
		return index.Outcome{Status: index.Refused, Reason: fmt.Sprintf("somebody else wrote %s of %s with version %d, which is above strata's: "+
			"delete it (curl -X DELETE '<elasticsearch>/%[2]s/_doc/%[4]s') and apply this one again", it.id, it.shard.index, there.Version, url.PathEscape(it.id))}
	}
	return index.Outcome{Status: index.Newer, StoredVersion: index.Version(there.Version)}
}

// storedVersions reads what is there instead of what was refused as older.
func (x *Index) storedVersions(ctx context.Context, op string, b *batch) error {
	const most = 1000
	var asked []*item
	for i := range b.items {
		if b.out[b.items[i].at].Status == index.Newer {
			asked = append(asked, &b.items[i])
		}
	}
	for len(asked) > 0 {
		n := min(len(asked), most)
		docs := make([]obj, n)
		for i, it := range asked[:n] {
			docs[i] = obj{"_index": it.shard.index, "_id": it.id, "_source": own + ".version"}
		}
		found, err := x.mget(ctx, op, request{method: "POST", path: "/_mget", body: obj{"docs": docs}}, n)
		if err != nil {
			return err
		}
		for i, it := range asked[:n] {
			if !found[i].Found || found[i].ID != it.id || index.Version(found[i].Version) < it.version {
				return fault.New(fault.Unavailable, op, "%s was refused as older than a document that is not there", it.id).
					WithHint("does somebody else delete documents of this index?")
			}
			b.out[it.at] = newer(it, &found[i])
		}
		asked = asked[n:]
	}
	return nil
}
