package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// invite makes an invitation to site west and returns what it is used with.
func (b *bench) invite(life time.Duration) []byte {
	b.t.Helper()
	hash := work.HashSecret(work.NewSecret(work.SecretInvite))
	i, err := b.CreateInvite(b.ctx(), work.NewInvite{Site: "west", Life: life, Who: "ada"}, hash)
	b.must(err)
	if i.ID == 0 || i.Site != "west" || i.CreatedBy != "ada" || !i.UsedAt.IsZero() || i.ExpiresAt.Sub(i.CreatedAt) != life {
		b.t.Errorf("CreateInvite = %+v", i)
	}
	return hash
}

func (b *bench) wantJoin(hash []byte, agent, key string, want error) work.Identity {
	b.t.Helper()
	i, err := b.Join(b.ctx(), hash, work.Joining{Agent: agent, Host: "host\x00", Key: key})
	if !errors.Is(err, want) {
		b.t.Errorf("Join as %s with %s: %v, want %v", agent, key, err, want)
	}
	return i
}

func TestJoin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	hash := b.invite(time.Hour)
	i := b.wantJoin(hash, "a1", "U1", nil)
	if i.Agent != "a1" || i.Site != "west" || i.Key != "U1" || i.Host != "host\ufffd" || i.JoinedAt.IsZero() || !i.RevokedAt.IsZero() {
		t.Errorf("Join = %+v", i)
	}
	// The answer was lost, and the agent asks again.
	if again := b.wantJoin(hash, "a1", "U1", nil); again != i {
		t.Errorf("Join again = %+v, want %+v", again, i)
	}
	b.wantJoin(hash, "a1", "U2", work.ErrNoToken) // stolen and replayed
	b.wantJoin(hash, "a2", "U2", work.ErrNoToken)
	b.wantJoin(hash, "a2", "U1", work.ErrNoToken)
	b.wantJoin([]byte("never was"), "a2", "U2", work.ErrNoToken)

	// What is refused for its name or key leaves the invitation as it was.
	second := b.invite(time.Hour)
	b.wantJoin(second, "a1", "U2", work.ErrNameTaken)
	b.wantJoin(second, "a2", "U1", work.ErrKeyTaken)
	if open, err := b.Invites(b.ctx()); err != nil || len(open) != 1 {
		t.Errorf("Invites = %+v, %v, want the second", open, err)
	}
	b.wantJoin(second, "a2", "U2", nil)
	b.wantJoin(b.invite(time.Hour), "a2", "U2", nil) // it lost the answer, and the first invitation expired
	if open, err := b.Invites(b.ctx()); err != nil || len(open) != 0 {
		t.Errorf("Invites = %+v, %v, want none", open, err)
	}
	if n := b.text(`SELECT count(*) FROM tranship.identities`); n != "2" {
		t.Errorf("%s identities, want 2", n)
	}
	events, err := b.Events(b.ctx(), 0, 0, 0)
	b.must(err)
	var told []string
	for _, e := range events {
		told = append(told, e.Who+": "+e.What)
	}
	want := "ada: agent invited, a1: agent joined, ada: agent invited, a2: agent joined, ada: agent invited"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("events are %s, want %s", got, want)
	}
}

func TestInviteExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	used, unused := b.invite(time.Hour), b.invite(time.Hour)
	b.alone()
	b.wantJoin(used, "a1", "U1", nil)
	b.exec(`UPDATE tranship.invites SET expires_at = now()`)
	b.wantJoin(used, "a1", "U1", work.ErrNoToken) // it answers no longer than it counts
	b.wantJoin(unused, "a2", "U2", work.ErrNoToken)
	if open, err := b.Invites(b.ctx()); err != nil || len(open) != 0 {
		t.Errorf("Invites = %+v, %v, want none", open, err)
	}
}

// There are only so many open invitations; what was used or has expired makes room.
func TestInvitesPileUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	used := b.invite(time.Hour)
	b.invite(time.Minute)
	b.exec(`INSERT INTO tranship.invites (hash, site, created_by, expires_at) SELECT n::text::bytea, 'west', 'ada', now() + interval '1 day' FROM generate_series(3, $1) n`, work.MaxInvites)
	more := work.NewInvite{Site: "west", Life: time.Hour}
	if _, err := b.CreateInvite(b.ctx(), more, []byte("a")); !errors.Is(err, work.ErrTooMany) {
		t.Errorf("one invitation too many: %v", err)
	}
	b.wantJoin(used, "a1", "U1", nil)
	b.invite(time.Hour)
	b.must(ledgertest.Advance(b.ctx(), b.sql, time.Minute+time.Second))
	b.invite(time.Hour)
	if _, err := b.CreateInvite(b.ctx(), more, []byte("b")); !errors.Is(err, work.ErrTooMany) {
		t.Errorf("one invitation too many again: %v", err)
	}
}

func TestUninvite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	hash := b.invite(time.Hour)
	open, err := b.Invites(b.ctx())
	b.must(err)
	b.must(b.Uninvite(b.ctx(), open[0].ID, "bea"))
	b.wantJoin(hash, "a1", "U1", work.ErrNoToken)
	if err := b.Uninvite(b.ctx(), open[0].ID, "bea"); !errors.Is(err, work.ErrNotThere) {
		t.Errorf("Uninvite again: %v", err)
	}
	// One that was used cannot be taken back: the agent has to be revoked.
	b.wantJoin(b.invite(time.Hour), "a1", "U1", nil)
	if err := b.Uninvite(b.ctx(), open[0].ID+1, "bea"); !errors.Is(err, work.ErrNotThere) {
		t.Errorf("Uninvite one that was used: %v", err)
	}
}

// TestJoinRace: a token that was stolen is used at the same moment by its thief,
// and a name is asked for by many. One of them gets it, whoever is first.
func TestJoinRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	race := func(n int, join func(i int) error, lost error) {
		t.Helper()
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { errs[i] = join(i) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, lost) {
				t.Errorf("a loser got %v, want %v", err, lost)
			}
		}
		if won != 1 {
			t.Errorf("%d won, want 1", won)
		}
	}
	hash := b.invite(time.Hour)
	release := b.holdInvites(3)
	race(3, func(i int) error {
		_, err := b.Join(b.ctx(), hash, work.Joining{Agent: fmt.Sprint("a", i), Key: fmt.Sprint("U", i)})
		return err
	}, work.ErrNoToken)
	release()
	var hashes [][]byte
	for range 8 {
		hashes = append(hashes, b.invite(time.Hour))
	}
	race(8, func(i int) error {
		_, err := b.Join(b.ctx(), hashes[i], work.Joining{Agent: "same", Key: fmt.Sprint("V", i)})
		return err
	}, work.ErrNameTaken)
	if open, err := b.Invites(b.ctx()); err != nil || len(open) != 7 {
		t.Errorf("%d invitations are left, %v, want 7", len(open), err)
	}
}

// holdInvites keeps all invitations locked until n transactions wait for them.
// What it returns waits for the end of that.
func (b *bench) holdInvites(n int) (release func()) {
	b.t.Helper()
	tx, err := b.sql.BeginTx(b.ctx(), nil)
	b.must(err)
	_, err = tx.ExecContext(b.ctx(), `SELECT id FROM tranship.invites FOR UPDATE`)
	b.must(err)
	done := make(chan error, 1)
	go func() {
		const query = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
		waiting := 0
		var err error
		for end := time.Now().Add(time.Minute); err == nil && waiting < n && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			err = b.sql.QueryRowContext(b.ctx(), query).Scan(&waiting)
		}
		done <- errors.Join(err, tx.Rollback())
	}()
	return func() { b.must(<-done) }
}

func TestRevokeAgent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	hash := b.invite(time.Hour)
	b.wantJoin(hash, "a1", "U1", nil)
	renewed, err := b.Renew(b.ctx(), "U1")
	b.must(err)
	if renewed.Agent != "a1" || renewed.RenewedAt.IsZero() {
		t.Errorf("Renew = %+v", renewed)
	}
	if _, err := b.Renew(b.ctx(), "U2"); !errors.Is(err, work.ErrNoIdentity) {
		t.Errorf("Renew of a stranger: %v", err)
	}
	if _, err := b.RevokeAgent(b.ctx(), "east", "a1", "bea"); !errors.Is(err, work.ErrNotThere) {
		t.Errorf("RevokeAgent at another site: %v", err)
	}
	revoked, err := b.RevokeAgent(b.ctx(), "west", "a1", "bea")
	b.must(err)
	again, err := b.RevokeAgent(b.ctx(), "west", "a1", "cleo")
	b.must(err)
	if revoked.Key != "U1" || revoked.RevokedBy != "bea" || revoked.RevokedAt.IsZero() || again != revoked {
		t.Errorf("RevokeAgent = %+v, and again %+v", revoked, again)
	}
	if _, err := b.Renew(b.ctx(), "U1"); !errors.Is(err, work.ErrNoIdentity) {
		t.Errorf("Renew of one that was revoked: %v", err)
	}
	b.wantJoin(hash, "a1", "U1", work.ErrNoToken)
	b.wantJoin(b.invite(time.Hour), "a1", "U1", work.ErrKeyTaken)

	// The name is free again, for another key.
	b.wantJoin(b.invite(time.Hour), "a1", "U2", nil)
	second, err := b.RevokeAgent(b.ctx(), "west", "a1", "bea")
	b.must(err)
	keys, err := b.RevokedKeys(b.ctx())
	b.must(err)
	if second.Key != "U2" || fmt.Sprint(keys) != "[U1 U2]" {
		t.Errorf("revoked %+v, the revoked keys are %v", second, keys)
	}
}

// TestJoinLeavesTheNameOfARunningAgent: an agent that needs no identity, such as
// that of tranship up, runs already under the machine's name.
func TestJoinLeavesTheNameOfARunningAgent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	running := []work.Presence{{Agent: "a1", Site: "west"}, {Agent: "a2", Site: "east"}}
	b.must(b.Beat(b.ctx(), running))
	hash := b.invite(time.Hour)
	b.wantJoin(hash, "a1", "U1", work.ErrNameTaken)
	b.wantJoin(hash, "a2", "U1", nil) // at another site there is none
	b.wantJoin(hash, "a2", "U1", nil)

	// It was stopped.
	b.exec(`UPDATE tranship.agents SET last_seen = now() - interval '61 seconds'`)
	hash = b.invite(time.Hour)
	b.wantJoin(hash, "a1", "U2", nil)
	b.must(b.Beat(b.ctx(), running))
	b.wantJoin(b.invite(time.Hour), "a1", "U2", nil) // it runs, and asks again

	// One that was revoked is heard of no more.
	_, err := b.RevokeAgent(b.ctx(), "west", "a1", "bea")
	b.must(err)
	b.wantJoin(b.invite(time.Hour), "a1", "U3", nil)
}

// TestAgentsWithIdentities: those that have joined are listed before they were
// ever seen, and with the identity that their name has now.
func TestAgentsWithIdentities(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	b.must(b.Beat(b.ctx(), []work.Presence{{Agent: "old", Site: "west"}, {Agent: "a1", Site: "west"}, {Agent: "a1", Site: "east"}}))
	b.exec(`UPDATE tranship.agents SET last_seen = now() - interval '1 hour'`)
	for _, j := range []struct{ agent, key string }{{"a1", "U1"}, {"gone", "U2"}, {"new", "U3"}} {
		b.wantJoin(b.invite(time.Hour), j.agent, j.key, nil)
	}
	for _, agent := range []string{"a1", "gone"} {
		_, err := b.RevokeAgent(b.ctx(), "west", agent, "bea")
		b.must(err)
	}
	check := func(want string) {
		t.Helper()
		rows, err := b.Agents(b.ctx())
		b.must(err)
		var got []string
		for _, r := range rows {
			s := fmt.Sprintf("%s/%s seen=%v", r.Site, r.Agent, !r.LastSeen.IsZero())
			if r.Identity != nil {
				s += fmt.Sprintf(" key=%s revoked=%v", r.Identity.Key, !r.Identity.RevokedAt.IsZero())
			}
			got = append(got, s)
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("Agents = %s, want %s", strings.Join(got, "; "), want)
		}
	}
	check("east/a1 seen=true; west/a1 seen=true key=U1 revoked=true; west/old seen=true; west/new seen=false key=U3 revoked=false")
	b.wantJoin(b.invite(time.Hour), "a1", "U4", nil)
	check("east/a1 seen=true; west/a1 seen=true key=U4 revoked=false; west/old seen=true; west/new seen=false key=U3 revoked=false")
}
