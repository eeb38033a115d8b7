package across

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
)

// Participant is a ledger as the coordinator uses it: Try, Confirm and Cancel by core.Poster, their state, its accounts and
// its accounting date.
type Participant interface {
	core.Poster
	core.Reservations
	core.Accounts
	core.Days
}

// Books knows frozen balances.
type Books interface {
	// BalanceAt returns an account's balance with everything that is booked on date or before; fault.NotFound where the
	// date is not cut yet.
	BalanceAt(ctx context.Context, account int64, date time.Time) (int64, error)
}

// Ledger is one ledger database of the coordinator.
type Ledger struct {
	Participant
	// Transit has the account by unit through which everything goes that leaves or enters this ledger. It has no bounds and
	// is nobody else's: what is posted to it by other ways shows as a difference.
	Transit map[string]int64
	// Books, where there are any, let DayClosable compare balances instead of the coordinator's own notes alone.
	Books Books
}

// Config is what New needs.
type Config struct {
	DB      *db.DB // the coordinator's database: a writer
	Ledgers map[string]Ledger
	Now     func() time.Time
	// Grace is how long a transfer may stay undecided before recovery gives it up. 0: 30 s.
	Grace time.Duration
	// Every is how often Run looks. 0: 1 s.
	Every time.Duration
	// Held is how long Post waits while a day is being cut, before it says Busy. 0: 10 s.
	Held time.Duration
	// Horizon is how long ids are remembered at least; not above any ledger's. 0: core.DefaultHorizon.
	Horizon time.Duration
	Log     *slog.Logger             // nil: none
	At      func(point string) error // crash points; nil: none
}

// Coordinator posts transfers across ledgers. It is safe for concurrent use, and any number of coordinators, in any number
// of processes, may work on one database.
type Coordinator struct {
	cfg   Config
	store store
	stats counters
}

// Stats are counts since New.
type Stats struct {
	Applied, Replayed, Conflicts, Refused int64 // answers of Post
	Errors                                int64 // Posts that could not say what became of the transfer
	InFlight                              int64 // answers of Post before every ledger was done
	Recovered                             int64 // transfers that recovery brought to their end
	GivenUp                               int64 // of those, decided by recovery: aborted
	Stuck                                 int64 // Confirms and Cancels that a ledger refused: see List
}

type counters struct {
	outcomes                                    [5]atomic.Int64
	errors, inFlight, recovered, givenUp, stuck atomic.Int64
}

// CrashPoints lists the points of At in the order of a transfer, then of CutDay.
func CrashPoints() []string {
	return []string{"across.before_begin", "across.after_begin", "across.before_try", "across.after_try",
		"across.before_decide", "across.in_decide", "across.after_decide", "across.before_confirm", "across.after_confirm",
		"across.before_cancel", "across.after_cancel", "across.before_done", "across.after_done",
		"across.before_shut", "across.after_shut", "across.before_cut", "across.after_cut", "across.before_reopen",
		"across.after_reopen"}
}

// New checks the configuration and makes the tables that are missing. Errors: fault.Invalid for the configuration, else the
// server's.
func New(ctx context.Context, cfg Config) (*Coordinator, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	defaults := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	defaults(&cfg.Grace, 30*time.Second)
	defaults(&cfg.Every, time.Second)
	defaults(&cfg.Held, 10*time.Second)
	defaults(&cfg.Horizon, core.DefaultHorizon)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{cfg: cfg}
	c.store = store{db: cfg.DB, at: c.at}
	return c, c.store.makeTables(ctx)
}

func (cfg *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, "configure coordinator", format, args...))
	}
	if cfg.DB == nil {
		bad("no database")
	} else if cfg.DB.Purpose() != db.Writer {
		bad("the database is opened for a %s instead of a writer", cfg.DB.Purpose())
	}
	if cfg.Now == nil {
		bad("no clock")
	}
	if min(cfg.Grace, cfg.Every, cfg.Held, cfg.Horizon) < 0 {
		bad("a time is below zero")
	}
	if len(cfg.Ledgers) < 2 {
		bad("%d ledgers; it takes two", len(cfg.Ledgers))
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Ledgers)) {
		l := cfg.Ledgers[name]
		if l.Participant == nil {
			bad("ledger %q is nothing", name)
		}
		if label := (&core.Transfer{ID: name}); !label.Nameable() || len(name) > MaxNameBytes {
			bad("ledger %q: its name is not 1 to %d visible ASCII characters", name, MaxNameBytes)
		}
		if len(l.Transit) == 0 {
			bad("ledger %q has no transit account", name)
		}
		for unit, id := range l.Transit {
			if !core.ValidUnit(unit) || id <= 0 {
				bad("ledger %q: transit account %d in unit %q", name, id, unit)
			}
		}
	}
	return errors.Join(errs...)
}

// Prepare opens the transit accounts that are missing. Errors are those of core.Accounts.Open.
func (c *Coordinator) Prepare(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Ledgers)) {
		l := c.cfg.Ledgers[name]
		var accounts []core.Account
		for _, unit := range slices.Sorted(maps.Keys(l.Transit)) {
			accounts = append(accounts, core.Account{ID: l.Transit[unit], Name: "transit " + unit, Unit: unit, Side: core.DebitSide})
		}
		if err := l.Open(ctx, accounts); err != nil {
			return fault.Wrap(fault.KindOf(err), "open transit accounts of ledger "+name, err)
		}
	}
	return nil
}

// Post books a transfer in all its ledgers or in none. It answers when that is decided, and the decision durable: Applied,
// Replayed or Refused with State Done where every ledger has carried it out, else with Commit or Abort, and Run does the
// rest. An error means that nothing is known: post the same again; what nobody posts again is given up after the grace.
// fault.Busy: a day is being cut. An id that can't be remembered is refused without a trace.
func (c *Coordinator) Post(ctx context.Context, t Transfer) (Answer, error) {
	if label := (&core.Transfer{ID: t.ID}); !label.Nameable() {
		c.stats.outcomes[core.Refused].Add(1)
		return refuse(core.BadTransfer, "the id is not 1 to 64 visible ASCII characters"), nil
	}
	a, err := c.post(ctx, t.normal())
	if err != nil {
		c.stats.errors.Add(1)
		return Answer{}, err
	}
	c.stats.outcomes[a.Outcome].Add(1)
	if a.State != Done {
		c.stats.inFlight.Add(1)
	}
	return a, nil
}

func (c *Coordinator) post(ctx context.Context, t Transfer) (Answer, error) {
	b := body{Transfer: t, Transit: map[string]map[string]int64{}}
	for _, l := range t.Legs {
		if known, ok := c.cfg.Ledgers[l.Ledger]; ok {
			b.Transit[l.Ledger] = known.Transit
		}
	}
	refused, ok := c.check(&b)
	now := c.now()
	r := record{id: t.ID, hash: t.Hash(), orderTime: t.OrderTime, state: Trying, at: now, due: now.Add(c.cfg.Grace)}
	if !core.Storable(r.orderTime) {
		r.orderTime = now
	}
	if ok {
		raw, err := json.Marshal(&b)
		if err != nil {
			return Answer{}, fault.Wrap(fault.Internal, "write transfer "+t.ID, err)
		}
		r.body = string(raw)
	}
	if err := c.at("across.before_begin"); err != nil {
		return Answer{}, err
	}
	kept, err := c.store.begin(ctx, &r)
	if err != nil {
		return Answer{}, err
	}
	if err := c.at("across.after_begin"); err != nil {
		return Answer{}, err
	}
	if kept.hash != r.hash {
		a := core.ConflictAnswer()
		return Answer{Outcome: a.Outcome, State: kept.state, Code: a.Code, Message: a.Message}, nil
	}
	w, err := newWork(kept)
	if err != nil {
		return Answer{}, err
	}
	if !ok {
		w.refused = &refused
	}
	w.tries = true
	if err := c.drive(ctx, w); err != nil {
		return Answer{}, err
	}
	return w.answer(), nil
}

// Stats returns the counts.
func (c *Coordinator) Stats() Stats {
	n := func(o core.Outcome) int64 { return c.stats.outcomes[o].Load() }
	return Stats{Applied: n(core.Applied), Replayed: n(core.Replayed), Conflicts: n(core.Conflict), Refused: n(core.Refused),
		Errors: c.stats.errors.Load(), InFlight: c.stats.inFlight.Load(), Recovered: c.stats.recovered.Load(),
		GivenUp: c.stats.givenUp.Load(), Stuck: c.stats.stuck.Load()}
}

func (c *Coordinator) now() time.Time { return c.cfg.Now().UTC().Truncate(time.Microsecond) }

// crashError carries what a crash point returned.
type crashError struct{ err error }

func (e *crashError) Error() string { return e.err.Error() }
func (e *crashError) Unwrap() error { return e.err }

func (c *Coordinator) at(point string) error {
	if c.cfg.At == nil {
		return nil
	}
	if err := c.cfg.At(point); err != nil {
		return &crashError{err}
	}
	return nil
}

func crashed(err error) bool {
	var crash *crashError
	return errors.As(err, &crash)
}
