package archive

import (
	"context"
	"fmt"
	"time"

	"strata/catalog"
)

// Policy says when a dataset's shards leave live: when their range ended at least Age ago.
type Policy struct {
	Dataset string
	Age     time.Duration
}

// SegmentID names one move: physical table and the epoch at which the archive owns it.
type SegmentID string

// IDOf is the segment of a table that is owned at epoch.
func IDOf(table string, epoch uint64) SegmentID { return SegmentID(fmt.Sprintf("%s.%d", table, epoch)) }

// State is how far a segment is, for people; a mover goes by Stage.
type State string

// The states in their order, and the two ways back.
const (
	StateCopying  State = "copying"
	StateFenced   State = "fenced"
	StateCompared State = "compared"
	StateOwned    State = "owned"
	StateReleased State = "released"
	StatePruned   State = "pruned"
	StateSealed   State = "sealed"
	StateReturned State = "returned" // the pin was lost and rows had changed: live owns the range again
	StateAborted  State = "aborted"  // became unmovable before the archive owned it
)

// Segment is the record of one move in the control database.
type Segment struct {
	ID        SegmentID `json:"id"`
	Dataset   string    `json:"dataset"`
	Shard     string    `json:"shard"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Token     string    `json:"token"` // of the mover that wrote last
	State     State     `json:"state"`
	Epoch     uint64    `json:"epoch"`
	Rows      int64     `json:"rows"`
	Sums      []Sum     `json:"sums"`
	Hash      string    `json:"hash"`      // of all rows, from the manifest
	Digest    string    `json:"digest"`    // of the manifest, also in strata_part
	Signature string    `json:"signature"` // of the manifest, "" before seal
	Error     string    `json:"error"`     // why the last mover stopped, "" if it did not
	Started   time.Time `json:"started"`
	Updated   time.Time `json:"updated"`
	Sealed    time.Time `json:"sealed"`
}

// Control keeps segments and manifests.
//
// Save replaces the segment of that ID. Load reports whether there is one. Segments are ordered by dataset, then shard,
// then epoch. SaveManifest replaces; LoadManifest of a segment without one gives nil and no error.
type Control interface {
	Save(ctx context.Context, s Segment) error
	Load(ctx context.Context, id SegmentID) (Segment, bool, error)
	Segments(ctx context.Context) ([]Segment, error)
	SaveManifest(ctx context.Context, id SegmentID, body []byte) error
	LoadManifest(ctx context.Context, id SegmentID) ([]byte, error)
}

// Part is a store's row of strata_part, whole.
type Part struct {
	catalog.Part
	Segment  SegmentID
	Manifest string // the manifest's digest, "" before own
}

// Stage is where a table stands between the two servers, by their parts alone.
type Stage uint8

// The stages. The zero value is Idle.
const (
	Idle      Stage = iota // live owns it, no mover
	Copying                // live owns it, a mover has begun
	Owned                  // the archive owns it by the higher epoch, live has not released
	Released               // live has released, the table may still be there
	Sealed                 // done
	Returning              // live owns it by the higher epoch, the archive has not given it back
	Broken                 // the parts contradict each other
)

// String is the stage's name.
func (s Stage) String() string {
	return [...]string{"idle", "copying", "owned", "released", "sealed", "returning", "broken"}[s]
}

// Standing is what both servers say of one table.
type Standing struct {
	Shard   catalog.Shard
	Live    *Part // nil: no row; live owns it at epoch 0
	Archive *Part // nil: no row
	Table   bool  // live has the table
	Rows    int64 // the live server's estimate
	Bytes   int64 // data and indexes, the live server's estimate
}

// LiveEpoch is the epoch that live states.
func (s Standing) LiveEpoch() uint64 {
	if s.Live == nil {
		return 0
	}
	return s.Live.Epoch
}

// Epoch is the epoch of the move that is under way or would begin.
func (s Standing) Epoch() uint64 {
	switch s.Stage() {
	case Owned, Returning:
		return s.Archive.Epoch
	case Released, Sealed:
		return s.Live.Epoch
	}
	return s.LiveEpoch() + 1
}

// Segment is the move's name.
func (s Standing) Segment() SegmentID { return IDOf(s.Shard.Table, s.Epoch()) }

// Stage says where the table stands.
func (s Standing) Stage() Stage {
	token := s.Live != nil && s.Live.Token != ""
	if s.Live != nil && s.Live.State == catalog.Released {
		switch {
		case s.Archive == nil || s.Archive.State != catalog.Owned || s.Archive.Epoch != s.Live.Epoch:
			return Broken
		case token:
			return Released
		}
		return Sealed
	}
	switch {
	case s.Archive == nil:
		if token {
			return Copying
		}
		return Idle
	case s.Archive.State == catalog.Owned && s.Archive.Epoch > s.LiveEpoch():
		return Owned
	case s.Archive.State == catalog.Owned && s.Archive.Epoch == s.LiveEpoch():
		return Broken
	case s.Archive.State == catalog.Owned:
		return Returning
	case s.Archive.State == catalog.Released && s.Archive.Token != "":
		return Returning
	case s.Archive.State == catalog.Released && !token:
		return Idle
	}
	return Copying
}
