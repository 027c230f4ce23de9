package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// The exit statuses. New ones may appear; an unknown one is a failure.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2  // the command line or the configuration is wrong
	ExitIncomplete  = 3  // finished, with failed objects
	ExitDenied      = 4  // not allowed
	ExitUnreachable = 5  // a server cannot be reached
	ExitMismatch    = 6  // bytes are not what they should be
	ExitCanceled    = 10 // canceled, or stopped before the end
)

// A failure is an error with the status it ends the process with and, where
// that is known, what to do next.
type failure struct {
	status int
	err    error
	next   string
}

// Error returns what went wrong and why.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

// fail returns err as a failure. next may be empty.
func fail(status int, err error, next string) error {
	return &failure{status: status, err: err, next: next}
}

// usage returns a failure of the command line.
func usage(next, format string, args ...any) error {
	return fail(ExitUsage, fmt.Errorf(format, args...), next)
}

// status returns the exit status that err stands for.
func status(err error) int {
	var f *failure
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &f):
		return f.status
	case errors.Is(err, context.Canceled):
		return ExitCanceled
	}
	return ExitFailed
}

// report tells people about err: what and why, then what to do next.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "tranship: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	var f *failure
	if errors.As(err, &f) && f.next != "" {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(f.next, "\n", "\n  "))
	}
}

// jobEnd returns what the state of an ended job means to its command.
func jobEnd(job work.Job) error {
	switch job.State {
	case work.Succeeded:
		return nil
	case work.Incomplete:
		return fail(ExitIncomplete, fmt.Errorf("job %d finished with %s failed objects", job.ID, count(job.Failed)), "")
	case work.Canceled:
		return fail(ExitCanceled, fmt.Errorf("job %d was canceled", job.ID), "")
	case work.JobFailed:
		return fail(ExitFailed, fmt.Errorf("job %d failed: %s", job.ID, work.Quote(job.Error)), "")
	}
	return fail(ExitFailed, fmt.Errorf("job %d is still %s", job.ID, job.State), "")
}

// withAdvice adds a line to what to do next after a failure.
func withAdvice(err error, line string) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	return fail(f.status, f.err, strings.TrimPrefix(f.next+"\n"+line, "\n"))
}

// withNext adds what to do next to a failure that says nothing of it and that
// is about failed objects.
func withNext(err error, next string) error {
	var f *failure
	if errors.As(err, &f) && f.status == ExitIncomplete && f.next == "" {
		return fail(f.status, f.err, next)
	}
	return err
}
