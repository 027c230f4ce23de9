package coordinator

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/web"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// troubles are the outages under way, by what does not work. A database or a
// queue that answers may still be unable to store anything; that shows here.
type troubles struct {
	mu  sync.Mutex
	now map[string]error
}

func (t *troubles) begin(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil {
		t.now = make(map[string]error)
	}
	t.now[what] = err
}

func (t *troubles) end(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, what)
}

// list returns the errors of all outages, in one order.
func (t *troubles) list() []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, what := range slices.Sorted(maps.Keys(t.now)) {
		errs = append(errs, t.now[what])
	}
	return errs
}

const (
	pulseEvery = time.Second
	pulseLate  = 5 * time.Second // a database that takes longer to answer is said not to
)

// A pulse is whether the ledger answers. It is felt by one loop for all who
// want to know, who so never wait for a ledger that is silent.
type pulse struct {
	mu     sync.Mutex
	felt   bool            // an answer came
	err    error           // the last answer
	well   context.Context // ended with errSilent while an answer is late
	sicken context.CancelCauseFunc
}

func newPulse() *pulse {
	p := &pulse{}
	p.well, p.sicken = context.WithCancelCause(context.Background())
	return p
}

// feel asks once and waits for the answer.
func (p *pulse) feel(ask func() error) error {
	late := time.AfterFunc(pulseLate, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sicken(errSilent)
	})
	err := ask()
	late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.felt, p.err = true, err
	if ledger.Silent(err) {
		p.sicken(errSilent) // and so until there is another answer
	} else if p.well.Err() != nil {
		p.well, p.sicken = context.WithCancelCause(context.Background())
	}
	return err
}

// state returns the last answer, or that there is none. It reports false if
// nobody has asked yet.
func (p *pulse) state() (err error, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cause := context.Cause(p.well); cause != nil {
		return cause, true
	}
	return p.err, p.felt
}

// whileWell returns a context that ends when an answer is late; it has ended
// already if one is.
func (p *pulse) whileWell() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.well
}

var errSilent = &web.Trouble{Of: "Postgres", Why: "does not answer in time", Err: errors.New("the ledger is silent")}

// feelLedger asks the ledger again and again whether it answers, until ctx
// ends. It returns an error when the ledger was set back under this
// coordinator: only a start puts that right.
func (c *Coordinator) feelLedger(ctx context.Context) error {
	for ; ctx.Err() == nil; sleep(ctx, pulseEvery) {
		asked := time.Now()
		err := c.pulse.feel(func() error { return c.ledger.Ping(ctx) })
		c.metrics.pinged(err, time.Since(asked))
		if errors.Is(err, work.ErrSetBack) {
			return err
		}
	}
	return nil
}

// ledgerTrouble returns what keeps the ledger from being used, or nil.
func (c *Coordinator) ledgerTrouble(ctx context.Context) error {
	err, known := c.pulse.state()
	if !known { // Run was not called yet
		err = c.ledger.Ping(ctx)
	}
	for _, also := range c.troubles.list() {
		if _, away := ledger.Away(also); err == nil && away {
			err = also
		}
	}
	if why, away := ledger.Away(err); away {
		return &web.Trouble{Of: "Postgres", Why: why, Err: err}
	}
	return err
}

// queueTrouble returns what keeps the queue from being used, or nil.
func (c *Coordinator) queueTrouble(ctx context.Context) error {
	err := c.bus.Healthy(ctx)
	for _, also := range c.troubles.list() {
		if err == nil && (errors.Is(also, bus.ErrFull) || errors.Is(also, bus.ErrUnconfirmed)) {
			err = also
		}
	}
	switch {
	case errors.Is(err, bus.ErrFull):
		return &web.Trouble{Of: "The queue", Why: "has no space left: free some of its disk, or raise nats.max_store", Err: err}
	case errors.Is(err, bus.ErrUnconfirmed):
		return &web.Trouble{Of: "The queue", Why: "does not confirm what it is given: its disk may be full, or have been; look at its log", Err: err}
	case err == nil && !c.isPrepared():
		return errSettingUp
	}
	return err
}

// Healthy returns why the coordinator cannot do its work, or nil if it can. It
// does not wait for a ledger that is silent.
func (c *Coordinator) Healthy(ctx context.Context) error {
	return errors.Join(c.ledgerTrouble(ctx), c.queueTrouble(ctx))
}
