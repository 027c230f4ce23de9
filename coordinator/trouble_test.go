package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lib/pq"

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

// Where the queue does not answer, nobody says that it is Postgres.
func TestQueueIsAwayAndPostgresIsNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.connect("c1")
	b.server.Shutdown()
	c, _ := b.coordinatorOn("c1", conn) // which cannot set the queue up
	server := httptest.NewServer(c.Handler())
	t.Cleanup(server.Close)
	client := api.NewClient(server.URL, http.DefaultClient, "")
	c.troubles.begin("a test", fmt.Errorf("set up the queue: %w", context.DeadlineExceeded))
	r, err := client.Ready(t.Context())
	if err != nil || r.Ready || r.Checks["postgres"] != "ok" || r.Checks["nats"] == "ok" {
		t.Errorf("Ready = %+v, %v, after %v", r, err, c.troubles.list())
	}
	resp, err := http.Post(server.URL+"/v1/jobs", "application/json", strings.NewReader(`{"source":"s3://a/x","target":"s3://b/x"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), `"The queue is not set up yet"`) {
		t.Errorf("asking for a job: %s: %s, %v", resp.Status, text, err)
	}
}

// What the outage of a loop says of the database counts, and what it says of
// the queue does not.
func TestTroubleOfWhat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.until("the ledger is felt", func() bool { _, known := c.pulse.state(); return known })
	queue := []error{
		fmt.Errorf("publish: %w", context.DeadlineExceeded),
		fmt.Errorf("publish: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}),
	}
	for _, err := range queue {
		c.troubles.begin("a test", err)
		if err := c.ledgerTrouble(t.Context()); err != nil {
			t.Errorf("ledgerTrouble = %v", err)
		}
	}
	c.troubles.begin("a test", fmt.Errorf("record: %w", &pq.Error{Code: "53100"}))
	if err := c.ledgerTrouble(t.Context()); err == nil {
		t.Error("a database that is full is no trouble")
	}
}
