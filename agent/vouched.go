package agent

import (
	"sync"

	"github.com/tranship/tranship/internal/storage"
)

// vouchedMost is how many versions a vouched remembers. Agents rarely have
// parts of more objects in hand than they have streams.
const vouchedMost = 128

// A version is an object as it is read.
type version struct{ store, key, etag string }

// vouched remembers which checksums the source vouches for, of the big objects
// that came by lately: every part must know, and need not ask. Its zero value
// remembers nothing yet.
type vouched struct {
	mu    sync.Mutex
	known map[version]storage.Algos
	order []version // oldest first, from next on
	next  int
}

// of returns what is remembered of a version.
func (v *vouched) of(x version) (have storage.Algos, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	have, ok = v.known[x]
	return have, ok
}

// note remembers a version in place of the one that was noted first.
func (v *vouched) note(x version, have storage.Algos) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[version]storage.Algos{}
	}
	_, old := v.known[x]
	v.known[x] = have
	switch {
	case old:
	case len(v.order) < vouchedMost:
		v.order = append(v.order, x)
	default:
		delete(v.known, v.order[v.next])
		v.order[v.next] = x
		v.next = (v.next + 1) % vouchedMost
	}
}
