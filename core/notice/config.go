package notice

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
)

const (
	maxTargets   = 4_096            // each has its own connections
	maxNameBytes = 64               // the column's width
	minSecret    = 16               // bytes; a shorter one can be guessed
	claimSize    = 4                // notices per lease: saves statements, and is little to wait for after a crash
	leaseMargin  = 20 * time.Second // for the statements around the sending
	defaultTime  = 10 * time.Second
	defaultPoll  = time.Second
)

// Key signs what is sent to a target.
type Key struct {
	ID     string // visible ASCII without comma and equals sign
	Secret []byte // at least 16 bytes
}

// String keeps the secret out of texts.
func (k Key) String() string { return "key " + k.ID }

// LogValue keeps the secret out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Target is where notices go. The first target in the configuration that wants a transfer gets it.
type Target struct {
	Name    string   // unique; rows keep it
	URL     string   // https, or http on loopback
	Tenants []string // whose transfers; none: everybody's
	Kinds   []string // which operations; none: all
	// Accounts are the ones whose legs the target may see; none: all legs.
	Accounts []int64
	Keys     []Key // one, or two while they are rotated
	// AllowHTTP lets URL be http to other machines: bodies can be read on the way.
	AllowHTTP bool
}

func (t *Target) wants(x *core.Transfer) bool {
	return (len(t.Tenants) == 0 || slices.Contains(t.Tenants, x.Tenant)) && (len(t.Kinds) == 0 || slices.Contains(t.Kinds, x.Kind))
}

// Config is what New needs.
type Config struct {
	// DB is a pool opened for db.Writer, for the table notice. It is not closed.
	DB   *db.DB
	Feed core.Feed // of core.ForNotices
	// Targets in the order of their choice; none: everything that comes is done without a notice.
	Targets []Target
	// Schedule is the pause before each further attempt; after the last one fails the notice is given up. Empty: Schedule().
	Schedule []time.Duration
	// Timeout bounds one attempt. 0: 10 s.
	Timeout time.Duration
	// Lease is how long a process may hold what it sends; at least 4 timeouts and 20 s, which is what 0 means.
	Lease time.Duration
	// Concurrency is how many notices are sent to one target at a time. 0: 4.
	Concurrency int
	// Poll is how often Run looks for something to do when nobody calls Wake. 0: 1 s.
	Poll time.Duration
	// Now is the clock; nil: the database's.
	Now func() time.Time
	// TLS is for targets with a certificate authority of their own; nil: the system's.
	TLS *tls.Config
	// Log may be nil.
	Log *slog.Logger
	// At is hit at the named crash points; nil: none.
	At func(point string) error
}

// Schedule is the default: 1, 5 and 15 minutes, 1 hour, 6 hours, then three days in steps of one.
func Schedule() []time.Duration {
	const day = 24 * time.Hour
	return []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, day, day, day}
}

// CrashPoints lists the points of At.
func CrashPoints() []string {
	return []string{"notice.before_take", "notice.after_take", "notice.after_done", "notice.before_claim", "notice.after_claim",
		"notice.before_send", "notice.after_send", "notice.after_record", "notice.before_resend", "notice.after_resend"}
}

// check reports all that is wrong and fills in the defaults.
func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, "configure notices", format, args...))
	}
	if c.DB == nil || c.Feed == nil {
		bad("no database or no feed")
	} else if c.DB.Purpose() != db.Writer {
		bad("the database is opened for a %s instead of a writer", c.DB.Purpose())
	}
	if len(c.Schedule) == 0 {
		c.Schedule = Schedule()
	}
	for i, pause := range c.Schedule {
		if pause <= 0 {
			bad("schedule[%d] is %s; a pause is above 0", i, pause)
		}
	}
	if c.Timeout < 0 || c.Lease < 0 || c.Poll < 0 || c.Concurrency < 0 {
		bad("a timeout, lease, poll or concurrency is below 0")
	}
	c.defaults()
	if least := claimSize*c.Timeout + leaseMargin; c.Lease < least {
		bad("the lease is %s; with a timeout of %s it is at least %s", c.Lease, c.Timeout, least)
	}
	if len(c.Targets) > maxTargets {
		bad("%d targets; at most %d are possible", len(c.Targets), maxTargets)
	}
	names := map[string]bool{}
	for i := range c.Targets {
		t := &c.Targets[i]
		if names[t.Name] {
			bad("two targets are named %q", t.Name)
		}
		names[t.Name] = true
		errs = append(errs, t.Validate())
	}
	return errors.Join(errs...)
}

func (c *Config) defaults() {
	if c.Timeout == 0 {
		c.Timeout = defaultTime
	}
	if c.Lease == 0 {
		c.Lease = claimSize*c.Timeout + leaseMargin
	}
	if c.Poll == 0 {
		c.Poll = defaultPoll
	}
	if c.Concurrency == 0 {
		c.Concurrency = 4
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate reports everything that is wrong with the target, joined (fault.Invalid), and never a secret.
func (t *Target) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, fmt.Sprintf("check notice target %q", t.Name), format, args...))
	}
	if !visible(t.Name, maxNameBytes) {
		bad("the name is not 1 to %d visible ASCII characters", maxNameBytes)
	}
	if why := checkURL(t.URL, t.AllowHTTP); why != "" {
		bad("url: %s", why)
	}
	if len(t.Keys) < 1 || len(t.Keys) > 2 {
		bad("%d keys; a target has one, or two while they are rotated", len(t.Keys))
	}
	for i, k := range t.Keys {
		if !visible(k.ID, 32) || slices.ContainsFunc([]byte(k.ID), func(c byte) bool { return c == ',' || c == '=' }) {
			bad("keys[%d]: the id is not 1 to 32 visible ASCII characters without comma and equals sign", i)
		}
		if len(k.Secret) < minSecret {
			bad("keys[%d]: the secret has %d bytes; at least %d are asked for", i, len(k.Secret), minSecret)
		}
	}
	if len(t.Keys) == 2 && t.Keys[0].ID == t.Keys[1].ID {
		bad("both keys have the id %q", t.Keys[0].ID)
	}
	return errors.Join(errs...)
}

func checkURL(text string, allowHTTP bool) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "it is not a URL" // its text may hold a password
	case u.User != nil:
		return "a login in it would be logged everywhere; receivers check the signature"
	case u.Fragment != "":
		return "a fragment is never sent"
	case u.Hostname() == "":
		return "it has no host"
	case u.Scheme == "https", u.Scheme == "http" && (allowHTTP || loopback(u.Hostname())):
		return ""
	case u.Scheme == "http":
		return "http to another machine can be read on the way; use https, or say allow_http"
	}
	return fmt.Sprintf("scheme %q; https is needed", u.Scheme)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func visible(s string, limit int) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= limit
}
