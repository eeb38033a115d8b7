package node

import (
	"fmt"
	"strings"
	"time"

	"strata/core"
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

// OtherLedger is another ledger database.
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
	for i, t := range c.Notices.Targets {
		if t.Name == "" || t.URL == "" {
			bad("core: notices: targets[%d]: name and url are needed", i)
		}
	}
	for name, l := range c.Across.Ledgers {
		if name == c.Across.Name {
			bad("core: across: %s is this ledger's own name", name)
		}
		if err := l.check(); err != nil {
			bad("core: across: ledgers: %s: %w", name, err)
		}
		if len(l.Transit) == 0 {
			bad("core: across: ledgers: %s: a transit account by unit is needed", name)
		}
		c.Across.Ledgers[name] = l
	}
	if len(c.Across.Ledgers) > 0 && len(c.Across.Transit) == 0 {
		bad("core: across: a transit account of this ledger by unit is needed")
	}
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
