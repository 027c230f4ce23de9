package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A reference says where a secret stands: env:NAME in a variable of the
// environment, file:PATH in a file, credential:NAME in a systemd credential
// (LoadCredential=). It is no secret itself.
var references = []string{"env", "file", "credential"}

// isReference reports whether s says where a value stands, rather than being
// the value.
func isReference(s string) bool {
	kind, _, ok := strings.Cut(s, ":")
	for _, r := range references {
		if ok && kind == r {
			return true
		}
	}
	return false
}

// checkReference reports why s cannot be a reference. It does not quote s,
// which may be the secret itself.
func checkReference(s string) error {
	kind, name, _ := strings.Cut(s, ":")
	switch {
	case !isReference(s):
		return errors.New("a secret does not stand in the configuration: say where it is, as env:NAME, file:/path or credential:NAME")
	case name == "":
		return fmt.Errorf("%s: names nothing", kind)
	case kind == "file" && !filepath.IsAbs(name):
		return fmt.Errorf("%q is not an absolute path", name)
	case kind == "credential" && (name != filepath.Base(name) || name == ".."):
		return fmt.Errorf("%q cannot name a credential", name)
	}
	return nil
}

// ReadReference returns the secret that a reference names, as it is now. The
// newline that editors add is taken off. lookup is os.LookupEnv outside of
// tests. An error names the place, never what stands there.
func ReadReference(s string, lookup func(string) (string, bool)) (Secret, error) {
	if err := checkReference(s); err != nil {
		return Secret{}, err
	}
	kind, name, _ := strings.Cut(s, ":")
	path := name
	switch kind {
	case "env":
		if v, _ := lookup(name); v != "" {
			return NewSecret(v), nil
		}
		return Secret{}, fmt.Errorf("the variable %s is not set", name)
	case "credential":
		folder, _ := lookup(CredentialsVariable)
		if folder == "" {
			return Secret{}, fmt.Errorf("there is no credential %s: $%s is not set, so systemd has loaded none (LoadCredential=%s:/path)", name, CredentialsVariable, name)
		}
		path = filepath.Join(folder, name)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Secret{}, err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return Secret{}, fmt.Errorf("the file %s is empty", path)
	}
	return NewSecret(text), nil
}
