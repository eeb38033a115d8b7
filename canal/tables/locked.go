package tables

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	lockedRows = 500 // keys of one statement
	// noLiveFor is how long rows are read of the captured replica after it was too far behind live.
	noLiveFor  = time.Minute
	waitedRows = 2 // keys that one call waits for, a second each
)

// Locked is part of canal.Tables. Found is by key, in the order of keys.
func (t *Tables) Locked(ctx context.Context, d *catalog.Dataset, shard string, keys []catalog.Key, owner bool) (canal.Locked, error) {
	view, err := t.cfg.View(ctx, d)
	if err != nil {
		return canal.Locked{}, err
	}
	i := slices.IndexFunc(view.Holdings, func(h catalog.Holding) bool { return h.Shard.Table == shard })
	if i < 0 {
		return canal.Locked{}, fault.New(fault.NotFound, "read rows of "+shard, "no store has this shard of %s", d.Name).
			WithHint("was the table dropped? its documents stay until the index of that period is deleted")
	}
	h := view.Holdings[i]
	locks := t.cfg.Locks()
	if locks == nil {
		return canal.Locked{}, fault.New(fault.Unavailable, "read rows of "+shard, "there is no connection to the captured server")
	}
	if owner && h.Store == catalog.Live {
		out, ok, err := t.lockedLive(ctx, locks, d, h, keys)
		if ok || err != nil {
			return out, err
		}
	}
	return t.lockedOn(ctx, locks, d, h, keys)
}

// lockedLive reads rows of live itself where locks is a replica of it. ok is false where that can't be: live is away, or the replica
// doesn't get to where live was within its time.
func (t *Tables) lockedLive(ctx context.Context, locks *db.DB, d *catalog.Dataset, h catalog.Holding, keys []catalog.Key) (out canal.Locked, ok bool, err error) {
	if t.cfg.Live == nil || t.cfg.Now().Before(time.Unix(0, t.noLive.Load())) {
		return out, false, nil
	}
	if live := t.cfg.Live(); live != nil {
		out, err = t.lockedOn(ctx, live, d, h, keys)
		if err == nil {
			ok, err = db.HasGTID(ctx, locks, out.After, t.cfg.ReplicaWait)
		}
	}
	if fault.Is(err, fault.Unavailable) {
		err = nil
	}
	switch {
	case err != nil:
		return canal.Locked{}, false, err
	case !ok: // who comes next doesn't wait for either again
		t.noLive.Store(t.cfg.Now().Add(noLiveFor).UnixNano())
		return canal.Locked{}, false, nil
	}
	// The stream may never come to a place of live's, who has transactions from before its replica was made.
	out.After, err = after(ctx, locks)
	return out, err == nil, err
}

// lockedOn reads rows of the shard's owner, where on is live or the captured replica, with that server's positions around.
func (t *Tables) lockedOn(ctx context.Context, on *db.DB, d *catalog.Dataset, h catalog.Holding, keys []catalog.Key) (out canal.Locked, err error) {
	if out.Before, err = db.GTIDPos(ctx, on); err != nil {
		return canal.Locked{}, err
	}
	var rows map[catalog.Key]*catalog.Row
	held := map[catalog.Key]bool{}
	if h.Store == catalog.Live {
		rows, out.Form, err = t.locked(ctx, on, d, h, keys, held)
	} else {
		rows, out.Form, err = t.archived(ctx, d, h, keys)
	}
	if err != nil {
		return canal.Locked{}, err
	}
	if out.After, err = after(ctx, on); err != nil {
		return canal.Locked{}, err
	}
	out.Found = make([]canal.Found, len(keys))
	for i, k := range keys {
		out.Found[i] = canal.Found{Holding: h, Row: rows[k], Held: held[k]}
	}
	return out, nil
}

// after is a GTID set that has all that can be seen on the server now. MySQL shows rows a moment before gtid_executed has
// their transaction; until then somebody owns its GTID.
func after(ctx context.Context, on *db.DB) (string, error) {
	owned := ""
	if on.Flavor() == db.MySQL {
		if err := on.SQL().QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_owned").Scan(&owned); err != nil {
			return "", db.Classify("read gtid position of "+on.Name(), err)
		}
	}
	pos, err := db.GTIDPos(ctx, on)
	return joinOwned(pos, owned), err
}

// joinOwned adds gtid_owned, which is uuid:number#connection, to a set.
func joinOwned(pos, owned string) string {
	if !strings.Contains(owned, "-") {
		return pos // nobody owns one, which is nearly always so
	}
	owned = regexp.MustCompile(`#\d+|\s`).ReplaceAllString(owned, "")
	return strings.Trim(pos+","+owned, ",")
}

// locked reads rows of the captured server, each with a lock, while it owns the shard.
func (t *Tables) locked(ctx context.Context, on *db.DB, d *catalog.Dataset, h catalog.Holding, keys []catalog.Key, held map[catalog.Key]bool) (map[catalog.Key]*catalog.Row, *canal.Form, error) {
	as, err := t.shapeOf(ctx, on.SQL(), on.Schema(), d, h.Shard.Table)
	if err != nil {
		return nil, nil, err
	}
	r := reader{on: on, d: as.d, h: h, keys: as.d.KeyIndexes(), found: map[catalog.Key]*catalog.Row{}}
	if err := r.owned(ctx); err != nil {
		return nil, nil, err
	}
	err = r.all(ctx, keys, held)
	if err != nil && db.Number(err) != noColumn {
		return nil, nil, err
	}
	// Nothing held the definition meanwhile.
	again, err2 := t.shapeOf(ctx, on.SQL(), on.Schema(), d, h.Shard.Table)
	if err2 == nil && (err != nil || again != as) {
		err2 = fault.New(fault.Stale, "read rows of "+h.Shard.Table, "its columns have just changed")
	}
	if err2 != nil {
		return nil, nil, err2
	}
	return r.found, as.form, r.owned(ctx)
}

// noColumn is the server's number for a column that a table doesn't have.
const noColumn = 1054

// reader reads rows by key.
type reader struct {
	on    *db.DB
	d     *catalog.Dataset
	h     catalog.Holding
	keys  []int
	found map[catalog.Key]*catalog.Row
}

// owned checks that the server's own part says what the view says. Where there is no row, live owns at epoch 0.
func (r *reader) owned(ctx context.Context) error {
	op := "read rows of " + r.h.Shard.Table
	var state catalog.State
	var epoch uint64
	err := r.on.SQL().QueryRowContext(ctx, "SELECT state, epoch FROM strata_part WHERE dataset=? AND shard=?", r.d.Name, r.h.Shard.Table).Scan(&state, &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		state, err = catalog.Owned, nil
	}
	if err != nil {
		return db.Classify(op, err)
	}
	if state != catalog.Owned || epoch != r.h.Epoch {
		return fault.New(fault.Stale, op, "%s says it is %s at epoch %d, the view says owned at %d", r.on.Name(), state, epoch, r.h.Epoch)
	}
	return nil
}

// all reads the keys together where nobody holds one of them, else one by one.
func (r *reader) all(ctx context.Context, keys []catalog.Key, held map[catalog.Key]bool) error {
	waits := waitedRows
	if r.on.Flavor() == db.MySQL { // it has no limit for one statement
		waits = 0
	}
	for part := range slices.Chunk(keys, lockedRows) {
		err := r.lock(ctx, part, " NOWAIT")
		if err == nil {
			continue
		}
		if !fault.Is(err, fault.Busy) {
			return err
		}
		for _, k := range part {
			err := r.lock(ctx, []catalog.Key{k}, " NOWAIT")
			if fault.Is(err, fault.Busy) && waits > 0 {
				waits--
				err = r.lock(ctx, []catalog.Key{k}, " WAIT 1")
			}
			if fault.Is(err, fault.Busy) {
				held[k] = true
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// lock reads rows with a lock, in a transaction that ends with the statement.
func (r *reader) lock(ctx context.Context, keys []catalog.Key, wait string) error {
	where, args, err := anyKey(r.d, keys)
	if err != nil {
		return err
	}
	mode := " LOCK IN SHARE MODE"
	if r.on.Flavor() == db.MySQL {
		mode = " FOR SHARE" // which a login may that can only read
	}
	rows, err := r.on.Query(ctx, r.d, nil, selectRows(r.d, r.h.Shard.Table)+where+mode+wait, args...)
	if err != nil {
		return err
	}
	return collect(rows, r.d, r.keys, keys, r.found)
}

// archived reads rows of an archive.
func (t *Tables) archived(ctx context.Context, d *catalog.Dataset, h catalog.Holding, keys []catalog.Key) (found map[catalog.Key]*catalog.Row, form *canal.Form, err error) {
	pool, err := t.store(h.Store)
	if err != nil {
		return nil, nil, err
	}
	snap, err := pool.Snapshot(ctx, d, []catalog.Holding{h})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	as, err := t.shapeOf(ctx, snap.Conn(), pool.Schema(), d, h.Shard.Table)
	if err != nil {
		return nil, nil, err
	}
	found = map[catalog.Key]*catalog.Row{}
	for part := range slices.Chunk(keys, lockedRows) {
		where, args, err := anyKey(d, part)
		if err != nil {
			return nil, nil, err
		}
		rows, err := snap.Rows(ctx, as.d, nil, selectRows(as.d, h.Shard.Table)+where, args...)
		if err == nil {
			err = collect(rows, as.d, as.d.KeyIndexes(), part, found)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return found, as.form, nil
}

// anyKey is the condition that a row has one of the keys.
func anyKey(d *catalog.Dataset, keys []catalog.Key) (string, []any, error) {
	var b strings.Builder
	var args []any
	for i, k := range keys {
		cond, more, err := db.KeyCondition(d, "t", k)
		if err != nil {
			return "", nil, err
		}
		if i > 0 {
			b.WriteString(" OR ")
		}
		b.WriteString("(" + cond + ")")
		args = append(args, more...)
	}
	return " WHERE " + b.String(), args, nil
}

// collect reads a result to its end. A row whose key was not asked for in these letters is an error: its key would be
// called absent.
func collect(rows *db.Rows, d *catalog.Dataset, at []int, keys []catalog.Key, into map[catalog.Key]*catalog.Row) error {
	for {
		row := new(catalog.Row)
		ok, err := rows.Next(row)
		if err != nil || !ok {
			return errors.Join(err, rows.Close())
		}
		k := catalog.KeyOf(row, at)
		if !slices.Contains(keys, k) {
			return errors.Join(rows.Close(), fault.New(fault.Invalid, "read rows of "+d.Name, "the key %s was asked for in another form", k).
				WithHint("write keys as `strata query` shows them"))
		}
		into[k] = row
	}
}
