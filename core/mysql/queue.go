package mysql

import (
	"context"
	"slices"
	"sync"

	"strata/core"
)

// request is one call of Post. A lane owns it from taken to done.
type request struct {
	transfers []core.Transfer
	items     []item
	answers   []core.Answer
	left      int
	err       error
	taken     bool           // by a lane, or back by its caller; the queue's lock
	shared    map[int64]bool // accounts that several lanes may work on; nil: none
	done      chan struct{}
}

// newRequest does what can be done of a call before a lane has it.
func newRequest(transfers []core.Transfer) *request {
	n := len(transfers)
	r := &request{transfers: transfers, items: make([]item, n), answers: make([]core.Answer, n), left: n, done: make(chan struct{})}
	for i := range transfers {
		t := &transfers[i]
		r.items[i] = item{of: r, at: i, t: t, body: t.Hash(), order: core.Micros(t.OrderTime)}
	}
	return r
}

func (r *request) result() ([]core.Answer, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r.answers, nil
}

// accounts gives every account that the call names to f until f returns false, but for those that are shared.
func (r *request) accounts(f func(id int64) bool) bool {
	for i := range r.transfers {
		for j := range r.transfers[i].Legs {
			id := r.transfers[i].Legs[j].Account
			if len(r.shared) > 0 && r.shared[id] {
				continue
			}
			if !f(id) {
				return false
			}
		}
	}
	return true
}

// queue gives the calls that wait to the lanes, so that no two lanes work on one account at a time: a call goes to a lane
// when none of its accounts is in another lane's hands, nor named by a call that came before it and still waits. So a hot
// account has one lane at a time, calls of one account keep their order, and no call waits for ever. Accounts that a call
// does not name itself (those of what it confirms, cancels or reverses) are guarded by the database's locks alone.
type queue struct {
	mu      sync.Mutex
	waiting []*request // in the order of their coming; nil: taken
	seen    int        // those before it were looked at and are blocked
	blocked map[int64]struct{}
	busy    map[int64]claim // nil with a single lane
	idle    []*lane
	working int // lanes that have a batch, or look for the next
	alone   int // one more lane joins those at work when so many transfers wait
	size    int // transfers waiting
}

// claim is who has an account, for how many calls.
type claim struct {
	by    *lane
	calls int
}

func newQueue(lanes, alone int) *queue {
	q := &queue{blocked: map[int64]struct{}{}, alone: alone}
	if lanes > 1 {
		q.busy = map[int64]claim{}
	}
	return q
}

// push adds a call.
func (q *queue) push(r *request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, r)
	q.size += len(r.transfers)
	if q.seen == len(q.waiting)-1 && q.isBlocked(r, nil) {
		q.block(r)
		return
	}
	q.wake()
}

// withdraw takes a call back, unless a lane has it.
func (q *queue) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.taken {
		return false
	}
	r.taken = true
	q.size -= len(r.transfers)
	q.waiting[slices.Index(q.waiting, r)] = nil
	return true
}

// wake calls an idle lane, if there is one and enough to do for it.
func (q *queue) wake() {
	if n := len(q.idle); n > 0 && (q.working == 0 || q.size >= q.alone) {
		select {
		case q.idle[n-1].wake <- struct{}{}:
		default: // it was called
		}
	}
}

// isBlocked reports whether the call has to wait, for a lane.
func (q *queue) isBlocked(r *request, n *lane) bool {
	if len(q.busy) == 0 && len(q.blocked) == 0 {
		return false
	}
	return !r.accounts(func(id int64) bool {
		if c, ok := q.busy[id]; ok && c.by != n {
			return false
		}
		_, ok := q.blocked[id]
		return !ok
	})
}

// block notes the accounts of the call at seen.
func (q *queue) block(r *request) {
	r.accounts(func(id int64) bool { q.blocked[id] = struct{}{}; return true })
	q.seen++
}

// take waits for a call that the lane may have, unless wait is false; nil: none, or ctx has ended.
func (q *queue) take(ctx context.Context, n *lane, wait bool) *request {
	for {
		r := q.next(n, wait)
		if r != nil || !wait {
			return r
		}
		select {
		case <-n.wake:
			q.awake(n)
		case <-ctx.Done():
			q.awake(n)
			return nil
		}
	}
}

// next takes the first call that is not blocked; a lane that finds none becomes idle.
func (q *queue) next(n *lane, idle bool) *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.seen < len(q.waiting) {
		r := q.waiting[q.seen]
		if r == nil {
			q.seen++
			continue
		}
		if q.isBlocked(r, n) {
			q.block(r)
			continue
		}
		q.waiting[q.seen] = nil
		q.seen++
		q.size -= len(r.transfers)
		r.taken = true
		q.claim(r, n)
		q.works(n, true)
		return r
	}
	if idle {
		q.works(n, false)
		q.idle = append(q.idle, n)
	}
	return nil
}

// works notes whether the lane has something to do.
func (q *queue) works(n *lane, is bool) {
	if n.working != is {
		n.working = is
		q.working += map[bool]int{true: 1, false: -1}[is]
	}
}

func (q *queue) awake(n *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.idle, n); i >= 0 {
		q.idle = slices.Delete(q.idle, i, i+1)
	}
}

func (q *queue) claim(r *request, n *lane) {
	if q.busy == nil {
		return
	}
	r.accounts(func(id int64) bool {
		q.busy[id] = claim{n, q.busy[id].calls + 1}
		return true
	})
}

// started lets another lane have what this one leaves.
func (q *queue) started() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.seen < len(q.waiting) {
		q.wake()
	}
}

// release gives back what the lane had for calls that are done. It takes what waits itself, until it finds nothing.
func (q *queue) release(n *lane, done []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy != nil {
		for _, r := range done {
			r.accounts(func(id int64) bool {
				if c := q.busy[id]; c.calls > 1 {
					q.busy[id] = claim{n, c.calls - 1}
				} else {
					delete(q.busy, id)
				}
				return true
			})
		}
		clear(q.blocked)
	}
	left := q.waiting[:0]
	for _, r := range q.waiting {
		if r != nil {
			left = append(left, r)
		}
	}
	clear(q.waiting[len(left):])
	q.waiting, q.seen = left, 0
	if len(left) > 0 && q.size >= q.alone { // else this lane takes what is there
		q.wake()
	}
}
