package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/work"
)

// The files of an agent's identity, in its data folder.
const (
	identityFile = "identity.json"
	natsCAFile   = "nats-ca.pem"
)

// An identity is who an agent is, and how it finds the fleet, as its file says.
type identity struct {
	Agent   string       `json:"agent"`
	Key     string       `json:"key"`           // public
	Seed    string       `json:"seed"`          // the secret of the key; it never leaves this machine
	Server  string       `json:"server"`        // URL of the coordinator
	Pin     string       `json:"pin,omitempty"` // see api.Invited
	RenewAt time.Time    `json:"renew_at,omitzero"`
	Welcome work.Welcome `json:"welcome,omitzero"` // zero: it has not joined yet
}

// joined reports whether the fleet has answered.
func (i identity) joined() bool { return i.Welcome.JWT != "" }

// with returns the identity with a new credential, and when to ask for the
// next: at half its life, give or take a fifth, so that a fleet that started at
// once does not ask at once.
func (i identity) with(w work.Welcome, now time.Time) identity {
	half := w.Expires.Sub(now) / 2
	i.Welcome, i.Agent = w, w.Agent
	i.RenewAt = now.Add(half - half/5 + rand.N(max(1, 2*half/5))).UTC().Truncate(time.Millisecond)
	return i
}

// readIdentity returns the identity in a data folder; false if there is none.
func readIdentity(dir string) (identity, bool, error) {
	path := filepath.Join(dir, identityFile)
	b, err := readWithin(dir, identityFile)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	var i identity
	if err == nil {
		err = json.Unmarshal(b, &i)
	}
	if err != nil {
		return identity{}, false, fail(ExitFailed, fmt.Errorf("read the agent's identity %s: %w", path, err),
			"it belongs to the user that the agent runs as, who alone may read it; if it is damaged, revoke the agent, remove the file and invite it again")
	}
	return i, true, nil
}

// write replaces the identity in a data folder, or leaves what is there. The CA
// stands in a file of its own, as the queue's client wants it.
func (i identity) write(dir string) error {
	b, err := json.MarshalIndent(i, "", "  ")
	if err == nil {
		err = os.MkdirAll(dir, 0o711)
	}
	if err == nil && i.Welcome.CA != "" {
		err = replaceFile(filepath.Join(dir, natsCAFile), []byte(i.Welcome.CA))
	}
	if err == nil {
		err = replaceFile(filepath.Join(dir, identityFile), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the agent's identity: %w", err)
	}
	return nil
}

// natsCA returns the file of whom the agent trusts to be its queue; "" means the
// system's.
func (i identity) natsCA(dir string) string {
	if i.Welcome.CA == "" {
		return ""
	}
	return filepath.Join(dir, natsCAFile)
}

// named returns the configuration of the agent that has the identity. One that
// says something else is a mistake of one of the two.
func (i identity) named(a config.Agent, path string) (config.Agent, error) {
	if a.Name != "" && a.Name != i.Agent {
		return a, usage("leave agent.name empty, or join again under that name with another data folder",
			"agent.name is %s, but %s is the identity of agent %s", a.Name, path, i.Agent)
	}
	if a.Site != work.DefaultSite && a.Site != i.Welcome.Site {
		return a, usage("leave agent.site out, or join that site by another invitation",
			"agent.site is %s, but %s is the identity of an agent of site %s", a.Site, path, i.Welcome.Site)
	}
	a.Name, a.Site = i.Agent, i.Welcome.Site
	return a, nil
}
