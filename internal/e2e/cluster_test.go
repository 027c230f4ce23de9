package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsVariable makes the test binary a NATS server that runs the configuration
// file it names.
const natsVariable = "TRANSHIP_NATS_SERVER"

func natsMain(path string) error {
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		return err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("it took no connections within a minute")
	}
	s.WaitForShutdown()
	return nil
}

// A cluster is the three NATS nodes and the leaf node of deploy/nats, each with
// an address for its own.
type cluster struct {
	dir   string
	hosts map[string]string // by the name in the files
	nodes []*daemon
	keys  string // the folder that tranship fleet keys made
	certs string // the folder of certificates
	ca    string // path of the certificate that vouches for the servers'
}

// startCluster runs the files of deploy/nats as they are but for names,
// addresses and folders.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs more addresses of this machine than 127.0.0.1")
	}
	net := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), rand.IntN(250))
	c := newCluster(t, "default", map[string]string{"n1": net + "1", "n2": net + "2", "n3": net + "3", "site-leaf": net + "4"})
	c.startNodes(t)
	c.await(t, c.startNode(t, "site-leaf"))
	return c
}

// newCluster makes the keys and certificates of a cluster with a leaf node at a
// site. The certificates are good for all the hosts.
func newCluster(t testing.TB, site string, hosts map[string]string) *cluster {
	t.Helper()
	certs := newCertificates(t, hosts)
	return &cluster{dir: t.TempDir(), hosts: hosts, keys: newFleetKeys(t, site), certs: certs, ca: filepath.Join(certs, "ca.crt")}
}

func (c *cluster) startNodes(t testing.TB) {
	t.Helper()
	for _, name := range []string{"n1", "n2", "n3"} {
		c.nodes = append(c.nodes, c.startNode(t, name))
	}
	for _, d := range c.nodes {
		c.await(t, d)
	}
}

// startNode makes /etc/nats of a node and runs it by the command that within
// begins with, if any.
func (c *cluster) startNode(t testing.TB, name string, within ...string) *daemon {
	t.Helper()
	etc := filepath.Join(c.dir, name, "etc")
	for _, from := range []string{c.certs, c.keys} {
		if err := os.CopyFS(etc, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	replace := []string{"/etc/nats", etc, "/var/lib/nats", filepath.Join(c.dir, name, "data"), "0.0.0.0", c.hosts[name], "127.0.0.1", c.hosts[name]}
	for host, address := range c.hosts {
		replace = append(replace, host+".nats.example.org", address)
	}
	files, err := filepath.Glob("../../deploy/nats/*.conf")
	if err != nil || len(files) != 5 {
		t.Fatalf("files of deploy/nats: %q, %v", files, err)
	}
	for _, f := range append(files, filepath.Join(c.keys, "accounts.conf")) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(etc, filepath.Base(f)), strings.NewReplacer(replace...).Replace(string(text)))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, name, []string{natsVariable + "=" + filepath.Join(etc, name+".conf")}, append(within, self)...)
}

// await waits until a server listens.
func (c *cluster) await(t testing.TB, d *daemon) {
	t.Helper()
	eventually(t, d.name+" to listen", time.Minute, func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort(c.hosts[d.name], "4222"))
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// url returns the nodes' addresses, as nats.url takes them.
func (c *cluster) url() string {
	var urls []string
	for _, name := range []string{"n1", "n2", "n3"} {
		urls = append(urls, "tls://"+c.hosts[name]+":4222")
	}
	return strings.Join(urls, ",")
}

// hub returns what the coordinator's configuration says of its queue.
func (c *cluster) hub(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("url: %s\n  credentials: %s\n  replicas: 3\n  account: %s\n  signing_key: %s\n  system_credentials: %s\n  operator_key: %s\n  tls: {ca: %s}",
		c.url(), filepath.Join(c.keys, "coordinator.creds"), c.key(t, "account.pub"), c.key(t, "signing.seed"),
		filepath.Join(c.keys, "system.creds"), c.key(t, "operator.seed"), c.ca)
}

// key returns what a file of the keys holds.
func (c *cluster) key(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.keys, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// streams looks at the streams as an operator does who may only look.
func (c *cluster) streams(t testing.TB) (map[string]*jetstream.StreamInfo, error) {
	t.Helper()
	nc, err := nats.Connect(c.url(), nats.UserCredentials(filepath.Join(c.keys, "viewer.creds")), nats.RootCAs(c.ca))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*jetstream.StreamInfo{}
	list := js.ListStreams(t.Context())
	for info := range list.Info() {
		found[info.Config.Name] = info
	}
	return found, list.Err()
}

// TestCluster runs the three nodes and the leaf node of deploy/nats, a
// coordinator at the hub and an agent behind the leaf. A job ends without the
// node that was killed under it, and another without the next one.
func TestCluster(t *testing.T) {
	long(t)
	c := startCluster(t)
	f := found(t, nil)
	f.coordinator, f.api = f.startCoordinator(t, "coordinator", c.hub(t))
	f.natsURL = "nats://" + c.hosts["site-leaf"] + ":4222"
	f.startAgents(t, 1)
	streams, err := c.streams(t)
	if err != nil {
		t.Fatal(err)
	}
	for name, info := range streams {
		if info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("stream %s has %d replicas, want 3", name, info.Config.Replicas)
		}
	}

	src := filepath.Join(f.dir, "src")
	objects := newCorpus(12_000, newSeed(t))
	objects.toFolder(t, src)
	for _, node := range c.nodes[:2] {
		dst := filepath.Join(f.dir, "without-"+node.name)
		if err := os.Mkdir(dst, 0o755); err != nil {
			t.Fatal(err)
		}
		id := f.submit(t, "file://"+src, "file://"+dst)
		eventually(t, "the job to move", 2*time.Minute, func() bool { return f.job(t, id).Copied > 0 })
		node.kill()
		if f.over(t, id) {
			t.Errorf("the job was over before %s was killed: nothing was proved", node.name)
		}
		j := f.awaitEnd(t, id, 5*time.Minute)
		if j.State != "succeeded" || j.Copied != int64(len(objects)) {
			t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
		}
		f.wantInvariant(t, j)
		wantEqual(t, folderInventory(t, dst), objects.inventory())
		node.start(t)
		c.await(t, node)
		c.awaitCurrent(t)
	}
}

// awaitCurrent waits until every node has all of every stream, so that another
// may die.
func (c *cluster) awaitCurrent(t testing.TB) {
	t.Helper()
	eventually(t, "all replicas to be current", 2*time.Minute, func() bool {
		streams, err := c.streams(t)
		if err != nil {
			return false // they are electing
		}
		for _, info := range streams {
			if info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
				return false
			}
			for _, r := range info.Cluster.Replicas {
				if !r.Current {
					return false
				}
			}
		}
		return true
	})
}
