package coordinator

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/coordinator/web"
	"github.com/tranship/tranship/internal/bus"
)

// Whoever wants to know whether a silent ledger answers does not wait for it.
func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPulse()
		state := func(when string, want error, wantKnown bool) {
			t.Helper()
			if err, known := p.state(); !errors.Is(err, want) || known != wantKnown {
				t.Errorf("%s: %v, %v, want %v, %v", when, err, known, want, wantKnown)
			}
		}
		state("before the first question", nil, false)
		answer, done := make(chan error), make(chan error)
		feel := func() { go func() { done <- p.feel(func() error { return <-answer }) }() }
		feel()
		time.Sleep(pulseLate / 2)
		state("while the answer may come", nil, false)
		time.Sleep(pulseLate)
		state("when it is late", errSilent, true)
		if p.whileWell().Err() == nil {
			t.Error("who waits is not told that the answer is late")
		}
		answer <- nil
		<-done
		state("when it came", nil, true)
		if p.whileWell().Err() != nil {
			t.Error("who comes is not let in again")
		}
		away := errors.New("away")
		feel()
		answer <- away
		<-done
		state("when it is bad", away, true)
	})
}

// Readiness says in words what is wrong, also if database and queue answer but
// can store nothing.
func TestReadinessSaysWhy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	server := httptest.NewServer(c.Handler())
	t.Cleanup(server.Close)
	client := api.NewClient(server.URL, http.DefaultClient, "")
	says := func(name, why string) {
		t.Helper()
		b.until(name+" "+why, func() bool {
			r, err := client.Ready(t.Context())
			return err == nil && r.Ready == (why == "") && r.Reasons[name] == why
		})
	}
	says("postgres", "")
	c.troubles.begin("dispatching", bus.ErrFull)
	says("nats", "has no space left: free some of its disk, or raise nats.max_store")
	c.troubles.end("dispatching")
	says("nats", "")
	ledgertest.Drop(t, b.url)
	says("postgres", "has no such database, or it takes no connections: it may be being restored")
	if err := c.Healthy(t.Context()); err == nil {
		t.Error("Healthy = nil without a database")
	}
	var trouble *web.Trouble
	if err := c.Healthy(t.Context()); !errors.As(err, &trouble) {
		t.Errorf("Healthy = %v", err)
	}
}
