//go:build hold

package strata

import (
	_ "github.com/expr-lang/expr"
	_ "github.com/netresearch/go-cron"
	_ "golang.org/x/time/rate"
)
