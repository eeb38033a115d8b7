package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what class of error this is. The zero value is Internal: an error nobody classified.
type Kind uint8

const (
	// Internal is an error nobody classified: a broken invariant, a bug.
	Internal Kind = iota
	// Invalid is bad input: configuration, flags, SQL, a filter, a forged cursor. The caller must change something.
	Invalid
	// NotFound is a thing that does not exist: a dataset, an account, a transfer.
	NotFound
	// Conflict is the same id with another body, or a compare-and-set that lost.
	Conflict
	// Proof is a proof that failed: rows differ, sums differ, a gap was found.
	Proof
	// Denied is a server or a policy that refuses the caller: a login, a privilege, a role.
	Denied
	// Unsafe is a server or a state in which strata will not work because data could be lost.
	Unsafe
	// Unavailable is a server that is away or answered partly.
	Unavailable
	// Timeout is a limit of time that was reached.
	Timeout
	// Busy is a lock, a queue or a folder held by somebody else: try again later.
	Busy
	// TooLarge is a request that cannot be answered within the stated bounds.
	TooLarge
	// Stale is an answer that would have been built on an outdated view: the range moved, the table changed. The
	// router plans again when it sees it.
	Stale
	// Interrupted is a stop that was asked for.
	Interrupted
)

// Code is how each front door shows a Kind.
type Code struct {
	Name  string // stable, lower case, for JSON and GraphQL's extensions.code
	Exit  int    // the process exit code
	HTTP  int    // the HTTP status
	MySQL uint16 // the MySQL error number
}

// Code returns the row of the table for k.
func (k Kind) Code() Code {
	switch k {
	case Invalid:
		return Code{"invalid", 2, 400, 1064}
	case NotFound:
		return Code{"not_found", 2, 404, 1146}
	case Conflict:
		return Code{"conflict", 3, 409, 1062}
	case Proof:
		return Code{"proof_failed", 1, 500, 1105}
	case Denied:
		return Code{"denied", 3, 403, 1045}
	case Unsafe:
		return Code{"unsafe", 3, 503, 1235}
	case Unavailable:
		return Code{"unavailable", 3, 503, 2013}
	case Timeout:
		return Code{"timeout", 3, 504, 3024}
	case Busy:
		return Code{"busy", 4, 429, 1205}
	case TooLarge:
		return Code{"too_large", 2, 422, 1104}
	case Stale:
		return Code{"stale", 3, 409, 1412}
	case Interrupted:
		return Code{"interrupted", 130, 499, 1317}
	default:
		return Code{"internal", 3, 500, 1105}
	}
}

// String is the stable name of the kind.
func (k Kind) String() string { return k.Code().Name }

// Error is the one error type. Op is "verb object" in lower case ("read checkpoint"); Object is the name of the thing
// where it is not clear from Op ("dataset entry"); Err is the cause and may be nil; Hint tells the operator what to do
// and may be empty.
type Error struct {
	Kind   Kind
	Op     string
	Object string
	Err    error
	Hint   string
}

// Error reads "op object: cause".
func (e *Error) Error() string {
	s := e.Op
	if e.Object != "" {
		if s != "" {
			s += " "
		}
		s += e.Object
	}
	if e.Err == nil {
		return s
	}
	if s == "" {
		return e.Err.Error()
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of a kind. op and object are as in Error; format and args describe the cause and may use %w.
func New(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind and an op. It returns nil when err is nil.
func Wrap(kind Kind, op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Op: op, Err: err}
}

// WithHint sets the hint and returns e, for use in a return statement.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// KindOf returns the kind of err as the package comment says; Internal for nil must not be asked for.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Timeout
	}
	return Internal
}

// Is reports whether err has kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// HintOf returns the outermost hint of err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// ExitCode is the process exit code for err: 0 for nil.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	return KindOf(err).Code().Exit
}
