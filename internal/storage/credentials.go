package storage

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"unique"
)

// Credentials are what a store is opened with beside its URL, by their names,
// such as access_key_id. The zero value holds none: the driver then finds them
// where every tool for its service does, in the environment of the process.
//
// Two with the same content are equal, so that stores can share connections by
// them. No log, error or dump shows what they hold: it stands behind a pointer,
// because fmt prints the fields of foreign structs without asking their
// methods.
type Credentials struct {
	held unique.Handle[string] // JSON of the map
}

// NewCredentials returns Credentials that hold values; of none it returns the
// zero Credentials.
func NewCredentials(values map[string]string) Credentials {
	if len(values) == 0 {
		return Credentials{}
	}
	b, err := json.Marshal(values)
	if err != nil {
		panic(err) // a map of texts can be encoded
	}
	return Credentials{unique.Make(string(b))}
}

// IsZero reports whether there are none.
func (c Credentials) IsZero() bool { return c == Credentials{} }

// Get returns the value called name, "" if there is none.
func (c Credentials) Get(name string) string { return c.values()[name] }

func (c Credentials) values() map[string]string {
	if c.IsZero() {
		return nil
	}
	var values map[string]string
	if err := json.Unmarshal([]byte(c.held.Value()), &values); err != nil {
		panic(err) // NewCredentials has encoded it
	}
	return values
}

// Check refuses credentials of other names than a driver knows.
func (c Credentials) Check(known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(c.values())) {
		if slices.Contains(known, name) {
			continue
		}
		if len(known) == 0 {
			return fmt.Errorf("credential %q: such stores take none", name)
		}
		return fmt.Errorf("unknown credential %q; known: %s", name, strings.Join(known, ", "))
	}
	return nil
}

// String returns a stand-in for what is held.
func (c Credentials) String() string {
	if c.IsZero() {
		return ""
	}
	return "REDACTED"
}

// Format prints what String returns, whatever the verb.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// LogValue returns what String does.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText returns what String does; it also serves JSON.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
