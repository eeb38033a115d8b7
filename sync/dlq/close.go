package dlq

import (
	"context"
	"encoding/json"
	"fmt"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
	syncer "strata/sync"
)

// CrashPoints are the names that Config.At is asked with, in the order of the writes.
func CrashPoints() []string {
	return []string{"dlq.apply", "dlq.applied", "dlq.evidence", "dlq.evidenced", "dlq.close", "dlq.closed"}
}

// Result is what became of one letter.
type Result struct {
	Letter string `json:"letter"`
	State  State  `json:"state"` // replayed, dropped, open
	Detail string `json:"detail"`
}

// Record is a letter's record as it was in the dataset's topic, or nil for canal's, with the letter as it was sent.
func (b *Book) Record(ctx context.Context, l *Letter) (*canal.Record, canal.Letter, error) {
	var v canal.Letter
	var out *canal.Record
	err := b.cfg.Sink.Read(ctx, canal.DeadLetters(l.Dataset), 0, l.place, l.place+1, func(r *canal.Record) error {
		if err := json.Unmarshal(canal.Payload(r.Value), &v); err != nil {
			return fault.Wrap(fault.Invalid, "read letter "+l.Name, err)
		}
		if v.Record == nil {
			return nil
		}
		hash, err := catalog.ParseHash(v.Record.Hash)
		if err != nil {
			return fault.Wrap(fault.Invalid, "read letter "+l.Name, err)
		}
		out = &canal.Record{Dataset: l.Dataset, Partition: v.Record.Partition, Offset: v.Record.Offset, Key: append([]byte(nil), r.Key...),
			Header: canal.Header{Term: r.Header.Term, Seq: r.Header.Seq, Kind: canal.KindChange, Hash: hash, GTID: r.Header.GTID, Ordinal: r.Header.Ordinal, Shard: v.Shard}}
		if out.Value = v.Record.Raw; v.Record.Value != nil {
			out.Value = v.Record.Value
		}
		return nil
	})
	if err != nil || out == nil || out.Value != nil {
		return out, v, err
	}
	return out, v, b.fetch(ctx, l, out)
}

// fetch reads a record that was too large for its letter from the dataset's topic.
func (b *Book) fetch(ctx context.Context, l *Letter, out *canal.Record) error {
	err := b.cfg.Sink.Read(ctx, l.Dataset, l.Partition, l.Offset, l.Offset+1, func(r *canal.Record) error {
		if r.Header.Term == l.Term && r.Header.Seq == l.Seq {
			out.Value = append([]byte(nil), r.Value...)
		}
		return nil
	})
	if err == nil && out.Value == nil || fault.Is(err, fault.Unsafe) {
		return fault.New(fault.NotFound, "read letter "+l.Name, "its value was too large for the letter, and its topic doesn't have it any more").
			WithHint("strata canal repair %s %s %s --why … reads the row anew, then drop the letter", l.Dataset, l.Shard, l.Key)
	}
	return err
}

// Replay applies letters with their own versions, one after the other, and closes those that the index has then. An error ends
// it; what came before it is done.
func (b *Book) Replay(ctx context.Context, letters []Letter, who, why string) ([]Result, error) {
	out := []Result{}
	for i := range letters {
		r, err := b.replay(ctx, &letters[i], who, why)
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (b *Book) replay(ctx context.Context, l *Letter, who, why string) (Result, error) {
	out := Result{Letter: l.Name, State: Open}
	if l.FromCanal {
		if l.Key == "" {
			out.Detail = "its key can't be read, so the leader can't be asked for the row: drop it, and verify the dataset"
			return out, nil
		}
		key := canal.RepairKey{Dataset: l.Dataset, Shard: l.Shard, Key: l.Key, Why: "letter " + l.Name + ": " + why}
		if err := b.cfg.Repairs.AddKeys(ctx, []canal.RepairKey{key}, who, why); err != nil {
			return out, err
		}
		out.Detail = "the leader reads the row anew; the letter is outdated once the index has it, and comes again where the row is still too large"
		return out, nil
	}
	r, _, err := b.Record(ctx, l)
	if err != nil {
		return out, err
	}
	state, reason, err := b.apply(ctx, l.Dataset, r)
	if err != nil {
		return out, err
	}
	if state == index.Refused {
		out.Detail = reason
		return out, b.close(ctx, l, canal.Closing{State: string(refused), Reason: reason, Who: who, Why: why}, "replay refused")
	}
	out.State = Replayed
	if out.Detail = "applied"; state == index.Newer {
		out.Detail = "the index has it, or something newer"
	}
	return out, b.close(ctx, l, canal.Closing{State: string(Replayed), Who: who, Why: why}, "replay")
}

// apply applies a letter's document and makes it searchable. Refused comes with the reason.
func (b *Book) apply(ctx context.Context, dataset string, r *canal.Record) (index.Status, string, error) {
	b.mu.Lock()
	t, err := b.topic(dataset)
	b.mu.Unlock()
	if err != nil {
		return 0, "", err
	}
	doc, err := syncer.NewDecoder(t.d).Document(r)
	if fault.Is(err, fault.Invalid) {
		return index.Refused, err.Error(), nil
	}
	if err != nil {
		return 0, "", err
	}
	if err := b.cfg.Index.Ensure(ctx, t.d); err != nil {
		return 0, "", err
	}
	if err := b.cfg.At("dlq.apply"); err != nil {
		return 0, "", err
	}
	got, err := b.cfg.Index.Apply(ctx, dataset, []index.Document{doc})
	if err != nil {
		return 0, "", err
	}
	if err := b.cfg.Index.Refresh(ctx, dataset); err != nil {
		return 0, "", err
	}
	return got[0].Status, got[0].Reason, b.cfg.At("dlq.applied")
}

// Drop closes letters without applying them.
func (b *Book) Drop(ctx context.Context, letters []Letter, who, why string) ([]Result, error) {
	out := []Result{}
	for i := range letters {
		l := &letters[i]
		if err := b.close(ctx, l, canal.Closing{State: string(Dropped), Who: who, Why: why}, "drop"); err != nil {
			return out, err
		}
		out = append(out, Result{Letter: l.Name, State: Dropped, Detail: "closed; the index stays without it"})
	}
	return out, nil
}

// close records what was decided, then closes the letter.
func (b *Book) close(ctx context.Context, l *Letter, c canal.Closing, what string) error {
	detail, err := json.Marshal(map[string]any{"letter": l.Name, "dataset": l.Dataset, "shard": l.Shard, "key": l.Key, "did": what, "reason": c.Reason})
	if err != nil {
		return fault.Wrap(fault.Internal, "encode evidence", err)
	}
	step := func(before string, do func() error, after string) error {
		if err := b.cfg.At(before); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		return b.cfg.At(after)
	}
	err = step("dlq.evidence", func() error {
		return b.cfg.Repairs.Record(ctx, canal.Evidence{What: "letter", Who: c.Who, Why: c.Why, Detail: string(detail)})
	}, "dlq.evidenced")
	if err != nil {
		return err
	}
	c.Letter, c.TsMs = l.Name, b.cfg.Now().UnixMilli()
	value, err := json.Marshal(c)
	if err != nil {
		return fault.Wrap(fault.Internal, "encode closing", err)
	}
	return step("dlq.close", func() error {
		return b.outbox.Send(ctx, l.Dataset, []canal.Record{{Key: []byte(fmt.Sprintf("%q", l.Name)), Value: value, Header: canal.Header{Kind: canal.KindClosing}}})
	}, "dlq.closed")
}
