package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An Opener opens the stores that jobs name as the configuration says: a name
// becomes a URL, and credentials are read where the configuration says that
// they are, anew each time. Stores that it does not know are opened with what
// the process has in its environment.
type Opener struct {
	Drivers storage.Drivers
	Known   config.Stores
	Lookup  func(string) (string, bool) // of the environment; nil: os.LookupEnv
}

// Open opens the store that raw names.
func (o Opener) Open(ctx context.Context, raw string) (storage.Store, error) {
	p, err := o.resolve(raw)
	if err != nil {
		return nil, err
	}
	c, err := o.credentials(raw, p)
	if err != nil {
		return nil, err
	}
	return o.Drivers.Open(ctx, p.URL, c)
}

// resolve returns what a job's URL comes to.
func (o Opener) resolve(raw string) (config.Place, error) {
	if _, err := storage.ParseURL(raw); err != nil {
		return config.Place{URL: raw}, nil // opening it says why not
	}
	p, err := o.Known.Resolve(raw)
	switch {
	case errors.Is(err, config.ErrNoStore):
		err = &storage.Error{Op: "open", Store: raw, Fault: work.Denied, Unequipped: true, Err: err,
			Hint: "add it to stores in this agent's configuration, or have the job run at a site whose agents know it"}
	case err != nil:
		err = &storage.Error{Op: "open", Store: raw, Fault: work.Invalid, Err: err}
	}
	return p, err
}

// credentials reads what a store is opened with, as it is now.
func (o Opener) credentials(raw string, p config.Place) (storage.Credentials, error) {
	lookup := o.Lookup
	if lookup == nil {
		lookup = os.LookupEnv
	}
	values := make(map[string]string, len(p.Credentials))
	for _, name := range slices.Sorted(maps.Keys(p.Credentials)) {
		text := p.Credentials[name]
		if config.CheckSource(text) != nil { // no secret, or it were refused
			values[name] = text
			continue
		}
		secret, err := config.ReadSource(text, lookup)
		if err != nil {
			return storage.Credentials{}, &storage.Error{Op: "open", Store: raw, Fault: work.Denied, Unequipped: true,
				Err:  fmt.Errorf("stores.%s.credentials.%s: %w", p.Name, name, err),
				Hint: "put it there on this agent's machine; it is read each time the store is opened"}
		}
		values[name] = secret.Reveal()
	}
	return storage.NewCredentials(values), nil
}

// renewed reports whether err may be mended by opening the store again, because
// credentials that were refused have been replaced since it was opened. From
// then on the end is stale: nobody may ask it, and the next item opens another.
func (e *end) renewed(err *storage.Error) bool {
	if e.stale.Load() {
		return true
	}
	if err.Fault != work.Denied && !err.Expired || len(e.place.Credentials) == 0 {
		return false
	}
	now, failed := e.opener.credentials(e.url, e.place)
	if failed != nil || now == e.with {
		return false
	}
	e.stale.Store(true)
	return true
}
