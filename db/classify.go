package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"

	"strata/fault"
)

// FenceState is the SQLSTATE by which a fence's trigger refuses a write.
const FenceState = "45F01"

// FenceMessage is the message that goes with FenceState.
func FenceMessage(table string) string { return "strata: " + table + " is fenced" }

// FenceError is a write that a fence refused. The statement was undone, the transaction goes on.
type FenceError struct {
	Table string // the fenced physical table
	Err   error
}

// Error is the server's message.
func (e *FenceError) Error() string { return e.Err.Error() }

// Unwrap returns the driver's error.
func (e *FenceError) Unwrap() error { return e.Err }

// IsFence reports whether err is a fence's refusal, classified or not.
func IsFence(err error) bool {
	var f *FenceError
	if errors.As(err, &f) {
		return true
	}
	var m *mysql.MySQLError
	return errors.As(err, &m) && isFence(m)
}

func isFence(m *mysql.MySQLError) bool {
	return m.Number == 1644 && string(m.SQLState[:]) == FenceState
}

// IsNoTable reports whether the server said that a table does not exist.
func IsNoTable(err error) bool { return Number(err) == 1146 }

// Number is the server's error number, or 0 where err is not the server's.
func Number(err error) uint16 {
	var m *mysql.MySQLError
	if errors.As(err, &m) {
		return m.Number
	}
	return 0
}

// Classify gives a driver's error its kind and op. nil stays nil, and what is classified already stays as it is.
func Classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	var m *mysql.MySQLError
	if errors.As(err, &m) {
		return ofServer(op, err, m)
	}
	e := &fault.Error{Kind: fault.Internal, Op: op, Err: err}
	var n net.Error
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind = fault.Interrupted
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind = fault.Timeout
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, mysql.ErrMalformPkt),
		errors.Is(err, mysql.ErrBusyBuffer), errors.Is(err, mysql.ErrPktSync), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &n):
		e.Kind = fault.Unavailable
	case errors.Is(err, mysql.ErrNoTLS), errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrNativePassword),
		errors.Is(err, mysql.ErrUnknownPlugin):
		e.Kind = fault.Denied
	case errors.Is(err, mysql.ErrPktTooLarge):
		e.Kind = fault.TooLarge
	case errors.Is(err, sql.ErrNoRows):
		e.Kind = fault.NotFound
	}
	return e
}

// classify is Classify for a statement that ran under ctx: when ctx has ended, that is the reason, whatever the driver
// made of its closed connection.
func classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if c := ctx.Err(); c != nil {
		return Classify(op, c)
	}
	return Classify(op, err)
}

// ofServer classifies cause by what the server said.
func ofServer(op string, cause error, m *mysql.MySQLError) error {
	e := &fault.Error{Kind: serverKind(m.Number), Op: op, Err: cause}
	switch m.Number {
	case 1644:
		if isFence(m) {
			table := strings.TrimSuffix(strings.TrimPrefix(m.Message, "strata: "), " is fenced")
			e.Kind, e.Err = fault.Stale, &FenceError{Table: table, Err: cause}
		}
	case 1290, 1836:
		e.Hint = "the server is read-only: is this DSN a replica's, or did a failover happen?"
	case 1040, 1203, 1226:
		e.Hint = "the server has no free connection: raise max_connections or max_user_connections, or lower strata's"
	case 1021, 1114:
		e.Hint = "the server's disk or tablespace is full"
	case 1419:
		e.Hint = "SET GLOBAL log_bin_trust_function_creators = 1, or give the login SUPER"
	}
	return e
}

// serverKind is the table of error numbers.
func serverKind(number uint16) fault.Kind {
	switch number {
	case 1146, 1412, 1054: // no such table, definition changed, no such column
		return fault.Stale
	case 1205, 3572, 1213, 1099, 1192, 3058, 4024: // lock wait, NOWAIT, deadlock, table locked, user lock
		return fault.Busy
	case 1969, 3024: // max_statement_time, max_execution_time
		return fault.Timeout
	case 1044, 1045, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 3118, 4151:
		return fault.Denied
	case 1317:
		return fault.Interrupted
	case 2002, 2003, 2006, 2013, 1053, 1077, 1079, 1927, 1152, 1153, 1156, 1158, 1159, 1160, 1161, 1184, 1040, 1203, 1226, 1129, 1130, 1021, 1114, 3169:
		return fault.Unavailable
	case 1290, 1836, 1449: // read-only; a trigger's definer is gone
		return fault.Unsafe
	case 1062, 1451, 1452, 1557, 1586, 1761, 1762: // duplicate or foreign key
		return fault.Conflict
	case 1049, 1264, 1366, 1406, 1265, 1292, 1048, 1411, 3140, 4025:
		return fault.Invalid
	default:
		return fault.Internal
	}
}
