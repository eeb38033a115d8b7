package kafka

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Stats is what a Feed has read since New, and where it stands.
type Stats struct {
	Records    uint64
	Bytes      uint64           // of their keys and values
	Partitions []PartitionStats // that are read now, by dataset and partition, each once
}

// PartitionStats is one partition that is read.
type PartitionStats struct {
	Dataset   string
	Partition int32
	Next      int64 // offset of the next record to read
	End       int64 // offset after the last record that Kafka has, as of the last fetch; 0 before it
}

// counts are those of all streams of a Feed. (sarama's own registry is of no use here: the end of any connection takes the
// figures that all of them share out of it.)
type counts struct {
	records, bytes atomic.Uint64
	mu             sync.Mutex
	open           map[*stream]struct{}
}

func (c *counts) opened(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[s] = struct{}{}
}

func (c *counts) closed(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, s)
}

// Stats counts.
func (f *Feed) Stats() Stats {
	c := &f.counts
	out := Stats{Records: c.records.Load(), Bytes: c.bytes.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.open {
		out.Partitions = append(out.Partitions, PartitionStats{Dataset: s.dataset, Partition: s.partition, Next: s.read.Load(), End: s.pc.HighWaterMarkOffset()})
	}
	slices.SortFunc(out.Partitions, func(a, b PartitionStats) int {
		return cmp.Or(cmp.Compare(a.Dataset, b.Dataset), cmp.Compare(a.Partition, b.Partition))
	})
	out.Partitions = merged(out.Partitions)
	return out
}

// merged makes one of the streams of a partition, for several generations of an index: the one that is furthest behind.
func merged(sorted []PartitionStats) []PartitionStats {
	out := sorted[:0]
	for _, p := range sorted {
		if n := len(out); n > 0 && out[n-1].Dataset == p.Dataset && out[n-1].Partition == p.Partition {
			out[n-1].Next, out[n-1].End = min(out[n-1].Next, p.Next), max(out[n-1].End, p.End)
			continue
		}
		out = append(out, p)
	}
	return out
}
