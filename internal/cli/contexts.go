package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/tranship/tranship/internal/work"
)

// An endpoint is a coordinator, and what is shown to it.
type endpoint struct {
	Server string `yaml:"server"`
	Token  string `yaml:"token_file,omitempty"` // path of a file; empty: the environment's
	CA     string `yaml:"ca,omitempty"`         // path of a file in PEM; empty: the environment's, or the system's
}

// contexts are the coordinators that a user has given names.
type contexts struct {
	Current string              `yaml:"current,omitempty"` // empty: none
	All     map[string]endpoint `yaml:"contexts,omitempty"`
}

// contextFolder returns where contexts and their tokens are kept: the user's own.
func (p *program) contextFolder() (string, error) {
	if dir := p.env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tranship"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usage("set XDG_CONFIG_HOME", "no folder for contexts: %w", err)
	}
	return filepath.Join(home, ".config", "tranship"), nil
}

const contextFile = "contexts.yaml"

// readContexts returns the user's contexts; none where there is no file.
func (p *program) readContexts() (contexts, error) {
	dir, err := p.contextFolder()
	if err != nil {
		return contexts{}, nil // who has no folder has named nothing
	}
	path := filepath.Join(dir, contextFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return contexts{}, nil
	}
	var c contexts
	if err == nil {
		err = yaml.UnmarshalWithOptions(b, &c, yaml.Strict())
	}
	if errors.Is(err, io.EOF) { // an empty file
		err = nil
	}
	if err != nil {
		return contexts{}, usage("mend or remove it; tranship context add writes it", "%s: %s", path, oneLine(err))
	}
	return c, nil
}

func (p *program) writeContexts(c contexts) error {
	dir, err := p.contextFolder()
	if err != nil {
		return err
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, contextFile), b); err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	return nil
}

// chosen returns the coordinator that the flag, the environment or the context
// in use names, as an address or by name; the zero endpoint if none does.
func (p *program) chosen(flag string) (endpoint, error) {
	word := cmp.Or(flag, p.env(serverVariable))
	if strings.Contains(word, "://") {
		return endpoint{Server: word}, nil
	}
	c, err := p.readContexts()
	if err != nil {
		return endpoint{}, err
	}
	name := cmp.Or(word, c.Current)
	if name == "" {
		return endpoint{}, nil
	}
	e, ok := c.All[name]
	if !ok {
		return endpoint{}, usage("tranship context ls lists those that have a name; else write for example "+defaultServer,
			"server %q is neither the URL nor the name of a coordinator", name)
	}
	return e, nil
}

// address returns the URL of the endpoint.
func (e endpoint) address() (*url.URL, error) {
	u, err := url.Parse(e.Server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, usage("write for example "+defaultServer, "server %q is not the URL of a coordinator", e.Server)
	}
	return u, nil
}

// names lists the contexts.
func (c contexts) names() []string { return slices.Sorted(maps.Keys(c.All)) }

// keepToken stores a token that was read from standard input beside the
// contexts and returns its path.
func (p *program) keepToken(name string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(p.stdin, 4096))
	token := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the token: %w", err)
	case !work.IsSecret(work.SecretToken, token):
		return "", usage("tranship token create prints one", "what standard input holds is not a token, or not a whole one")
	}
	dir, err := p.contextFolder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".token")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keep the token: %w", err)
	}
	if err := replaceFile(path, []byte(token+"\n")); err != nil {
		return "", fmt.Errorf("keep the token: %w", err)
	}
	return path, nil
}
