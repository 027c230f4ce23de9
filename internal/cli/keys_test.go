package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// With keys, which is the default, the coordinator and the agent in its process
// do their work, people can look with the credentials that are printed, and
// whoever has none is refused. A copy in one process on the same folder leaves
// the fleet's keys alone.
func TestUpWithKeys(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	server := newWorld(t).withDatabase(t)
	delete(server.env, "TRANSHIP_NATS_AUTH")
	server.env["TRANSHIP_HTTP_LISTEN"], server.env["TRANSHIP_NATS_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
	server.env["TRANSHIP_SITE"] = "Fra"
	stop := server.background(t, "up", "--data", data)
	await(t, "the queue's line", server, func() bool { return line(server.stdout.String(), "data") != "" })
	words := strings.Fields(line(server.stdout.String(), "queue"))
	given := map[string]string{}
	for i, w := range words[:len(words)-1] {
		given[w] = words[i+1]
	}
	if want := filepath.Join(data, "nats", "viewer.creds"); given["--creds"] != want {
		t.Errorf("the queue's line is %q, want --creds %s", words, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	viewer, err := bus.Connect(ctx, bus.Options{URL: given["--server"], Name: "viewer", Credentials: given["--creds"]})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range viewer.Examine(ctx) {
		if c.State == work.CheckFailing {
			t.Errorf("what a viewer sees: %+v", c)
		}
	}
	viewer.Close()
	if b, err := bus.Connect(ctx, bus.Options{URL: given["--server"]}); err == nil {
		b.Close()
		t.Error("it let somebody in without credentials")
	}

	user := newWorld(t)
	user.env["TRANSHIP_SERVER"] = line(server.stdout.String(), "page")
	src, dst := tree(t, some(5)), t.TempDir()
	user.wantStatus(t, ExitOK, "copy", "--wait", "--at", "Fra", src, dst)

	user.stdout = safeBuffer{}
	user.env["TRANSHIP_NATS_LISTEN"] = strings.TrimPrefix(given["--server"], "nats://")
	user.env["TRANSHIP_DATA"], user.env["TRANSHIP_NATS_AUTH"] = data, "keys"
	user.run(t.Context(), "doctor", "--here")
	if got := user.stdout.String(); !strings.Contains(got, "ok\tnats\t-\tanswer\t") {
		t.Errorf("doctor --here found\n%s", got)
	}
	if got := stop(); got != ExitOK {
		t.Errorf("up ended with %d\n%s", got, server.stderr.String())
	}

	seeds := filepath.Join(data, "nats", "keys", "seeds.json")
	before, err := os.ReadFile(seeds)
	if err != nil {
		t.Fatal(err)
	}
	alone := newWorld(t).withDatabase(t)
	alone.wantStatus(t, ExitOK, "copy", "--data", data, src, t.TempDir())
	if after, err := os.ReadFile(seeds); err != nil || string(after) != string(before) {
		t.Errorf("a copy on the same folder changed the keys: %v", err)
	}
}
