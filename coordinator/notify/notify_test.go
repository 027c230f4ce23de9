package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// The vector that Standard Webhooks publishes.
func TestSign(t *testing.T) {
	t.Parallel()
	key, err := parseSecret(secretOne)
	if err != nil {
		t.Fatal(err)
	}
	got := sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), `{"test": 2432232314}`)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("sign = %s, want %s", got, want)
	}
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", "hunter2", "whsec_", "whsec_hunter2", "whsec_aHVudGVyMg==", "whsec_" + strings.Repeat("A", 88)} {
		if _, err := parseSecret(secret); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
			t.Errorf("parseSecret(%q) = %v, want an error that does not quote it", secret, err)
		}
	}
}

// verified reports whether one of a request's signatures is of the secret, as a
// receiver that knows only the standard finds out.
func (r request) verified(secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.header.Get("Webhook-Id") + "." + r.header.Get("Webhook-Timestamp") + "." + r.body))
	for _, s := range strings.Split(r.header.Get("Webhook-Signature"), " ") {
		if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "v1,")); err == nil && hmac.Equal(sum, mac.Sum(nil)) {
			return true
		}
	}
	return false
}

// A receiver that fails for a while, in every way, gets the notice in the end,
// signed by both secrets while they change.
func TestReceiverComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := hookUp(t, func(nth int, w http.ResponseWriter, _ *http.Request) {
		switch nth {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		case 3:
			w.WriteHeader(http.StatusNotFound)
		case 4:
			http.Error(w, strings.Repeat("x", 10*maxAnswer), http.StatusBadGateway)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	})
	to := h.at("ops")
	to.Secrets = []string{secretTwo, secretOne}
	all := b.receivers(to)
	b.finish(all, 1)
	b.sender(all)
	d := b.ended("ops")[0]
	if d.State != work.DeliverySent || d.Tries != 5 || d.Status != http.StatusAccepted || d.SentAt.IsZero() || d.Error != "" {
		t.Errorf("the delivery ended as %+v, want it sent at the fifth try", d)
	}
	got := h.requests()
	for i, r := range got {
		if !r.verified(secretOne) || !r.verified(secretTwo) || r.verified("whsec_"+base64.StdEncoding.EncodeToString([]byte("another one"))) {
			t.Errorf("request %d is not signed by both secrets and them alone: %v", i, r.header)
		}
		if r.header.Get("Webhook-Id") != d.Notice || r.body != d.Body || r.header.Get("Content-Type") != "application/json" || r.header.Get("User-Agent") != "tranship/1.0" {
			t.Errorf("request %d is %v %s, want that of %+v", i, r.header, r.body, d)
		}
	}
	var said body
	if err := json.Unmarshal([]byte(d.Body), &said); err != nil || said.Type != work.NoticeFinished || said.Data.Job.Name != "photos" ||
		said.Data.Job.State != work.Succeeded || said.Data.URL != "https://tranship.test/jobs/1" {
		t.Errorf("the body says %+v, %v", said, err)
	}
	if strings.Contains(d.Body, "hunter2") {
		t.Errorf("the body shows the parameters of a store: %s", d.Body)
	}
}

// A receiver that never takes a notice is given up after the last try.
func TestReceiverIsGivenUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := hookUp(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	all := b.receivers(h.at("ops"))
	b.finish(all, 1)
	b.sender(all)
	d := b.ended("ops")[0]
	if d.State != work.DeliveryGivenUp || d.Tries != len(quick)+1 || d.Status != 500 || !strings.Contains(d.Error, "500 Internal Server Error") {
		t.Errorf("the delivery ended as %+v, want it given up after %d tries", d, len(quick)+1)
	}
	if strings.Contains(d.Error, "hunter2") {
		t.Errorf("the error quotes the URL: %s", d.Error)
	}
}

func TestPauses(t *testing.T) {
	t.Parallel()
	var all time.Duration
	for tries := range len(pauses) {
		p, again := pauseAfter(pauses, tries+1, 0)
		if low, high := pauses[tries]*4/5, pauses[tries]*6/5; !again || p < low || p > high {
			t.Errorf("after %d tries: %v, %v, want %v to %v", tries+1, p, again, low, high)
		}
		all += pauses[tries] * 4 / 5
	}
	if all < 24*time.Hour {
		t.Errorf("tries end after %v, want a day at least", all)
	}
	if p, again := pauseAfter(pauses, len(pauses)+1, 0); again {
		t.Errorf("after the last try there is another, in %v", p)
	}
	for asked, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, 48 * time.Hour: maxRetryAfter} {
		if p, _ := pauseAfter(pauses, 1, asked); p != want {
			t.Errorf("asked to wait for %v, it is %v, want %v", asked, p, want)
		}
	}
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999999999": 0,
		"Mon, 05 Jan 2026 12:01:00 GMT": time.Minute, "Mon, 05 Jan 2026 11:00:00 GMT": 0} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", text, got, want)
		}
	}
}

// A receiver that asks for time gets it.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := hookUp(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1800")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	all := b.receivers(h.at("ops"))
	b.finish(all, 1)
	b.sender(all)
	b.until("the answer is kept", func() bool { return b.deliveries("ops")[0].Status == http.StatusTooManyRequests })
	if d := b.deliveries("ops")[0]; d.State != work.DeliveryWaiting || time.Until(d.NextAt) < 25*time.Minute {
		t.Errorf("the delivery is %+v, want it tried in half an hour", d)
	}
}

// 410 means never again: neither this notice nor the next, until a test of the
// receiver succeeds.
func TestReceiverIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := hookUp(t, func(nth int, w http.ResponseWriter, _ *http.Request) {
		if nth == 1 {
			w.WriteHeader(http.StatusGone)
		}
	})
	all := b.receivers(h.at("ops"))
	b.finish(all, 1)
	s, _ := b.sender(all)
	b.ended("ops")
	b.finish(all, 1)
	for _, d := range b.ended("ops") {
		if d.State != work.DeliveryGivenUp || !strings.Contains(d.Error, "410") {
			t.Errorf("a delivery to a receiver that is gone ended as %+v", d)
		}
	}
	if n := len(h.requests()); n != 1 {
		t.Errorf("a receiver that is gone got %d requests", n)
	}
	list, err := s.Receivers(t.Context())
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Disabled, "410") || list[0].GivenUp != 2 || strings.Contains(list[0].Host, "hunter2") {
		t.Errorf("Receivers = %+v, %v, want it disabled", list, err)
	}
	if d, err := s.Test(t.Context(), "ops", "me"); err != nil || d.State != work.DeliverySent || d.Status != http.StatusOK {
		t.Errorf("Test = %+v, %v, want it sent", d, err)
	}
	b.finish(all, 1)
	if d := b.ended("ops")[0]; d.State != work.DeliverySent {
		t.Errorf("after a test that succeeded a delivery ended as %+v", d)
	}
}

// A redirect is not followed, be it to the receiver's own inner network.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inner := hookUp(t, nil)
	h := hookUp(t, func(nth int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner.URL, []int{301, 302, 303, 307, 308}[nth%5])
	})
	all := b.receivers(h.at("ops"))
	b.finish(all, 1)
	b.sender(all)
	if d := b.ended("ops")[0]; d.State != work.DeliveryGivenUp || !strings.Contains(d.Error, "not followed") {
		t.Errorf("the delivery ended as %+v", d)
	}
	if n := len(inner.requests()); n > 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

// A receiver that hangs keeps nobody else waiting.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := make(chan struct{})
	slow := hookUp(t, func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) }) // before the server closes, which waits for it
	fast := hookUp(t, nil)
	all := b.receivers(slow.at("slow"), fast.at("fast"))
	const jobs = 20
	b.finish(all, jobs)
	b.sender(all)
	b.until("the slow one has its hands full", func() bool { return len(slow.requests()) == atOnce })
	for _, d := range b.ended("fast") {
		if d.State != work.DeliverySent {
			t.Errorf("a delivery to the fast one ended as %+v", d)
		}
	}
	waiting := 0
	for _, d := range b.deliveries("slow") {
		if d.State == work.DeliveryWaiting {
			waiting++
		}
	}
	if waiting != jobs {
		t.Errorf("%d of %d deliveries to the slow one wait; it was to hang for longer", waiting, jobs)
	}
}

// A sender that dies with a delivery in hand leaves it to another.
func TestSenderDies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := hookUp(t, nil)
	all := b.receivers(h.at("ops"))
	b.finish(all, 1)
	taken, err := b.ClaimDeliveries(t.Context(), map[string]int{"ops": 10}, 500*time.Millisecond)
	if err != nil || len(taken) != 1 {
		t.Fatalf("claimed %+v, %v", taken, err)
	}
	if again, err := b.ClaimDeliveries(t.Context(), map[string]int{"ops": 10}, time.Second); err != nil || len(again) != 0 {
		t.Fatalf("claimed a second time: %+v, %v", again, err)
	}
	b.sender(all)
	if d := b.ended("ops")[0]; d.State != work.DeliverySent || d.Tries != 2 {
		t.Errorf("the delivery ended as %+v, want it sent at the second try", d)
	}
	// What the dead one might still say is late.
	b.must(b.SettleDelivery(t.Context(), taken[0], work.DeliveryResult{State: work.DeliveryGivenUp, Error: "late"}))
	if d := b.deliveries("ops")[0]; d.State != work.DeliverySent {
		t.Errorf("a late result changed the delivery to %+v", d)
	}
}

// Two coordinators share the work, and nothing arrives twice in calm weather.
func TestTwoSenders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := hookUp(t, nil)
	const jobs = 60
	one, two := b.receivers(h.at("ops")), b.receivers(h.at("ops"))
	b.finish(one, jobs)
	b.sender(one)
	b.sender(two)
	if list := b.ended("ops"); len(list) != jobs {
		t.Errorf("%d deliveries, want %d", len(list), jobs)
	}
	seen := map[string]int{}
	for _, r := range h.requests() {
		seen[r.header.Get("Webhook-Id")]++
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("notice %s arrived %d times", id, n)
		}
	}
	if len(seen) != jobs {
		t.Errorf("%d notices arrived, want %d", len(seen), jobs)
	}
}

// Receivers get what they asked for.
func TestKinds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := hookUp(t, nil)
	some := h.at("some")
	some.Kinds = []work.NoticeKind{work.NoticeStalled}
	all := b.receivers(some, h.at("all"))
	b.finish(all, 1)
	if n := len(b.deliveries("some")); n > 0 {
		t.Errorf("%d deliveries to a receiver that did not ask for them", n)
	}
	if n := len(b.deliveries("all")); n != 1 {
		t.Errorf("%d deliveries to a receiver of all kinds, want 1", n)
	}
}

// A webhook that cannot work is refused at the start, without its secrets.
func TestWebhookIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		webhook Webhook
		want    string
	}{
		{"no URL", Webhook{Secrets: []string{secretOne}}, "https://hooks.example.org"},
		{"other scheme", Webhook{URL: "ftp://hunter2", Secrets: []string{secretOne}}, "https://hooks.example.org"},
		{"no TLS", Webhook{URL: "http://hunter2", Secrets: []string{secretOne}}, "private: true"},
		{"no secret", Webhook{URL: "https://hunter2"}, "0 secrets"},
		{"not a secret", Webhook{URL: "https://hunter2", Secrets: []string{"hunter2"}}, "whsec_"},
	}
	for _, tt := range tests {
		tt.webhook.Name = "ops"
		_, err := NewReceivers([]Webhook{tt.webhook}, nil, "")
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "ops") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want one that says %q and no secret", tt.name, err, tt.want)
		}
	}
}
