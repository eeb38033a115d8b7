package canal

import (
	"context"
	"fmt"

	"strata/catalog"
)

// sideTopics makes sure of the topics beside the datasets' own: their dead letters, and the transactions' boundaries. A
// dataset whose topic can't be had is stopped.
func (t *term) sideTopics(ctx context.Context) error {
	for _, l := range t.live() {
		err := t.cfg.Sink.Ensure(ctx, &catalog.Dataset{Name: DeadLetters(l.d.Name), Partitions: 1}, true)
		if err != nil && !ofDataset(err) {
			return err
		}
		if err != nil {
			t.stop(l, err)
		}
	}
	if !t.cfg.Boundaries {
		return nil
	}
	return t.cfg.Sink.Ensure(ctx, &catalog.Dataset{Name: Boundaries, Partitions: 1}, true)
}

// letter queues what stands in the dead-letter topic for a value that is too large; the dataset's topic gets nothing. A later
// term may queue it again.
func (t *term) letter(l *lane, v Letter, key []byte) {
	v.Reason = fmt.Sprintf("the value has %d bytes, the limit is %d", v.Bytes, t.cfg.MaxRecordBytes)
	t.queue(Record{Dataset: DeadLetters(l.d.Name), Key: key, Value: t.control(v),
		Header: Header{Kind: KindLetter, GTID: v.GTID, Ordinal: v.Row, Shard: v.Shard}})
	t.l.note(func(s *Stats) { s.Letters++ })
	if !l.lettered {
		l.lettered = true
		t.cfg.Log.Warn("row too large, in its place a letter was sent; further ones of this dataset are only counted",
			"dataset", l.d.Name, "table", v.Shard, "pos", v.GTID, "bytes", v.Bytes, "limit", t.cfg.MaxRecordBytes)
	}
}
