package notice

import (
	"context"
	"fmt"

	"strata/core"
)

// Answers is the part of core.Poster that remembers.
type Answers interface {
	Answer(ctx context.Context, id string) (core.Answer, bool, error)
}

// Status is what became of one transfer.
type Status struct {
	ID string
	// Remembered is false where the ledger's horizon has passed the id; Answer is then empty.
	Remembered bool
	Answer     core.Answer // as core.Poster's Answer gives it
}

// ByOrder says what became of each transfer that named the tenant's order number, refused ones too, in the order of their
// posting; none: none. It asks the ledger itself, so it can't say anything else than the ledger.
func ByOrder(ctx context.Context, orders core.Orders, answers Answers, tenant, order string) ([]Status, error) {
	ids, err := orders.ByOrder(ctx, tenant, order)
	if err != nil {
		return nil, fmt.Errorf("find order: %w", err)
	}
	out := make([]Status, 0, len(ids))
	for _, id := range ids {
		a, known, err := answers.Answer(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		s := Status{ID: id, Remembered: known}
		if known {
			s.Answer = a
		}
		out = append(out, s)
	}
	return out, nil
}
