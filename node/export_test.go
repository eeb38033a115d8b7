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

// Synced are the counters of the sync that this process runs.
func (n *Node) Synced() syncer.Stats {
	if s := n.syncNow(); s != nil {
		return s.Stats()
	}
	return syncer.Stats{}
}
