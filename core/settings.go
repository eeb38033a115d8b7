package core

import "time"

// Settings is what changes at run time, as one versioned document. Every batch works by the version that it reads under
// lock, so a change is in force from the next batch on.
type Settings struct {
	Limits     []Limit    `json:"limits,omitempty"`
	Rates      []Rate     `json:"rates,omitempty"`
	Off        []Switch   `json:"off,omitempty"`
	Strategies []Strategy `json:"strategies,omitempty"`
}

// Limit bounds what passes. Amounts are sums of debits, minor units of Unit; accounts without it are not counted, nor are
// transfers without a tenant for a limit of tenants.
type Limit struct {
	Name  string `json:"name"`  // unique; visible ASCII, at most 48
	Scope string `json:"scope"` // account, tenant, operation (the transfer's kind), ledger
	Match string `json:"match"` // one account's id, tenant or operation; "" : each of them by itself
	// Kinds are the operations that count; none: all.
	Kinds     []string `json:"kinds,omitempty"`
	Unit      string   `json:"unit"`
	Per       string   `json:"per"`                  // transfer, day, month: of the accounting date
	MaxAmount *int64   `json:"max_amount,omitempty"` // minor units
	MaxCount  *int64   `json:"max_count,omitempty"`  // transfers; not per transfer. One of both is there
}

// Use is how much of a Limit is used: (limit, subject, period) is its key.
type Use struct {
	Limit   string
	Subject string // the account's id, the tenant, the operation, or ""
	Period  string // 2026-11-22 or 2026-11
	Amount  int64
	Count   int64
}

// Rate bounds how often callers may ask, in one process, by a token bucket for each value of its key.
type Rate struct {
	Name      string  `json:"name"`
	Key       string  `json:"key"` // account, tenant, operation, client
	PerSecond float64 `json:"per_second"`
	Burst     int     `json:"burst"`
}

// Switch turns an operation off, for everybody or for one tenant or account.
type Switch struct {
	Operation string `json:"operation"`         // a kind, or * for all
	Tenant    string `json:"tenant,omitempty"`  // "": all
	Account   int64  `json:"account,omitempty"` // 0: all
}

// Strategy says how the balance of an account is split by where the money came from. Natures are spent in their order here.
type Strategy struct {
	Name    string       `json:"name"`
	Default string       `json:"default"` // the nature of a credit that names none and inherits none
	Natures []NatureRule `json:"natures"`
}

// NatureRule is what a nature may be debited for.
type NatureRule struct {
	Name     string   `json:"name"`               // visible ASCII without quote and backslash, at most 24
	Kinds    []string `json:"kinds,omitempty"`    // operations; none: all
	Products []string `json:"products,omitempty"` // it buys these only; none: no restriction
	// RefundOnly: debited only by a Reverse of the transfer that brought it in.
	RefundOnly bool `json:"refund_only,omitempty"`
}

// Version is one version of the settings in their history.
type Version struct {
	Number   int64
	Settings Settings
	Author   string
	Reason   string
	At       time.Time
}
