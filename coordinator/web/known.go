package web

import (
	"maps"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	// believed is how long the ledger's word for a caller counts: on every
	// coordinator a token that is revoked lets nobody in after that.
	believed = 3 * time.Second
	// rememberedFor is how long whoever was let in is told from strangers.
	rememberedFor = 10 * time.Minute
	maxRemembered = 10_000
)

// known are the callers that were let in lately. The zero value is of no use.
type known struct {
	recent *recent[string, work.Caller] // as the ledger says

	mu  sync.Mutex
	was map[string]admitted
}

type admitted struct {
	caller work.Caller
	at     time.Time
}

func newKnown() *known {
	return &known{recent: newRecent[string, work.Caller](believed), was: make(map[string]admitted)}
}

// key is what a credential is kept under: never the secret itself.
func (c credential) key() string {
	if c.session {
		return "s" + string(c.hash)
	}
	return "t" + string(c.hash)
}

// lately returns who showed the credential when it last counted, if that is
// not long ago.
func (k *known) lately(c credential) (work.Caller, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.was[c.key()]
	return a.caller, ok && time.Since(a.at) < rememberedFor
}

func (k *known) admit(c credential, who work.Caller) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.was) >= maxRemembered {
		clear(k.was) // what is lost is a courtesy
	}
	k.was[c.key()] = admitted{who, time.Now()}
}

// forget makes the caller a stranger: the credential no longer counts.
func (k *known) forget(c credential) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.was, c.key())
}

// forgetToken makes strangers of whoever shows the token or a session of it.
func (k *known) forgetToken(id work.TokenID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.was, func(_ string, a admitted) bool { return a.caller.Token == id })
}
