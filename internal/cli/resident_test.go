package cli

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/work"
)

// TestFirstTokenGoesToAnotherListener: a coordinator runs here, at an address of
// its own, and somebody else listens where coordinators do by default. Neither
// is shown the first token for being asked there, and commands that name no
// server ask the coordinator.
func TestFirstTokenGoesToAnotherListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, secret := listening(t), work.NewSecret(work.SecretToken)
	other := listening(t)
	folder := filepath.Join(w.env["XDG_STATE_HOME"], "tranship")
	release, err := lockData(folder, "up")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	if err := writeSecret(filepath.Join(folder, tokenFile), secret); err != nil {
		t.Fatal(err)
	}
	p := &program{lookup: func(name string) (string, bool) { v, ok := w.env[name]; return v, ok }}
	byDefault, err := url.Parse(defaultServer)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.token(byDefault, ""); got != "" || err != nil {
		t.Errorf("while the coordinator starts, %s is shown %q, %v", defaultServer, got, err)
	}
	if err := writeSecret(filepath.Join(folder, addressFile), mine.URL); err != nil {
		t.Fatal(err)
	}
	if got, err := p.token(byDefault, ""); got != "" || err != nil {
		t.Errorf("%s is shown %q, %v", defaultServer, got, err)
	}
	w.wantStatus(t, ExitOK, "job", "ls")
	if got := mine.last(t, 1); got != "Bearer "+secret {
		t.Errorf("the coordinator was shown %q", got)
	}
	w.wantStatus(t, ExitOK, "job", "ls", "--server", other.URL)
	if got := other.last(t, 1); got != "" {
		t.Errorf("another server was shown %q", got)
	}
}

// TestAddressOfAStoppedCoordinator: what a coordinator announces is its owner's
// alone to read, and gone once it has stopped; what one that was killed left is
// gone before the folder's next user listens anywhere.
func TestAddressOfAStoppedCoordinator(t *testing.T) {
	t.Parallel()
	w := closedWorld(t)
	file := filepath.Join(w.env["XDG_STATE_HOME"], "tranship", addressFile)
	t.Run("while it runs", func(t *testing.T) {
		w.running(t)
		info, err := os.Stat(file)
		address, rerr := readSecret(file)
		if err = errors.Join(err, rerr); err != nil || info.Mode() != 0o600 || address != "http://"+w.env["TRANSHIP_HTTP_LISTEN"] {
			t.Errorf("it announces %q, %v, %v", address, info, err)
		}
	})
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it has stopped: %v", err)
	}
	if err := writeSecret(file, "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w.env["TRANSHIP_HTTP_LISTEN"] = taken.Addr().String()
	w.wantStatus(t, ExitFailed, "up")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a start that failed: %v", err)
	}
}

// TestLocalAddress: users of this machine need no proxy and no other machine's
// way in, but the name that a certificate is of.
func TestLocalAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		listen, url string
		tls         bool
		want        string // PORT stands for the port
	}{
		{"127.0.0.1:0", "", false, "http://127.0.0.1:PORT"},
		{":0", "", false, "http://127.0.0.1:PORT"},
		{"0.0.0.0:0", "", true, "https://127.0.0.1:PORT"},
		{"127.0.0.1:0", "https://hub.example.org/", false, "http://127.0.0.1:PORT"},
		{":0", "https://hub.example.org/", true, "https://hub.example.org"},
	} {
		l, err := net.Listen("tcp", tt.listen)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		h := &hub{cfg: config.Default(), page: l, log: slog.New(slog.DiscardHandler)}
		if h.cfg.HTTP.URL = tt.url; tt.tls {
			h.certificate = &certificate{}
		}
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := h.localAddress(), strings.Replace(tt.want, "PORT", port, 1); got != want {
			t.Errorf("at %s, known as %q, TLS %v: %s, want %s", tt.listen, tt.url, tt.tls, got, want)
		}
	}
}
