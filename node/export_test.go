package node

import "strata/canal"

// Captured are the counters of the leader that this process runs; the zero value where there is none yet.
func (n *Node) Captured() canal.Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader == nil {
		return canal.Stats{}
	}
	return n.leader.Stats()
}
