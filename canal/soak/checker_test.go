package soak

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// checker replays a topic by the documented wire form and nothing else of strata's.
type checker struct {
	topic  string
	rows   map[string]map[string]any // by key: the row as it is now; a deleted one is absent
	newest map[string]float64        // by key: the highest v that was seen, of deletes too
	parts  []checkedPart
	counts map[string]int                         // records by kind
	gtids  map[string]uint64                      // by key: the number of the last change's GTID
	undone bool                                   // the source's crashes may have undone what its binlog says: a row read from it, or in a later transaction, may be older
	forks  bool                                   // the source's history was replaced by another one, in which v begins again
	trail  map[string][]string                    // by key: every record of it, for a report
	after  func(row map[string]any, value []byte) // looks at each row that a change leaves; nil: nothing does
	holes  bool                                   // records are taken away: what is missing must be repaired
	wrong  []string
}

type checkedPart struct {
	next   int64 // offset
	term   uint32
	number uint64
	seq    uint64
	seqOf  uint32 // the term of seq
	beat   uint64 // heartbeat of the last mark
	broken bool   // records were missing, and nothing has said yet that they are repaired
}

func newChecker(topic string, partitions int) *checker {
	return &checker{topic: topic, rows: map[string]map[string]any{}, newest: map[string]float64{}, gtids: map[string]uint64{}, trail: map[string][]string{}, parts: make([]checkedPart, partitions), counts: map[string]int{}}
}

func (c *checker) fault(format string, args ...any) {
	if len(c.wrong) < 20 {
		c.wrong = append(c.wrong, c.topic+": "+fmt.Sprintf(format, args...))
	}
}

// reached reports whether every partition has a mark of this heartbeat, or a later one, and whatever was missing is repaired.
func (c *checker) reached(beat uint64) bool {
	return !slices.ContainsFunc(c.parts, func(p checkedPart) bool { return p.broken || p.beat < beat })
}

// last is the latest heartbeat that any partition has a mark of.
func (c *checker) last() (beat uint64) {
	for _, p := range c.parts {
		beat = max(beat, p.beat)
	}
	return beat
}

// read takes what has come since the last call.
func (c *checker) read(client sarama.Client) error { return c.readTo(client, nil) }

// unlessMoving is an error, or nil where Kafka was just started and its partitions have no leader yet.
func unlessMoving(client sarama.Client, err error) error {
	if errors.Is(err, sarama.ErrNotLeaderForPartition) || errors.Is(err, sarama.ErrLeaderNotAvailable) {
		return client.RefreshMetadata()
	}
	return err
}

// readTo does so up to some offsets, by partition; nil: the ends.
func (c *checker) readTo(client sarama.Client, ends []int64) error {
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for p := range c.parts {
		end, err := client.GetOffset(c.topic, int32(p), sarama.OffsetNewest)
		if err != nil {
			return err
		}
		if ends != nil {
			end = min(end, ends[p])
		}
		first, err := client.GetOffset(c.topic, int32(p), sarama.OffsetOldest)
		if err != nil {
			return err
		}
		c.parts[p].next = max(c.parts[p].next, first) // the numbers tell what is missing
		if c.parts[p].next >= end {
			continue
		}
		from, err := consumer.ConsumePartition(c.topic, int32(p), c.parts[p].next)
		if err != nil {
			return err
		}
		for c.parts[p].next < end {
			select {
			case m := <-from.Messages():
				c.take(p, m)
				c.parts[p].next = m.Offset + 1
			case <-time.After(30 * time.Second):
				_ = from.Close()
				return fmt.Errorf("%s partition %d: nothing comes at offset %d, the end is %d", c.topic, p, c.parts[p].next, end)
			}
		}
		if err := from.Close(); err != nil {
			return err
		}
	}
	return nil
}

// take judges one record.
func (c *checker) take(p int, m *sarama.ConsumerMessage) {
	h := map[string][]byte{}
	for _, x := range m.Headers {
		h[string(x.Key)] = x.Value
	}
	if len(h["t"]) != 4 || len(h["s"]) != 8 || len(h["p"]) != 8 || len(h["k"]) != 1 {
		c.fault("partition %d offset %d: headers %v", p, m.Offset, h)
		return
	}
	at := &c.parts[p]
	term, seq, number, kind := binary.BigEndian.Uint32(h["t"]), binary.BigEndian.Uint64(h["s"]), binary.BigEndian.Uint64(h["p"]), string(h["k"])
	if term < at.term {
		c.counts["dropped"]++
		return // a dead leader's
	}
	c.counts[kind]++
	if kind == "o" {
		at.term = term
	}
	if term != at.term {
		c.fault("partition %d offset %d: term %d without its open after %d", p, m.Offset, term, at.term)
	}
	if at.seqOf == term && seq <= at.seq {
		c.fault("partition %d offset %d: seq %d after %d", p, m.Offset, seq, at.seq)
	}
	at.seq, at.seqOf = seq, term
	switch kind {
	case "r":
		c.resume(at, m)
	case "m":
		var e struct {
			Heartbeat uint64 `json:"heartbeat"`
		}
		if err := json.Unmarshal(m.Value, &e); err != nil {
			c.fault("partition %d offset %d: %v", p, m.Offset, err)
		}
		at.beat = e.Heartbeat
	}
	if strings.Contains("cbm", kind) {
		if number > at.number+1 && c.holes {
			at.broken = true
		} else if number != at.number+1 {
			c.fault("partition %d offset %d: number %d after %d", p, m.Offset, number, at.number)
		}
		at.number = number
	}
	if kind == "c" || kind == "b" {
		key := string(m.Key)
		c.trail[key] = append(c.trail[key], fmt.Sprintf("offset %d term %d seq %d g %s %s %s", m.Offset, term, seq, h["g"], kind, m.Value))
		c.image(p, m, kind == "c" && c.later(string(m.Key), string(h["g"])))
	}
}

// later reports whether a change of a key is of a later transaction than the one before it, and remembers it.
func (c *checker) later(key, g string) bool {
	gtid, _, _ := strings.Cut(g, "#")
	n, err := strconv.ParseUint(gtid[strings.LastIndexAny(gtid, "-:")+1:], 10, 64)
	if err != nil {
		c.fault("a change of %s has GTID %q", key, g)
	}
	was := c.gtids[key]
	c.gtids[key] = n
	return n > was
}

// resume takes the last number, and whether what was missing before it is repaired.
func (c *checker) resume(at *checkedPart, m *sarama.ConsumerMessage) {
	var e struct {
		Last     uint64 `json:"last_number"`
		Repaired bool   `json:"repaired"`
	}
	if err := json.Unmarshal(m.Value, &e); err != nil {
		c.fault("partition %d offset %d: %v", m.Partition, m.Offset, err)
		return
	}
	if e.Last != at.number {
		if !c.holes {
			c.fault("partition %d offset %d: goes on after number %d, %d was the last", m.Partition, m.Offset, e.Last, at.number)
		}
		at.number, at.broken = e.Last, true
	}
	if e.Repaired {
		at.broken = false
	}
}

// image applies a row image; v of the row never goes back, but where the source itself went back.
func (c *checker) image(p int, m *sarama.ConsumerMessage, later bool) {
	var e struct {
		Op            string          `json:"op"`
		Before, After map[string]any  `json:"-"`
		B             json.RawMessage `json:"before"`
		A             json.RawMessage `json:"after"`
	}
	if err := json.Unmarshal(m.Value, &e); err != nil {
		c.fault("partition %d offset %d: %v", p, m.Offset, err)
		return
	}
	_ = json.Unmarshal(e.B, &e.Before)
	_ = json.Unmarshal(e.A, &e.After)
	key, row := string(m.Key), e.After
	if e.Op == "d" {
		row = e.Before
	}
	if v, ok := row["v"].(float64); ok {
		if v < c.newest[key] && !c.forks && !(c.undone && (e.Op == "r" || later)) {
			c.fault("partition %d offset %d: %s of %s has v %v after %v; its records:\n%s", p, m.Offset, e.Op, key, v, c.newest[key], strings.Join(c.trail[key], "\n"))
		}
		c.newest[key] = v
	} else if e.Op != "d" {
		c.fault("partition %d offset %d: %s of %s without v: %s", p, m.Offset, e.Op, key, m.Value)
	}
	if e.Op == "d" {
		delete(c.rows, key)
		return
	}
	c.rows[key] = e.After
	if c.after != nil && e.Op != "r" {
		c.after(e.After, m.Value)
	}
}
