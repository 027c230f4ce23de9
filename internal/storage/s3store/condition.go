package s3store

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// conditionless says which conditions the server was seen to refuse, in which
// way of storing an object. It is not asked for those again.
type conditionless struct{ put, copy, commit refusals }

// refusals are by sort of condition: servers are known to have one without the
// other.
type refusals struct{ absent, match atomic.Bool }

// of returns whether conditions like c are refused.
func (r *refusals) of(c storage.Condition) *atomic.Bool {
	if c.Absent {
		return &r.absent
	}
	return &r.match
}

// A clash is the server's word that a condition was not met.
type clash struct{ err error }

func (c *clash) Error() string { return c.err.Error() }
func (c *clash) Unwrap() error { return c.err }

// under makes a request that stores an object on a condition. A server that
// refuses the condition itself, and not the object, is asked without; refuses
// remembers that.
func (s *Store) under(ctx context.Context, c storage.Condition, refuses *refusals, r *request) (http.Header, []byte, error) {
	if c == (storage.Condition{}) || refuses.of(c).Load() {
		return s.roundTrip(ctx, r)
	}
	name, value := "If-Match", quote(c.ETag)
	if c.Absent {
		name, value = "If-None-Match", "*"
	}
	r.header[name] = []string{value}
	r.check = func(ctx context.Context) error { return s.meets(ctx, strings.TrimPrefix(r.key, s.prefix), c) }
	answer, body, err := s.roundTrip(ctx, r)
	if f := faultOf(err); s.client.amazon || f != work.Unsupported && f != work.Invalid {
		return answer, body, clashed(err, c)
	}
	if !r.rewind() {
		return nil, nil, s.blameCondition(ctx, c, err)
	}
	r.header, r.check = r.header.Clone(), nil // the transport may not be done with the old one
	delete(r.header, name)
	answer, body, err = s.roundTrip(ctx, r)
	if err == nil {
		refuses.of(c).Store(true)
	}
	return answer, body, err
}

// meets looks whether a condition is met, after the connection broke: a server
// that refuses a body may hang up before it is heard.
func (s *Store) meets(ctx context.Context, key string, c storage.Condition) error {
	now, err := s.head(ctx, key, http.Header{})
	missing := faultOf(err) == work.NotFound && !noBucket(err)
	switch {
	case err != nil && !missing:
		return nil // it is not known
	case missing && c.ETag != "":
		return &clash{refuse(work.SrcChanged, "version %q is gone", c.ETag)}
	case !missing && c.Absent, !missing && now.ETag != c.ETag:
		return &clash{refuse(work.SrcChanged, "version %q stands there", now.ETag)}
	}
	return nil
}

// blameCondition finds out, by a made-up object that is stored under a condition
// like c, whether it was for its condition that the server refused a body that
// cannot be sent again. If so the next attempt goes without. What can be replaced
// under its ETag must be there first.
func (s *Store) blameCondition(ctx context.Context, c storage.Condition, refused error) error {
	key, versions := s.prefix+probeName(), []string(nil)
	store := func(c storage.Condition) (http.Header, error) {
		r := &request{method: http.MethodPut, key: key, header: make(http.Header, 4), body: strings.NewReader("x"), size: 1}
		answer, _, err := s.under(ctx, c, &s.unconditional.put, r)
		if err == nil {
			versions = append(versions, answer.Get(versionID))
		}
		return answer, err
	}
	var err error
	if !c.Absent {
		var made http.Header
		made, err = store(storage.Condition{})
		c.ETag = unquote(made.Get("Etag"))
	}
	if err == nil {
		_, err = store(c)
	}
	s.remove(ctx, key, versions)
	switch {
	case s.unconditional.put.of(c).Load():
		return refuse(work.Transient, "the server does not know this condition; the next attempt goes without: %v", refused)
	case passing(err):
		return err // so nothing was found out
	}
	return refused
}

// clashed tells what a refusal of a conditional request is for.
func clashed(err error, c storage.Condition) error {
	var api *apiError
	if !errors.As(err, &api) {
		return err
	}
	switch {
	case api.status == http.StatusPreconditionFailed, api.Code == "PreconditionFailed", api.Code == "ConditionalRequestConflict",
		c.ETag != "" && api.Code == "NoSuchKey":
		return &clash{err}
	}
	return err
}
