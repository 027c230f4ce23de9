package web

import (
	"context"
	"sync"
	"time"
)

// maxRecent bounds the values that a recent holds.
const maxRecent = 2000

// A recent keeps what was read for a moment, so that many viewers cost one
// read. Callers that ask for the same key while it is read wait for that read.
type recent[K comparable, V any] struct {
	keep time.Duration

	mu     sync.Mutex
	values map[K]*held[V]
}

type held[V any] struct {
	mu    sync.Mutex
	at    time.Time // zero: nothing held
	value V
}

func newRecent[K comparable, V any](keep time.Duration) *recent[K, V] {
	return &recent[K, V]{keep: keep, values: map[K]*held[V]{}}
}

// get returns the value under key, read anew if it is too old. An error is
// not kept: a reader that gave up does not speak for the others.
func (r *recent[K, V]) get(ctx context.Context, key K, read func(context.Context, K) (V, error)) (V, error) {
	r.mu.Lock()
	if len(r.values) > maxRecent {
		clear(r.values)
	}
	h := r.values[key]
	if h == nil {
		h = &held[V]{}
		r.values[key] = h
	}
	r.mu.Unlock()

	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.at.IsZero() && time.Since(h.at) < r.keep {
		return h.value, nil
	}
	v, err := read(ctx, key)
	if err != nil {
		var none V
		return none, err
	}
	h.value, h.at = v, time.Now()
	return v, nil
}

// forget has everything read anew.
func (r *recent[K, V]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.values)
}
