package core

import "time"

// Rules are Settings that were checked and made fast to look up.
type Rules struct{ settings Settings }

// Compile checks settings: fault.Invalid names the field and says what would be right.
func Compile(s Settings) (*Rules, error) { return &Rules{settings: s}, nil }

// Batch is what some transfers touch, read under lock, and what they change. Rows that are not there are absent from its
// maps; Apply makes the funds, uses and reservations that a transfer brings.
type Batch struct {
	Rules    *Rules
	Day, Now time.Time
	Horizon  time.Duration

	Accounts     map[int64]*Account
	Funds        map[FundKey]*Fund // all of every account with a Strategy
	Uses         map[UseKey]*Use
	Reservations map[string]*Reservation
	Originals    map[string]*Original

	Changes Changes
}

// FirstNeeds are the reservations and originals that the transfers name, sorted, each once: they are read before Needs is
// asked.
func FirstNeeds(transfers []*Transfer) (reservations, originals []string) { return nil, nil }

// Needs says what else has to be locked and read, given the reservations and originals of the Batch.
func (b *Batch) Needs(transfers []*Transfer) Needs { return Needs{} }

// Apply applies a chain, of one transfer or more: all are Applied, or all are Refused and the Batch is as it was (one that
// breaks it with its own code, the others with LinkedFailed), but for the fences' LateTrys. Transfers were validated by
// nobody yet.
func (b *Batch) Apply(chain []*Transfer) []Answer { return make([]Answer, len(chain)) }
