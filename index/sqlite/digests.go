package sqlite

import (
	"context"
	"database/sql/driver"

	"strata/catalog"
	"strata/index"
)

// digestColumns come before the key columns where a digest is read.
const digestColumns = 4

// Digests fulfils index.Reader.
func (x *Index) Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Digest) error) error {
	of, err := x.file(ctx, dataset)
	if err != nil {
		return err
	}
	r := digester{f: of}
	for i := range of.keys {
		r.own = append(r.own, i)
	}
	var one index.Digest
	return x.walk(ctx, of, shard, after, "_version, _hash, _deleted, _raw, "+columnList(of.d.Key), func(d []driver.Value) error {
		if err := r.read(d, &one); err != nil {
			return err
		}
		return f(&one)
	})
}

// digester reads digests; its memory is reused.
type digester struct {
	f       *file
	key     catalog.Row // of the key columns alone
	own     []int       // its columns: 0, 1, …
	scratch []byte
}

func (r *digester) read(d []driver.Value, into *index.Digest) error {
	version, _ := d[0].(int64)
	hash, _ := d[1].([]byte)
	state, _ := d[2].(int64)
	into.Version, into.Deleted = index.Version(version), state != alive
	into.Hash = catalog.Hash{}
	copy(into.Hash[:], hash)
	r.key.Reset()
	var err error
	if r.scratch, err = r.f.decodeRow(r.f.keys, d[digestColumns:], d[3], &r.key, r.scratch); err != nil {
		return err
	}
	into.Key = catalog.KeyOf(&r.key, r.own)
	return nil
}
