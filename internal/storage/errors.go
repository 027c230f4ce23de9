package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// An Error is any error of a store.
type Error struct {
	Op    string // get, put, list, …
	Store string // the store's URL, without secrets
	Key   string // empty when the store as a whole failed
	Fault work.Fault
	Hint  string // what the user can do about it, if that is known
	Err   error

	// Field is what of the object the store cannot hold, if that is why.
	Field work.Field
	// After is how long the store asks to be left alone; 0: it did not say.
	After time.Duration
	// Expired says that the credentials are no longer good: nothing will work,
	// for any object, until they are renewed.
	Expired bool
	// Unreachable says that nobody answers where the store should be: nothing
	// will work, for any object, until somebody does.
	Unreachable bool
	// Unequipped says that this agent was not given what the store is opened
	// with: its configuration does not know the name, or its credentials are not
	// where they should be. Another agent may have them.
	Unequipped bool
	// Clash says that something else stands under the key than PutOptions.If
	// asked for.
	Clash bool
}

// Error says what was tried, where, and what went wrong.
func (e *Error) Error() string {
	where := e.Store
	if e.Key != "" {
		where = fmt.Sprintf("%s of %s", work.Quote(e.Key), e.Store)
	}
	s := fmt.Sprintf("%s %s: %v", e.Op, where, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// FaultOf returns the fault of any error: its own if it is an *Error, else
// what its kind suggests. It returns "" for nil.
func FaultOf(err error) work.Fault {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Fault
	case errors.Is(err, fs.ErrNotExist):
		return work.NotFound
	case errors.Is(err, fs.ErrPermission):
		return work.Denied
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return work.Transient
	}
	return work.Transient
}

// Is reports whether err has the fault.
func Is(err error, f work.Fault) bool { return err != nil && FaultOf(err) == f }

// Clashed reports whether err says that PutOptions.If was not met.
func Clashed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Clash
}
