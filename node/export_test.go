package node

import (
	"strata/canal"
	syncer "strata/sync"
)

// Captured are the counters of the leader that this process runs; the zero value where there is none yet.
func (n *Node) Captured() canal.Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader == nil {
		return canal.Stats{}
	}
	return n.leader.Stats()
}

// MetricsTable is every metric of strata's own, as docs/metrics.md has them.
func MetricsTable() string {
	n := &Node{}
	return newMetrics(n).table()
}

// Synced are the counters of the sync that this process runs.
func (n *Node) Synced() syncer.Stats {
	if s := n.syncNow(); s != nil {
		return s.Stats()
	}
	return syncer.Stats{}
}
