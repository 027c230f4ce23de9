package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSilentPostgres puts a Postgres behind a wire that swallows everything
// for a while, while connections stay open: what a firewall that forgot, or a
// machine that hangs, looks like. The API says so instead of hanging, nothing
// piles up, the agents go on with what they have, and all goes on afterwards.
func TestSilentPostgres(t *testing.T) {
	long(t)
	const silence = 40 * time.Second
	f := newFleet(t, 0, nil)
	w := layWire(t, f.postgres.URL("tranship"))
	f.coordinator.stop(t)
	queue, page, conf := freeAddress(t), freeAddress(t), filepath.Join(f.dir, "impatient.yaml")
	writeFile(t, conf, fmt.Sprintf("data: %s\npostgres: {timeout: 5s}\nnats: {listen: %s, ack_wait: 3s}\nhttp: {listen: %s}\n",
		filepath.Join(f.dir, "impatient"), queue, page))
	f.api = "http://" + page
	f.coordinator = start(t, "impatient coordinator", []string{"TRANSHIP_DATABASE_URL=" + w.url}, "coordinator", "--config", conf)
	f.awaitReady(t)
	for _, name := range []string{"agent-1", "agent-2"} {
		env := []string{"TRANSHIP_NATS_URL=nats://" + queue, "TRANSHIP_AGENT_NAME=" + name, "TRANSHIP_STREAMS=1"}
		f.agents = append(f.agents, start(t, name, env, "agent", "--config", conf))
	}
	dir, objects := t.TempDir(), newCorpus(2500, newSeed(t))
	objects.toFolder(t, dir+"/src")
	id := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/dst")
	f.awaitCopied(t, id, 300)
	before, arrived := f.goroutines(t), len(folderInventory(t, dir+"/dst"))

	w.cut()
	var slowest time.Duration
	var calls int
	for end := time.Now().Add(silence); time.Now().Before(end); {
		var at sync.WaitGroup
		var mu sync.Mutex
		for i := range 24 { // twice as many as there are connections
			at.Go(func() {
				began := time.Now()
				status, body := f.ask(t, i, id)
				mu.Lock()
				defer mu.Unlock()
				calls, slowest = calls+1, max(slowest, time.Since(began))
				if status != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"unavailable"`) ||
					!strings.Contains(body, "does not answer in time") || !strings.Contains(body, `"hint":`) {
					t.Errorf("request %d was answered %d: %s", i, status, body)
				}
			})
		}
		at.Wait()
		time.Sleep(time.Second)
	}
	during := f.goroutines(t)
	if why := f.reasons(t)["postgres"]; why != "does not answer in time" {
		t.Errorf("readiness says that postgres %q", why)
	}
	meanwhile := len(folderInventory(t, dir+"/dst")) - arrived
	w.mend()

	mended := time.Now()
	eventually(t, "the ledger to answer again", 2*time.Minute, func() bool { return f.reasons(t)["postgres"] == "" })
	t.Logf("silent for %v: %d requests, the slowest answered after %v; the agents brought %d objects meanwhile; well %v after",
		silence, calls, slowest.Round(time.Millisecond), meanwhile, time.Since(mended).Round(time.Millisecond))
	var after int
	eventually(t, "goroutines to end", time.Minute, func() bool { after = f.goroutines(t); return after <= before+20 })
	t.Logf("goroutines: %d before, %d during, %d after", before, during, after)
	j := f.awaitEnd(t, id, 3*time.Minute)
	if j.State != "succeeded" || j.Copied != int64(len(objects)) {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
	}
	f.wantInvariant(t, j)
	wantEqual(t, folderInventory(t, dir+"/dst"), objects.inventory())
}

// ask makes the i-th of some requests that need the ledger.
func (f *fleet) ask(t testing.TB, i int, job int64) (status int, body string) {
	t.Helper()
	show := fmt.Sprintf("/v1/jobs/%d", job)
	kinds := [][2]string{{"GET", "/v1/jobs"}, {"GET", show}, {"POST", show + "/resume"}, {"GET", show + "/failures"}, {"GET", "/v1/agents"}}
	kind := kinds[i%len(kinds)]
	req, err := http.NewRequestWithContext(t.Context(), kind[0], f.api+kind[1], nil)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

var goroutineGauge = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// goroutines returns how many the coordinator has.
func (f *fleet) goroutines(t testing.TB) int {
	t.Helper()
	_, metrics := f.get(t, "/metrics", "text/plain")
	m := goroutineGauge.FindStringSubmatch(metrics)
	if m == nil {
		t.Fatal("no go_goroutines among the metrics")
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPostgresRestarts shuts Postgres down twice in the middle of a job, as an
// upgrade does and as an impatient operator does.
func TestPostgresRestarts(t *testing.T) {
	long(t)
	f := newFleet(t, 2, []string{"TRANSHIP_STREAMS=1"})
	dir, objects := t.TempDir(), newCorpus(2000, newSeed(t))
	objects.toFolder(t, dir+"/src")
	id := f.submit(t, "file://"+dir+"/src", "file://"+dir+"/dst")
	for i, how := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGINT, syscall.SIGQUIT} { // fast, immediate
		f.awaitCopied(t, id, int64(200+i*400))
		if err := syscall.Kill(f.postgres.PID(), how); err != nil {
			t.Fatal(err)
		}
		<-f.postgres.Done()
		_ = f.postgres.Stop() // gives up the folder
		status, body := f.ask(t, 0, id)
		if status != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"unavailable"`) {
			t.Errorf("without Postgres a request is answered %d: %s", status, body)
		}
		f.startPostgres(t)
		up := time.Now()
		f.awaitReady(t)
		t.Logf("%v: well %v after Postgres was", how, time.Since(up).Round(time.Millisecond))
	}
	j := f.awaitEnd(t, id, 3*time.Minute)
	if j.State != "succeeded" || j.Copied != int64(len(objects)) {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
	}
	f.wantInvariant(t, j)
	wantEqual(t, folderInventory(t, dir+"/dst"), objects.inventory())
}

// A ledgerWire passes connections on to a Postgres that listens on a socket.
type ledgerWire struct {
	url   string
	whole sync.RWMutex // held for writing while nothing passes
}

func layWire(t testing.TB, address string) *ledgerWire {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	socket := filepath.Join(q.Get("host"), ".s.PGSQL."+q.Get("port"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &ledgerWire{url: "postgres://" + q.Get("user") + "@" + l.Addr().String() + u.Path + "?sslmode=disable"}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(conn, socket)
		}
	}()
	return w
}

// cut makes the wire a black hole: connections stay and new ones are taken.
// What was on its way arrives after mend.
func (w *ledgerWire) cut()  { w.whole.Lock() }
func (w *ledgerWire) mend() { w.whole.Unlock() }

func (w *ledgerWire) pass(client net.Conn, socket string) {
	defer client.Close()
	w.whole.RLock()
	server, err := net.Dial("unix", socket)
	w.whole.RUnlock()
	if err != nil {
		return // the client sees a closed connection
	}
	defer server.Close()
	go func() {
		defer client.Close()
		w.relay(client, server)
	}()
	w.relay(server, client)
}

func (w *ledgerWire) relay(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.whole.RLock()
		_, werr := to.Write(buf[:n])
		w.whole.RUnlock()
		if err != nil || werr != nil {
			return
		}
	}
}
