package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"strata/core"
	"strata/fault"
	"strata/money"
)

const (
	batchSize = 500   // accounts or transfers of one call
	batchLegs = 4_000 // bounds the memory of a call with large transfers
	maxRows   = 20_000_000
	busyTries = 100 // with the ledger's own waiting times between: about a minute
)

// Kind says what a file holds.
type Kind uint8

// The kinds of files.
const (
	Accounts Kind = iota
	Balances
	Transfers
)

// String is the kind's name.
func (k Kind) String() string { return [...]string{"accounts", "balances", "transfers"}[k] }

// ParseKind reads a name.
func ParseKind(name string) (Kind, bool) {
	for k := Accounts; k <= Transfers; k++ {
		if name == k.String() {
			return k, true
		}
	}
	return Accounts, false
}

// Marks remember how far a content was imported. They must be of the ledger's own database: see the package's comment.
type Marks interface {
	// Mark returns what was last put for the key; the zero Mark where nothing was.
	Mark(ctx context.Context, key string) (Mark, error)
	// PutMark replaces it, durably.
	PutMark(ctx context.Context, key string, m Mark) error
}

// Mark is how far a content was imported: the first Items of its accounts, balances or transfers.
type Mark struct {
	Items   int64
	Applied int64
	Refused int64
}

// Config is what Check and Import need.
type Config struct {
	Kind Kind
	Name string // the file's, for messages
	// Open opens the file from its start; it is called two or three times. The content must stay the same.
	Open func() (io.ReadCloser, error)

	Accounts core.Accounts
	Poster   core.Poster
	Days     core.Days // needed with Clock only

	Units   money.Units // for Decimal
	Decimal bool        // amounts are in major units

	// Opening is, per unit, the account that opening balances are booked against: equity.
	Opening map[string]int64
	Date    time.Time // of opening balances: their order time is its midnight, UTC
	// Series starts the ids of opening balances; another one books the same accounts' balances once more. "": opening.
	Series string

	// Clock is the ledger's clock, to be driven through the past; nil: the ledger has its own.
	Clock *core.Clock
	// OpenDay is the accounting date to open at the end, with Clock; zero: the file's last day stays open.
	OpenDay time.Time

	Marks Marks // nil: everything is posted again after a stop
	// Rejects opens the CSV of what was refused, when the first is; more says that an earlier call wrote its beginning. The
	// writer is closed at the end, and synced before each mark where it has a method Sync() error. nil: they are only counted.
	Rejects func(more bool) (io.WriteCloser, error)
	// Progress is told after each batch; nil: nobody.
	Progress func(done, total int64)
	// Wait waits until a busy ledger may be asked again; nil: by a timer.
	Wait func(ctx context.Context, d time.Duration) error
	// At is hit at the named crash points; nil: none.
	At func(point string) error
}

// CrashPoints lists the points of At, in the order of a batch.
func CrashPoints() []string {
	return []string{"intake.before_day", "intake.after_day", "intake.before_batch", "intake.after_batch", "intake.after_rejects", "intake.after_mark"}
}

// check reports all that is wrong and fills in the defaults.
func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, "configure import", format, args...))
	}
	if c.Open == nil || c.Accounts == nil || c.Poster == nil {
		bad("no file or no ledger")
	}
	if c.Kind > Transfers {
		bad("no such kind of file")
	}
	if c.Clock != nil && c.Days == nil {
		bad("a clock of its own needs the ledger's days")
	}
	if c.Series == "" {
		c.Series = "opening"
	}
	if c.Kind == Balances {
		if len(c.Opening) == 0 {
			bad("opening balances need the account of each unit that they are booked against")
		}
		if c.Date.IsZero() || !core.Storable(c.Date) {
			bad("opening balances need their date, between 1970 and 9999")
		}
		probe := core.Transfer{ID: c.Series}
		if !probe.Nameable() || len(c.Series) > 16 {
			bad("series %q is not 1 to 16 visible ASCII characters", c.Series)
		}
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	return errors.Join(errs...)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for the ledger: %w", ctx.Err())
	case <-timer.C:
		return nil
	}
}

func (c *Config) at(point string) error {
	if c.At == nil {
		return nil
	}
	return c.At(point)
}

// key names the plan's content with all settings that change what is posted.
func (c *Config) key(p *Plan) string {
	h := sha256.New()
	fmt.Fprintf(h, "1 %s %t %s\n", c.Kind, c.Decimal, p.Content) // a hash never fails to write
	if c.Kind == Balances {
		fmt.Fprintf(h, "%s %s\n", c.Series, c.Date.UTC().Format(time.DateOnly))
		for _, unit := range slices.Sorted(maps.Keys(c.Opening)) {
			fmt.Fprintf(h, "%s %d\n", unit, c.Opening[unit])
		}
	}
	if c.Decimal {
		for _, u := range p.Units {
			info, _ := c.Units.Lookup(money.Unit(u.Unit)) // known: its amounts were read
			fmt.Fprintf(h, "%s %d\n", u.Unit, info.Exponent)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
