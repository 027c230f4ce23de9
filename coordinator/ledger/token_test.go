package ledger_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// token makes a token and returns it with its secret.
func (b *bench) token(name string, scope work.Scope, life time.Duration) (work.Token, string) {
	b.t.Helper()
	secret := work.NewSecret(work.SecretToken)
	t, err := b.CreateToken(b.ctx(), work.Token{Name: name, Scope: scope, CreatedBy: "ada"}, work.HashSecret(secret), life)
	b.must(err)
	return t, secret
}

// letsIn checks what an Authenticate or a Session says.
func (b *bench) letsIn(want bool, ask func(context.Context, []byte) (work.Caller, error), secret string) work.Caller {
	b.t.Helper()
	c, err := ask(b.ctx(), work.HashSecret(secret))
	if want && err != nil || !want && !errors.Is(err, work.ErrNoToken) {
		b.t.Errorf("let in %+v, %v; want it to be let in: %v", c, err, want)
	}
	return c
}

func TestTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	made, secret := b.token("ci", work.ScopeOperate, time.Hour)
	if made.CreatedBy != "ada" || made.ExpiresAt.Sub(made.CreatedAt) != time.Hour || !made.UsedAt.IsZero() || !made.RevokedAt.IsZero() {
		t.Errorf("created %+v", made)
	}
	if c := b.letsIn(true, b.Authenticate, secret); c != (work.Caller{Name: "ci", Scope: work.ScopeOperate, Token: made.ID}) {
		t.Errorf("the caller is %+v", c)
	}
	b.letsIn(false, b.Authenticate, work.NewSecret(work.SecretToken))
	b.letsIn(false, b.Session, secret) // a token is no cookie
	_, err := b.CreateToken(b.ctx(), work.Token{Name: "ci", Scope: work.ScopeRead}, work.HashSecret("other"), 0)
	if !errors.Is(err, work.ErrNameTaken) {
		t.Errorf("a second token of the name: %v", err)
	}
	forever, other := b.token("grafana", work.ScopeRead, 0)
	b.must(ledgertest.Advance(b.ctx(), b.sql, 2*time.Hour))
	b.letsIn(false, b.Authenticate, secret)
	b.letsIn(true, b.Authenticate, other)
	if forever.ExpiresAt != (time.Time{}) {
		t.Errorf("a token for ever expires at %s", forever.ExpiresAt)
	}
	again, _ := b.token("ci", work.ScopeRead, 0) // what has expired makes room
	all, err := b.Tokens(b.ctx())
	b.must(err)
	if len(all) != 3 || all[0].ID != again.ID || all[1].ID != forever.ID || all[2].ID != made.ID {
		t.Errorf("tokens: %+v", all)
	}
}

// A token that is revoked lets nobody in, nor do its sessions and codes, and
// the audit log tells of it, with the address and without any secret.
func TestRevokeToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	made, secret := b.token("ci", work.ScopeOperate, 0)
	cookie, code := work.NewSecret(work.SecretSession), work.NewSecret(work.SecretCode)
	b.must(b.OpenSession(b.ctx(), made.ID, work.HashSecret(cookie), time.Hour))
	b.must(b.CreateCode(b.ctx(), made.ID, work.HashSecret(code), time.Hour))
	b.letsIn(true, b.Session, cookie)
	asked := work.WithCaller(b.ctx(), work.Caller{Name: "grace", Remote: "192.0.2.7"})
	gone, err := b.RevokeToken(asked, made.ID, "grace")
	b.must(err)
	twice, err := b.RevokeToken(asked, made.ID, "grace")
	b.must(err)
	if gone.RevokedAt.IsZero() || !twice.RevokedAt.Equal(gone.RevokedAt) {
		t.Errorf("revoked at %s, and again at %s", gone.RevokedAt, twice.RevokedAt)
	}
	b.letsIn(false, b.Authenticate, secret)
	b.letsIn(false, b.Session, cookie)
	if _, err := b.RedeemCode(b.ctx(), work.HashSecret(code), work.HashSecret("x"), time.Hour); !errors.Is(err, work.ErrNoToken) {
		t.Errorf("a code of a revoked token: %v", err)
	}
	if err := b.OpenSession(b.ctx(), made.ID, work.HashSecret("y"), time.Hour); !errors.Is(err, work.ErrNoToken) {
		t.Errorf("a session of a revoked token: %v", err)
	}
	if _, err := b.RevokeToken(b.ctx(), made.ID+1, "grace"); !errors.Is(err, work.ErrNotThere) {
		t.Errorf("revoking what is not there: %v", err)
	}
	events, err := b.Events(b.ctx(), 0, 0, 0)
	b.must(err)
	var told []string
	for _, e := range events {
		told = append(told, strings.Join([]string{e.Who, e.What, e.Note, e.From}, "|"))
		if e.Job != 0 {
			t.Errorf("an event about no job names job %d", e.Job)
		}
	}
	if got := strings.Join(told, "\n"); got != "ada|token created|ci, may operate|\nci|signed in||\ngrace|token revoked|ci|192.0.2.7" {
		t.Errorf("the audit log says\n%s", got)
	}
}

// While a token is revoked and sessions are opened with it, all at once, no
// session is left in the end.
func TestRevokeWhileSigningIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	made, _ := b.token("ci", work.ScopeOperate, 0)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if i == 10 {
				if _, err := b.RevokeToken(b.ctx(), made.ID, ""); err != nil {
					t.Error(err)
				}
				return
			}
			err := b.OpenSession(b.ctx(), made.ID, work.HashSecret(work.NewSecret(work.SecretSession)), time.Hour)
			if err != nil && !errors.Is(err, work.ErrNoToken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := b.text(`SELECT count(*) FROM tranship.sessions`); n != "0" {
		t.Errorf("%s sessions outlive their token", n)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	made, _ := b.token("ada", work.ScopeAdmin, 0)
	cookie := work.NewSecret(work.SecretSession)
	b.must(b.OpenSession(b.ctx(), made.ID, work.HashSecret(cookie), time.Hour))
	if c := b.letsIn(true, b.Session, cookie); c != (work.Caller{Name: "ada", Scope: work.ScopeAdmin, Token: made.ID}) {
		t.Errorf("the caller is %+v", c)
	}
	b.letsIn(false, b.Authenticate, cookie) // a cookie is no token
	b.must(b.CloseSession(b.ctx(), work.HashSecret(cookie)))
	b.must(b.CloseSession(b.ctx(), work.HashSecret(cookie)))
	b.letsIn(false, b.Session, cookie)

	b.must(b.OpenSession(b.ctx(), made.ID, work.HashSecret(cookie), time.Hour))
	b.must(ledgertest.Advance(b.ctx(), b.sql, time.Hour+time.Second))
	b.letsIn(false, b.Session, cookie)
	b.must(b.OpenSession(b.ctx(), made.ID, work.HashSecret("next"), time.Hour))
	if n := b.text(`SELECT count(*) FROM tranship.sessions`); n != "1" {
		t.Errorf("%s sessions are kept, want the one that has not expired", n)
	}
}

// Codes do not pile up: a token has few at once, however many ask at the same
// moment, and those that have expired are gone.
func TestCodesPileUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	made, _ := b.token("ada", work.ScopeRead, 0)
	other, _ := b.token("bea", work.ScopeRead, 0)
	code := func(of work.Token) error {
		return b.CreateCode(b.ctx(), of.ID, work.HashSecret(work.NewSecret(work.SecretCode)), time.Minute)
	}
	var refused atomic.Int32
	var wg sync.WaitGroup
	for range work.MaxCodes + 10 {
		wg.Go(func() {
			if err := code(made); errors.Is(err, work.ErrTooMany) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if refused.Load() != 10 {
		t.Errorf("%d codes are refused, want 10", refused.Load())
	}
	b.must(code(other))
	b.must(b.OpenSession(b.ctx(), made.ID, work.HashSecret("a session is no code"), time.Hour))
	b.must(ledgertest.Advance(b.ctx(), b.sql, time.Minute+time.Second))
	b.must(code(made))
	if n := b.text(`SELECT count(*) FROM tranship.sessions WHERE code`); n != "1" {
		t.Errorf("%s codes are kept, want the one that has not expired", n)
	}
}

// There are never more tokens that count than the list shows; one that is
// revoked, or has expired, makes room.
func TestTokensPileUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	first, _ := b.token("first", work.ScopeRead, 0)
	b.token("second", work.ScopeRead, time.Hour)
	b.exec(`INSERT INTO tranship.tokens (name, scope, hash, created_by) SELECT 't' || n, 'read', n::text::bytea, 'ada' FROM generate_series(3, $1) n`, work.MaxTokens)
	create := func(name string) error {
		_, err := b.CreateToken(b.ctx(), work.Token{Name: name, Scope: work.ScopeRead}, work.HashSecret(name), 0)
		return err
	}
	if err := create("more"); !errors.Is(err, work.ErrTooMany) {
		t.Errorf("one token too many: %v", err)
	}
	_, err := b.RevokeToken(b.ctx(), first.ID, "ada")
	b.must(err)
	b.must(create("more"))
	b.must(ledgertest.Advance(b.ctx(), b.sql, time.Hour+time.Second))
	b.must(create("third"))
	if err := create("fourth"); !errors.Is(err, work.ErrTooMany) {
		t.Errorf("one token too many again: %v", err)
	}
}

// A code opens one session, however many try at once, and none when its time
// is over; it is no session itself.
func TestCodes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	made, _ := b.token("ada", work.ScopeOperate, 0)
	code := work.HashSecret(work.NewSecret(work.SecretCode))
	b.must(b.CreateCode(b.ctx(), made.ID, code, time.Minute))
	if c, err := b.Session(b.ctx(), code); !errors.Is(err, work.ErrNoToken) {
		t.Errorf("a code is taken for the session of %+v, %v", c, err)
	}
	var mu sync.Mutex
	var won []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cookie := work.NewSecret(work.SecretSession)
			c, err := b.RedeemCode(b.ctx(), code, work.HashSecret(cookie), time.Hour)
			if err != nil && !errors.Is(err, work.ErrNoToken) {
				t.Error(err)
			}
			if err == nil && c.Name == "ada" {
				mu.Lock()
				won = append(won, cookie)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("a code was used %d times", len(won))
	}
	b.letsIn(true, b.Session, won[0])
	b.must(b.CreateCode(b.ctx(), made.ID, code, time.Minute))
	b.must(ledgertest.Advance(b.ctx(), b.sql, time.Minute+time.Second))
	if _, err := b.RedeemCode(b.ctx(), code, work.HashSecret("x"), time.Hour); !errors.Is(err, work.ErrNoToken) {
		t.Errorf("an old code: %v", err)
	}
}

// The use of a token is written down once a minute, and not where it is looked
// up.
func TestNoteUse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	_, secret := b.token("ci", work.ScopeRead, 0)
	used := func() string { return b.text(`SELECT used_at FROM tranship.tokens`) }
	version := func() string { return b.text(`SELECT xmin FROM tranship.tokens`) }
	b.letsIn(true, b.Authenticate, secret)
	if got := used(); got != "" {
		t.Errorf("looking a token up wrote %s", got)
	}
	b.must(b.NoteUse(b.ctx()))
	before := used()
	if before == "" || b.text(`SELECT extract(second FROM used_at)::int FROM tranship.tokens`) != "0" {
		t.Errorf("used at %q, want a whole minute", before)
	}
	for range 3 { // one of them may fall into the next minute
		was := version()
		b.letsIn(true, b.Authenticate, secret)
		b.must(b.NoteUse(b.ctx()))
		if used() == before && version() != was {
			t.Error("the same minute was written again")
		}
		before = used()
	}
	was := version()
	b.must(ledgertest.Advance(b.ctx(), b.sql, time.Hour))
	moved := version()
	b.must(b.NoteUse(b.ctx())) // nobody asked
	if version() != moved || moved == was {
		t.Error("a use was noted that was none")
	}
}

// The first token is made where nobody could let others in, once, and made anew
// only if it was lost or nobody is left.
func TestFirstToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	first := func(lost, want bool) (secret string) {
		t.Helper()
		secret = work.NewSecret(work.SecretToken)
		needed, err := b.NeedsToken(b.ctx(), lost)
		b.must(err)
		made, err := b.CreateFirstToken(b.ctx(), work.HashSecret(secret), lost)
		b.must(err)
		if needed != want || made != want {
			t.Errorf("lost %v: needed %v, made %v, want %v", lost, needed, made, want)
		}
		return secret
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 4 {
		wg.Go(func() {
			ok, err := b.CreateFirstToken(b.ctx(), work.HashSecret(work.NewSecret(work.SecretToken)), false)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if ok {
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d of 4 coordinators made the first token", made)
	}
	first(false, false)
	again := first(true, true)
	admin, _ := b.token("ada", work.ScopeAdmin, time.Hour)
	c := b.letsIn(true, b.Authenticate, again)
	_, err := b.RevokeToken(b.ctx(), c.Token, "ada")
	b.must(err)
	first(true, false) // it was revoked, not lost
	b.must(ledgertest.Advance(b.ctx(), b.sql, 2*time.Hour))
	if last := b.letsIn(true, b.Authenticate, first(false, true)); last.Scope != work.ScopeAdmin || last.Token == admin.ID {
		t.Errorf("nobody is left, and %+v is the first", last)
	}
}
