package workspace

import (
	"errors"
	"fmt"
)

// Kind tells a caller what to do about an error.
type Kind string

// The kinds. An error that is not an *Error is Internal.
const (
	Internal     Kind = "internal"     // the server is at fault; clients learn nothing about it
	Invalid      Kind = "invalid"      // the caller must send something else
	NotFound     Kind = "not-found"    // there is no such thing
	Conflict     Kind = "conflict"     // the request does not fit what is stored
	Stale        Kind = "stale"        // the thing changed since the caller read it
	Unavailable  Kind = "unavailable"  // the same call may succeed later
	Unauthorized Kind = "unauthorized" // the server does not know the caller
	Forbidden    Kind = "forbidden"    // the caller may not do this
	Gone         Kind = "gone"         // the thing existed and is no longer kept
	Limited      Kind = "limited"      // the caller must slow down
	BadGateway   Kind = "bad-gateway"  // the workspace's agent gave no answer that can be passed on
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{Internal, Invalid, NotFound, Conflict, Stale, Unavailable, Unauthorized, Forbidden, Gone, Limited, BadGateway}
}

// Error carries a message that clients may read, and a cause that only the log
// may contain.
type Error struct {
	Kind    Kind
	Message string
	Err     error
}

// Error returns both texts, for the log.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of a kind, whose whole text clients may read.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of a kind that shows clients message and hides err.
func Wrap(kind Kind, message string, err error) error {
	return &Error{Kind: kind, Message: message, Err: err}
}

// KindOf returns the kind of the outermost *Error in err's chain.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Message returns what a client may read about err.
func Message(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Internal {
		return e.Message
	}
	return "The server failed to answer. Its log says why: look for the request id."
}
