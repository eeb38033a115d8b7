package notice

import (
	"bytes"
	"errors"
	"fmt"

	"strata/fault"
)

// TargetSpec is a Target as a configuration file has it: without secrets.
type TargetSpec struct {
	Name      string    `yaml:"name"`
	URL       string    `yaml:"url"`
	Tenants   []string  `yaml:"tenants,omitempty"`
	Kinds     []string  `yaml:"kinds,omitempty"`
	Accounts  []int64   `yaml:"accounts,omitempty"`
	Keys      []KeySpec `yaml:"keys"`
	AllowHTTP bool      `yaml:"allow_http,omitempty"`
}

// KeySpec says where a key's secret is: in a variable of the environment or in a file, one of the two.
type KeySpec struct {
	ID   string `yaml:"id"`
	Env  string `yaml:"env,omitempty"`
	File string `yaml:"file,omitempty"`
}

// Targets reads the specs' secrets and checks the targets; all that is wrong comes at once (fault.Invalid). Line ends at
// the end of a file are not part of its secret.
func Targets(specs []TargetSpec, getenv func(string) string, readFile func(string) ([]byte, error)) ([]Target, error) {
	out := make([]Target, 0, len(specs))
	var errs []error
	for _, s := range specs {
		t := Target{Name: s.Name, URL: s.URL, Tenants: s.Tenants, Kinds: s.Kinds, Accounts: s.Accounts, AllowHTTP: s.AllowHTTP}
		readable := true
		for i, k := range s.Keys {
			secret, err := k.read(getenv, readFile)
			if err != nil {
				errs = append(errs, fault.Wrap(fault.Invalid, fmt.Sprintf("check notice target %q: keys[%d]", s.Name, i), err))
				readable = false
				continue
			}
			t.Keys = append(t.Keys, Key{ID: k.ID, Secret: secret})
		}
		if readable {
			errs = append(errs, t.Validate())
		}
		out = append(out, t)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

func (k KeySpec) read(getenv func(string) string, readFile func(string) ([]byte, error)) ([]byte, error) {
	switch {
	case (k.Env == "") == (k.File == ""):
		return nil, errors.New("say env or file, one of the two")
	case k.Env != "":
		secret := getenv(k.Env)
		if secret == "" {
			return nil, fmt.Errorf("the variable %s is not set", k.Env)
		}
		return []byte(secret), nil
	}
	raw, err := readFile(k.File)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	return bytes.TrimRight(raw, "\r\n"), nil
}
