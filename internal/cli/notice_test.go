package cli

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// An operator sets a receiver up, tests it, sees that it does not work, mends it
// and sends the notice again.
func TestNoticeCommands(t *testing.T) {
	t.Parallel()
	var works atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !works.Load() {
			w.WriteHeader(http.StatusGone)
		}
	}))
	t.Cleanup(hook.Close)
	dir := tree(t, map[string]string{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"})
	conf := filepath.Join(tree(t, map[string]string{"tranship.yaml": `
notify:
  webhooks:
    - name: ops
      url: ` + hook.URL + `/hunter2
      secret: file:` + filepath.Join(dir, "secret") + `
      private: true
`}), "tranship.yaml")
	coordinator := newWorld(t).withDatabase(t)
	address := freeAddress(t)
	coordinator.env["TRANSHIP_DATA"] = t.TempDir()
	coordinator.env["TRANSHIP_HTTP_LISTEN"], coordinator.env["TRANSHIP_NATS_LISTEN"] = address, "127.0.0.1:0"
	coordinator.background(t, "coordinator", "--config", conf)
	await(t, "the coordinator", coordinator, func() bool {
		resp, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})

	user := newWorld(t)
	user.env["TRANSHIP_SERVER"] = "http://" + address
	call := func(status int, args ...string) string {
		t.Helper()
		user.stdout, user.stderr = safeBuffer{}, safeBuffer{}
		user.wantStatus(t, status, args...)
		return user.stdout.String() + user.stderr.String()
	}
	has := func(what, got string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s does not say %q:\n%s", what, w, got)
			}
		}
		if strings.Contains(got, "hunter2") || strings.Contains(got, "whsec_") {
			t.Errorf("%s shows a secret:\n%s", what, got)
		}
	}
	host := strings.TrimPrefix(hook.URL, "http://")
	has("a test that fails", call(ExitFailed, "notice", "test", "ops"), "ops\ttest\t-\tgiven_up", "did not take the test", "410 Gone")
	has("receivers", call(ExitOK, "notice", "receivers"), "ops\twebhook\t"+host, "410 Gone", "job.finished,job.failed")
	has("a receiver that is none", call(ExitFailed, "notice", "test", "nobody"), `no receiver is called "nobody"`, "tranship notice receivers lists them")
	works.Store(true)
	has("a test", call(ExitOK, "notice", "test", "ops", "-o", "json"), `"state": "sent"`)
	has("sending again", call(ExitOK, "notice", "resend", "1"), "1\tops\ttest\t-\twaiting")
	await(t, "it to arrive", user, func() bool {
		return strings.Count(call(ExitOK, "notice", "ls", "--state", string(work.DeliverySent)), "ops") == 2
	})
	has("listing", call(ExitOK, "notice", "ls", "--receiver", "ops"), "1\tops\ttest", "2\tops\ttest")
	log := call(ExitOK, "audit", "--limit", "3")
	has("the audit log", log, "\t127.0.0.1\t-\tnotice resent\t")
	if rows := strings.Split(strings.TrimSpace(log), "\n"); len(rows) != 4 {
		t.Errorf("three events are listed as %q", rows)
	}
	has("the whole audit log", call(ExitOK, "audit", "--limit", "0", "-o", "ndjson"), `"what":"receiver tested"`)
	has("nothing to send", call(ExitFailed, "notice", "resend", "99"), "no delivery 99")
	has("not a number", call(ExitUsage, "notice", "resend", "x"), "tranship notice ls lists them")
	has("not a state", call(ExitUsage, "notice", "ls", "--state", "lost"), "use waiting, sent or given_up")
}
