package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/core"
	"strata/core/across"
	"strata/core/notice"
	"strata/jobs"
)

// Core says how the ledger of Config.Ledger runs.
type Core struct {
	// Lanes is the number of sequencers of this process. 0: the ledger's own choice.
	Lanes int `yaml:"lanes,omitempty"`
	// QueueTransfers bounds what waits for a lane; beyond it callers are told to come again. 0: the ledger's own choice.
	QueueTransfers int `yaml:"queue_transfers,omitempty"`
	// HorizonDays is how long ids are remembered; older transfers are refused. Default 400.
	HorizonDays int `yaml:"horizon_days,omitempty"`
	// Vouchers keeps an event of every transfer for the accounting rules. Default false.
	Vouchers bool `yaml:"vouchers,omitempty"`
	// Notices tells merchants of their transfers.
	Notices Notices `yaml:"notices,omitempty"`
	// Across lets transfers span several ledgers.
	Across Across `yaml:"across,omitempty"`
	// Jobs says when the daily work is done.
	Jobs Jobs `yaml:"jobs,omitempty"`
}

// Notices says who is told of transfers, and when it is tried again.
type Notices struct {
	// Schedule are the pauses before further attempts, such as 1m. Default 1m, 5m, 15m, 1h, 6h, 24h.
	Schedule []string            `yaml:"schedule,omitempty"`
	Targets  []notice.TargetSpec `yaml:"targets,omitempty"`
}

// Across are the other ledgers of transfers across.
type Across struct {
	// Name is this ledger's name among them. Default main.
	Name string `yaml:"name,omitempty"`
	// Transit has this ledger's transit account by unit.
	Transit map[string]int64 `yaml:"transit,omitempty"`
	// Ledgers are the others by name; none: there are no transfers across.
	Ledgers map[string]OtherLedger `yaml:"ledgers,omitempty"`
}

// OtherLedger is another ledger database. It is taken to keep events for the same consumers as this one: vouchers and notices
// are on in the configurations of all of them, or of none.
type OtherLedger struct {
	Server  `yaml:",inline"`
	Transit map[string]int64 `yaml:"transit"`
}

// Jobs are schedules: "every 10s", or a crontab line after its time zone, "TZ=UTC 5 0 * * *"; "off" for none.
type Jobs struct {
	EndOfDay string `yaml:"end_of_day,omitempty"` // cuts the day before, freezes its balances. Default TZ=UTC 5 0 * * *
	Shards   string `yaml:"shards,omitempty"`     // makes the tables of the next 45 days. Default TZ=UTC 0 1 * * *
	Expire   string `yaml:"expire,omitempty"`     // gives back reservations whose time is over. Default every 10s
	Purge    string `yaml:"purge,omitempty"`      // forgets ids beyond the horizon. Default TZ=UTC 0 4 * * *
	Archive  string `yaml:"archive,omitempty"`    // moves what the policies say. Default TZ=UTC 0 2 * * *
}

func (c *Core) defaults() {
	if c.HorizonDays == 0 {
		c.HorizonDays = int(core.DefaultHorizon / (24 * time.Hour))
	}
	if c.Across.Name == "" {
		c.Across.Name = "main"
	}
	def := func(v *string, to string) {
		if *v == "" {
			*v = to
		}
	}
	def(&c.Jobs.EndOfDay, "TZ=UTC 5 0 * * *")
	def(&c.Jobs.Shards, "TZ=UTC 0 1 * * *")
	def(&c.Jobs.Expire, "every 10s")
	def(&c.Jobs.Purge, "TZ=UTC 0 4 * * *")
	def(&c.Jobs.Archive, "TZ=UTC 0 2 * * *")
}

// check reports everything that is wrong, without a connection. Secrets are read when the ledger is opened.
func (c *Core) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, v := range []struct {
		name  string
		value int
		most  int
	}{{"lanes", c.Lanes, 64}, {"queue_transfers", c.QueueTransfers, 1 << 20}, {"horizon_days", c.HorizonDays, 36_500}} {
		if v.value < 0 || v.value > v.most {
			bad("core: %s: %d is not between 0 and %d", v.name, v.value, v.most)
		}
	}
	if _, err := c.Notices.schedule(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.Notices.check()...)
	errs = append(errs, c.Across.check()...)
	for _, j := range c.Jobs.named() {
		if j.schedule == "off" {
			continue
		}
		if _, err := jobs.ParseSchedule(j.schedule); err != nil {
			bad("core: jobs: %s: %w", j.name, err)
		}
	}
	return errs
}

// check reports what is wrong with the targets but for their secrets.
func (n *Notices) check() (errs []error) {
	secret := strings.Repeat("x", 64)
	_, err := notice.Targets(n.Targets, func(string) string { return secret }, func(string) ([]byte, error) { return []byte(secret), nil })
	if err != nil {
		errs = append(errs, fmt.Errorf("core: notices: %w", err))
	}
	seen := map[string]bool{}
	for i, t := range n.Targets {
		if seen[t.Name] {
			errs = append(errs, fmt.Errorf("core: notices: targets[%d]: the name %q is there twice", i, t.Name))
		}
		seen[t.Name] = true
	}
	return errs
}

// check reports what is wrong with the other ledgers, and reads their passwords.
func (a *Across) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("core: across: "+format, args...)) }
	transit := func(of string, units map[string]int64) {
		if len(units) == 0 {
			bad("%stransit: an account by unit is needed", of)
		}
		for unit, id := range units {
			if !core.ValidUnit(unit) || id < 1 {
				bad("%stransit: %s: %d is not a unit and its account", of, unit, id)
			}
		}
	}
	if len(a.Ledgers) == 0 {
		return nil
	}
	transit("", a.Transit)
	names := []string{a.Name}
	for name, l := range a.Ledgers {
		if name == a.Name {
			bad("%s is this ledger's own name", name)
		}
		if err := l.check(); err != nil {
			bad("ledgers: %s: %w", name, err)
		}
		transit("ledgers: "+name+": ", l.Transit)
		a.Ledgers[name] = l
		names = append(names, name)
	}
	for _, name := range names {
		if label := (&core.Transfer{ID: name}); !label.Nameable() || len(name) > across.MaxNameBytes {
			bad("%q: a ledger's name is 1 to %d visible ASCII characters", name, across.MaxNameBytes)
		}
	}
	return errs
}

// sameDatabase says which of the ledgers are one and the same: between these nothing can be across.
func (a *Across) sameDatabase(live Server) (errs []error) {
	at := map[string]string{}
	note := func(name string, s Server) {
		cfg, err := mysql.ParseDSN(s.DSN)
		if err != nil {
			return // said elsewhere
		}
		place := cfg.Net + " " + cfg.Addr + " " + cfg.DBName
		if other, taken := at[place]; taken {
			errs = append(errs, fmt.Errorf("core: across: ledgers: %s is the database of %s", name, other))
		}
		at[place] = name
	}
	note(a.Name, live)
	for _, name := range slices.Sorted(maps.Keys(a.Ledgers)) {
		note(name, a.Ledgers[name].Server)
	}
	return errs
}

type namedSchedule struct{ name, schedule string }

func (j *Jobs) named() []namedSchedule {
	return []namedSchedule{{"end_of_day", j.EndOfDay}, {"shards", j.Shards}, {"expire", j.Expire}, {"purge", j.Purge}, {"archive", j.Archive}}
}

func (n *Notices) schedule() ([]time.Duration, error) {
	out := make([]time.Duration, len(n.Schedule))
	for i, text := range n.Schedule {
		d, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("core: notices: schedule[%d]: %q is not a time such as 5m", i, text)
		}
		out[i] = d
	}
	return out, nil
}
