package coordinator

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A hook is a receiver of webhooks that remembers what it was told.
type hook struct {
	mu   sync.Mutex
	told []notification
	down bool
}

// A notification is one request.
type notification struct {
	id, Type string
	Data     struct {
		Summary string
		Job     struct {
			ID    work.JobID
			State work.JobState
		}
		Stall  struct{ Cause string }
		Faults []struct {
			Fault string
			Count int
		}
		URL string
	}
}

// tells has coordinators that are started from then on tell the hook.
func (b *bundle) tells(h *hook) {
	b.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		text, err := io.ReadAll(r.Body)
		if err != nil || h.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		t := notification{id: r.Header.Get("webhook-id")}
		if err := json.Unmarshal(text, &t); err != nil {
			b.t.Errorf("the hook got %s: %v", text, err)
		}
		h.told = append(h.told, t)
	}))
	b.t.Cleanup(server.Close)
	secret := filepath.Join(b.t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Notify.Webhooks = []config.Webhook{{Name: "ops", URL: config.NewSecret(server.URL), Secret: "file:" + secret, Private: true}}
	if err := cfg.Validate(); err != nil {
		b.t.Fatal(err)
	}
	b.notices = func() Notices {
		to, err := Receivers(cfg.Notify, os.LookupEnv, "test")
		if err != nil {
			b.t.Fatal(err)
		}
		pauses := make([]time.Duration, 1000)
		for i := range pauses {
			pauses[i] = 50 * time.Millisecond
		}
		return Notices{Receivers: to, FailureRate: cfg.Notify.FailureRate, Page: "https://tranship.test", Pauses: pauses}
	}
}

func (h *hook) set(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

func (h *hook) all() []notification {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]notification(nil), h.told...)
}

// kinds returns the kinds of what was told of a job, in the order in which it
// arrived.
func (h *hook) kinds(id work.JobID) string {
	var kinds []string
	for _, t := range h.all() {
		if t.Data.Job.ID == id {
			kinds = append(kinds, strings.TrimPrefix(t.Type, "job."))
		}
	}
	return strings.Join(kinds, " ")
}

// What happens to a job is told, once each, by whichever coordinator: how it
// ended, after a retry too, and that too much fails.
func TestNoticesOfAJob(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := new(hook)
	b.tells(h)
	c1, _ := b.coordinator("c1")
	b.coordinator("c2")
	b.agent("a1")
	const n = 1000
	name := b.fill(n)
	b.fail(func(c storagetest.Call) storagetest.Kind {
		if (c.Op == "put" || c.Op == "copy") && strings.HasSuffix(c.Key, "7") {
			return storagetest.Denied
		}
		return ""
	})
	j := b.job(c1, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.ended(j.ID, work.Incomplete)
	b.until("both are told", func() bool { return strings.Count(h.kinds(j.ID), " ") == 1 })
	for _, told := range h.all() {
		if told.Data.URL != "https://tranship.test/jobs/1" || len(told.Data.Faults) != 1 || told.Data.Faults[0].Fault != "denied" {
			t.Errorf("told is %+v", told)
		}
		if told.Type == string(work.NoticeFinished) && told.Data.Summary != "job 1 TestNoticesOfAJob: finished, 100 objects failed" {
			t.Errorf("the summary is %q", told.Data.Summary)
		}
	}
	b.fail(func(storagetest.Call) storagetest.Kind { return "" })
	if _, err := (jobs{c1}).Retry(t.Context(), work.RetryQuery{Job: j.ID}, "tester"); err != nil {
		t.Fatal(err)
	}
	b.ended(j.ID, work.Succeeded)
	b.until("the second end is told", func() bool { return strings.Count(h.kinds(j.ID), "finished") == 2 })
	if got := strings.Count(h.kinds(j.ID), "failure_rate"); got != 1 {
		t.Errorf("the failure rate is told %d times, want once: %s", got, h.kinds(j.ID))
	}
}

// A receiver that is down, and coordinators that die meanwhile: what happened is
// told by the one that is there when the receiver is.
func TestNoticesOutliveCoordinators(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := &hook{down: true}
	b.tells(h)
	c1, stop := b.coordinator("c1")
	b.agent("a1")
	name := b.fill(10)
	j := b.job(c1, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	b.ended(j.ID, work.Succeeded)
	b.until("it was tried", func() bool {
		list, _, err := b.ledger.Deliveries(t.Context(), work.DeliveryQuery{})
		return err == nil && len(list) == 1 && list[0].Status == http.StatusServiceUnavailable
	})
	stop()
	c2, _ := b.coordinator("c2")
	h.set(false)
	b.until("it is told", func() bool { return h.kinds(j.ID) == "finished" })
	list, err := (messenger{c2}).Receivers(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "ops" || list[0].Disabled != "" {
		t.Errorf("receivers: %+v, %v", list, err)
	}
	d, err := (messenger{c2}).Test(t.Context(), "ops", "tester")
	if err != nil || d.State != work.DeliverySent {
		t.Errorf("Test = %+v, %v", d, err)
	}
	first := h.all()[0].id
	deliveries, _, err := (messenger{c2}).Deliveries(t.Context(), work.DeliveryQuery{State: work.DeliverySent})
	if err != nil || len(deliveries) == 0 {
		t.Fatalf("Deliveries = %+v, %v", deliveries, err)
	}
	if _, err := (messenger{c2}).Resend(t.Context(), deliveries[len(deliveries)-1].ID, "tester"); err != nil {
		t.Fatal(err)
	}
	b.until("it is told again, under its old id", func() bool {
		all := h.all()
		return len(all) == 3 && all[2].id == first
	})
}

// A stall is told, with the reason, and its end.
func TestNoticesOfAStall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stalled = 2 * time.Second
	h := new(hook)
	b.tells(h)
	c, _ := b.coordinator("c1")
	name := b.fill(10)
	reached, release := b.hold(0)
	j := b.job(c, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.until("the stall is told", func() bool { return h.kinds(j.ID) == "stalled" })
	if got := h.all()[0].Data.Stall.Cause; got != string(work.StallNoAgent) {
		t.Errorf("its cause is %q", got)
	}
	b.agent("a1")
	b.receive(reached)
	b.until("its end is told", func() bool { return strings.HasPrefix(h.kinds(j.ID), "stalled moving") })
	release()
	b.until("the job's end is told", func() bool { return strings.HasSuffix(h.kinds(j.ID), "finished") })
}

// The audit log and the notices can be followed on the queue, where each line
// stands once however many coordinators there are, also after the queue was lost.
func TestEventsOnTheQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c1, _ := b.coordinator("c1")
	b.coordinator("c2")
	b.agent("a1")
	js := b.jetstream()
	name := b.fill(10)
	count := func(subject string) uint64 {
		s, err := js.Stream(t.Context(), "TRANSHIP_EVENTS")
		if err != nil {
			return 0
		}
		info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(subject))
		if err != nil {
			return 0
		}
		return info.State.Subjects[subject]
	}
	j := b.job(c1, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	b.ended(j.ID, work.Succeeded)
	id := j.ID.String()
	for _, kind := range []string{"created", "succeeded", "job-finished"} {
		b.until("there is an event "+kind, func() bool { return count("tranship.event."+kind+"."+id) > 0 })
	}
	time.Sleep(2 * eventsEvery) // in which the other coordinator tells the same
	for _, kind := range []string{"created", "succeeded", "job-finished"} {
		if n := count("tranship.event." + kind + "." + id); n != 1 {
			t.Errorf("%d events %s, want 1", n, kind)
		}
	}
	if err := js.DeleteStream(t.Context(), "TRANSHIP_EVENTS"); err != nil {
		t.Fatal(err)
	}
	j = b.job(c1, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	b.until("events go on in a new stream", func() bool { return count("tranship.event.succeeded."+j.ID.String()) > 0 })
}

// A secret that is not there stops the coordinator, and is named by its key.
func TestReceiversWithoutSecrets(t *testing.T) {
	t.Parallel()
	none := func(string) (string, bool) { return "", false }
	hooks := config.Notify{Webhooks: []config.Webhook{{Name: "ops", URL: config.NewSecret("https://h/hunter2"), Secret: "env:OPS"}}}
	mails := config.Notify{SMTP: config.SMTP{Host: "h:25", Password: "credential:smtp"}}
	for want, cfg := range map[string]config.Notify{"notify.webhooks[0].secret: env:OPS": hooks, "notify.smtp.password: credential:smtp": mails} {
		if _, err := Receivers(cfg, none, ""); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Receivers = %v, want an error that says %q", err, want)
		}
	}
}
