package web

import "errors"

// A Trouble is an error with words that anybody may read.
type Trouble struct {
	Of  string // what is in trouble, as a sentence about it begins
	Why string // follows that, and holds no address, name or secret
	Err error  // all there is to know, for the log
}

// Error implements error.
func (t *Trouble) Error() string { return t.Of + " " + t.Why + ": " + t.Err.Error() }

// Unwrap returns Err.
func (t *Trouble) Unwrap() error { return t.Err }

// whyOf returns what anybody may know of the error of a dependency.
func whyOf(err error) string {
	var t *Trouble
	if errors.As(err, &t) {
		return t.Why
	}
	return "does not answer"
}
