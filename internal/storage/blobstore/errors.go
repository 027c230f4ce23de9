package blobstore

import (
	"context"
	"errors"

	"gocloud.dev/gcerrors"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func (s *Store) fail(op, key string, fault work.Fault, err error) error {
	return &storage.Error{Op: op, Store: s.url, Key: key, Fault: fault, Err: err}
}

// blame is fail for an error of the bucket, whose fault it finds out.
func (s *Store) blame(op, key string, err error) error {
	e := &storage.Error{Op: op, Store: s.url, Key: key, Err: err}
	if s.driver.Fault != nil {
		e.Fault = s.driver.Fault(err)
	}
	if e.Fault == "" {
		e.Fault = fault(err)
	}
	if e.Fault == work.Denied {
		e.Hint = "check the credentials in the agent's environment and what they allow"
	}
	return e
}

// fault reads an error as gocloud does. What gocloud cannot tell is taken to pass.
func fault(err error) work.Fault {
	var own *storage.Error
	if errors.As(err, &own) {
		return own.Fault
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return work.Transient
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return work.NotFound
	case gcerrors.PermissionDenied:
		return work.Denied
	case gcerrors.InvalidArgument:
		return work.Invalid
	case gcerrors.FailedPrecondition, gcerrors.AlreadyExists:
		return work.SrcChanged
	case gcerrors.ResourceExhausted:
		return work.Throttled
	case gcerrors.Unimplemented:
		return work.Unsupported
	}
	return work.Transient
}

// check refuses a context that is over and keys that the driver would change,
// and returns the key as the bucket knows it.
func (s *Store) check(ctx context.Context, op, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", s.fail(op, key, work.Transient, err)
	}
	if key == "" {
		return "", s.fail(op, key, work.Invalid, errors.New("an object needs a key"))
	}
	if err := s.driver.Safe(s.prefix + key); err != nil {
		return "", s.fail(op, key, work.Unsupported, err)
	}
	return s.prefix + key, nil
}
