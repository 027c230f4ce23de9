package agent

import (
	"context"
	"fmt"
	"sync"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// facts are what a store found out about its server, once for each role.
type facts struct {
	mu    sync.Mutex // held while the server is asked
	known [2][]work.Fact
	asked [2]bool
}

// probe finds out what the server can do. It is asked once, for all items; a
// failure is not kept.
func (e *end) probe(ctx context.Context, write bool) (work.StoreReport, error) {
	r := work.StoreReport{Driver: e.Traits().Name}
	p, ok := e.Store.(storage.Prober)
	if !ok {
		return r, nil
	}
	role := 0
	if write {
		role = 1
	}
	e.facts.mu.Lock()
	defer e.facts.mu.Unlock()
	if !e.facts.asked[role] {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		if err := e.asks(ctx); err != nil {
			return r, err
		}
		found, err := p.Probe(ctx, write)
		if err != nil {
			return r, e.note(err)
		}
		e.facts.known[role], e.facts.asked[role] = found, true
		e.fine()
	}
	r.Facts = e.facts.known[role]
	return r, nil
}

// survey looks at both stores before a job's first object. It fails if they
// cannot be used, or if no object could keep what the job insists on.
func (p pair) survey(ctx context.Context, o work.Options) (*work.Report, error) {
	var r work.Report
	var err error
	if r.Source, err = p.src.probe(ctx, false); err != nil {
		return nil, err
	}
	if r.Target, err = p.dst.probe(ctx, true); err != nil {
		return nil, err
	}
	for _, m := range storage.Losses(p.src.Traits(), p.dst.Traits(), o.Class) {
		l := work.Loss{Field: m.Field, Policy: o.Carry.For(m.Field), Why: m.Why}
		if l.Policy == work.PolicyFail {
			return nil, &storage.Error{Op: "prepare", Store: p.dst.url, Fault: work.Unsupported, Field: m.Field, Hint: choices(m.Field),
				Err: fmt.Errorf("no object could keep its %s, and the job has %s=%s: %s", m.Field, m.Field, l.Policy, m.Why)}
		}
		r.Losses = append(r.Losses, l)
	}
	return &r, nil
}
