package core

import (
	"cmp"
	"slices"
	"time"
)

// Batch is what some transfers touch, read under lock, and what they change. Rows that are not there are absent from its
// maps; Apply makes the funds, uses and reservations that a transfer brings.
//
// Its owner locks and reads in this order: FirstNeeds, then those reservations and originals, then Needs, then its uses and
// accounts, then all funds of every account with a Strategy; then Apply, chain by chain, in the order of posting; then it
// writes what Changes names. Where Changes.Wanted names accounts, the answers are void: the owner begins again with a new
// Batch, locks and reads those accounts too, and calls Merge for each before the first Apply.
type Batch struct {
	Rules    *Rules // nil: no rules
	Day, Now time.Time
	Horizon  time.Duration

	Accounts     map[int64]*Account
	Funds        map[FundKey]*Fund // all of every account with a Strategy
	Uses         map[UseKey]*Use
	Reservations map[string]*Reservation
	Originals    map[string]*Original
	// Spreads are the places of the accounts in SubAccounts; inner accounts are in Accounts, too.
	Spreads map[int64]*Spread
	Attempt int // another one gives Changes.Moves other ids

	Changes Changes

	log    undo
	sought map[string]bool // originals that a transfer of Needs reverses
	merged map[int64]bool  // accounts whose buffer is booked
	step   step
	tally  []tallied
	slab   []Balance
}

// FirstNeeds are the reservations and originals that the transfers name, sorted, each once: they are read before Needs is
// asked.
func FirstNeeds(transfers []*Transfer) (reservations, originals []string) {
	for _, t := range transfers {
		if t.Action == Post || t.Refusal() != nil {
			continue
		}
		switch t.Action {
		case Try:
			reservations = append(reservations, t.ID)
		case Confirm, Cancel:
			reservations = append(reservations, t.Of)
		case Reverse:
			originals = append(originals, t.Of)
		}
	}
	return sorted(reservations), sorted(originals)
}

func sorted[T cmp.Ordered](all []T) []T {
	slices.Sort(all)
	return slices.Compact(all)
}

// Needs says what else has to be locked and read, given the reservations and originals of the Batch. It has to be asked
// with all transfers that will be applied.
func (b *Batch) Needs(transfers []*Transfer) Needs {
	var n Needs
	n.Reservations, n.Originals = FirstNeeds(transfers)
	b.sought = nil
	for _, id := range n.Originals {
		if b.sought == nil {
			b.sought = map[string]bool{}
		}
		b.sought[id] = true
	}
	n.Accounts = make([]int64, 0, 2*len(transfers))
	b.Changes.Entries = slices.Grow(b.Changes.Entries, 2*len(transfers))
	locked := map[int64]bool{} // what is more than credited by a Post
	for _, t := range transfers {
		if t.Refusal() == nil {
			b.need(&n, t, locked)
		}
	}
	n.Accounts, n.Uses = sorted(n.Accounts), sortUses(n.Uses)
	for _, id := range n.Accounts {
		if !locked[id] {
			n.CreditOnly = append(n.CreditOnly, id)
		}
	}
	return n
}

func (b *Batch) need(n *Needs, t *Transfer, locked map[int64]bool) {
	legs, all := t.Legs, true
	switch t.Action {
	case Post, Try:
		all = t.Action == Try || b.sought[t.ID]
		b.tally = b.Rules.tally(b.tally[:0], t, b.Day)
		for i := range b.tally {
			if c := &b.tally[i]; c.of.Per != "transfer" {
				n.Uses = append(n.Uses, c.key())
			}
		}
	case Confirm, Cancel:
		r := b.Reservations[t.Of]
		if r == nil || r.State != Pending {
			return
		}
		legs = r.Transfer.Legs
		n.Uses = r.keys(n.Uses)
	case Reverse:
		o := b.Originals[t.Of]
		if o == nil {
			return
		}
		for i := range o.Balances {
			n.Accounts = append(n.Accounts, o.Balances[i].Account)
			locked[o.Balances[i].Account] = true
		}
		return
	}
	for i := range legs {
		n.Accounts = append(n.Accounts, legs[i].Account)
		if all || legs[i].Amount < 0 {
			locked[legs[i].Account] = true
		}
	}
}

func sortUses(keys []UseKey) []UseKey {
	slices.SortFunc(keys, func(a, b UseKey) int {
		return cmp.Or(cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Period, b.Period))
	})
	return slices.Compact(keys)
}

// Chain is how many of the transfers, from the first on, are bound together: 1 where the first is by itself.
func Chain[T any](transfers []T, linked func(T) bool) int {
	for i := range transfers {
		if !linked(transfers[i]) {
			return i + 1
		}
	}
	return len(transfers)
}

// Apply applies a chain, of one transfer or more: all are Applied, or all are Refused and the Batch is as it was (one that
// breaks it with its own code, the others with LinkedFailed), but for the fences' LateTrys. All are Failed where
// Changes.Wanted names what is missing. Transfers were validated by nobody yet.
func (b *Batch) Apply(chain []*Transfer) []Answer {
	answers := make([]Answer, len(chain))
	b.log.start(&b.Changes)
	for i, t := range chain {
		a := b.refuseLink(chain, i)
		if a == nil {
			a = b.apply(t, &answers[i])
		}
		if a != nil {
			b.undoChain(chain, answers, i, *a)
			return answers
		}
	}
	b.keep()
	return answers
}

// refuseLink says what is wrong with a chain as such.
func (b *Batch) refuseLink(chain []*Transfer, i int) *Answer {
	switch last := i == len(chain)-1; {
	case len(chain) > MaxChain:
		return refuse(BadTransfer, "linked", "a chain of %d transfers; at most %d are possible", len(chain), MaxChain)
	case i == 0 && len(chain) > 1 && legsOf(chain) > MaxChainLegs:
		return refuse(BadTransfer, "linked", "a chain of %d legs; at most %d are possible", legsOf(chain), MaxChainLegs)
	case last && chain[i].Linked:
		return refuse(BadTransfer, "linked", "it is linked to the next one, and there is none in this call")
	case !last && !chain[i].Linked:
		return refuse(BadTransfer, "linked", "it is not linked to the next one of its chain")
	}
	return nil
}

func legsOf(chain []*Transfer) (n int) {
	for _, t := range chain {
		n += len(t.Legs)
	}
	return n
}

// undoChain answers a chain that its i-th transfer broke.
func (b *Batch) undoChain(chain []*Transfer, answers []Answer, i int, a Answer) {
	b.back()
	clear(answers)
	if a.Outcome == Failed {
		return
	}
	for k := range answers {
		answers[k] = LinkedAnswer()
	}
	answers[i] = a
	if r := b.Reservations[chain[i].ID]; a.Code == Hung && r != nil {
		r.LateTrys++
		mark(&b.Changes.Reservations, r.ID)
	}
}

// apply answers one transfer into a; what it returns instead is a refusal, or Failed where something is wanted.
func (b *Batch) apply(t *Transfer, a *Answer) *Answer {
	if no := t.Refusal(); no != nil {
		return no
	}
	if code, why := CheckTime(Micros(t.OrderTime), b.Now, b.Horizon); code != "" {
		return refuse(code, "order_time", "%s", why)
	}
	b.step = step{t: t, legs: t.Legs, accounts: b.step.accounts[:0], from: len(b.log.accounts)}
	a.Action = t.Action
	var no *Answer
	switch t.Action {
	case Post:
		no = b.post(&b.step, a)
	case Try:
		no = b.try(&b.step, a)
	case Confirm:
		no = b.confirm(&b.step, a)
	case Cancel:
		no = b.cancel(&b.step, a)
	case Reverse:
		no = b.reverse(&b.step, a)
	}
	if no != nil {
		return no
	}
	a.Outcome = Applied
	if b.sought[t.ID] {
		if o := OriginalOf(t.ID, *a); o != nil {
			b.log.originals = append(b.log.originals, originalMark{o: o, fresh: true})
			put(&b.Originals, t.ID, o)
		}
	}
	return nil
}

// Booked is an applied transfer with the legs that it booked, which a Confirm or Reverse takes from what it is of: one per
// balance of its answer.
func (b *Batch) Booked(t *Transfer, a *Answer) Transfer {
	out := *t
	if t.Action != Confirm && t.Action != Reverse {
		return out
	}
	out.Legs = make([]Leg, len(a.Balances))
	for i := range a.Balances {
		out.Legs[i] = Leg{Account: a.Balances[i].Account, Amount: a.Balances[i].Amount}
		if account := b.Accounts[out.Legs[i].Account]; account != nil {
			out.Legs[i].Unit = account.Unit
		}
	}
	return out
}
