package node

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/goccy/go-yaml"

	"strata/fault"
)

// Public is the configuration without its secrets.
func (c Config) Public() Config {
	for _, s := range []*Server{&c.Live, &c.Archive, &c.Control} {
		s.hide()
	}
	one := Server{DSN: c.Offline.DSN}
	one.hide()
	c.Offline.DSN = one.DSN
	c.Offline.Endpoints = slices.Clone(c.Offline.Endpoints)
	for i := range c.Offline.Endpoints {
		c.Offline.Endpoints[i].hide()
	}
	c.Core.Across.Ledgers = maps.Clone(c.Core.Across.Ledgers)
	for name, l := range c.Core.Across.Ledgers {
		l.hide()
		c.Core.Across.Ledgers[name] = l
	}
	c.Core.Notices.Targets = slices.Clone(c.Core.Notices.Targets)
	for i := range c.Core.Notices.Targets {
		t := &c.Core.Notices.Targets[i]
		if before, _, query := strings.Cut(t.URL, "?"); query {
			t.URL = before + "?***"
		}
	}
	return c
}

// hide replaces the password.
func (s *Server) hide() {
	if cfg, err := mysql.ParseDSN(s.DSN); err == nil && cfg.Passwd != "" {
		cfg.Passwd = "***"
		s.DSN = cfg.FormatDSN()
	}
}

// EffectiveJSON is Effective as JSON.
func (c Config) EffectiveJSON() ([]byte, error) {
	text, err := c.Effective()
	if err != nil {
		return nil, err
	}
	b, err := yaml.YAMLToJSON([]byte(text))
	return b, fault.Wrap(fault.Internal, "print configuration", err)
}

// Effective is the configuration as it is in force, as YAML, without its secrets.
func (c Config) Effective() (string, error) {
	b, err := yaml.Marshal(c.Public())
	return string(b), fault.Wrap(fault.Internal, "print configuration", err)
}
