package e2e

import (
	"context"
	"fmt"
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

// A fleet is a coordinator with its own Postgres and some agents, each a
// process of its own, as an operator would run them.
type fleet struct {
	dir         string
	api         string // base address
	postgres    *pgserver.Server
	coordinator *daemon
	agents      []*daemon
	config      string // path of the agents' file
	natsURL     string
}

// newFleet starts everything and waits until the coordinator is ready. The
// agents get env, which holds the storage credentials; the coordinator does
// not.
func newFleet(t testing.TB, agents int, env []string) *fleet {
	t.Helper()
	f := &fleet{dir: t.TempDir()}
	f.startPostgres(t)
	t.Cleanup(func() { _ = f.postgres.Stop() })

	queue, page := freeAddress(t), freeAddress(t)
	f.api, f.natsURL = "http://"+page, "nats://"+queue
	// A short ack wait: what a killed agent held is handed out again soon.
	f.config = filepath.Join(f.dir, "tranship.yaml")
	writeFile(t, f.config, fmt.Sprintf(`
data: %s
nats:
  listen: %s
  ack_wait: 3s
http:
  listen: %s
coordinator:
  reconcile: 3s
`, filepath.Join(f.dir, "data"), queue, page))
	f.coordinator = start(t, "coordinator", []string{"TRANSHIP_DATABASE_URL=" + f.postgres.URL("tranship")},
		"coordinator", "--config", f.config)
	f.awaitReady(t)

	for range agents {
		f.startAgent(t, env...)
	}
	return f
}

// startAgent adds an agent.
func (f *fleet) startAgent(t testing.TB, env ...string) *daemon {
	t.Helper()
	name := "agent-" + strconv.Itoa(len(f.agents)+1)
	env = append([]string{"TRANSHIP_NATS_URL=" + f.natsURL, "TRANSHIP_AGENT_NAME=" + name}, env...)
	a := start(t, name, env, "agent", "--config", f.config)
	f.agents = append(f.agents, a)
	return a
}

func (f *fleet) startPostgres(t testing.TB) {
	t.Helper()
	pg, err := pgserver.Start(context.Background(), pgserver.Options{Dir: filepath.Join(f.dir, "postgres")})
	if err != nil {
		t.Fatal(err)
	}
	if err := pg.CreateDatabase(context.Background(), "tranship"); err != nil {
		t.Fatal(err)
	}
	f.postgres = pg
}

func (f *fleet) awaitReady(t testing.TB) {
	t.Helper()
	eventually(t, "the coordinator to be ready", time.Minute, func() bool {
		resp, err := http.Get(f.api + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

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

// awaitEnd waits until the job is over, however often the coordinator cannot
// be reached meanwhile.
func (f *fleet) awaitEnd(t testing.TB, id int64, deadline time.Duration) jobView {
	t.Helper()
	var j jobView
	eventually(t, fmt.Sprintf("job %d to end", id), deadline, func() bool {
		r := f.cli(t, "job", "show", strconv.FormatInt(id, 10), "-o", "json")
		if r.code != 0 {
			return false
		}
		j = decode[jobView](t, r.stdout)
		return j.State != "running" && j.State != "paused"
	})
	return j
}

// sql asks the ledger by psql, as an operator would, and returns the answer's
// rows as tab-separated text.
func (f *fleet) sql(t testing.TB, query string) string {
	t.Helper()
	cmd := exec.Command("psql", "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", f.postgres.URL("tranship"), "-c", query)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
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
