package notify

import (
	"context"
	"database/sql"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// TestMain looks for goroutines left behind once the database is gone.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(run{m}, goleak.Cleanup(func(code int) {
		if code != 0 {
			os.Exit(code)
		}
	}))
}

// A run is the tests with their database. M keeps the exit status itself.
type run struct{ *testing.M }

// Run implements goleak.TestingM.
func (r run) Run() int {
	ledgertest.Main(r.M)
	return 0
}

// patience bounds every wait of a test; only a failure takes that long.
const patience = time.Minute

const (
	secretOne = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretTwo = "whsec_c2Vjb25kLXNlY3JldC1vZi10aGUtdGVzdHM="
)

// A bench is a ledger and senders on it.
type bench struct {
	*ledger.Ledger
	t   testing.TB
	url string
	sql *sql.DB
}

func setup(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, url: ledgertest.URL(t)}
	l, err := ledger.Open(t.Context(), b.url, ledger.Options{Connections: 8})
	b.must(err)
	b.Ledger = l
	b.sql, err = sql.Open("postgres", b.url)
	b.must(err)
	t.Cleanup(func() {
		b.sql.Close()
		l.Close()
	})
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// noOutage fails the test where there should be none.
type noOutage struct{ t testing.TB }

func (o noOutage) Failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		o.t.Errorf("sending fails: %v", err)
	}
}
func (o noOutage) Worked() {}

// quick are pauses for tests.
var quick = []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond}

// receivers opens webhooks.
func (b *bench) receivers(webhooks ...Webhook) *Receivers {
	b.t.Helper()
	to, err := NewReceivers(webhooks, nil, "1.0")
	b.must(err)
	return to
}

// sender runs a sender until stop is called or the test ends.
func (b *bench) sender(to *Receivers) (s *Sender, stop func()) {
	b.t.Helper()
	s = New(b.Ledger, noOutage{b.t}, to, Options{Pauses: quick, Log: slog.New(slog.NewTextHandler(b.t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run = %v", err)
		}
	})
	b.t.Cleanup(stop)
	return s, stop
}

// finish makes jobs that have ended, and has them noticed.
func (b *bench) finish(to *Receivers, jobs int) {
	b.t.Helper()
	for range jobs {
		j, _, err := b.CreateJob(b.t.Context(), work.NewJob{Name: "photos", Source: "mem://a?key=hunter2", Target: "mem://b", Options: work.DefaultOptions()}, work.Idempotency{})
		b.must(err)
		_, err = b.sql.Exec(`UPDATE tranship.jobs SET state = 'succeeded', started_at = now(), finished_at = now() WHERE id = $1`, j.ID)
		b.must(err)
	}
	b.notice(to, jobs)
}

// notice has what happened told, and expects so many notices.
func (b *bench) notice(to *Receivers, want int) {
	b.t.Helper()
	told, err := b.Notices(b.t.Context(), ledger.NoticeRule{}, func(n work.Notice) ([]work.Delivery, error) {
		return to.Address(n, "https://tranship.test")
	})
	b.must(err)
	if len(told) != want {
		b.t.Fatalf("%d notices were found, want %d", len(told), want)
	}
}

// deliveries returns all deliveries to a receiver.
func (b *bench) deliveries(receiver string) []work.Delivery {
	b.t.Helper()
	list, _, err := b.Deliveries(b.t.Context(), work.DeliveryQuery{Receiver: receiver, Limit: 1000})
	b.must(err)
	return list
}

// ended waits until no delivery to a receiver waits any more.
func (b *bench) ended(receiver string) []work.Delivery {
	b.t.Helper()
	var list []work.Delivery
	b.until("deliveries to "+receiver+" come to an end", func() bool {
		list = b.deliveries(receiver)
		for _, d := range list {
			if d.State == work.DeliveryWaiting {
				return false
			}
		}
		return len(list) > 0
	})
	return list
}

func (b *bench) until(what string, holds func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// A hook is a receiver of webhooks that remembers what it got.
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	got  []request
	does func(nth int, w http.ResponseWriter, r *http.Request)
}

// A request is one that a hook got.
type request struct {
	header http.Header
	body   string
}

// hookUp starts a hook; does answers its nth request, from 1, nil with 204.
func hookUp(t testing.TB, does func(nth int, w http.ResponseWriter, r *http.Request)) *hook {
	t.Helper()
	h := &hook{does: does}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.got = append(h.got, request{r.Header, string(text)})
		nth := len(h.got)
		h.mu.Unlock()
		if h.does == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.does(nth, w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) requests() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]request(nil), h.got...)
}

// at returns a receiver at the hook.
func (h *hook) at(name string) Webhook {
	return Webhook{Name: name, URL: h.URL + "/hook?token=hunter2", Secrets: []string{secretOne}, Private: true}
}
