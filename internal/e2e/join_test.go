package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A guardedFleet is one as it is by default: nobody uses the API without a token
// or the queue without an identity.
type guardedFleet struct {
	*fleet
	env []string // of an operator
}

func newGuardedFleet(t *testing.T) *guardedFleet {
	t.Helper()
	f := found(t, nil)
	env := []string{"TRANSHIP_DATABASE_URL=" + f.ledger, "TRANSHIP_HTTP_OPEN=false", "TRANSHIP_NATS_AUTH=keys"}
	page, listen := freeAddress(t), freeAddress(t)
	conf := f.writeConfig(t, "coordinator", "listen: "+listen, page)
	f.coordinator = f.start(t, "coordinator", env, "coordinator", "--config", conf)
	f.api, f.natsURL = "http://"+page, "nats://"+listen
	f.awaitReady(t)
	token := filepath.Join(f.dir, "coordinator", "admin.token")
	return &guardedFleet{fleet: f, env: []string{"TRANSHIP_SERVER=" + f.api, "TRANSHIP_TOKEN_FILE=" + token}}
}

// invite returns the command that an invitation is, as words.
func (f *guardedFleet) invite(t *testing.T) []string {
	t.Helper()
	return strings.Fields(must(t, f.env, "fleet", "invite", "--site", "default").stdout)[1:]
}

// join runs the command that was printed on the machine of an agent, which is a
// folder here, and starts the agent there.
func (f *guardedFleet) join(t *testing.T, name string) *daemon {
	t.Helper()
	data := filepath.Join(f.dir, name)
	must(t, nil, append(f.invite(t), "--name", name, "--data", data)...)
	a := f.start(t, name, []string{"TRANSHIP_DATA=" + data}, "agent")
	f.agents = append(f.agents, a)
	return a
}

// state returns what the fleet's list says of an agent.
func (f *guardedFleet) state(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.Lines(must(t, f.env, "fleet", "ls", "-o", "tsv").stdout) {
		if words := strings.Split(line, "\t"); words[0] == name {
			return words[2]
		}
	}
	return ""
}

// TestJoin: agents join by the command that an invitation is, with nothing else,
// and move a job. One is revoked while it holds items and hangs: when it wakes
// up it is shut out and ends, and the job is finished by another.
func TestJoin(t *testing.T) {
	t.Parallel()
	const n = 4000
	f := newGuardedFleet(t)
	source, target := filepath.Join(f.dir, "source"), filepath.Join(f.dir, "target")
	for i := range n {
		writeFile(t, filepath.Join(source, fmt.Sprintf("%02d/%05d", i%37, i)), fmt.Sprint("object ", i))
	}

	// Who has not joined is not let in, and is told how to.
	stranger := tranship(t, []string{"TRANSHIP_NATS_URL=" + f.natsURL, "TRANSHIP_DATA=" + t.TempDir()}, "agent")
	if stranger.code == 0 || !strings.Contains(stranger.stderr, "tranship fleet invite") {
		t.Errorf("an agent that has not joined ends with %d:\n%s", stranger.code, stranger.stderr)
	}

	first := f.join(t, "agent-1")
	r := must(t, f.env, "copy", "-o", "json", "file://"+source, "file://"+target)
	id := decode[jobView](t, r.stdout).ID
	eventually(t, "the job to move", time.Minute, func() bool {
		return f.number("SELECT count(*) FROM tranship.items WHERE kind = 'copy' AND state = 'done'") > 0
	})
	first.freeze()
	if held := f.number("SELECT count(*) FROM tranship.items WHERE state = 'queued'"); held < 1 {
		t.Fatalf("%d items are queued while the only agent hangs: the job was over too soon", held)
	}
	second := f.join(t, "agent-2")
	must(t, f.env, "fleet", "revoke", "default/agent-1", "--yes")
	first.thaw()
	f.wantEnd(t, first, 4)
	if got := f.state(t, "agent-1"); got != "revoked" {
		t.Errorf("the fleet's list says of the agent that was revoked: %q", got)
	}

	eventually(t, "the job to end", 2*time.Minute, func() bool {
		return f.number(fmt.Sprintf("SELECT count(*) FROM tranship.jobs WHERE id = %d AND state = 'succeeded'", id)) == 1
	})
	wantEqual(t, folderInventory(t, target), folderInventory(t, source))

	// What is left of the first agent opens no door, after a restart neither.
	f.coordinator.stop(t)
	f.coordinator.start(t)
	f.awaitReady(t)
	first.start(t)
	f.wantEnd(t, first, 4)
	eventually(t, "the second agent to hear that it is to go", time.Minute, func() bool {
		return tranship(t, f.env, "fleet", "drain", "agent-2").code == 0
	})
	f.wantEnd(t, second, 0)
}

// wantEnd waits for the end of a daemon and checks its exit status.
func (f *guardedFleet) wantEnd(t *testing.T, d *daemon, want int) {
	t.Helper()
	cmd, done := d.life()
	select {
	case <-done:
	case <-time.After(3 * time.Minute):
		t.Fatalf("%s did not end:\n%s", d.name, d.log.tail(4000))
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("%s ended with %d, want %d:\n%s", d.name, got, want, d.log.tail(4000))
	}
}

// TestJoinIsCutShort kills the command that joins at the worst moments: the
// agent's key is kept before anybody hears of it, and asked again with it the
// coordinator answers again.
func TestJoinIsCutShort(t *testing.T) {
	t.Parallel()
	f := newGuardedFleet(t)
	data := filepath.Join(f.dir, "agent-1")
	command := append(f.invite(t), "--name", "agent-1", "--data", data)
	must(t, nil, command...)
	path := filepath.Join(data, "identity.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The coordinator has committed, and the answer came to nothing.
	begun := decode[map[string]any](t, string(whole))
	delete(begun, "welcome")
	delete(begun, "renew_at")
	text, err := json.Marshal(begun)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(text))
	if r := tranship(t, []string{"TRANSHIP_DATA=" + data}, "agent"); r.code != 1 || !strings.Contains(r.stderr, "fleet join command again") {
		t.Errorf("an agent that has half joined ends with %d:\n%s", r.code, r.stderr)
	}
	must(t, nil, command...)
	a := f.start(t, "agent-1", []string{"TRANSHIP_DATA=" + data}, "agent")
	eventually(t, "the agent to be there", time.Minute, func() bool { return f.state(t, "agent-1") == "running" })
	if code := a.stop(t); code != 0 {
		t.Errorf("the agent ended with %d", code)
	}

	// Whoever has read the command over somebody's shoulder comes too late.
	thief := append(command[:len(command):len(command)], "--data", filepath.Join(f.dir, "thief"))
	if r := tranship(t, nil, thief...); r.code != 4 {
		t.Errorf("a token that was used lets another agent in: exit status %d\n%s", r.code, r.stderr)
	}
	if got := f.number("SELECT count(*) FROM tranship.identities"); got != 1 {
		t.Errorf("%d identities, want 1", got)
	}
}
