package agent

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// staleTrouble is how long after its last request a store is still said to be
// in trouble: perhaps nobody asks it any more.
const staleTrouble = 5 * time.Minute

// trouble says why nothing can be done with the store until somebody does
// something about it, "" if that is not so.
func (g *gate) trouble(store string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.broken == nil || time.Since(g.until) > staleTrouble:
		return ""
	case g.broken.Unreachable:
		return fmt.Sprintf("%s cannot be reached: %s", store, textOf(g.broken))
	case g.broken.Unequipped:
		return textOf(g.broken)
	}
	return fmt.Sprintf("the credentials for %s have expired; renew them: %s", store, textOf(g.broken))
}

// bucketOf shortens a store's URL to its bucket, so that there are few.
func bucketOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "unknown"
	}
	return u.Scheme + "://" + u.Host
}

// gates tells of every store that is open whether it refuses to be asked, by
// bucket.
func (s *stores) gates() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	closed := map[string]bool{}
	for _, e := range s.open {
		closed[e.bucket.name] = closed[e.bucket.name] || e.shut()
	}
	return closed
}

// trouble says which stores keep the agent from working, "" if none does.
func (s *stores) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]string{}
	for raw, e := range s.open {
		if text := e.gate.trouble(bucketOf(raw)); text != "" {
			found[bucketOf(raw)] = text
		}
	}
	var all []string
	for _, text := range found {
		all = append(all, text)
	}
	slices.Sort(all)
	return work.Clip(strings.Join(all, "; "))
}

// trouble says what keeps the agent from working, "" if nothing does.
func (a *Agent) trouble() string {
	all := slices.DeleteFunc([]string{a.stores.trouble(), a.limits.trouble()}, func(s string) bool { return s == "" })
	return work.Clip(strings.Join(all, "; "))
}
