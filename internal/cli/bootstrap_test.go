package cli

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// TestFirstTokenOfALostAnswer: the connection to the ledger breaks while the
// first token is committed. Whether it counts or not, who starts again holds a
// file that lets in.
func TestFirstTokenOfALostAnswer(t *testing.T) {
	t.Parallel()
	for name, commits := range map[string]bool{"the token counts": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := ledgertest.URL(t)
			h := &hub{cfg: config.Default(), log: slog.New(slog.DiscardHandler)}
			h.cfg.Data = t.TempDir()
			h.ledger = openedLedger(t, breaksAtCommit(t, database, commits))
			if err := h.ensureToken(t.Context()); err == nil {
				t.Fatal("the connection did not break")
			}
			made, err := readSecret(h.tokenFile())
			if err != nil {
				t.Fatalf("the file of a token that may count: %v", err)
			}
			h.ledger = openedLedger(t, database)
			if err := h.ensureToken(t.Context()); err != nil {
				t.Fatal(err)
			}
			secret, err := readSecret(h.tokenFile())
			if err != nil || (secret == made) != commits {
				t.Errorf("the file was replaced: %v, want %v; %v", secret != made, !commits, err)
			}
			if _, err := h.ledger.Authenticate(t.Context(), work.HashSecret(secret)); err != nil {
				t.Errorf("the token in the file: %v", err)
			}
		})
	}
}

func openedLedger(t *testing.T, address string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), address, ledger.Options{Connections: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// breaksAtCommit returns another address of a database, whose connections break
// at a commit: before it reaches the database, or before the answer comes back.
func breaksAtCommit(t *testing.T, address string, commits bool) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	socket := ".s.PGSQL." + q.Get("port")
	behind := filepath.Join(q.Get("host"), socket)
	dir, err := os.MkdirTemp("", "pg") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.Close(), os.RemoveAll(dir) })
	go func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("unix", behind)
			if err != nil {
				_ = front.Close()
				return
			}
			go passUntilCommit(front, back, commits)
		}
	}()
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	return u.String()
}

// passUntilCommit passes questions and answers on until a commit is asked for.
func passUntilCommit(front, back net.Conn, commits bool) {
	defer front.Close()
	defer back.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(front, back)
	}()
	for buf := make([]byte, 64<<10); ; {
		n, err := front.Read(buf)
		if err != nil {
			return
		}
		commit := bytes.Contains(buf[:n], []byte("COMMIT"))
		if commit && !commits {
			return
		}
		if commit {
			_ = front.SetWriteDeadline(time.Unix(1, 0)) // nobody hears the answer
		}
		if _, err := back.Write(buf[:n]); err != nil {
			return
		}
		if commit {
			<-answered
			return
		}
	}
}
