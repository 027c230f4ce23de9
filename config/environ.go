package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FileVariable is the environment variable that names the configuration file.
const FileVariable = "TRANSHIP_CONFIG"

// CredentialsVariable is set by systemd to the folder of LoadCredential=.
const CredentialsVariable = "CREDENTIALS_DIRECTORY"

// A plainVariable sets a key whose value may be seen.
type plainVariable struct {
	name string
	set  func(c *Config, value string) error
}

var plainVariables = []plainVariable{
	{"TRANSHIP_DATA", func(c *Config, v string) error { c.Data = v; return nil }},
	{"TRANSHIP_LOG_LEVEL", func(c *Config, v string) error { c.Log.Level = v; return nil }},
	{"TRANSHIP_LOG_FORMAT", func(c *Config, v string) error { c.Log.Format = v; return nil }},
	{"TRANSHIP_HTTP_LISTEN", func(c *Config, v string) error { c.HTTP.Listen = v; return nil }},
	{"TRANSHIP_HTTP_URL", func(c *Config, v string) error { c.HTTP.URL = v; return nil }},
	{"TRANSHIP_HTTP_OPEN", func(c *Config, v string) (err error) {
		if c.HTTP.Open, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		return nil
	}},
	{"TRANSHIP_NATS_AUTH", func(c *Config, v string) error { c.NATS.Auth = v; return nil }},
	{"TRANSHIP_NATS_ADVERTISE", func(c *Config, v string) error { c.NATS.Advertise = v; return nil }},
	{"TRANSHIP_NATS_LISTEN", func(c *Config, v string) error { c.NATS.Listen = v; return nil }},
	{"TRANSHIP_AGENT_NAME", func(c *Config, v string) error { c.Agent.Name = v; return nil }},
	{"TRANSHIP_SITE", func(c *Config, v string) error { c.Agent.Site = v; return nil }},
	{"TRANSHIP_STREAMS", func(c *Config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("%q is not a number", v)
		}
		c.Agent.Streams = n
		return nil
	}},
	{"TRANSHIP_MEMORY", func(c *Config, v string) error { return c.Agent.Memory.UnmarshalText([]byte(v)) }},
	{"TRANSHIP_GRACE", func(c *Config, v string) error { return c.Agent.Grace.UnmarshalText([]byte(v)) }},
	{"TRANSHIP_STALL", func(c *Config, v string) error { return c.Agent.Stall.UnmarshalText([]byte(v)) }},
}

// A secretVariable sets a key that nobody may see. It is taken from the
// variable, from the file that the variable with _FILE names, or from the
// systemd credential, in this order.
type secretVariable struct {
	name, credential string
	key              func(c *Config) *Secret
}

var secretVariables = []secretVariable{
	{"TRANSHIP_DATABASE_URL", "postgres-url", func(c *Config) *Secret { return &c.Postgres.URL }},
	{"TRANSHIP_NATS_URL", "nats-url", func(c *Config) *Secret { return &c.NATS.URL }},
	{"TRANSHIP_NATS_SIGNING_KEY", "nats-signing-key", func(c *Config) *Secret { return &c.NATS.SigningKey }},
	{"TRANSHIP_NATS_OPERATOR_KEY", "nats-operator-key", func(c *Config) *Secret { return &c.NATS.OperatorKey }},
}

// The systemd credentials that hold NATS .creds files.
const (
	natsCredsCredential       = "nats-creds"
	natsSystemCredsCredential = "nats-system-creds"
)

// Environ lets the environment win over what c holds. lookup is os.LookupEnv
// outside of tests. A variable that is set but empty counts as not set.
func (c *Config) Environ(lookup func(string) (string, bool)) error {
	get := func(name string) string {
		v, _ := lookup(name)
		return v
	}
	for _, v := range plainVariables {
		if value := get(v.name); value != "" {
			if err := v.set(c, value); err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
		}
	}
	folder := get(CredentialsVariable)
	for _, v := range secretVariables {
		value, err := v.read(get, folder)
		if err != nil {
			return err
		}
		if value != "" {
			*v.key(c) = NewSecret(value)
		}
	}
	if value := get("TRANSHIP_NATS_CREDENTIALS"); value != "" {
		c.NATS.Credentials = value
	} else if path := filepath.Join(folder, natsCredsCredential); folder != "" && exists(path) {
		c.NATS.Credentials = path
	}
	if path := filepath.Join(folder, natsSystemCredsCredential); folder != "" && exists(path) {
		c.NATS.SystemCredentials = path
	}
	return nil
}

func (v secretVariable) read(get func(string) string, folder string) (string, error) {
	if value := get(v.name); value != "" {
		return value, nil
	}
	if path := get(v.name + "_FILE"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("%s_FILE: %w", v.name, err)
		}
		return v.trimmed(path, b)
	}
	if folder == "" {
		return "", nil
	}
	path := filepath.Join(folder, v.credential)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("credential %s: %w", v.credential, err)
	}
	return v.trimmed(path, b)
}

// trimmed returns the text of a secret's file without the newline that editors
// add. An empty file is a mistake that would otherwise select a default.
func (v secretVariable) trimmed(path string, b []byte) (string, error) {
	if s := strings.TrimSpace(string(b)); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s: the file %s for it is empty", v.name, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
