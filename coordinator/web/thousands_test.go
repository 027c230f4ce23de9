package web

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// A counting ledger counts what is asked of it.
type counting struct {
	Ledger
	calls atomic.Int64
}

func (c *counting) Job(ctx context.Context, id work.JobID) (work.Job, error) {
	c.calls.Add(1)
	return c.Ledger.Job(ctx, id)
}

func (c *counting) Jobs(ctx context.Context, q work.JobQuery) ([]work.Job, string, error) {
	c.calls.Add(1)
	return c.Ledger.Jobs(ctx, q)
}

func (c *counting) Objects(ctx context.Context, q work.ObjectQuery) ([]work.ObjectRow, string, error) {
	c.calls.Add(1)
	return c.Ledger.Objects(ctx, q)
}

func (c *counting) Samples(ctx context.Context, id work.JobID, since time.Time) ([]work.Sample, error) {
	c.calls.Add(1)
	return c.Ledger.Samples(ctx, id, since)
}

func (c *counting) Events(ctx context.Context, id work.JobID, after int64, limit int) ([]work.Event, error) {
	c.calls.Add(1)
	return c.Ledger.Events(ctx, id, after, limit)
}

func (c *counting) LatestEvents(ctx context.Context, id work.JobID, before int64, limit int) ([]work.Event, error) {
	c.calls.Add(1)
	return c.Ledger.LatestEvents(ctx, id, before, limit)
}

func (c *counting) Agents(ctx context.Context) ([]work.AgentRow, error) {
	c.calls.Add(1)
	return c.Ledger.Agents(ctx)
}

// TestThousands fills a ledger with 5,000 jobs and 1,000 agents and looks at
// what pages and live streams cost then: how much is sent, and how often the
// ledger is asked.
func TestThousands(t *testing.T) {
	t.Parallel()
	address := ledgertest.URL(t)
	l, err := ledger.Open(t.Context(), address, ledger.Options{Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	fillThousands(t, address, l)
	c := &counting{Ledger: l}
	b := &bench{}
	b.start(t, c, l)

	const most = 300 << 10
	for _, page := range []struct {
		path  string
		calls int64 // at most
		want  string
	}{
		{"/", 60, "All 1,000 agents"}, {"/", 60, "running jobs move"}, // what was read a moment ago is known
		{"/jobs", 60, "5000 · "}, {"/jobs?state=running", 60, "running"}, {"/jobs?text=job+49&failed=true", 60, "job 49"},
		{"/jobs/5000", 40, "Job 5000"}, {"/agents", 1, "1,000 agents"}, {"/agents?page=10", 1, "agent-0989"},
		{"/agents?site=site-3&text=agent-00", 1, "5 of"}, {"/agents/site-3/agent-0003", 2, "agent-0003"},
		{"/search?q=photos/", 2*searchJobs + 10, "50 newest"}, {"/search?q=photos/&job=5000", 3, "No object"},
	} {
		before, began := c.calls.Load(), time.Now()
		resp, text := b.do(t, "GET", page.path, "", "Accept", "text/html")
		calls := c.calls.Load() - before
		t.Logf("%-40s %4d KB, %3d calls of the ledger, %s", page.path, len(text)>>10, calls, time.Since(began).Round(100*time.Microsecond))
		if resp.StatusCode != http.StatusOK || !strings.Contains(text, page.want) {
			t.Errorf("%s answered %s without %q\n%s", page.path, resp.Status, page.want, b.log)
		}
		if len(text) > most || calls > page.calls {
			t.Errorf("%s sent %d bytes after %d calls of the ledger, want at most %d and %d", page.path, len(text), calls, most, page.calls)
		}
	}
	brief, full := streamed(t, b, "?brief=true"), streamed(t, b, "")
	t.Logf("a live stream begins with %d KB, a brief one with %d KB", full>>10, brief>>10)
	if brief > 16<<10 || brief*20 > full {
		t.Errorf("a brief stream begins with %d bytes, a whole one with %d", brief, full)
	}
}

// streamed returns how much a live stream says before it has told all once.
func streamed(t *testing.T, b *bench, query string) (sent int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", b.base+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for last := false; ; {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		sent += len(line)
		if last || err == io.EOF {
			return sent
		}
		last = line == "event: agents\n"
	}
}

func fillThousands(t *testing.T, address string, l *ledger.Ledger) {
	t.Helper()
	db, err := sql.Open("postgres", address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		`INSERT INTO tranship.jobs (name, source, target, options, site, class, state, started_at, finished_at, planned, copied, failed, planned_bytes, done_bytes)
		SELECT 'job ' || n, 's3://bucket-' || n % 70 || '/photos/', 'gs://bucket-' || n % 70 || '/photos/',
			'{"verify":"checksum","compare":"content","max_attempts":5}', 'site-' || n % 20, 'norm',
			CASE WHEN n % 5 < 2 THEN 'running' WHEN n % 5 = 2 THEN 'paused' WHEN n % 5 = 3 THEN 'succeeded' ELSE 'incomplete' END,
			now() - interval '2 hours', CASE WHEN n % 5 > 2 THEN now() END, 100000, 50000, CASE WHEN n % 7 = 0 THEN 3 ELSE 0 END, 1000000, 500000
		FROM generate_series(1, 5000) AS n`,
		`INSERT INTO tranship.samples (job_id, at, objects, failed, bytes)
		SELECT j.id, now() - n * interval '5 seconds', 50000 - n * 10, 0, 500000 - n * 100
		FROM tranship.jobs j, generate_series(0, 719) AS n WHERE j.state = 'running' AND j.id > 4800`,
		`INSERT INTO tranship.items (job_id, kind, site, state, objects_count, first_key, last_key)
		SELECT id, 'scan', site, 'done', 0, NULL, NULL FROM tranship.jobs`,
		`ANALYZE`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	var beats []work.Presence
	for i := range 1000 {
		site := i % 20
		beats = append(beats, work.Presence{Agent: fmt.Sprintf("agent-%04d", i), Site: fmt.Sprintf("site-%d", site), Version: "1.4.0",
			Host: fmt.Sprintf("ip-10-0-3-%d", i), Started: time.Now(), State: "running", Streams: 40, Limit: 64, Rate: 5e6, Moving: []work.JobID{5000, 4996},
			Labels: map[string]string{"rack": fmt.Sprint(i % 50)}, Stores: []string{"shop", "archive"}, Tuning: []work.Tuning{
				{Source: fmt.Sprintf("s3://bucket-%d", site), Target: fmt.Sprintf("gs://bucket-%d", site), Streams: 40, Rate: 5e6, Why: "more streams brought no more bytes"}}})
	}
	if err := l.Beat(t.Context(), beats); err != nil {
		t.Fatal(err)
	}
}
