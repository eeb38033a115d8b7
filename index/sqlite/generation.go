package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

var _ index.Shelf = (*Index)(nil)

// registerFile is beside the datasets' files, and no dataset's.
const registerFile = "generations.registry"

// registers is the file that says which generations there are, opened when first needed.
func (x *Index) registers(ctx context.Context, make bool) (*sql.DB, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, errClosed()
	}
	if x.register != nil {
		return x.register, nil
	}
	path := filepath.Join(x.cfg.Dir, registerFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !make {
		return nil, nil
	}
	db, err := sql.Open("sqlite", dsn(path, "journal_mode(WAL)", "synchronous(FULL)"))
	if err != nil {
		return nil, classify("open "+path, err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS generation (dataset TEXT PRIMARY KEY, revision INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID"); err != nil {
		return nil, errors.Join(classify("open "+path, err), db.Close())
	}
	x.register = db
	return db, nil
}

// Register fulfils index.Shelf.
func (x *Index) Register(ctx context.Context, dataset string) ([]byte, int64, error) {
	db, err := x.registers(ctx, false)
	if err != nil || db == nil {
		return nil, 0, err
	}
	var raw []byte
	var revision int64
	err = db.QueryRowContext(ctx, "SELECT record, revision FROM generation WHERE dataset=?", dataset).Scan(&raw, &revision)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	return raw, revision, classify("read generations of "+dataset, err)
}

// PutRegister fulfils index.Shelf.
func (x *Index) PutRegister(ctx context.Context, dataset string, raw []byte, revision int64) (bool, error) {
	db, err := x.registers(ctx, true)
	if err != nil {
		return false, err
	}
	q, args := "UPDATE generation SET record=?, revision=revision+1 WHERE dataset=? AND revision=?", []any{raw, dataset, revision}
	if revision == 0 {
		q, args = "INSERT OR IGNORE INTO generation (record, dataset, revision) VALUES (?, ?, 1)", []any{raw, dataset}
	}
	r, err := db.ExecContext(ctx, q, args...)
	if err != nil {
		return false, classify("write generations of "+dataset, err)
	}
	n, err := r.RowsAffected()
	return n == 1, classify("write generations of "+dataset, err)
}

// Publish fulfils index.Shelf: files have no other names.
func (x *Index) Publish(ctx context.Context, _, _ string) error { return ctx.Err() }

// Remove fulfils index.Shelf. A process that has the file open goes on with it until it closes it.
func (x *Index) Remove(ctx context.Context, stored string) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.KindOf(err), "remove index of "+stored, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return errClosed()
	}
	var errs []error
	if f := x.files[stored]; f != nil {
		delete(x.files, stored)
		errs = append(errs, f.close())
	}
	for _, part := range []string{"-wal", "-shm", ""} { // the file last: while it is there, the rest is its
		err := os.Remove(filepath.Join(x.cfg.Dir, stored+suffix+part))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fault.Wrap(fault.Unavailable, "remove index of "+stored, err))
		}
	}
	return errors.Join(errs...)
}

// Fits fulfils index.Shelf.
func (x *Index) Fits(ctx context.Context, d *catalog.Dataset) error {
	f, err := x.file(ctx, d.Name)
	if err != nil {
		return err
	}
	return f.sameShape(d)
}

// lostRegister refuses to make a dataset's first generation anew where later ones are there that no register knows.
func (x *Index) lostRegister(ctx context.Context, dataset string) error {
	if strings.Contains(dataset, ".") {
		return nil
	}
	later, err := filepath.Glob(filepath.Join(x.cfg.Dir, dataset+".*"+suffix))
	if err != nil || len(later) == 0 {
		return err
	}
	raw, _, err := x.Register(ctx, dataset)
	if err != nil || raw != nil {
		return err
	}
	return fault.New(fault.Unsafe, "ensure index of "+dataset, "%s does not say which generation answers, and there are %s", registerFile, strings.Join(later, ", ")).
		WithHint("put the file back into the index folder, or stop strata and delete these: the index is made again from the topic's beginning")
}
