package s3store

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// TestIdentities looks as whom requests are signed.
func TestIdentities(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "ENVID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "envsecret")
	t.Setenv("AWS_SESSION_TOKEN", "envtoken")
	open := func(pairs ...string) (*Store, error) {
		values := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			values[pairs[i]] = pairs[i+1]
		}
		u, err := url.Parse("s3://b?region=eu-west-1&anonymous=true")
		if err != nil {
			t.Fatal(err)
		}
		if len(values) == 0 {
			u.RawQuery = "region=eu-west-1"
		}
		s, err := Open(t.Context(), u, storage.NewCredentials(values))
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s.(*Store), nil
	}
	signed := func(s *Store) string {
		req, err := s.sign(t.Context(), &request{method: "GET", key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(req.Header.Get("Authorization"), "Credential=")
		id, _, _ := strings.Cut(rest, "/")
		return id + " " + req.Header.Get("X-Amz-Security-Token")
	}
	var clients []*client
	for _, tt := range []struct {
		want        string
		credentials []string
	}{
		{"ENVID envtoken", nil},
		{"ID1 ", []string{"access_key_id", "ID1", "secret_access_key", "hush"}},
		{"ID2 token", []string{"access_key_id", "ID2", "secret_access_key", "hush", "session_token", "token"}},
		{" ", []string{"anonymous", "true"}},
	} {
		s, err := open(tt.credentials...)
		if err != nil {
			t.Fatal(err)
		}
		if got := signed(s); got != tt.want {
			t.Errorf("with %v requests are signed by %q, want %q", tt.credentials, got, tt.want)
		}
		for _, c := range clients {
			if c == s.client {
				t.Errorf("with %v a store shares the connections of another identity", tt.credentials)
			}
		}
		clients = append(clients, s.client)
		again, err := open(tt.credentials...)
		if err != nil || again.client != s.client {
			t.Errorf("two stores of one identity do not share their connections: %v", err)
		}
	}
	for want, c := range map[string][]string{
		"unknown credential \"role\"":   {"role", "hush"},
		"anonymous is \"perhaps\"":      {"anonymous", "perhaps"},
		"no-such-profile":               {"profile", "no-such-profile"},
		"unknown credential \"secret\"": {"access_key_id", "hush", "secret", "hush"},
	} {
		_, err := open(c...)
		if !storage.Is(err, work.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("Open with %v = %v, want it refused for %q", c, err, want)
		}
	}
}
