package cli

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// background runs a command until the test ends, or stop is called, which
// returns the exit status.
func (w *world) background(t *testing.T, args ...string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- w.run(ctx, args...) }()
	status := -1
	stop = func() int {
		cancel()
		if status < 0 {
			status = <-ended
		}
		return status
	}
	t.Cleanup(func() { stop() })
	return stop
}

// await waits until ok holds.
func await(t *testing.T, what string, w *world, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited a minute for %s\n%s%s", what, w.stdout.String(), w.stderr.String())
}

// line returns what stands behind a word that begins a line of text.
func line(text, word string) string {
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, word+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// TestUp walks through everything that a user does with a running up.
func TestUp(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	server := newWorld(t).withDatabase(t)
	server.env["TRANSHIP_HTTP_LISTEN"], server.env["TRANSHIP_NATS_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
	server.env["TRANSHIP_AGENT_NAME"] = "here"
	stop := server.background(t, "up", "--data", data)
	await(t, "the page's address", server, func() bool { return line(server.stdout.String(), "data") != "" })
	page := line(server.stdout.String(), "page")
	if got := line(server.stdout.String(), "data"); got != data {
		t.Errorf("data folder %q, want %q", got, data)
	}
	for what, want := range map[string]string{"ledger": `psql "$TRANSHIP_DATABASE_URL"`, "queue": "nats --js-domain hub --server nats://127.0.0.1:"} {
		if got := line(server.stdout.String(), what); !strings.HasPrefix(got, want) {
			t.Errorf("%s line %q, want %q", what, got, want)
		}
	}
	await(t, "readiness", server, func() bool {
		resp, err := http.Get(page + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})

	user := newWorld(t)
	user.env["TRANSHIP_SERVER"] = page
	call := func(status int, args ...string) string {
		t.Helper()
		user.stdout = safeBuffer{}
		user.wantStatus(t, status, args...)
		return user.stdout.String()
	}
	files := some(20)
	src, dst := tree(t, files), tree(t, map[string]string{"sub": "a file where a folder is needed"})

	t.Run("a second one is refused", func(t *testing.T) {
		w := newWorld(t)
		w.env["TRANSHIP_HTTP_LISTEN"], w.env["TRANSHIP_NATS_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
		w.wantStatus(t, ExitFailed, "up", "--data", data)
		for _, want := range []string{"in use by process", "(tranship up)", data} {
			if !strings.Contains(w.stderr.String(), want) {
				t.Errorf("the error does not say %q:\n%s", want, w.stderr.String())
			}
		}
	})
	t.Run("copy and wait", func(t *testing.T) {
		call(ExitIncomplete, "copy", "--wait", "-o", "json", "--max-attempts", "1", "--name", "first", src, dst)
		if j := jobOf(t, user); j.ID != 1 || j.State != work.Incomplete || j.Failed != 4 || j.Copied != 16 || j.Name != "first" {
			t.Errorf("the job is %+v", j)
		}
	})
	t.Run("look at it", func(t *testing.T) {
		if got := call(ExitOK, "job", "ls"); !strings.Contains(got, "1\tincomplete\t20\t16\t0\t4\t") {
			t.Errorf("job ls wrote %q", got)
		}
		if got := call(ExitOK, "job", "ls", "--state", "running"); strings.Count(got, "\n") != 1 {
			t.Errorf("job ls --state running wrote %q, want the header alone", got)
		}
		if got := call(ExitOK, "job", "show", "-o", "table", "1"); !strings.Contains(got, "20 planned = 16 copied + 0 skipped + 4 failed + 0 open") {
			t.Errorf("job show wrote\n%s", got)
		}
		if got := call(ExitOK, "job", "failures", "1"); strings.Count(got, "\n") != 5 || !strings.Contains(got, `"sub/new\nline"`) {
			t.Errorf("job failures wrote\n%s", got)
		}
		if got := call(ExitOK, "job", "objects", "1", "--outcome", "copied", "-o", "ndjson"); strings.Count(got, "\n") != 16 {
			t.Errorf("job objects wrote\n%s", got)
		}
		if got := call(ExitOK, "job", "objects", "1", "--limit", "3"); strings.Count(got, "\n") != 4 {
			t.Errorf("job objects --limit 3 wrote\n%s", got)
		}
		if got := user.stderr.String(); !strings.Contains(got, "tranship job attempts 1 KEY") {
			t.Errorf("job failures does not say how to see more: %q", got)
		}
		if got := call(ExitOK, "job", "attempts", "1", "sub/new\nline"); strings.Count(got, "\n") != 2 || !strings.Contains(got, "1\tcopy\tfailed\t") {
			t.Errorf("job attempts wrote\n%s", got)
		}
		if got := call(ExitOK, "job", "attempts", "1", "--key64", "c3ViL25ldwpsaW5l", "-o", "json"); !strings.Contains(got, `"outcome": "failed"`) {
			t.Errorf("job attempts -o json wrote\n%s", got)
		}
		if got := call(ExitOK, "job", "attempts", "1"); strings.Count(got, "\n") != 1 {
			t.Errorf("job attempts of the listing, which worked, wrote\n%s", got)
		}
		call(ExitFailed, "job", "attempts", "1", "sub/new")
		if got := user.stderr.String(); !strings.Contains(got, "tranship job objects") {
			t.Errorf("the error of a key that is none does not say what to do: %q", got)
		}
		call(ExitIncomplete, "job", "watch", "1")
		call(ExitFailed, "job", "show", "99")
		call(ExitFailed, "job", "pause", "1") // it has ended
	})
	t.Run("mend it and retry", func(t *testing.T) {
		if err := os.Remove(filepath.Join(dst, "sub")); err != nil {
			t.Fatal(err)
		}
		user.stderr = safeBuffer{}
		for _, dry := range []struct {
			args []string
			want string
		}{{nil, "4"}, {[]string{"--prefix", "sub/n"}, "1"}, {[]string{"--fault", "not_found"}, "0"}} {
			user.stderr = safeBuffer{}
			call(ExitOK, append([]string{"job", "retry", "1", "--dry-run"}, dry.args...)...)
			if got := user.stderr.String(); got != "would try "+dry.want+" objects of job 1 again\n" {
				t.Errorf("retry --dry-run %v said %q", dry.args, got)
			}
		}
		call(ExitOK, "job", "retry", "1", "--wait", "-o", "json")
		if j := jobOf(t, user); j.State != work.Succeeded || j.Copied != 20 || j.Failed != 0 {
			t.Errorf("the job is %+v", j)
		}
		wantTree(t, dst, files)
		if got := call(ExitOK, "job", "attempts", "1", "sub/new\nline"); strings.Count(got, "\n") != 3 ||
			!strings.Contains(got, "1\tcopy\tretry\t") || !strings.Contains(got, "1\tcopy\tcopied\t-\t") {
			t.Errorf("job attempts after a retry wrote\n%s", got)
		}
	})
	t.Run("steer one", func(t *testing.T) {
		// No agent stands at this site, so the job stays where it is.
		id := strings.TrimSpace(call(ExitOK, "copy", "--at", "mars", src, filepath.Join(t.TempDir(), "x")))
		if id != "2" {
			t.Fatalf("copy wrote %q, want the job's number", id)
		}
		for _, verb := range []struct {
			name string
			want work.JobState
		}{{"pause", work.Paused}, {"resume", work.Running}, {"cancel", work.Canceled}} {
			call(ExitOK, "job", verb.name, id, "-o", "json")
			if j := jobOf(t, user); j.State != verb.want {
				t.Errorf("%s made the job %s, want %s", verb.name, j.State, verb.want)
			}
		}
		call(ExitCanceled, "job", "watch", id)
	})
	t.Run("fleet", func(t *testing.T) {
		await(t, "the agent to be heard", server, func() bool {
			return strings.Contains(call(ExitOK, "fleet", "ls"), "here\tdefault\trunning\t")
		})
	})
	t.Run("doctor", func(t *testing.T) {
		call(ExitFailed, "doctor") // the tests' Postgres has fsync off
		got := call(ExitFailed, "doctor", src, filepath.Join(t.TempDir(), "target"))
		for _, want := range []string{"failing\tpostgres\t-\tfsync\t", "ok\tnats\t-\tanswer\t", "ok\tagents\t-\tdefault/here\t",
			"\tdefault/here\tlist\t", "\tdefault/here\tread\t", "\tdefault/here\twrite\t", "\tdefault/here\tdelete\t"} {
			if !strings.Contains(got, want) {
				t.Errorf("doctor wrote no %q:\n%s", want, got)
			}
		}
		call(ExitUsage, "doctor", "a", "b", "c")
		call(ExitUsage, "doctor", "s3://key:secret@bucket")
		user.env["TRANSHIP_NATS_URL"] = "nats://127.0.0.1:1"
		got = call(ExitFailed, "doctor", "--here", "-o", "ndjson", src)
		if !strings.Contains(got, `"part":"nats","what":"answer","state":"failing"`) || !strings.Contains(got, `"what":"read","state":"ok"`) {
			t.Errorf("doctor --here wrote\n%s", got)
		}
	})
	if got := stop(); got != ExitOK {
		t.Errorf("up ended with %d, want 0\n%s", got, server.stderr.String())
	}
	call(ExitUnreachable, "job", "ls")
}
