package storagetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Tally counts the calls to faulty stores and the faults that struck. The
// zero value is ready; several stores may share it. It is safe for concurrent
// use.
type Tally struct {
	mu     sync.Mutex
	calls  map[string]int          // by op
	same   map[Call]int            // by op and key
	struck map[Kind]map[string]int // by kind and op
}

func (t *Tally) call(c Call) (n int) {
	c.N = 0
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls, t.same, t.struck = map[string]int{}, map[Call]int{}, map[Kind]map[string]int{}
	}
	t.calls[c.Op]++
	t.same[c]++
	return t.same[c]
}

func (t *Tally) strike(k Kind, op string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.struck[k] == nil {
		t.struck[k] = map[string]int{}
	}
	t.struck[k][op]++
}

// Calls returns how often an operation was called, with and without faults.
func (t *Tally) Calls(op string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls[op]
}

// Struck returns how often a kind struck the operations, or any if none is named.
func (t *Tally) Struck(k Kind, ops ...string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for op, count := range t.struck[k] {
		if len(ops) == 0 || slices.Contains(ops, op) {
			n += count
		}
	}
	return n
}

// String names all counts, for a test's log.
func (t *Tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(t.calls)) {
		parts = append(parts, fmt.Sprintf("%s %d", op, t.calls[op]))
	}
	for _, k := range kinds {
		for _, op := range slices.Sorted(maps.Keys(t.struck[k])) {
			parts = append(parts, fmt.Sprintf("%s %s %d", k, op, t.struck[k][op]))
		}
	}
	return strings.Join(parts, ", ")
}
