package agent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	// openTimeout bounds the opening of a store.
	openTimeout = 30 * time.Second
	// idleStores is how many stores are kept open that no item uses.
	idleStores = 16
)

// An end is an open store, shared by all items that name it.
type end struct {
	storage.Store
	url       string  // as jobs name it
	bucket    *bucket // that it comes to
	gate      gate
	throttles prometheus.Counter // how often it asked to slow down; may be nil
	facts     facts

	reached atomic.Bool  // it has served a request, of any agent's
	served  atomic.Int64 // when it last did, in nanoseconds of Unix time
	failed  atomic.Int64 // when a request last failed in passing
	asking  sync.Mutex   // held while it is asked whether anybody is there

	// names are the storage.Algos that it named of the last object that it was
	// sent without any.
	names atomic.Uint32

	// How it was opened; see renewed.
	opener Opener
	place  config.Place
	with   storage.Credentials
	stale  atomic.Bool

	// mu is held while the store is being opened.
	mu sync.Mutex

	// refs, used and refused are guarded by the mutex of stores.
	refs    int
	used    time.Time
	refused map[string]*atomic.Int32 // see pair; by the URL of the source
}

// stores opens each store once and closes those long unused.
type stores struct {
	opener    Opener
	lanes     *lanes
	throttles *prometheus.CounterVec // by bucket; may be nil

	mu   sync.Mutex
	open map[string]*end
}

// A pair are the two ends of an item.
type pair struct {
	src, dst *end
	lane     *lane // nil: it moves nothing

	// refused counts the server-side copies between the two that were refused
	// since the last that worked.
	refused *atomic.Int32
}

// pair opens the two ends of an item. Every pair must be released.
func (s *stores) pair(ctx context.Context, it work.Item) (pair, error) {
	if err := s.apart(it); err != nil {
		return pair{}, &storage.Error{Op: "open", Store: it.Target, Fault: work.Invalid, Err: err}
	}
	src, err := s.end(ctx, it.Source, met(it))
	if err != nil {
		return pair{}, err
	}
	dst, err := s.end(ctx, it.Target, met(it))
	if err != nil {
		s.release(src)
		return pair{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := dst.refused[src.url]
	if refused == nil {
		refused = new(atomic.Int32)
		dst.refused[src.url] = refused
	}
	return pair{src: src, dst: dst, lane: s.lanes.between(src.bucket, dst.bucket), refused: refused}, nil
}

// end returns the open store, opening it if need be; met says that it has been
// reached before, by whomever. A failure is not kept: the next item tries again.
func (s *stores) end(ctx context.Context, raw string, met bool) (*end, error) {
	e, err := s.find(raw)
	if err != nil {
		return nil, err
	}
	if met {
		e.reached.Store(true)
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Store != nil {
		return e, nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := e.connect(ctx); err != nil {
		if err = e.note(err); refusal(err) {
			err = fmt.Errorf("%w: %w", errRefused, err)
		}
		s.release(e)
		return nil, err
	}
	return e, nil
}

// find returns the end that raw names, in use by one more. One whose
// credentials have been replaced makes way for another.
func (s *stores) find(raw string) (*end, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.open[raw]
	if e != nil && !e.stale.Load() {
		e.refs++
		return e, nil
	}
	next := &end{url: raw, opener: s.opener, refs: 1, refused: map[string]*atomic.Int32{}}
	var err error
	if next.place, err = s.opener.resolve(raw); storage.Is(err, work.Invalid) {
		return nil, err
	}
	at := next.place.URL
	if err != nil {
		at = raw
	}
	next.bucket = s.lanes.bucket(bucketOf(at))
	if s.throttles != nil {
		next.throttles = s.throttles.WithLabelValues(next.bucket.name)
	}
	if e != nil {
		next.reached.Store(e.reached.Load())
		if e.refs == 0 {
			_ = e.close() // nothing was pending on it
		}
	}
	s.open[raw] = next
	return next, nil
}

// connect opens the end's store.
func (e *end) connect(ctx context.Context) error {
	if _, err := e.opener.resolve(e.url); err != nil {
		return err
	}
	var err error
	if e.with, err = e.opener.credentials(e.url, e.place); err != nil {
		return err
	}
	if e.Store, err = e.opener.Drivers.Open(ctx, e.place.URL, e.with); err == nil {
		e.gate.equipped()
	}
	return err
}

// release ends one use of each end. Those unused for longest are closed when
// there are too many.
func (s *stores) release(ends ...*end) {
	s.mu.Lock()
	var idle []*end
	for _, e := range ends {
		e.refs--
		e.used = time.Now()
		if e.refs == 0 && s.open[e.url] != e {
			defer e.close() // another has taken its place
		}
	}
	for _, e := range s.open {
		if e.refs == 0 {
			idle = append(idle, e)
		}
	}
	var oldest *end
	if len(idle) > idleStores {
		for _, e := range idle {
			if oldest == nil || e.used.Before(oldest.used) {
				oldest = e
			}
		}
		delete(s.open, oldest.url)
	}
	s.mu.Unlock()
	if oldest != nil {
		_ = oldest.close() // nothing was pending on it
	}
}

func (e *end) close() error {
	if e.Store == nil {
		return nil
	}
	return e.Store.Close()
}

// close closes every store. None may be in use.
func (s *stores) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for raw, e := range s.open {
		if err := e.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", raw, err))
		}
	}
	clear(s.open)
	return errors.Join(errs...)
}

// apart reports why the stores of an item may not be the ends of one job,
// whatever names they go by. What a name cannot be found for, opening it says.
func (s *stores) apart(it work.Item) error {
	src, serr := s.opener.resolve(it.Source)
	dst, derr := s.opener.resolve(it.Target)
	if serr != nil || derr != nil {
		return nil
	}
	return apart(src.URL, dst.URL)
}

// apart reports why two stores may not be the ends of one job: because one
// holds the other, so that the job would copy what it has just written, or
// overwrite what it has yet to read.
func apart(source, target string) error {
	src, err := storage.ParseURL(source)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	dst, err := storage.ParseURL(target)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	a, err := place(src)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	b, err := place(dst)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	switch {
	case accountsDiffer(src, dst):
		return nil
	case a == b:
		return errors.New("source and target are the same")
	case strings.HasPrefix(b, a):
		return errors.New("the target lies inside the source")
	case strings.HasPrefix(a, b):
		return errors.New("the source lies inside the target")
	}
	return nil
}

// place is where a store's keys begin, as one text that also begins the places
// inside it.
func place(u *url.URL) (string, error) {
	prefix, err := storage.Prefix(u)
	if err != nil {
		return "", err
	}
	if u.Scheme == "file" {
		prefix = strings.TrimSuffix(path.Clean("/"+prefix), "/") + "/"
	}
	return u.Scheme + "\x00" + u.Host + "\x00" + endpointOf(u) + "\x00" + prefix, nil
}

// endpointOf returns the endpoint that a URL names, in one spelling.
func endpointOf(u *url.URL) string {
	text := strings.ToLower(u.Query().Get("endpoint"))
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text = rest
	}
	return strings.TrimRight(text, "/")
}

// accountsDiffer reports whether two containers of one name belong to accounts
// that are known to be two.
func accountsDiffer(src, dst *url.URL) bool {
	a, b := src.Query().Get("storage_account"), dst.Query().Get("storage_account")
	return src.Scheme == "azblob" && a != "" && b != "" && a != b
}
