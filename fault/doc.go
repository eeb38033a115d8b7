// Package fault is the one error type of strata.
//
// Purpose: every error that crosses a room's border says what kind of error it is, which object it is about, what
// caused it and, where the operator can act, what to do next. Front doors (the command line, HTTP, GraphQL, the
// MySQL protocol) turn the Kind into their own code by the one table in this package; nobody matches on text.
//
// Guarantees:
//   - KindOf of an error is the Kind of the outermost *Error in its chain; context.Canceled is Interrupted and
//     context.DeadlineExceeded is Timeout where no *Error stands before them; everything else is Internal.
//   - HintOf is the outermost non-empty Hint of the chain.
//   - Error() reads "verb object: cause", without the Hint: the front door prints the Hint on a line of its own.
//
// What it does not do: no stack traces, no logging, no codes chosen by the caller.
package fault
