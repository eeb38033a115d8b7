package sqlite

// What is committed lies in the write-ahead log until a checkpoint copies it into the database, which takes many times as
// long as a commit. So a goroutine does it on a connection of its own, beside the writer, whenever checkpointPages were written.
// The writer does it itself, within a commit, only where the log has grown to logPages nevertheless.
const (
	checkpointPages = 8_000
	logPages        = 32_000
)

// checkpointer is that goroutine.
type checkpointer struct {
	conn *conn
	due  chan struct{}
	done chan struct{}
}

func startCheckpointer(path string) (*checkpointer, error) {
	c, err := openConn(path, append(everyPragma(), "synchronous(FULL)")...)
	if err != nil {
		return nil, err
	}
	k := &checkpointer{conn: c, due: make(chan struct{}, 1), done: make(chan struct{})}
	go k.run()
	return k, nil
}

func (k *checkpointer) run() {
	defer close(k.done)
	for range k.due {
		// It copies what no reader and no other checkpoint holds back; the rest, or all after an error, is there for the next one.
		_, _ = k.conn.exec("PRAGMA wal_checkpoint(PASSIVE)")
	}
}

// wake has it copy soon. It never waits.
func (k *checkpointer) wake() {
	select {
	case k.due <- struct{}{}:
	default:
	}
}

func (k *checkpointer) close() {
	close(k.due)
	<-k.done
	k.conn.close()
}
