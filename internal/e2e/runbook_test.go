package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A desk is where an operator follows the runbook: beside a small fleet whose
// queue asks everybody for credentials.
type desk struct {
	*fleet
	job   int64
	nats  string // folder of viewer.creds and admin.creds
	agent *daemon
}

// newDesk starts a fleet of one agent that was invited, and a job that lasts.
func newDesk(t *testing.T, objects corpus) *desk {
	t.Helper()
	f := found(t, nil)
	listen := freeAddress(t)
	f.natsURL = "nats://" + listen
	const keys = "TRANSHIP_NATS_AUTH=keys"
	f.coordinator, f.api = f.startCoordinator(t, "coordinator", "listen: "+listen, keys)
	d := &desk{fleet: f, nats: filepath.Join(f.dir, "coordinator", "nats")}

	join := strings.Fields(f.cli(t, "fleet", "invite", "--site", "default").stdout)
	if len(join) < 3 {
		t.Fatalf("no invitation: %q", join)
	}
	home := filepath.Join(f.dir, "a1")
	must(t, nil, append(join[1:], "--name", "a1", "--data", home)...)
	d.agent = f.start(t, "a1", []string{keys, "TRANSHIP_DATA=" + home, "TRANSHIP_STREAMS=2"}, "agent")

	src, dst := filepath.Join(f.dir, "src"), filepath.Join(f.dir, "dst")
	objects.toFolder(t, src)
	if err := os.Mkdir(dst, 0o755); err != nil {
		t.Fatal(err)
	}
	d.job = f.submit(t, "file://"+src, "file://"+dst)
	eventually(t, "the job to move", time.Minute, func() bool { return f.job(t, d.job).Copied > 0 })
	return d
}

// TestRunbook follows deploy/RUNBOOK.md line by line on a fleet that works: the
// program, psql and the queue's server take every line, those who may only
// look can, and the job ends as if nobody had done anything.
func TestRunbook(t *testing.T) {
	long(t)
	objects := newCorpus(6000, newSeed(t))
	d := newDesk(t, objects)
	seen := map[string]int{}
	for _, line := range runbook(t) {
		line = regexp.MustCompile(`\b7\b`).ReplaceAllString(line, strconv.FormatInt(d.job, 10))
		program, rest, _ := strings.Cut(line, " ")
		seen[program]++
		if strings.HasPrefix(line, "tranship fleet drain") { // and so what comes before must have moved the job
			j := d.awaitEnd(t, d.job, 5*time.Minute)
			if j.State != "succeeded" || j.Copied != int64(len(objects)) {
				t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
			}
		}
		switch program {
		case "tranship":
			d.doTranship(t, rest)
		case "psql":
			d.doPsql(t, line)
		case "nats":
			d.doNats(t, rest)
		default:
			t.Errorf("nobody knows how to run: %s", line)
		}
	}
	for program, least := range map[string]int{"tranship": 20, "psql": 7, "nats": 14} {
		if seen[program] < least {
			t.Errorf("%d lines of %s: is this the runbook?", seen[program], program)
		}
	}
}

// runbook returns the lines of the page's shell blocks.
func runbook(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../deploy/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllSubmatch(page, -1) {
		all = append(all, strings.Split(strings.TrimSpace(string(block[1])), "\n")...)
	}
	return all
}

// doTranship runs a line of the program. It need not succeed, for not all that
// the page is about is wrong here, but it must not be misunderstood.
func (d *desk) doTranship(t *testing.T, line string) {
	t.Helper()
	env := []string{"TRANSHIP_SERVER=" + d.api, "TRANSHIP_DATABASE_URL=" + d.ledger}
	if r := tranship(t, env, strings.Fields(line)...); r.code == 2 || r.code == 5 {
		t.Errorf("tranship %s: exit status %d\n%s", line, r.code, r.stderr)
	}
}

func (d *desk) doPsql(t *testing.T, line string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", line+" -X -v ON_ERROR_STOP=1")
	cmd.Env = append(os.Environ(), "LEDGER="+d.ledger)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// doNats runs a line of the nats program, or asks the server what that would.
func (d *desk) doNats(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(strings.ReplaceAll(line, "'", ""))
	creds := "viewer.creds"
	switch words[1] {
	case "pause", "resume", "purge":
		creds = "admin.creds"
	}
	creds = filepath.Join(d.nats, creds)
	if path, err := exec.LookPath("nats"); err == nil {
		cmd := exec.Command(path, append([]string{"--server", d.natsURL, "--js-domain", "hub", "--creds", creds}, words...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("nats %s: %v\n%s", line, err, out)
		}
		return
	}
	nc, err := nats.Connect(d.natsURL, nats.UserCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	if err := askAs(t.Context(), js, words); err != nil {
		t.Errorf("nats %s: %v", line, err)
	}
}

// askAs asks the server what the nats program asks for a line.
func askAs(ctx context.Context, js jetstream.JetStream, words []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	args, flags := argsOf(words[2:])
	pattern := fmt.Sprintf("%s %s/%d", words[0], words[1], len(args))
	switch pattern {
	case "stream ls/0":
		list := js.ListStreams(ctx)
		for range list.Info() {
		}
		return list.Err()
	case "kv ls/1":
		kv, err := js.KeyValue(ctx, args[0])
		if err != nil {
			return err
		}
		_, err = kv.Keys(ctx)
		return err
	case "micro ls/0":
		return pingServices(ctx, js.Conn())
	case "consumer pause/3":
		length, err := time.ParseDuration(args[2])
		if err != nil {
			return err
		}
		_, err = js.PauseConsumer(ctx, args[0], args[1], time.Now().Add(length))
		return err
	case "consumer resume/2":
		_, err := js.ResumeConsumer(ctx, args[0], args[1])
		return err
	case "consumer info/2":
		_, err := js.Consumer(ctx, args[0], args[1])
		return err
	}
	if words[0] != "stream" || len(args) != 1 {
		return fmt.Errorf("nobody knows what the server is asked for %s", pattern)
	}
	s, err := js.Stream(ctx, args[0])
	if err != nil {
		return err
	}
	switch words[1] {
	case "info":
		return nil
	case "subjects":
		_, err = s.Info(ctx, jetstream.WithSubjectFilter(">"))
	case "view":
		_, err = s.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = nil
		}
	case "purge":
		err = s.Purge(ctx, jetstream.WithPurgeSubject(flags["--subject"]))
	default:
		err = fmt.Errorf("nobody knows what the server is asked for %s", pattern)
	}
	return err
}

// argsOf tells arguments from flags, of which only --subject takes a value.
func argsOf(words []string) (args []string, flags map[string]string) {
	flags = map[string]string{}
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "--subject" && i+1 < len(words):
			flags[words[i]] = words[i+1]
			i++
		case strings.HasPrefix(words[i], "-"):
			flags[words[i]] = ""
		default:
			args = append(args, words[i])
		}
	}
	return args, flags
}

// pingServices wants at least one agent to answer as a service.
func pingServices(ctx context.Context, nc *nats.Conn) error {
	m, err := nc.RequestWithContext(ctx, "$SRV.PING", nil)
	if err != nil {
		return err
	}
	var answer struct{ Name string }
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if answer.Name != "agent" {
		return fmt.Errorf("service %q answers, want agent", answer.Name)
	}
	return nil
}
