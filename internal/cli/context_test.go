package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// A listener is a server that has no jobs and remembers what it was shown.
type listener struct {
	*httptest.Server
	mu    sync.Mutex
	shown []string // Authorization
}

func listening(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.shown = append(l.shown, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte(`{"jobs": []}`)) // who is gone needs no answer
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) last(t *testing.T, n int) string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.shown) != n {
		t.Fatalf("it was asked %d times, want %d", len(l.shown), n)
	}
	return l.shown[n-1]
}

func TestContexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	prod, lab := listening(t), listening(t)
	secret := work.NewSecret(work.SecretToken)
	file := filepath.Join(t.TempDir(), "lab.token")
	other := work.NewSecret(work.SecretToken)
	if err := os.WriteFile(file, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	w.stdin = secret + "\n"
	w.wantStatus(t, ExitOK, "context", "add", "prod", "--server", prod.URL, "--token", "-")
	w.wantStatus(t, ExitOK, "context", "add", "lab", "--server", lab.URL, "--token", file)
	w.wantStatus(t, ExitOK, "context", "use", "prod")

	w.wantStatus(t, ExitOK, "job", "ls")
	if got := prod.last(t, 1); got != "Bearer "+secret {
		t.Errorf("the context in use was shown %q", got)
	}
	w.env[tokenVariable] = work.NewSecret(work.SecretToken) // is for no context that has one
	w.wantStatus(t, ExitOK, "job", "ls", "--server", "lab")
	if got := lab.last(t, 1); got != "Bearer "+other {
		t.Errorf("another context was shown %q", got)
	}
	w.env[serverVariable] = "lab"
	w.wantStatus(t, ExitOK, "job", "ls")
	w.wantStatus(t, ExitOK, "job", "ls", "--server", prod.URL)
	lab.last(t, 2)
	if got := prod.last(t, 2); got != "Bearer "+w.env[tokenVariable] {
		t.Errorf("an address was shown %q", got)
	}
	delete(w.env, serverVariable)

	w.stdout = safeBuffer{}
	w.wantStatus(t, ExitOK, "context", "ls", "-o", "tsv")
	if got := w.stdout.String(); !strings.Contains(got, "prod\tyes\t"+prod.URL) || !strings.Contains(got, "lab\t\t"+lab.URL) || strings.Contains(got, secret) {
		t.Errorf("the contexts are\n%s", got)
	}
	dir := filepath.Join(w.env["XDG_CONFIG_HOME"], "tranship")
	for _, name := range []string{contextFile, "prod.token"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	w.wantStatus(t, ExitOK, "context", "rm", "prod")
	if _, err := os.Stat(filepath.Join(dir, "prod.token")); !os.IsNotExist(err) {
		t.Errorf("the token that was kept for it is still there: %v", err)
	}
	w.wantStatus(t, ExitOK, "context", "rm", "lab")
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a token that lay elsewhere is gone: %v", err)
	}
}

func TestContextsRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stdin = "hunter2"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"context", "add", "a b", "--server", "http://h"}, "a name is 1 to 40"},
		{[]string{"context", "add", "prod"}, "--server is missing"},
		{[]string{"context", "add", "prod", "--server", "h:1"}, "is not the URL of a coordinator"},
		{[]string{"context", "add", "prod", "--server", "http://h", "--token", "-"}, "not a token"},
		{[]string{"context", "add", "prod", "--server", "http://h", "--token", "/no/such"}, "--token"},
		{[]string{"context", "use", "prod"}, `there is no context "prod"`},
		{[]string{"context", "use"}, "give a name, or --none"},
		{[]string{"context", "rm", "prod"}, `there is no context "prod"`},
		{[]string{"job", "ls", "--server", "prod"}, "neither the URL nor the name"},
	} {
		w.stderr = safeBuffer{}
		w.wantStatus(t, ExitUsage, tt.args...)
		if got := w.stderr.String(); !strings.Contains(got, tt.want) || strings.Contains(got, "hunter2") {
			t.Errorf("%q says\n%swant %q", tt.args, got, tt.want)
		}
	}
	dir := filepath.Join(w.env["XDG_CONFIG_HOME"], "tranship")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, contextFile), []byte("contexts: {prod: {sever: x}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.wantStatus(t, ExitUsage, "context", "ls")
	if got := w.stderr.String(); !strings.Contains(got, contextFile) {
		t.Errorf("of a damaged file it says %s", got)
	}
}
