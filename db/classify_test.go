package db_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/go-sql-driver/mysql"

	"strata/db"
	"strata/fault"
)

func TestClassify(t *testing.T) {
	server := func(n uint16) error { return &mysql.MySQLError{Number: n, Message: "m"} }
	for name, c := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"no such table":           {server(1146), fault.Stale},
		"definition changed":      {server(1412), fault.Stale},
		"no such column":          {server(1054), fault.Stale},
		"lock wait":               {server(1205), fault.Busy},
		"NOWAIT":                  {server(3572), fault.Busy},
		"deadlock":                {server(1213), fault.Busy},
		"MariaDB's limit":         {server(1969), fault.Timeout},
		"MySQL's limit":           {server(3024), fault.Timeout},
		"schema denied":           {server(1044), fault.Denied},
		"login denied":            {server(1045), fault.Denied},
		"table denied":            {server(1142), fault.Denied},
		"column denied":           {server(1143), fault.Denied},
		"privilege":               {server(1227), fault.Denied},
		"killed query":            {server(1317), fault.Interrupted},
		"shutdown":                {server(1053), fault.Unavailable},
		"killed connection":       {server(1927), fault.Unavailable},
		"read-only option":        {server(1290), fault.Unsafe},
		"read-only mode":          {server(1836), fault.Unsafe},
		"unknown schema":          {server(1049), fault.Invalid},
		"duplicate":               {server(1062), fault.Conflict},
		"too many connections":    {server(1040), fault.Unavailable},
		"syntax":                  {server(1064), fault.Internal},
		"another signal":          {server(1644), fault.Internal},
		"unknown number":          {server(9999), fault.Internal},
		"dead connection":         {driver.ErrBadConn, fault.Unavailable},
		"invalid connection":      {mysql.ErrInvalidConn, fault.Unavailable},
		"refused":                 {&net.OpError{Op: "dial", Err: errors.New("refused")}, fault.Unavailable},
		"cancelled":               {context.Canceled, fault.Interrupted},
		"deadline":                {context.DeadlineExceeded, fault.Timeout},
		"wrapped":                 {fmt.Errorf("x: %w", server(1205)), fault.Busy},
		"something else":          {errors.New("x"), fault.Internal},
		"already classified":      {fault.New(fault.Proof, "a", "b"), fault.Proof},
		"classified, and wrapped": {fmt.Errorf("x: %w", fault.New(fault.Proof, "a", "b")), fault.Proof},
	} {
		t.Run(name, func(t *testing.T) {
			got := db.Classify("op", c.err)
			wantKind(t, got, c.want)
			if !errors.Is(got, c.err) {
				t.Errorf("%v lost its cause", got)
			}
		})
	}
	if db.Classify("op", nil) != nil {
		t.Error("nil became an error")
	}
	if db.IsFence(server(1644)) || !db.IsNoTable(server(1146)) || db.IsNoTable(nil) || db.Number(errors.New("x")) != 0 {
		t.Error("a number is misread")
	}
}

func TestQuote(t *testing.T) {
	if got := db.Quote("a`b", "c"); got != "`a``b`.`c`" {
		t.Error(got)
	}
}
