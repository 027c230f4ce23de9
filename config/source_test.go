package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadSource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, empty := write("key", "from-file\n"), write("empty", " \n")
	large := write("large", strings.Repeat("x", maxSecret+1))
	env := map[string]string{"KEY": " from-env\n", "EMPTY": "", CredentialsVariable: dir}

	tests := []struct {
		text, want string
		wantErr    string // "": none
	}{
		{"env:KEY", "from-env", ""},
		{"file:" + key, "from-file", ""},
		{"credential:key", "from-file", ""},
		{"env:EMPTY", "", "there is nothing"},
		{"env:MISSING", "", "there is nothing"},
		{"file:" + empty, "", "there is nothing"},
		{"file:" + large, "", "larger than 64KiB"},
		{"file:" + filepath.Join(dir, "missing"), "", "no such file"},
		{"credential:missing", "", "no such file"},
		{"file:relative", "", "does not stand here"},
		{"credential:../key", "", "does not stand here"},
		{"env:", "", "does not stand here"},
		{"hunter2", "", "does not stand here"},
		{"", "", "does not stand here"},
	}
	for _, tt := range tests {
		got, err := ReadSource(tt.text, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if got.Reveal() != tt.want {
			t.Errorf("ReadSource(%q) = %q, want %q", tt.text, got.Reveal(), tt.want)
		}
		if (err == nil) != (tt.wantErr == "") || (err != nil && !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("ReadSource(%q): error %v, want one with %q", tt.text, err, tt.wantErr)
		}
	}
}

func TestSourceWithoutCredentials(t *testing.T) {
	_, err := ReadSource("credential:hook", func(string) (string, bool) { return "", false })
	if err == nil || !strings.Contains(err.Error(), "LoadCredential=hook") {
		t.Errorf("ReadSource without a folder of credentials: %v, want advice with LoadCredential=hook", err)
	}
}

// A secret that was written where its place belongs is not shown by the error.
func TestSourceQuotesNoSecret(t *testing.T) {
	for _, text := range []string{"hunter2", "whsec_hunter2", "env:hunter2/=", "file:hunter2"} {
		if err := CheckSource(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("CheckSource(%q) = %v, want an error that does not quote it", text, err)
		}
	}
}
