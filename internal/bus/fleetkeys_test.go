package bus

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tranship/tranship/internal/work"
)

// Servers of an operator's own, configured as tranship fleet keys says, let in
// whom the coordinator signs for and shut out whom it revokes, on every server
// and also after their restart.
func TestFleetKeys(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " servers"), func(t *testing.T) {
			t.Parallel()
			if n > 1 && os.Getenv("TRANSHIP_LONG") != "1" {
				t.Skip("runs a cluster: set TRANSHIP_LONG=1, as .ci/run does")
			}
			dir := writeFleetKeys(t)
			c := startCluster(t, dir, n)
			tryFleet(t, dir, c)
		})
	}
}

func tryFleet(t *testing.T, dir string, c *cluster) {
	t.Helper()
	b := connect(t, Options{URL: c.urls(), Name: "coordinator", Credentials: filepath.Join(dir, "coordinator.creds"), Replicas: len(c.nodes)})
	setUp(t, b)
	a, err := OpenAuthority(AuthorityOptions{
		Account: content(t, dir, "account.pub"), SigningKey: content(t, dir, "signing.seed"), URL: c.urls(),
		SystemCredentials: filepath.Join(dir, "system.creds"), OperatorKey: content(t, dir, "operator.seed"),
	})
	if err != nil {
		t.Fatal(err)
	}
	last := c.nodes[len(c.nodes)-1].ClientURL()
	badOptions, badKey := identify(t, a, last, "bad", "Fra", time.Now().Add(time.Hour))
	goodOptions, _ := identify(t, a, last, "good", "Fra", time.Now().Add(time.Hour))
	bad, good := connect(t, badOptions), connect(t, goodOptions)
	doesAll(t, b, bad, "Fra", "bad")

	time.Sleep(1100 * time.Millisecond) // JWTs tell seconds, and the newer one counts
	for range 2 {                       // it may be repeated
		if err := a.Revoke(testContext(t), badKey); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "its connection is closed", func() bool { return !bad.nc.IsConnected() })
	for _, node := range c.nodes {
		badOptions.URL = node.ClientURL()
		mustNotConnect(t, badOptions)
	}
	publish(t, b, itemsAt(work.AnySite, 70, 1)...)
	if got := tally(t, good, "Fra", 1); got[work.AnySite] != 1 {
		t.Errorf("another agent took %v", got)
	}
	viewer := connect(t, Options{URL: c.urls(), Name: "viewer", Credentials: filepath.Join(dir, "viewer.creds")})
	if _, err := viewer.js.Stream(testContext(t), resultsStream); err != nil {
		t.Error(err)
	}
	c.restart(t, len(c.nodes)-1)
	badOptions.URL = c.nodes[len(c.nodes)-1].ClientURL()
	mustNotConnect(t, badOptions)
}

func writeFleetKeys(t *testing.T) (dir string) {
	t.Helper()
	files, err := NewFleetKeys()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// A cluster is NATS servers that are not embedded but for the process they run
// in: each has a configuration file.
type cluster struct {
	files []string
	nodes []*server.Server
}

func startCluster(t *testing.T, keys string, n int) *cluster {
	t.Helper()
	var routes, ports []string
	for range n {
		ports = append(ports, freePort(t))
		routes = append(routes, "nats://127.0.0.1:"+ports[len(ports)-1])
	}
	c := &cluster{nodes: make([]*server.Server, n)}
	for i := range n {
		dir := t.TempDir()
		accounts := strings.Replace(content(t, keys, "accounts.conf"), "/var/lib/nats/jwt", filepath.Join(dir, "jwt"), 1)
		config := fmt.Sprintf("server_name: n%d\nlisten: 127.0.0.1:%s\njetstream { store_dir: %q, domain: hub, max_file_store: 8GB }\n", i, freePort(t), dir)
		if n > 1 {
			config += fmt.Sprintf("cluster { name: c, listen: 127.0.0.1:%s, routes: [%s] }\n", ports[i], strings.Join(routes, ", "))
		}
		file := filepath.Join(dir, "nats.conf")
		if err := os.WriteFile(file, []byte(config+accounts), 0o600); err != nil {
			t.Fatal(err)
		}
		c.files = append(c.files, file)
	}
	for i := range n {
		c.start(t, i)
	}
	t.Cleanup(func() {
		for _, ns := range c.nodes {
			ns.Shutdown()
			ns.WaitForShutdown()
		}
	})
	return c
}

func (c *cluster) start(t *testing.T, i int) {
	t.Helper()
	opts, err := server.ProcessConfigFile(c.files[i])
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	ns, err := launch(testContext(t), opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[i] = ns
}

func (c *cluster) restart(t *testing.T, i int) {
	t.Helper()
	c.nodes[i].Shutdown()
	c.nodes[i].WaitForShutdown()
	c.start(t, i)
}

func (c *cluster) urls() string {
	var all []string
	for _, ns := range c.nodes {
		all = append(all, ns.ClientURL())
	}
	return strings.Join(all, ",")
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
