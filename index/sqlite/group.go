package sqlite

// maxGroup bounds the requests that share one transaction, so that the first of them doesn't wait for ever.
const maxGroup = 8

// request is what somebody wants to write, on its way through the writer.
type request struct {
	do            func() error // inside the transaction
	before, after string       // crash points around the commit
	err           error
	done          chan struct{}
}

// commit puts a request through: the first caller that gets the turn commits for everybody who waits, so that all partitions,
// with their batches and watermarks, share the wait for the disk. An error has undone the whole group.
func (w *writer) commit(before, after string, do func() error) error {
	r := &request{do: do, before: before, after: after, done: make(chan struct{})}
	w.mu.Lock()
	w.queue = append(w.queue, r)
	w.mu.Unlock()
	for {
		select {
		case <-r.done:
			return r.err
		case w.turn <- struct{}{}:
			select {
			case <-r.done:
			default:
				w.runGroup()
			}
			<-w.turn
		}
	}
}

// runGroup runs the next requests that wait; the caller holds the turn.
func (w *writer) runGroup() {
	w.mu.Lock()
	n := min(len(w.queue), maxGroup)
	group := append([]*request(nil), w.queue[:n]...)
	w.queue = append(w.queue[:0], w.queue[n:]...)
	clear(w.queue[len(w.queue):cap(w.queue)])
	w.mu.Unlock()
	err := w.transaction(group)
	for _, r := range group {
		r.err = err
		close(r.done)
	}
}

// transaction runs the requests in one transaction. A statement is never broken off: that would leave the transaction half
// done, and a group is short.
func (w *writer) transaction(group []*request) error {
	if w.conn == nil {
		return errClosed()
	}
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := w.runAll(group); err != nil {
		clear(w.shards) // some may have been made in this transaction
		_, _ = w.conn.exec("ROLLBACK")
		return err
	}
	if w.logged += w.conn.written(); w.logged >= checkpointPages {
		w.logged = 0
		w.checkpoints.wake()
	}
	for _, r := range group {
		if err := w.at(r.after); err != nil {
			return err
		}
	}
	return nil
}

// runAll runs the requests up to the commit.
func (w *writer) runAll(group []*request) error {
	for _, r := range group {
		if err := r.do(); err != nil {
			return err
		}
	}
	for _, r := range group {
		if err := w.at(r.before); err != nil {
			return err
		}
	}
	_, err := w.conn.exec("COMMIT")
	return err
}
