package gcsstore

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	gcs "cloud.google.com/go/storage"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A clash is the service's word that a condition of the object to be stored was
// not met.
type clash struct{ err error }

func (c *clash) Error() string { return c.err.Error() }
func (c *clash) Unwrap() error { return c.err }

// over returns the generation that an object must have to be replaced, 0 for
// none, nil for whichever.
func over(c storage.Condition) (generation *int64, err error) {
	if c == (storage.Condition{}) {
		return nil, nil
	}
	generation = new(int64)
	if c.ETag != "" {
		if *generation, err = strconv.ParseInt(c.ETag, 10, 64); err != nil {
			return nil, &clash{refuse(work.Invalid, "%q is no version of this store's", c.ETag)}
		}
	}
	return generation, nil
}

// conditions are over as Google's client takes it.
func conditions(c storage.Condition) (gcs.Conditions, error) {
	generation, err := over(c)
	if err != nil || *generation == 0 {
		return gcs.Conditions{DoesNotExist: true}, err
	}
	return gcs.Conditions{GenerationMatch: *generation}, nil
}

// clashed tells what a refusal of a conditional request is for.
func clashed(err error, c storage.Condition) error {
	e := told(err)
	switch {
	case e == nil || c == (storage.Condition{}):
	case e.status == http.StatusPreconditionFailed, c.ETag != "" && gone(err):
		return &clash{err}
	}
	return err
}

// isClash reports whether err is one.
func isClash(err error) bool {
	var c *clash
	return errors.As(err, &c)
}

// meets looks whether a condition is met right now, for requests that carry
// none.
func (s *Store) meets(ctx context.Context, name string, c storage.Condition) error {
	want, err := over(c)
	if err != nil || want == nil {
		return err
	}
	now, err := s.attrs(ctx, s.object(name))
	switch {
	case gone(err):
		now = &gcs.ObjectAttrs{}
	case err != nil:
		return err
	}
	if now.Generation != *want {
		return &clash{refuse(work.SrcChanged, "generation %d stands there, not %d", now.Generation, *want)}
	}
	return nil
}
