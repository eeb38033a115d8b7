package sqlite

import (
	"context"
	"database/sql/driver"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// putMark writes a watermark, unless a newer one is there.
const putMark = `INSERT INTO watermark (part, version, term, number, next, gtid, heartbeat, at, frozen) VALUES (?,?,?,?,?,?,?,?,?)
	ON CONFLICT (part) DO UPDATE SET version=excluded.version, term=excluded.term, number=excluded.number, next=excluded.next,
	gtid=excluded.gtid, heartbeat=excluded.heartbeat, at=excluded.at, frozen=excluded.frozen
	WHERE excluded.version > watermark.version`

// PutWatermark fulfils index.Writer.
func (x *Index) PutWatermark(ctx context.Context, m index.Watermark) error {
	f, err := x.file(ctx, m.Dataset)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.KindOf(err), "write watermark of "+m.Dataset, err)
	}
	w := f.writer
	err = w.commit("sqlite.watermark", "sqlite.watermarked", func() error {
		_, err := w.mark.run(int64(m.Partition), int64(m.Version), int64(m.Term), int64(m.Number), m.Offset, m.GTID,
			int64(m.Heartbeat), int64(m.At), m.Frozen)
		return err
	})
	return classify("write watermark of "+m.Dataset, err)
}

// Watermarks fulfils index.Reader.
func (x *Index) Watermarks(ctx context.Context, dataset string) ([]index.Watermark, error) {
	var out []index.Watermark
	err := x.read(ctx, dataset, func(v *view) error {
		return v.query("SELECT part, version, term, number, next, gtid, heartbeat, at, frozen FROM watermark ORDER BY part", nil,
			func(d []driver.Value) error {
				n := func(i int) int64 { v, _ := d[i].(int64); return v }
				gtid, _ := d[5].(string)
				frozen, _ := d[8].(string)
				out = append(out, index.Watermark{Dataset: dataset, Partition: int32(n(0)), Version: index.Version(n(1)),
					Term: uint32(n(2)), Number: uint64(n(3)), Offset: n(4), GTID: gtid, Heartbeat: uint64(n(6)),
					At: catalog.Instant(n(7)), Frozen: frozen})
				return nil
			})
	})
	return out, err
}
