package archive

import (
	"context"
	"errors"

	"strata/catalog"
)

// ErrUnmovable is the cause of an error that says a table can't move as it is. The error's text has the reasons.
var ErrUnmovable = errors.New("the table can't be moved")

// ErrDiffer is the cause of an error that says live and archive have different rows.
var ErrDiffer = errors.New("live and archive differ")

// Site is a live server and an archive with their tables.
//
// Survey tells of every shard of the dataset that either server names, late ones too, ordered by range; it only reads.
// Obstacles gives the reasons why the shard's whole table can't move, none if it can; it only reads.
// Take makes the caller the only mover of the table: when it returns, no transaction of an earlier mover can commit on
// either server, and the tokens of both parts are the given one. For a table that is sealed or broken the error is
// Conflict, or Proof.
// Verify compares the archive's table and parts with a sealed manifest, streaming; no finding means equal.
type Site interface {
	Survey(ctx context.Context, ds *catalog.Dataset) ([]Standing, error)
	Obstacles(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard) ([]string, error)
	Take(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard, token string) (Work, error)
	Verify(ctx context.Context, ds *catalog.Dataset, m *Manifest) ([]Finding, error)
}

// Work is one table in the hands of one mover. Every method that writes fails with Conflict, having written nothing, once
// another mover has taken the table. All of them can be repeated. It is for one goroutine.
//
// Standing is what the servers said at Take, with the changes that this Work made.
// Copy makes the archive's table equal to a state of the live one, or goes on after its highest key.
// Fence returns when no writer but the token's bearer can change the live table's rows.
// Compare pins the live table and returns the manifest of its rows when the archive has the same; before own it copies
// again what differs, after own it does not. Errors: Proof with ErrDiffer, Unsafe with ErrUnmovable.
// Own needs the pin of Compare; the archive owns the table at Standing().Epoch() when it returns nil.
// Release needs the pin too; Stale means that it was lost: compare again.
// Archived is the manifest of the rows that the archive has.
// Prune needs Released; it drops the live table if its rows are those of the manifest, else it fails with Proof.
// Seal needs the table gone; it takes the tokens away.
// HandBack makes live the owner at a higher epoch and takes the fence away last. It needs Owned or Returning.
// Abort drops the copy and takes the fence away last. It needs Copying.
// Close drops the connections, as a crash would; it writes nothing.
type Work interface {
	Standing() Standing
	Copy(ctx context.Context) error
	Fence(ctx context.Context) error
	Compare(ctx context.Context) (*Manifest, error)
	Own(ctx context.Context, digest string) error
	Release(ctx context.Context, digest string) error
	Archived(ctx context.Context) (*Manifest, error)
	Prune(ctx context.Context, m *Manifest) error
	Seal(ctx context.Context) error
	HandBack(ctx context.Context) error
	Abort(ctx context.Context) error
	Close() error
}

// Finding is a range of keys in which an archived table is not what its manifest says.
type Finding struct {
	Segment SegmentID   `json:"segment"`
	Shard   string      `json:"shard"`
	After   catalog.Key `json:"after"` // the range is above this key, "" for the start of the table
	To      catalog.Key `json:"to"`    // up to and with this key, "" for the end of the table
	Want    int64       `json:"want"`  // rows by the manifest
	Have    int64       `json:"have"`
	Detail  string      `json:"detail"`
}

// The crash points of a move, in the order of a move that meets no trouble.
const (
	PointTakeStart     = "archive.take.start"
	PointTakeLive      = "archive.take.live"
	PointTaken         = "archive.taken"
	PointCopyStart     = "archive.copy.start"
	PointCopyTable     = "archive.copy.table"
	PointCopyOpen      = "archive.copy.open"  // rows are loaded, not committed
	PointCopyChunk     = "archive.copy.chunk" // committed
	PointCopied        = "archive.copied"
	PointFenceInsert   = "archive.fence.insert"
	PointFenceUpdate   = "archive.fence.update"
	PointFenceDelete   = "archive.fence.delete"
	PointFenced        = "archive.fenced"
	PointPinned        = "archive.compare.pinned"
	PointRepair        = "archive.compare.repair" // a differing range is deleted and loaded, not committed
	PointCompared      = "archive.compared"
	PointManifest      = "archive.manifest"
	PointOwnStart      = "archive.own.start"
	PointOwnOpen       = "archive.own.open" // not committed
	PointOwned         = "archive.owned"
	PointReleaseOpen   = "archive.release.open"
	PointReleased      = "archive.released"
	PointPruneStart    = "archive.prune.start"
	PointPruneMarked   = "archive.prune.marked"
	PointPruneRenamed  = "archive.prune.renamed"
	PointPruneCounted  = "archive.prune.counted"
	PointPruneDropped  = "archive.prune.dropped"
	PointPruned        = "archive.pruned"
	PointSealArchive   = "archive.seal.archive"
	PointSealLive      = "archive.seal.live"
	PointSealed        = "archive.sealed"
	PointReturnLive    = "archive.return.live"
	PointReturnArchive = "archive.return.archive"
	PointReturnFence   = "archive.return.fence"
	PointReturnDone    = "archive.return.done"
	PointAbortCopy     = "archive.abort.copy"
	PointAbortFence    = "archive.abort.fence"
	PointAbortDone     = "archive.abort.done"
)

// CrashPoints lists every named crash point: first those of a move without trouble, then repair, return and abort.
func CrashPoints() []string {
	return append(MovePoints(), PointRepair, PointReturnLive, PointReturnArchive, PointReturnFence, PointReturnDone,
		PointAbortCopy, PointAbortFence, PointAbortDone)
}

// MovePoints lists the crash points that every move without trouble passes.
func MovePoints() []string {
	return []string{PointTakeStart, PointTakeLive, PointTaken, PointCopyStart, PointCopyTable, PointCopyOpen, PointCopyChunk,
		PointCopied, PointFenceInsert, PointFenceUpdate, PointFenceDelete, PointFenced, PointPinned, PointCompared, PointManifest,
		PointOwnStart, PointOwnOpen, PointOwned, PointReleaseOpen, PointReleased, PointPruneStart, PointPruneMarked,
		PointPruneRenamed, PointPruneCounted, PointPruneDropped, PointPruned, PointSealArchive, PointSealLive, PointSealed}
}
