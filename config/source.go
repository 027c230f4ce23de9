package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxSecret bounds the file of a secret: what is larger is some other file.
const maxSecret = 64 << 10

// errSource never quotes the text: it may be the secret itself.
var errSource = errors.New("a secret does not stand here itself: write env:NAME, file:/path or credential:NAME, which say where it is")

var (
	variableSyntax   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	credentialSyntax = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// CheckSource reports why text cannot say where a secret is, or nil if it can.
// It reads nothing and quotes nothing.
func CheckSource(text string) error {
	_, _, err := cutSource(text)
	return err
}

// ReadSource returns the secret that text leads to: env:NAME, a variable of the
// environment; file:PATH, an absolute path; or credential:NAME, a credential of
// systemd. Spaces and newlines around it are dropped. A secret that is not there
// or empty is an error, which names where it should be and nothing else. lookup
// is os.LookupEnv outside of tests. It may be called again whenever the secret
// may have changed.
func ReadSource(text string, lookup func(string) (string, bool)) (Secret, error) {
	scheme, where, err := cutSource(text)
	if err != nil {
		return Secret{}, err
	}
	var found string
	switch scheme {
	case "env":
		found, _ = lookup(where)
	case "file":
		found, err = readSecret(where)
	case "credential":
		folder, _ := lookup(CredentialsVariable)
		if folder == "" {
			return Secret{}, fmt.Errorf("%s: systemd gave this process no credentials; add LoadCredential=%s:/path to its unit", text, where)
		}
		found, err = readSecret(filepath.Join(folder, where))
	}
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", text, err)
	}
	if found = strings.TrimSpace(found); found == "" {
		return Secret{}, fmt.Errorf("%s: there is nothing; put the secret there", text)
	}
	return NewSecret(found), nil
}

// cutSource returns the two halves of a text that is fit to be quoted.
func cutSource(text string) (scheme, where string, err error) {
	scheme, where, _ = strings.Cut(text, ":")
	fit := false
	switch scheme {
	case "env":
		fit = variableSyntax.MatchString(where)
	case "file":
		fit = filepath.IsAbs(where)
	case "credential":
		fit = credentialSyntax.MatchString(where)
	}
	if !fit {
		return "", "", errSource
	}
	return scheme, where, nil
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("the file is larger than %v, which no secret is", Size(maxSecret))
	}
	return string(b), nil
}
