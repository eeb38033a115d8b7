package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strata/archive"
	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/index"
	"strata/sync/verify"
)

// VerifyRequest says what to prove.
type VerifyRequest struct {
	Parts []string // of index, archive, ledger; nil: all that the configuration has
	// Of the index: one dataset ("": all), a part of it, how, and whether what differs is repaired by the leader.
	Dataset  string
	Part     verify.Part
	Mode     verify.Mode
	Repair   bool
	Progress func(done, total int64)
}

// Report is the result of all proofs asked for.
type Report struct {
	OK             bool                 `json:"ok"`
	RowsCompared   int64                `json:"rows_compared"`    // source rows compared with the index
	Differences    int64                `json:"differences"`      // of all parts, found
	Open           int64                `json:"open"`             // of these, not repaired
	MoneySumsEqual bool                 `json:"money_sums_equal"` // per column and unit, index against sources
	Findings       []string             `json:"findings"`         // what differs, by name; at most 1,000 per part
	Index          *verify.Report       `json:"index,omitempty"`
	Archive        *archive.CheckResult `json:"archive,omitempty"`
	Ledger         *LedgerProof         `json:"ledger,omitempty"`
}

// LedgerProof is the ledger's own proof: its trial balance and its digest.
type LedgerProof struct {
	core.TrialReport
	Digest string `json:"digest"`
}

// verifyParts are the names of the parts.
func verifyParts() []string { return []string{"index", "archive", "ledger"} }

// Verify runs the proofs. An error means that a proof could not be finished; what differs is in the report.
func (n *Node) Verify(ctx context.Context, r VerifyRequest) (Report, error) {
	rep := Report{OK: true, MoneySumsEqual: true, Findings: []string{}}
	for _, p := range r.Parts {
		if !slices.Contains(verifyParts(), p) {
			return rep, fault.New(fault.Invalid, "verify", "there is no part %q", p).WithHint("the parts are index, archive, ledger")
		}
	}
	wanted := func(p string) bool { return len(r.Parts) == 0 || slices.Contains(r.Parts, p) }
	if wanted("index") {
		if err := n.verifyIndex(ctx, r, &rep); err != nil {
			return rep, err
		}
	}
	if wanted("archive") {
		if err := n.verifyArchive(ctx, &rep); err != nil {
			return rep, err
		}
	}
	if wanted("ledger") && n.cfg.Ledger {
		proof, err := n.ProveLedger(ctx)
		if err != nil {
			return rep, err
		}
		rep.Ledger = &proof
		rep.Differences, rep.Open = rep.Differences+proof.Problems, rep.Open+proof.Problems
		for _, f := range proof.Findings {
			rep.Findings = append(rep.Findings, "ledger: "+f)
		}
	}
	rep.OK = rep.Open == 0 && rep.MoneySumsEqual && (rep.Index == nil || rep.Index.OK)
	return rep, nil
}

func (n *Node) verifyIndex(ctx context.Context, r VerifyRequest, rep *Report) (err error) {
	cfg, err := n.verifyConfig(ctx)
	if err != nil {
		return err
	}
	cfg.Progress, cfg.Mode, cfg.Part, cfg.Turn = r.Progress, r.Mode, r.Part, n.now().Unix()
	if r.Dataset != "" {
		d, err := n.Dataset(r.Dataset)
		if err != nil {
			return err
		}
		cfg.Datasets = []*catalog.Dataset{d}
	}
	if r.Repair {
		if cfg.Queue, err = n.repairs(ctx); err != nil {
			return err
		}
	}
	letters, err := n.OpenLetters(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	cfg.Letters = letters.OpenLetters
	out, err := verify.Once(ctx, cfg)
	if err != nil {
		return err
	}
	rep.Index = &out
	for _, d := range out.Datasets {
		rep.RowsCompared += d.Rows
		rep.Differences, rep.Open = rep.Differences+d.Differences+d.Letters, rep.Open+d.Open+d.Letters
		for _, f := range d.Findings {
			rep.Findings = append(rep.Findings, findingLine(&f))
		}
		if d.Letters > 0 {
			rep.Findings = append(rep.Findings, fmt.Sprintf("index: %s: %d dead letters are open: rows that the index refused; see strata sync dlq list %s", d.Dataset, d.Letters, d.Dataset))
		}
		if d.Unsettled > 0 {
			rep.Findings = append(rep.Findings, fmt.Sprintf("index: %s: %d rows changed at every look, so nothing is proven of them; verify again", d.Dataset, d.Unsettled))
		}
		for _, s := range d.Sums {
			if !s.OK {
				rep.MoneySumsEqual = false
				rep.Findings = append(rep.Findings, fmt.Sprintf("index: %s sum(%s) in %s: source %s, index %s", d.Dataset, s.Column, s.Unit, s.Source, s.Index))
			}
		}
	}
	return nil
}

// findingLine is a finding for people.
func findingLine(f *verify.Difference) string {
	line := fmt.Sprintf("index: %s row %s of %s: %s: source %s, index %s", f.Dataset, f.Key, f.Shard, f.What, orNone(f.Source), orNone(f.Index))
	if id, ok := f.Document(); ok {
		line = fmt.Sprintf("index: %s document %s of %s: %s", f.Dataset, id, f.Shard, f.What)
	}
	if f.State != verify.Open {
		line += " (" + string(f.State) + ")"
	}
	if f.Hint != "" {
		line += "; " + f.Hint
	}
	return line
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (n *Node) verifyArchive(ctx context.Context, rep *Report) error {
	mover, err := n.Mover(ctx, nil)
	if err != nil {
		return err
	}
	res, err := mover.Check(ctx)
	if err != nil {
		return err
	}
	rep.Archive = &res
	rep.Differences, rep.Open = rep.Differences+int64(len(res.Findings)), rep.Open+int64(len(res.Findings))
	for _, f := range res.Findings {
		rep.Findings = append(rep.Findings, fmt.Sprintf("archive: %s keys after %q to %q: %s (%d rows, the manifest says %d)", f.Shard, f.After, f.To,
			f.Detail, f.Have, f.Want))
	}
	return nil
}

// ProveLedger reads the whole ledger once, as of one moment, and once more to name what does not hold.
func (n *Node) ProveLedger(ctx context.Context) (LedgerProof, error) {
	ds := n.ledgerDatasets()
	if len(ds) == 0 {
		return LedgerProof{}, fault.New(fault.Invalid, "prove ledger", "this configuration has no ledger")
	}
	trial, err := core.NewTrial(ds[0], ds[1], ds[2])
	if err != nil {
		return LedgerProof{}, err
	}
	buffer, err := db.Resolve(ctx, n.live, catalog.Spec{Name: "buffer"}.WithDefaults())
	if err != nil {
		return LedgerProof{}, err
	}
	if err := trial.WithBuffer(buffer); err != nil {
		return LedgerProof{}, err
	}
	ds = append([]*catalog.Dataset{buffer}, ds...)
	var digest core.Digest
	err = n.rowsOf(ctx, ds, func(d *catalog.Dataset, row *catalog.Row) error {
		if d != buffer { // what waits there is no row of a dataset yet
			digest.Add(d.Name, row)
		}
		return trial.Add(d.Name, row)
	})
	if err != nil {
		return LedgerProof{}, err
	}
	proof := LedgerProof{TrialReport: trial.Report(), Digest: digest.String()}
	if where := trial.Locate(); where != nil {
		if err := n.rowsOf(ctx, ds, func(d *catalog.Dataset, row *catalog.Row) error { return where.Add(d.Name, row) }); err != nil {
			return LedgerProof{}, err
		}
		proof.Findings = append(proof.Findings, where.Findings()...)
	}
	return proof, nil
}

// pollEvery is how often the index is asked how far it is by somebody who waits for it.
const pollEvery = 25 * time.Millisecond

// stallLimit is how long the index may stand still while somebody waits for it. Heartbeats come every second or so; a
// leader's pause is half of it.
const stallLimit = time.Minute

// WaitIndexed commits a heartbeat on live and waits until the index has reached it: everything committed before the call
// is searchable then. progress is told documents applied, of how many is not known; nil: none. fault.Proof: the index
// has a gap and will not get there.
func (n *Node) WaitIndexed(ctx context.Context, progress func(done, total int64)) error {
	w, err := n.liveWriter(ctx)
	if err != nil {
		return err
	}
	beat, err := db.Beat(ctx, w, catalog.At(n.now()))
	if err != nil {
		return err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var furthest uint64
	moved := time.Now()
	for {
		marks, err := n.Watermarks(ctx)
		if err != nil {
			return err
		}
		behind := n.partitions() - len(marks)
		var numbers int64
		var reached uint64
		for _, m := range marks {
			if m.Frozen != "" {
				return fault.New(fault.Proof, "wait for index", "%s partition %d has a gap: %s", m.Dataset, m.Partition, m.Frozen)
			}
			if m.Heartbeat < beat.Seq {
				behind++
			}
			numbers += int64(m.Number)
			reached += m.Number + m.Heartbeat
		}
		if reached != furthest {
			furthest, moved = reached, time.Now()
		}
		if time.Since(moved) > stallLimit {
			return fault.New(fault.Unavailable, "wait for index", "nothing has come for %s; %d partitions are behind heartbeat %d", stallLimit, behind, beat.Seq).
				WithHint("see `strata canal status`, `strata sync status`, and SHOW REPLICA STATUS on the offline server")
		}
		if progress != nil {
			progress(numbers, 0)
		}
		if behind <= 0 {
			return nil
		}
		if why := n.stopped(); why != "" {
			return fault.New(fault.Proof, "wait for index", "%s", why)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.Wrap(fault.KindOf(ctx.Err()), "wait for index", ctx.Err())
		}
	}
}

func (n *Node) partitions() int {
	sum := 0
	for _, d := range n.datasets {
		sum += int(d.Partitions)
	}
	return sum
}

// Watermarks are those of every dataset and partition.
func (n *Node) Watermarks(ctx context.Context) ([]index.Watermark, error) {
	var out []index.Watermark
	for _, d := range n.datasets {
		marks, err := n.index.Watermarks(ctx, d.Name)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		out = append(out, marks...)
	}
	return out, nil
}

// Documents is how many documents are searchable in all.
func (n *Node) Documents(ctx context.Context) (int64, error) {
	var sum int64
	for _, d := range n.datasets {
		shards, err := n.index.Shards(ctx, d.Name)
		if err != nil {
			return 0, err
		}
		c, err := n.index.Count(ctx, index.Search{Dataset: d.Name, Shards: shards})
		if err != nil {
			return 0, err
		}
		sum += c
	}
	return sum, nil
}
