package archive

import (
	"context"
	"errors"

	"strata/catalog"
	"strata/fault"
)

// recordLimit keeps the text of an error in a segment's record readable.
const recordLimit = 2000

// run is one move in progress.
type run struct {
	m        *Mover
	ds       *catalog.Dataset
	move     Move
	work     Work
	seg      Segment
	manifest *Manifest
}

// move takes the table and does what is left of its steps.
func (m *Mover) move(ctx context.Context, mv Move) (Segment, error) {
	ds := m.dataset(mv.Dataset)
	if ds == nil {
		return Segment{}, fault.New(fault.Invalid, "read plan", "no dataset %s", mv.Dataset)
	}
	shard, ok := ds.ShardOf(mv.Shard)
	if !ok || shard.Late || !ds.Sharded() {
		return Segment{}, fault.New(fault.Invalid, "read plan", "%s is no shard of %s that moves", mv.Shard, mv.Dataset)
	}
	if err := m.cfg.At(PointTakeStart); err != nil {
		return Segment{}, err
	}
	r := &run{m: m, ds: ds, move: mv}
	var err error
	token := newToken()
	if r.work, err = m.cfg.Site.Take(ctx, ds, shard, token); err != nil {
		return Segment{}, err
	}
	defer func() { _ = r.work.Close() }() // reads and dropped connections only
	if err := r.begin(ctx, token); err != nil {
		return r.seg, err
	}
	err = r.steps(ctx)
	if err != nil {
		r.record(ctx, err)
	}
	return r.seg, err
}

// begin loads or makes the segment's record.
func (r *run) begin(ctx context.Context, token string) error {
	st := r.work.Standing()
	if id := st.Segment(); id != r.move.Segment {
		return fault.New(fault.Conflict, "begin segment", "the plan is for %s, the servers are at %s", r.move.Segment, id).
			WithHint("make a new plan")
	}
	seg, found, err := r.m.cfg.Control.Load(ctx, st.Segment())
	if err != nil {
		return err
	}
	if !found || seg.State == StateAborted {
		seg = Segment{ID: st.Segment(), Dataset: r.ds.Name, Shard: st.Shard.Table, From: st.Shard.Range.From.String(),
			To: st.Shard.Range.To.String(), State: StateCopying, Epoch: st.Epoch(), Rows: st.Rows, Sums: []Sum{}, Started: r.m.cfg.Now().UTC()}
	}
	seg.Token, seg.Error = token, ""
	r.seg = seg
	r.m.cfg.Log.Info("segment taken", "segment", seg.ID, "stage", st.Stage().String())
	return r.state(ctx, seg.State)
}

// steps goes on from the stage that the servers state.
func (r *run) steps(ctx context.Context) error {
	stage := r.work.Standing().Stage()
	if r.move.Action == Abort {
		if stage != Copying {
			return fault.New(fault.Conflict, "abort segment", "the servers are at stage %s by now", stage).WithHint("make a new plan")
		}
		return r.abort(ctx)
	}
	switch stage {
	case Copying:
		if err := r.forward(ctx); err != nil {
			return err
		}
	case Owned:
		if err := r.release(ctx); err != nil {
			return err
		}
	case Returning:
		return r.handBack(ctx, errors.New("an earlier mover had begun to hand it back"))
	case Released:
		if err := r.recall(ctx); err != nil {
			return err
		}
	default:
		return fault.New(fault.Conflict, "go on with segment", "the servers are at stage %s by now", stage).WithHint("make a new plan")
	}
	return r.finish(ctx)
}

// forward is copy, fence, compare, own, release.
func (r *run) forward(ctx context.Context) error {
	err := r.untilCompared(ctx)
	if errors.Is(err, ErrUnmovable) {
		return errors.Join(err, r.abort(ctx))
	}
	if err != nil {
		return err
	}
	if err := r.work.Own(ctx, r.seg.Digest); err != nil {
		return err
	}
	if err := r.state(ctx, StateOwned); err != nil {
		return err
	}
	return r.release(ctx)
}

func (r *run) untilCompared(ctx context.Context) error {
	shard := r.work.Standing().Shard
	reasons, err := r.m.cfg.Site.Obstacles(ctx, r.ds, shard)
	if err != nil {
		return err
	}
	if len(reasons) > 0 {
		return Unmovable(shard.Table, reasons)
	}
	if err := r.work.Copy(ctx); err != nil {
		return err
	}
	if err := r.work.Fence(ctx); err != nil {
		return err
	}
	if err := r.state(ctx, StateFenced); err != nil {
		return err
	}
	return r.compare(ctx)
}

// compare keeps the manifest before anything depends on it.
func (r *run) compare(ctx context.Context) error {
	m, err := r.work.Compare(ctx)
	if err != nil {
		return err
	}
	return r.keep(ctx, m, StateCompared)
}

func (r *run) keep(ctx context.Context, m *Manifest, s State) error {
	r.manifest = m
	r.seg.Rows, r.seg.Sums, r.seg.Hash, r.seg.Digest = m.Rows, m.Sums, m.Hash, m.Digest()
	if err := r.m.cfg.Control.SaveManifest(ctx, r.seg.ID, m.Body()); err != nil {
		return err
	}
	if err := r.state(ctx, s); err != nil {
		return err
	}
	return r.m.cfg.At(PointManifest)
}

// release needs the pin of a compare; where it is lost, it compares once more and hands back what differs.
func (r *run) release(ctx context.Context) error {
	if r.manifest != nil {
		err := r.work.Release(ctx, r.seg.Digest)
		if !fault.Is(err, fault.Stale) {
			return errors.Join(err, r.stateIf(ctx, err == nil, StateReleased))
		}
		r.m.cfg.Log.Warn("pin lost, comparing again", "segment", r.seg.ID, "err", err)
	}
	if err := r.work.Fence(ctx); err != nil {
		return err
	}
	m, err := r.work.Compare(ctx)
	if err == nil && m.Digest() != r.work.Standing().Archive.Manifest {
		err = fault.New(fault.Proof, "compare "+r.move.Shard, "%w: the rows are not those of the manifest", ErrDiffer)
	}
	if errors.Is(err, ErrDiffer) {
		return r.handBack(ctx, err)
	}
	if err != nil {
		return err
	}
	if err := r.keep(ctx, m, StateOwned); err != nil {
		return err
	}
	err = r.work.Release(ctx, r.seg.Digest)
	return errors.Join(err, r.stateIf(ctx, err == nil, StateReleased))
}

// recall makes the manifest of a released segment again, from the archive's own rows.
func (r *run) recall(ctx context.Context) error {
	m, err := r.work.Archived(ctx)
	if err != nil {
		return err
	}
	if want := r.work.Standing().Live.Manifest; m.Digest() != want {
		return fault.New(fault.Proof, "check archive of "+r.move.Shard, "its rows make manifest %s, the released part says %s", m.Digest(), want).
			WithHint("the live table is not pruned; `strata verify --part archive` names the keys")
	}
	return r.keep(ctx, m, StateReleased)
}

// finish is prune and seal.
func (r *run) finish(ctx context.Context) error {
	if err := r.work.Prune(ctx, r.manifest); err != nil {
		return err
	}
	if err := r.state(ctx, StatePruned); err != nil {
		return err
	}
	// The record first: after the tokens are gone nobody would come back to write it.
	r.seg.Sealed = r.m.cfg.Now().UTC()
	r.seg.Signature = Sign(r.m.cfg.Key, r.manifest.Body())
	if err := r.state(ctx, StateSealed); err != nil {
		return err
	}
	if err := r.work.Seal(ctx); err != nil {
		return err
	}
	r.m.cfg.Log.Info("segment sealed", "segment", r.seg.ID, "rows", r.seg.Rows)
	return r.m.cfg.At(PointSealed)
}

func (r *run) handBack(ctx context.Context, why error) error {
	if err := r.work.HandBack(ctx); err != nil {
		return errors.Join(why, err)
	}
	r.m.cfg.Log.Warn("segment handed back", "segment", r.seg.ID, "err", why)
	err := fault.New(fault.Proof, "release "+r.move.Shard, "handed back to live: %w", why).
		WithHint("live owns the range again, unfenced; the next run moves it afresh")
	return errors.Join(err, r.state(ctx, StateReturned))
}

func (r *run) abort(ctx context.Context) error {
	if err := r.work.Abort(ctx); err != nil {
		return err
	}
	r.m.stats.Aborted++
	r.m.cfg.Log.Warn("segment aborted", "segment", r.seg.ID)
	return r.state(ctx, StateAborted)
}

// state saves the record.
func (r *run) state(ctx context.Context, s State) error {
	r.seg.State, r.seg.Updated = s, r.m.cfg.Now().UTC()
	return r.m.cfg.Control.Save(ctx, r.seg)
}

func (r *run) stateIf(ctx context.Context, ok bool, s State) error {
	if !ok {
		return nil
	}
	return r.state(ctx, s)
}

// record keeps the reason of a stop; that it can't be kept adds nothing to the reason.
func (r *run) record(ctx context.Context, why error) {
	r.seg.Error = why.Error()
	if len(r.seg.Error) > recordLimit {
		r.seg.Error = r.seg.Error[:recordLimit]
	}
	if fault.Is(why, fault.Conflict) {
		return // the record is the successor's
	}
	_ = r.m.cfg.Control.Save(context.WithoutCancel(ctx), r.seg)
}

// Unmovable is the error for a table with obstacles.
func Unmovable(table string, reasons []string) error {
	text := reasons[0]
	for _, r := range reasons[1:] {
		text += "; " + r
	}
	return fault.New(fault.Unsafe, "move "+table, "%w: %s", ErrUnmovable, text)
}
