package index

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
)

// State is what a generation is for.
type State string

// The states. Building: it is filled beside the one that answers; nobody searches it. Serving: it answers; there is one.
// Old: it answered once; nothing is written to it any more.
const (
	Building State = "building"
	Serving  State = "serving"
	Old      State = "old"
)

// Generation is one index of a dataset among several.
type Generation struct {
	Number int       `json:"number"` // from 1; never given twice
	State  State     `json:"state"`
	Since  time.Time `json:"since"` // of the state; zero for a first one that has answered from the beginning
	// Start is where the generation's sync begins to read, a watermark per partition; Floor is at or above every version
	// before, and below every one after. Empty for the first generation, which begins where its topic begins.
	Start []Watermark `json:"start,omitempty"`
	Floor Version     `json:"floor,omitempty"`
	// Tries rises when somebody wants those who feed it, and have stopped, to try again.
	Tries int `json:"tries,omitempty"`
	// Note belongs to whoever builds the generation.
	Note json.RawMessage `json:"note,omitempty"`
}

// Register says which generations a dataset has. It decides: whatever disagrees with it is out of date. A dataset without
// one has the first generation, serving.
type Register struct {
	Serving int `json:"serving"`
	// Handover is the generation that is about to serve; 0: none. While it stands, a watermark is claimed only where both have
	// reached it.
	Handover    int          `json:"handover,omitempty"`
	Last        int          `json:"last"` // highest number given
	Generations []Generation `json:"generations"`

	revision int64 // of what was read
}

func firstRegister() *Register {
	return &Register{Serving: 1, Last: 1, Generations: []Generation{{Number: 1, State: Serving}}}
}

// find returns a generation, or nil.
func (r *Register) find(number int) *Generation {
	for i := range r.Generations {
		if r.Generations[i].Number == number {
			return &r.Generations[i]
		}
	}
	return nil
}

// check refuses a register that contradicts itself.
func (r *Register) check() bool {
	serving := r.find(r.Serving)
	return serving != nil && serving.State == Serving && (r.Handover == 0 || r.find(r.Handover) != nil)
}

// Shelf is an Index that can keep generations: each is a dataset of its own to it, under the name that StoredName makes.
type Shelf interface {
	Index
	// Register returns what PutRegister stored for the dataset last, durably, and its revision; nil and 0 where there is nothing.
	// It never returns anything older than what an earlier call returned, in any process.
	Register(ctx context.Context, dataset string) (raw []byte, revision int64, err error)
	// PutRegister stores raw if the revision is still that one, and reports whether it was.
	PutRegister(ctx context.Context, dataset string, raw []byte, revision int64) (bool, error)
	// Publish gives the name that people search for the dataset to the stored one alone. Idempotent.
	Publish(ctx context.Context, dataset, stored string) error
	// Remove deletes all there is of a stored dataset. Idempotent; one that is not there is no error.
	Remove(ctx context.Context, stored string) error
	// Fits returns nil where the stored dataset was made for d's columns, fault.Unsafe where it was made for others, and
	// fault.NotFound where it is not there.
	Fits(ctx context.Context, d *catalog.Dataset) error
}

// StoredName is the name under which a Shelf has a generation: the dataset's own for the first, and no dataset's for others.
func StoredName(dataset string, number int) string {
	if number == 1 {
		return dataset
	}
	return fmt.Sprintf("%s.%d", dataset, number)
}

// DatasetOf is the dataset of a stored name.
func DatasetOf(stored string) string {
	dataset, _, _ := strings.Cut(stored, ".")
	return dataset
}

// readRegister parses what a Shelf has.
func readRegister(dataset string, raw []byte, revision int64) (*Register, error) {
	r := firstRegister()
	if raw != nil {
		*r = Register{}
		if err := json.Unmarshal(raw, r); err != nil || !r.check() {
			return nil, fault.New(fault.Unsafe, "read generations of "+dataset, "the register is damaged: %v", err).
				WithHint("restore the index, or delete all that it has of the dataset, the register too")
		}
	}
	r.revision = revision
	return r, nil
}

// register reads a dataset's register as it is now; every later call of this process knows it.
func (x *Generations) register(ctx context.Context, dataset string) (*Register, error) {
	raw, revision, err := x.cfg.Shelf.Register(ctx, dataset)
	if err != nil {
		return nil, err
	}
	r, err := readRegister(dataset, raw, revision)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	was := x.known[dataset]
	if was == nil || was.revision < r.revision {
		x.known[dataset] = r
	}
	x.mu.Unlock()
	if was == nil || was.revision >= r.revision {
		return r, nil
	}
	for _, g := range was.Generations { // dropped by somebody who may have died before he removed it; and here it may be open
		if r.find(g.Number) == nil {
			_ = x.cfg.Shelf.Remove(ctx, StoredName(dataset, g.Number)) // Drop can be called again
		}
	}
	return r, nil
}

// last is the register as this process read it last, reading it where it never did.
func (x *Generations) last(ctx context.Context, dataset string) (*Register, error) {
	x.mu.Lock()
	r := x.known[dataset]
	x.mu.Unlock()
	if r != nil {
		return r, nil
	}
	return x.register(ctx, dataset)
}

// maxChanges bounds how often a change of the register begins anew because somebody else was first.
const maxChanges = 20

// change rewrites the register by compare-and-set. f may run several times; what it returns as an error ends it.
func (x *Generations) change(ctx context.Context, dataset string, f func(r *Register) error) error {
	op := "change generations of " + dataset
	for range maxChanges {
		r, err := x.register(ctx, dataset)
		if err != nil {
			return err
		}
		next := *r
		next.Generations = slices.Clone(r.Generations)
		if err := f(&next); err != nil {
			return err
		}
		raw, err := json.Marshal(next)
		if err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		ok, err := x.cfg.Shelf.PutRegister(ctx, dataset, raw, r.revision)
		if err != nil {
			return err
		}
		if ok {
			_, err := x.register(ctx, dataset)
			return err
		}
	}
	return fault.New(fault.Busy, op, "somebody else changes them all the time")
}

// Generations lists a dataset's generations by number.
func (x *Generations) Generations(ctx context.Context, dataset string) ([]Generation, error) {
	r, err := x.register(ctx, dataset)
	if err != nil {
		return nil, err
	}
	return r.Generations, nil
}

// Begin adds a generation that is built, and returns it. start and floor are Generation's; everything else of it is made
// when somebody who feeds it calls Ensure. Errors: fault.Conflict where one is being built already.
func (x *Generations) Begin(ctx context.Context, dataset string, start []Watermark, floor Version, note json.RawMessage) (Generation, error) {
	var made Generation
	op := "begin another generation of " + dataset
	if floor == 0 || len(start) == 0 {
		return made, fault.New(fault.Invalid, op, "it is not said where it starts")
	}
	err := x.change(ctx, dataset, func(r *Register) error {
		for _, g := range r.Generations {
			if g.State == Building {
				return fault.New(fault.Conflict, op, "generation %d is being built", g.Number).
					WithHint("strata sync rebuild --list shows how far it is; --abort drops it")
			}
		}
		r.Last++
		made = Generation{Number: r.Last, State: Building, Since: x.cfg.Now().UTC(), Start: start, Floor: floor, Note: note}
		r.Generations = append(r.Generations, made)
		return nil
	})
	return made, err
}

// Update lets f change the note and the tries of a generation. Errors: fault.Stale where it is gone; f's.
func (x *Generations) Update(ctx context.Context, dataset string, number int, f func(g *Generation) error) error {
	return x.change(ctx, dataset, func(r *Register) error {
		g := r.find(number)
		if g == nil {
			return gone(dataset, number)
		}
		was := *g
		if err := f(g); err != nil {
			return err
		}
		was.Note, was.Tries = g.Note, g.Tries
		*g = was
		return nil
	})
}

func gone(dataset string, number int) error {
	return fault.New(fault.Stale, "open index of "+dataset, "generation %d was dropped", number)
}

// Handover says that a building generation is about to serve: from now on nothing is claimed that it lacks. Off takes it
// back. It returns what the serving one may have claimed before. Errors: fault.Stale where it is gone.
func (x *Generations) Handover(ctx context.Context, dataset string, number int, on bool) ([]Watermark, error) {
	serving := 0
	err := x.change(ctx, dataset, func(r *Register) error {
		g := r.find(number)
		if g == nil || g.State == Old {
			return gone(dataset, number)
		}
		serving = r.Serving
		if r.Handover = 0; on && serving != number {
			r.Handover = number
		}
		return nil
	})
	if err != nil || !on {
		return nil, err
	}
	marks, err := x.open(dataset, serving, 0).Watermarks(ctx, dataset)
	if fault.Is(err, fault.NotFound) { // the first was never made
		return nil, nil
	}
	return marks, err
}

// Switch makes the generation in handover the one that answers; the one before is old. Idempotent. The register is written
// first and decides; the name for people follows, and a crash between both is mended by calling Switch again. Errors:
// fault.Stale where the generation is gone; fault.Conflict where no handover to it stands.
func (x *Generations) Switch(ctx context.Context, dataset string, number int) error {
	err := x.change(ctx, dataset, func(r *Register) error {
		g := r.find(number)
		switch {
		case g == nil:
			return gone(dataset, number)
		case r.Serving == number:
			return nil
		case r.Handover != number:
			return fault.New(fault.Conflict, "switch "+dataset, "generation %d is not in handover", number)
		}
		now := x.cfg.Now().UTC()
		if before := r.find(r.Serving); before != nil {
			before.State, before.Since = Old, now
		}
		g.State, g.Since = Serving, now
		r.Serving, r.Handover = number, 0
		return nil
	})
	if err != nil {
		return err
	}
	if err := x.cfg.At("index.switch.between"); err != nil {
		return err
	}
	return x.cfg.Shelf.Publish(ctx, dataset, StoredName(dataset, number))
}

// Drop deletes a generation that doesn't answer. A crash in the middle leaves what a further Drop of it deletes. Errors:
// fault.Conflict for the one that answers, or is about to; fault.NotFound for a number that was never given.
func (x *Generations) Drop(ctx context.Context, dataset string, number int) error {
	op := "drop index of " + dataset
	err := x.change(ctx, dataset, func(r *Register) error {
		if number < 1 || number > r.Last {
			return fault.New(fault.NotFound, op, "there is no generation %d", number)
		}
		if number == r.Serving || number == r.Handover {
			return fault.New(fault.Conflict, op, "generation %d answers", number).WithHint("only an old one, or one that is built, can be dropped")
		}
		r.Generations = slices.DeleteFunc(r.Generations, func(g Generation) bool { return g.Number == number })
		return nil
	})
	if err != nil {
		return err
	}
	if err := x.cfg.At("index.drop.between"); err != nil {
		return err
	}
	return x.cfg.Shelf.Remove(ctx, StoredName(dataset, number))
}
