package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"strata/archive"
	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/sync/control"
	synckafka "strata/sync/kafka"
	"strata/sync/verify"
)

// verifyConfig is what a comparison of the index with its sources needs.
func (n *Node) verifyConfig(ctx context.Context) (verify.Config, error) {
	w, err := n.liveWriter(ctx)
	if err != nil {
		return verify.Config{}, err
	}
	key, err := n.cfg.Capture.maskKey(os.Getenv)
	if err != nil {
		return verify.Config{}, err
	}
	return verify.Config{Datasets: n.datasets, View: n.View, Stores: map[catalog.Store]*db.DB{catalog.Live: n.live, catalog.Archive: n.archive},
		Live: w, Index: n.index, Now: n.now, MaskKey: key, Sample: n.cfg.Verify.Sample, At: n.at}, nil
}

// repairs gives keys to the leader.
func (n *Node) repairs(ctx context.Context) (func(context.Context, []canal.RepairKey) error, error) {
	desk, err := n.Desk(ctx)
	if err != nil {
		return nil, err
	}
	return desk.Enqueue, nil
}

// Book is what the verifier knows, in the control database.
func (n *Node) Book(ctx context.Context) (*control.Book, error) {
	return ofIndex(ctx, n, control.OpenBook)
}

// verifierPause is before a verifier that could not begin tries again.
const verifierPause = 5 * time.Second

// runVerifier proves the index all the time, in one process of those that have the role. What it needs and is away holds up
// nothing else: it waits.
func (n *Node) runVerifier(ctx context.Context) error {
	every, on, err := n.cfg.Verify.every()
	if err != nil {
		return fault.Wrap(fault.Invalid, "run verifier", err)
	}
	for on {
		err := n.verifyAlways(ctx, every)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil //nolint:nilerr // a stop was asked for
		case !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Timeout) && !fault.Is(err, fault.Busy):
			return err
		}
		n.log.Warn("verifier can't begin, it tries again", "err", err, "hint", fault.HintOf(err))
		timer := time.NewTimer(verifierPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
	return nil
}

func (n *Node) verifyAlways(ctx context.Context, every time.Duration) error {
	cfg, err := n.verifyConfig(ctx)
	if err != nil {
		return err
	}
	cfg.Mode = verify.Mode(n.cfg.Verify.Mode)
	if r := n.cfg.Verify.Repair; r == nil || *r {
		if cfg.Queue, err = n.repairs(ctx); err != nil {
			return err
		}
	}
	book, err := n.Book(ctx)
	if err != nil {
		return err
	}
	key, err := n.key(manifestKey)
	if err != nil {
		return err
	}
	security, err := n.cfg.Kafka.security(os.Getenv)
	if err != nil {
		return err
	}
	feed, err := synckafka.New(synckafka.Config{Brokers: n.cfg.Kafka.Brokers, Index: n.indexKind, ClientID: "strata-verify", Partitions: n.partitions(),
		Security: security})
	if err != nil {
		return err
	}
	defer func() { _ = feed.Close() }()
	letters, err := n.OpenLetters(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = letters.Close() }()
	cfg.Letters = letters.OpenLetters
	desk, err := n.Desk(ctx)
	if err != nil {
		return err
	}
	v := &n.cfg.Verify
	r, err := verify.NewRunner(verify.RunnerConfig{Config: cfg, Book: book, Log: n.log, Holder: verifierName(), Every: every,
		RowsPerSecond: v.RowsPerSecond, MaxLag: time.Duration(v.MaxLagMs) * time.Millisecond, Sweeper: n.index, Oldest: feed.Oldest,
		SweepAge: time.Duration(v.SweepDays) * 24 * time.Hour, Busy: func(ctx context.Context, dataset string) (string, error) { return loading(ctx, desk, dataset) },
		Sign: func(body []byte) string { return archive.Sign(key, body) }})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.verifier = r
	n.mu.Unlock()
	return r.Run(ctx)
}

// loading says which task is loading or repairing a dataset, or has yet to; "": none.
func loading(ctx context.Context, desk canal.Desk, dataset string) (string, error) {
	tasks, err := desk.Tasks(ctx)
	if err != nil {
		return "", err
	}
	for _, t := range tasks {
		if (t.Dataset == dataset || t.Dataset == "") && t.State != canal.Paused {
			return fmt.Sprintf("%s, task %d, is under way", t.Kind, t.ID), nil
		}
	}
	return "", nil
}

// verifierName is of this process alone: a process that comes after it under the same number is another.
func verifierName() string {
	host, _ := os.Hostname() // for people
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// VerifierStats are the counts of this process's verifier; false where none runs here.
func (n *Node) VerifierStats() (verify.Stats, bool) {
	n.mu.Lock()
	r := n.verifier
	n.mu.Unlock()
	if r == nil {
		return verify.Stats{}, false
	}
	return r.Stats(), true
}

// VerifierState is what the control database knows of the verifier.
type VerifierState struct {
	verify.Progress
	// Findings by dataset: since the day began (UTC), and open now.
	Findings map[string]verify.Counts `json:"findings"`
}

// VerifierState reads the control database.
func (n *Node) VerifierState(ctx context.Context) (VerifierState, error) {
	var out VerifierState
	book, err := n.Book(ctx)
	if err != nil {
		return out, err
	}
	if out.Progress, err = book.Load(ctx); err != nil {
		return out, err
	}
	out.Findings, err = book.Counts(ctx, n.now().UTC().Truncate(24*time.Hour))
	return out, err
}

// VerifierReport is a day's report ("": the last one's) as it was signed.
type VerifierReport struct {
	*verify.Daily
	Signature string `json:"signature"`
	Signed    bool   `json:"signed"` // the signature is of this configuration's key
}

// VerifierReport reads a report and checks its signature. Errors: NotFound; Proof for a report that can't be read.
func (n *Node) VerifierReport(ctx context.Context, date string) (VerifierReport, error) {
	var out VerifierReport
	book, err := n.Book(ctx)
	if err != nil {
		return out, err
	}
	body, signature, ok, err := book.Report(ctx, date)
	if err != nil {
		return out, err
	}
	if !ok {
		return out, fault.New(fault.NotFound, "read verifier's report", "there is none%s", map[bool]string{true: " of " + date}[date != ""]).
			WithHint("strata serve --roles sync makes one a day")
	}
	key, err := n.key(manifestKey)
	if err != nil {
		return out, err
	}
	out.Signature, out.Signed = signature, archive.Signed(key, body, signature)
	out.Daily, err = verify.ParseDaily(body)
	return out, err
}
