package sqlite

import (
	"context"

	"strata/fault"
	"strata/index"
)

// maxSweep bounds the tombstones of one request: batches of Apply wait meanwhile.
const maxSweep = 1000

// Sweep fulfils index.Writer. Each request looks for its tombstones itself, so what came back to life is none.
func (x *Index) Sweep(ctx context.Context, dataset string, below index.Version) (int64, error) {
	f, err := x.file(ctx, dataset)
	if err != nil {
		return 0, err
	}
	op := "sweep tombstones of " + dataset
	var gone int64
	for {
		if err := ctx.Err(); err != nil {
			return gone, fault.Wrap(fault.KindOf(err), op, err)
		}
		n, err := f.writer.sweep(below)
		if err != nil {
			return gone, classify(op, err)
		}
		if gone += n; n < maxSweep {
			return gone, nil
		}
	}
}

// sweep removes at most maxSweep of them.
func (w *writer) sweep(below index.Version) (n int64, err error) {
	err = w.commit("sqlite.sweep", "sqlite.swept", func() (err error) {
		n, err = w.conn.exec("DELETE FROM doc WHERE _id IN (SELECT _id FROM doc INDEXED BY dead WHERE _deleted<>0 AND _version<? LIMIT ?)",
			int64(below), int64(maxSweep))
		return err
	})
	return n, err
}
