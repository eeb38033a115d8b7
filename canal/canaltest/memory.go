// Package canaltest has the in-memory Source, Sink and Control, with faults, and the conformance suites that they and the
// real ones pass.
package canaltest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// Source is a scripted binlog with one domain. Open streams may be several.
type Source struct {
	mu     sync.Mutex
	server int // id, part of each GTID
	purged int // transactions before it can't be read any more
	hidden []hidden
	txns   []canal.Txn
	grown  chan struct{}
	broken chan struct{}
	opened int
}

// NewSource makes an empty binlog.
func NewSource() *Source {
	return &Source{server: 1, grown: make(chan struct{}), broken: make(chan struct{})}
}

// Commit appends a transaction; GTID, Position and digest are set here.
func (s *Source) Commit(x canal.Txn) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := ""
	if n := len(s.txns); n > 0 {
		before = s.txns[n-1].GTID
	}
	x.GTID, x.ServerID = fmt.Sprintf("0-%d-%d", s.server, len(s.txns)+1), uint32(s.server)
	var r catalog.Row
	r.AppendString(fmt.Sprintf("%s %v", x.GTID, x.Beat))
	for i := range x.Changes {
		b, a := x.Changes[i].Before, x.Changes[i].After
		r.Append(b.AppendImage(nil))
		r.Append(a.AppendImage(nil))
	}
	digest, _ := r.Hash(nil)
	x.Position = canal.Position{GTID: x.GTID, Last: canal.Last{GTID: x.GTID, Before: before, Digest: digest}}
	s.txns = append(s.txns, x)
	close(s.grown)
	s.grown = make(chan struct{})
	return x.GTID
}

// Txns returns what was committed.
func (s *Source) Txns() []canal.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.txns)
}

// Forge changes the digest of a transaction that is there: another history under the same GTID.
func (s *Source) Forge(gtid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.txns {
		if s.txns[i].GTID == gtid {
			s.txns[i].Position.Last.Digest[0] ^= 1
		}
	}
}

// hidden is a change without a place in the binlog.
type hidden struct {
	after int // transactions
	do    func(rows map[string]map[int]string)
}

// Hide changes rows, by table and id, without a trace in the binlog: SQL with sql_log_bin off, or a statement.
func (s *Source) Hide(do func(rows map[string]map[int]string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = append(s.hidden, hidden{len(s.txns), do})
}

// Restore takes the server back to its first n transactions, as another server from then on where id is another, and ends
// the open streams.
func (s *Source) Restore(n, id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.txns, s.server = slices.Clone(s.txns[:n]), id
	s.hidden = slices.DeleteFunc(slices.Clone(s.hidden), func(h hidden) bool { return h.after > n })
	close(s.broken)
	s.broken = make(chan struct{})
}

// Purge makes the first n transactions unreadable.
func (s *Source) Purge(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purged = n
}

// Break ends every open stream with fault.Unavailable.
func (s *Source) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.broken)
	s.broken = make(chan struct{})
}

// Opened is how often Open was called.
func (s *Source) Opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Origin is part of canal.Source.
func (s *Source) Origin() canal.Origin { return canal.Origin{Connector: "memory", Schema: "shop"} }

// Open is part of canal.Source.
func (s *Source) Open(_ context.Context, at canal.Position) (canal.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	from := at.GTID
	if at.Last.GTID != "" {
		from = at.Last.Before
	}
	n := seqOf(from)
	if n > len(s.txns) || n > 0 && s.txns[n-1].GTID != from || n < s.purged {
		return nil, fault.New(fault.Unsafe, "open stream", "%s: %w", from, canal.ErrLost).WithHint("load the datasets anew")
	}
	return &stream{s: s, n: n, broken: s.broken}, nil
}

// Reached is part of canal.Source.
func (s *Source) Reached(at, want string) (bool, error) {
	return seqOf(at) >= seqOf(want), nil
}

// seqOf is the last part of a GTID; 0 for none.
func seqOf(gtid string) int {
	n, _ := strconv.Atoi(gtid[strings.LastIndexByte(gtid, '-')+1:])
	return n
}

type stream struct {
	s      *Source
	n      int
	broken chan struct{}
	cur    canal.Txn
}

// Next is part of canal.Stream.
func (m *stream) Next(ctx context.Context) (*canal.Txn, error) {
	for {
		m.s.mu.Lock()
		grown := m.s.grown
		select {
		case <-m.broken:
			m.s.mu.Unlock()
			return nil, fault.New(fault.Unavailable, "read stream", "cut")
		default:
		}
		if m.n < len(m.s.txns) {
			m.cur = m.s.txns[m.n]
			m.n++
			m.s.mu.Unlock()
			return &m.cur, nil
		}
		m.s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-m.broken:
			return nil, fault.New(fault.Unavailable, "read stream", "cut")
		case <-grown:
		}
	}
}

// Close is part of canal.Stream.
func (m *stream) Close() error { return nil }

// Control is terms, checkpoint and lease in memory.
type Control struct {
	mu     sync.Mutex
	state  canal.State
	holder string
	until  time.Time
	saves  int
}

// NewControl makes an empty one.
func NewControl() *Control { return &Control{} }

// Load is part of canal.Control.
func (c *Control) Load(context.Context) (canal.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Checkpoint = clone(s.Checkpoint)
	return s, nil
}

// Take is part of canal.Control.
func (c *Control) Take(_ context.Context, from, to uint32, leader string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Term != from || to <= from {
		return false, nil
	}
	c.state.Term, c.state.Leader = to, leader
	return true, nil
}

// Save is part of canal.Control.
func (c *Control) Save(_ context.Context, term uint32, cp *canal.Checkpoint) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Term != term {
		return false, nil
	}
	c.state.Checkpoint = clone(cp)
	c.saves++
	return true, nil
}

// Saves counts the checkpoints saved.
func (c *Control) Saves() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.saves
}

func clone(c *canal.Checkpoint) *canal.Checkpoint {
	if c == nil {
		return nil
	}
	d := *c
	d.Parts, d.Stopped, d.Lowered = maps.Clone(c.Parts), maps.Clone(c.Stopped), maps.Clone(c.Lowered)
	for k, v := range d.Parts {
		d.Parts[k] = slices.Clone(v)
	}
	return &d
}

// Acquire is part of canal.Lease.
func (c *Control) Acquire(_ context.Context, holder string, ttl time.Duration) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.holder != "" && c.holder != holder && now.Before(c.until) {
		return false, nil
	}
	c.holder, c.until = holder, now.Add(ttl)
	return true, nil
}

// Release is part of canal.Lease.
func (c *Control) Release(_ context.Context, holder string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder == holder {
		c.holder = ""
	}
	return nil
}
