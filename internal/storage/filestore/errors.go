package filestore

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// fail turns any error into the store's own kind, with a fault and, where
// something can be done about it, a hint.
func (s *Store) fail(op, key string, err error) *storage.Error {
	e := &storage.Error{Op: op, Store: s.url, Key: key, Err: err, Fault: storage.FaultOf(err)}
	var own *problem
	var no unix.Errno
	if errors.As(err, &no) {
		e.Fault, e.Hint, e.Field = fault(no)
		e.Unreachable = cutOff(no)
	}
	if errors.As(err, &own) {
		e.Fault, e.Hint, e.Field, e.Clash = own.fault, own.hint, own.field, own.clash
		e.Unreachable = e.Unreachable || own.away && key != "" // a folder without objects need not be there
	}
	if e.Unreachable && e.Hint == "" {
		e.Hint = "check that the file system is mounted on the agent's machine and that its server is up"
	}
	return e
}

// cutOff reports whether an error number says that the file system has lost
// its server or its device.
func cutOff(no unix.Errno) bool {
	switch no {
	case unix.ENOTCONN, unix.ESHUTDOWN, unix.ECONNREFUSED, unix.ETIMEDOUT, unix.EHOSTDOWN,
		unix.EHOSTUNREACH, unix.ENETDOWN, unix.ENETUNREACH, unix.ENODEV:
		return true
	}
	return false
}

// fault says what an error number of the system means for a job, and which
// field of an object it is about, if it is about one.
func fault(no unix.Errno) (f work.Fault, hint string, field work.Field) {
	switch no {
	case unix.ENOENT:
		return work.NotFound, "", ""
	case unix.EACCES, unix.EPERM:
		return work.Denied, "let the agent's user read and write the folder", ""
	case unix.EROFS:
		return work.Denied, "the file system is mounted read-only", ""
	case unix.ENOSPC, unix.EDQUOT:
		return work.Transient, "the disk is full", ""
	case unix.ENAMETOOLONG, unix.EILSEQ, unix.EINVAL:
		return work.Unsupported, "the file system takes no such name", work.FieldKeys
	case unix.ENOTDIR, unix.EISDIR:
		return work.Unsupported, "one name cannot be both a file and a folder", work.FieldKeys
	case unix.EFBIG, unix.EOPNOTSUPP:
		return work.Unsupported, "", ""
	}
	return work.Transient, "", ""
}

// A problem is an error of this package with its fault.
type problem struct {
	fault work.Fault
	text  string
	hint  string
	field work.Field // what of the object cannot be held, if that is it
	clash bool       // a condition was not met
	away  bool       // the store's own folder is not there
	cause error
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.text + ": " + p.cause.Error()
	}
	return p.text
}

func (p *problem) Unwrap() error { return p.cause }

func problemf(fault work.Fault, format string, args ...any) *problem {
	return &problem{fault: fault, text: fmt.Sprintf(format, args...)}
}

// live returns the context's error as the store's own, if there is one.
func (s *Store) live(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return s.fail(op, key, err)
	}
	return nil
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// unkept is the problem of a key that cannot be kept.
func unkept(format string, args ...any) *problem {
	return &problem{fault: work.Unsupported, field: work.FieldKeys, text: fmt.Sprintf(format, args...)}
}

// clashf is the problem of a condition that was not met.
func clashf(format string, args ...any) *problem {
	return &problem{fault: work.Transient, clash: true, text: fmt.Sprintf(format, args...)}
}
