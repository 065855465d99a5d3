package workspace

import (
	"errors"
	"fmt"
)

// Kind tells a caller what to do about an error.
type Kind string

// The kinds. An error that is none of ours is Internal.
const (
	Internal     Kind = "internal"     // a fault of the server; nothing about it is told
	Invalid      Kind = "invalid"      // the caller has to send something else
	NotFound     Kind = "not-found"    // there is no such thing
	Conflict     Kind = "conflict"     // it does not go together with what is stored
	Stale        Kind = "stale"        // it changed since the caller read it
	Unavailable  Kind = "unavailable"  // the same call may succeed later
	Unauthorized Kind = "unauthorized" // it is not known who calls
	Forbidden    Kind = "forbidden"    // whoever calls may not do this
	Gone         Kind = "gone"         // it was there, and is not kept any more
	Limited      Kind = "limited"      // the caller has to slow down
	BadGateway   Kind = "bad-gateway"  // the workspace's agent gave no answer that can be passed on
)

// Error carries a message that is safe to show to a client, and a cause that
// is not and belongs in the log.
type Error struct {
	Kind    Kind
	Message string
	Err     error
}

// Error prints both texts; it is for the log.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of a kind. All of its text is shown to the client.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of a kind that shows message and hides err.
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
	return "The server failed to answer. Its log says why, under the request id."
}
