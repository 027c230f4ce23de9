package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/pgserver"
)

// A fleet is a coordinator, or two, with a Postgres of its own and some agents,
// each a process of its own, as an operator would run them.
type fleet struct {
	dir         string
	program     string   // that its daemons run
	env         []string // of agents: storage credentials and limits
	api         string   // base address
	ledger      string   // URL of the database
	postgres    *pgserver.Server
	queue       *queue  // nil: it runs inside the coordinator
	coordinator *daemon // with api
	second      *daemon // nil: there is one coordinator
	secondAPI   string
	agents      []*daemon
	config      string // path of the agents' file
	stores      string // that every configuration knows, as YAML
	natsURL     string
	timeout     time.Duration // of a statement of the coordinators
	lease       time.Duration
}

// newFleet starts a small installation, whose queue runs inside the
// coordinator, and waits until that is ready. The agents get env, which holds
// the storage credentials; the coordinator does not.
func newFleet(t testing.TB, agents int, env []string, tune ...func(*fleet)) *fleet {
	t.Helper()
	f := found(t, env, tune...)
	listen := freeAddress(t)
	f.natsURL = "nats://" + listen
	f.coordinator, f.api = f.startCoordinator(t, "coordinator", "listen: "+listen)
	f.startAgents(t, agents)
	return f
}

// newLargeFleet starts a large installation: the queue is a process of its own,
// and two coordinators share it.
func newLargeFleet(t testing.TB, agents int, env []string, tune ...func(*fleet)) *fleet {
	t.Helper()
	impatient := func(f *fleet) { f.timeout = 10 * time.Second }
	f := found(t, env, append([]func(*fleet){impatient}, tune...)...)
	f.queue = startQueue(t, filepath.Join(f.dir, "queue"))
	f.natsURL = f.queue.url()
	f.coordinator, f.api = f.startCoordinator(t, "coordinator-1", "url: "+f.natsURL)
	f.second, f.secondAPI = f.startCoordinator(t, "coordinator-2", "url: "+f.natsURL)
	f.startAgents(t, agents)
	return f
}

// found returns a fleet of which Postgres alone runs.
func found(t testing.TB, env []string, tune ...func(*fleet)) *fleet {
	t.Helper()
	f := &fleet{dir: t.TempDir(), env: env, program: binary, timeout: 30 * time.Second, lease: lease}
	for _, change := range tune {
		change(f)
	}
	f.startPostgres(t)
	t.Cleanup(func() { _ = f.postgres.Stop() })
	return f
}

// ofLease tunes how long what an agent holds stays with it without a sign of
// life.
func ofLease(d time.Duration) func(*fleet) { return func(f *fleet) { f.lease = d } }

// ofVersion tunes which program the daemons run.
func ofVersion(program string) func(*fleet) { return func(f *fleet) { f.program = program } }

func (f *fleet) startPostgres(t testing.TB) {
	t.Helper()
	if err := f.openPostgres(); err != nil {
		t.Fatal(err)
	}
	f.ledger = f.postgres.URL("tranship") // the same in each of its lives
}

func (f *fleet) openPostgres() error {
	pg, err := pgserver.Start(context.Background(), pgserver.Options{Dir: filepath.Join(f.dir, "postgres")})
	if err != nil {
		return err
	}
	f.postgres = pg
	return pg.CreateDatabase(context.Background(), "tranship")
}

// startCoordinator starts a coordinator and waits until it is ready. Its waits
// are short: what was lost, or held by one that is gone, is handed out again
// within seconds.
func (f *fleet) startCoordinator(t testing.TB, name, nats string, env ...string) (d *daemon, api string) {
	t.Helper()
	page := freeAddress(t)
	conf := f.writeConfig(t, name, nats, page)
	d = f.start(t, name, append(env, "TRANSHIP_DATABASE_URL="+f.ledger), "coordinator", "--config", conf)
	api = "http://" + page
	eventually(t, name+" to be ready", time.Minute, func() bool { return ready(api) })
	return d, api
}

func (f *fleet) writeConfig(t testing.TB, name, nats, page string) string {
	t.Helper()
	conf := filepath.Join(f.dir, name+".yaml")
	writeFile(t, conf, fmt.Sprintf(`
data: %s
postgres:
  timeout: %s
nats:
  %s
  ack_wait: %s
http:
  listen: %s
coordinator:
  reconcile: 3s
%s`, filepath.Join(f.dir, name), f.timeout, nats, f.lease, page, f.stores))
	return conf
}

// lease is how long what an agent holds stays with it without a sign of life:
// much shorter than the default, so that tests need not wait for it.
const lease = 3 * time.Second

func (f *fleet) start(t testing.TB, name string, env []string, args ...string) *daemon {
	t.Helper()
	return startProgram(t, name, env, append([]string{f.program}, args...)...)
}

func (f *fleet) startAgents(t testing.TB, n int) {
	t.Helper()
	f.config = f.writeConfig(t, "agent", "url: "+f.natsURL, freeAddress(t))
	for range n {
		f.startAgent(t)
	}
}

// startAgent adds an agent, whose env wins over that of the fleet.
func (f *fleet) startAgent(t testing.TB, env ...string) *daemon {
	t.Helper()
	name := "agent-" + strconv.Itoa(len(f.agents)+1)
	all := append([]string{"TRANSHIP_AGENT_NAME=" + name}, f.env...)
	a := f.start(t, name, append(all, env...), "agent", "--config", f.config)
	f.agents = append(f.agents, a)
	return a
}

// awaitReady waits until every coordinator is ready.
func (f *fleet) awaitReady(t testing.TB) {
	t.Helper()
	eventually(t, "the coordinators to be ready", time.Minute, func() bool {
		return ready(f.api) && (f.second == nil || ready(f.secondAPI))
	})
}

// ready reports whether a coordinator and all that it needs are well.
func ready(api string) bool {
	resp, err := impatient.Get(api + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// impatient is for asking who may be frozen.
var impatient = &http.Client{Timeout: 10 * time.Second}

// cli runs a command of the client against the fleet.
func (f *fleet) cli(t testing.TB, args ...string) run {
	t.Helper()
	return tranship(t, []string{"TRANSHIP_SERVER=" + f.api}, args...)
}

// A jobView is what the tests read of a job's JSON.
type jobView struct {
	ID                                     int64
	State, Error                           string
	Planned, Copied, Skipped, Failed, Open int64
	Retries                                int64
	PlannedBytes                           int64 `json:"planned_bytes"`
	MovedBytes                             int64 `json:"moved_bytes"`
}

func (f *fleet) submit(t testing.TB, args ...string) int64 {
	t.Helper()
	r := must(t, []string{"TRANSHIP_SERVER=" + f.api}, append([]string{"copy", "-o", "json"}, args...)...)
	return decode[jobView](t, r.stdout).ID
}

func (f *fleet) job(t testing.TB, id int64) jobView {
	t.Helper()
	r := must(t, []string{"TRANSHIP_SERVER=" + f.api}, "job", "show", strconv.FormatInt(id, 10), "-o", "json")
	return decode[jobView](t, r.stdout)
}

// look reads a job from whichever coordinator answers; false if none does.
func (f *fleet) look(t testing.TB, id int64) (jobView, bool) {
	t.Helper()
	for _, api := range f.apis() {
		resp, err := impatient.Get(api + "/v1/jobs/" + strconv.FormatInt(id, 10))
		if err != nil {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			return decode[jobView](t, string(body)), true
		}
	}
	return jobView{}, false
}

func (f *fleet) apis() []string {
	if f.second == nil {
		return []string{f.api}
	}
	return []string{f.api, f.secondAPI}
}

// order submits a job to whichever coordinator answers, until one does, under
// one idempotency key: it is created once however often it is asked for.
func (f *fleet) order(t testing.TB, source, target string) int64 {
	t.Helper()
	body, err := json.Marshal(map[string]any{"source": source, "target": target,
		"options": map[string]any{"split": 8 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	key := strconv.FormatUint(rand.Uint64(), 36)
	var j jobView
	eventually(t, "a coordinator to take the job", 5*time.Minute, func() bool {
		for _, api := range f.apis() {
			req, err := http.NewRequest(http.MethodPost, api+"/v1/jobs", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Idempotency-Key", key)
			resp, err := impatient.Do(req)
			if err != nil {
				continue
			}
			answer, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode/100 == 2 {
				j = decode[jobView](t, string(answer))
				return true
			}
		}
		return false
	})
	return j.ID
}

// awaitEnd waits until the job is over, however often no coordinator can be
// reached meanwhile.
func (f *fleet) awaitEnd(t testing.TB, id int64, deadline time.Duration) jobView {
	t.Helper()
	var j jobView
	eventually(t, fmt.Sprintf("job %d to end", id), deadline, func() bool {
		var ok bool
		j, ok = f.look(t, id)
		return ok && j.over()
	})
	return j
}

// over reports whether the job has ended, false also if nobody answers.
func (f *fleet) over(t testing.TB, id int64) bool {
	t.Helper()
	j, ok := f.look(t, id)
	return ok && j.over()
}

func (j jobView) over() bool { return j.State != "running" && j.State != "paused" }

// sql asks the ledger by psql, as an operator would, and returns the answer's
// rows as tab-separated text.
func (f *fleet) sql(t testing.TB, query string) string {
	t.Helper()
	out, err := f.query(query)
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return out
}

// query is sql for when Postgres may be down.
func (f *fleet) query(query string) (string, error) {
	cmd := exec.Command("psql", "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", f.ledger, "-c", query)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// number is the answer to a query for one number, or -1 without one.
func (f *fleet) number(query string) int64 {
	out, err := f.query(query)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(out, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// wantInvariant checks the job's counters against the view of its objects,
// counted by psql.
func (f *fleet) wantInvariant(t testing.TB, j jobView) {
	t.Helper()
	if j.Planned != j.Copied+j.Skipped+j.Failed+j.Open {
		t.Errorf("job %d: planned %d is not copied %d + skipped %d + failed %d + open %d",
			j.ID, j.Planned, j.Copied, j.Skipped, j.Failed, j.Open)
	}
	got := f.sql(t, fmt.Sprintf(`
		SELECT count(*), count(DISTINCT key_bytes),
		       count(*) FILTER (WHERE outcome = 'copied'),
		       count(*) FILTER (WHERE outcome = 'skipped'),
		       count(*) FILTER (WHERE outcome = 'failed'),
		       count(*) FILTER (WHERE outcome IS NULL)
		FROM tranship.objects WHERE job_id = %d`, j.ID))
	want := fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d", j.Planned, j.Planned, j.Copied, j.Skipped, j.Failed, j.Open)
	if got != want {
		t.Errorf("job %d: the objects view counts %q, the job's counters say %q", j.ID, got, want)
	}
}

// freeAddress returns a loopback address that nothing listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
