package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// A twoSites is a fleet as the guide has it: a hub with a NATS cluster, Postgres
// and two coordinators behind one address, and an agent at each of two sites,
// into which nobody can connect. One agent dials the hub, the other a leaf node
// at its site. Everybody needs a token or an identity, everything is TLS.
type twoSites struct {
	*guardedFleet
	*cluster
	earth, mars  *site
	coordinators []*daemon
	addresses    []string // of the coordinators
	from, to     *servers.S3
}

// Hosts of the hub, by the last number of their addresses.
const (
	hubHost, earthStore, marsStore = "1", "31", "32"
	earthHost, marsHost            = "101", "102"
)

func newTwoSites(t *testing.T) *twoSites {
	t.Helper()
	n := newNetwork(t, hubHost, "11", "12", "13", "21", "22", earthStore, marsStore)
	s := &twoSites{from: servers.VersityGW(t), to: servers.MinIO(t)}
	s.earth, s.mars = n.newSite(t, "earth", earthHost), n.newSite(t, "mars", marsHost)
	s.cluster = newCluster(t, "mars", map[string]string{"n1": n.prefix + "11", "n2": n.prefix + "12", "n3": n.prefix + "13",
		"site-leaf": "127.0.0.1", "c1": n.prefix + "21", "c2": n.prefix + "22", "hub": n.prefix + hubHost})
	s.startNodes(t)
	stores := s.storesAt(t, n)
	// Of what an agent holds when it is cut off, and of what a node that is killed
	// was about to hand out, nobody hears for so long.
	f := found(t, nil, ofLease(5*time.Second), func(f *fleet) { f.stores = stores })
	s.guardedFleet = &guardedFleet{fleet: f}
	for i, host := range []string{"c1", "c2"} {
		s.addresses = append(s.addresses, s.hosts[host]+":8480")
		conf := f.writeConfig(t, host, s.hub(t), fmt.Sprintf("%s\n  url: https://%s:8480\n  tls: {certificate: %s, key: %s, ca: %s}",
			s.addresses[i], s.hosts["hub"], s.certs+"/server.crt", s.certs+"/server.key", s.ca))
		s.coordinators = append(s.coordinators, f.start(t, host,
			[]string{"TRANSHIP_DATABASE_URL=" + f.ledger, "TRANSHIP_HTTP_OPEN=false"}, "coordinator", "--config", conf))
		eventually(t, host+" to be ready", time.Minute, func() bool { return s.well(t, s.addresses[i]) })
	}
	relay(t, s.hosts["hub"]+":8480", func() string {
		for _, address := range s.addresses {
			if s.well(t, address) {
				return address
			}
		}
		return ""
	})
	s.env = []string{"TRANSHIP_SERVER=https://" + s.hosts["hub"] + ":8480", "TRANSHIP_CA=" + s.ca,
		"TRANSHIP_TOKEN_FILE=" + filepath.Join(f.dir, "c1", "admin.token")}
	s.joinFrom(t, s.earth, "earth", "domain: hub")
	s.cluster.startNode(t, "site-leaf", s.mars.within()...)
	s.joinFrom(t, s.mars, "mars", "url: nats://127.0.0.1:4222")
	return s
}

// well reports whether a coordinator is ready, as a load balancer asks it.
func (s *twoSites) well(t testing.TB, address string) bool {
	ca, err := os.ReadFile(s.ca)
	if err != nil {
		t.Error(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + address + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// storesAt puts the two object stores where the sites reach them, as they would
// the endpoints of a cloud, and returns what every configuration says of them.
func (s *twoSites) storesAt(t testing.TB, n *network) string {
	t.Helper()
	secrets := t.TempDir()
	var text strings.Builder
	text.WriteString("stores:\n")
	for _, of := range []struct {
		site, host string
		srv        *servers.S3
	}{{"earth", earthStore, s.from}, {"mars", marsStore, s.to}} {
		address := n.prefix + of.host + ":9000"
		relay(t, address, func() string { return strings.TrimPrefix(of.srv.Endpoint, "http://") })
		id, secret := filepath.Join(secrets, of.site+".id"), filepath.Join(secrets, of.site+".secret")
		writeFile(t, id, of.srv.AccessKey)
		writeFile(t, secret, of.srv.SecretKey)
		for _, bucket := range siteBuckets(of.site) {
			there := *of.srv
			there.Endpoint = "http://" + address
			fmt.Fprintf(&text, "  %s:\n    url: %s\n    site: %s\n    credentials: {access_key_id: file:%s, secret_access_key: file:%s}\n",
				bucket, placeOf(&there, bucket), of.site, id, secret)
		}
	}
	return text.String()
}

// siteBuckets are the buckets near a site: the source near one, the targets near
// the other.
func siteBuckets(site string) []string {
	if site == "earth" {
		return []string{"earth-all"}
	}
	return []string{"mars-source", "mars-target", "mars-any"}
}

// joinFrom invites an agent to a site, joins it there by the command that was
// printed, and starts it with what its configuration says of the queue.
func (s *twoSites) joinFrom(t *testing.T, at *site, name, nats string) {
	t.Helper()
	command := strings.Fields(must(t, s.env, "fleet", "invite", "--site", name).stdout)[1:]
	conf := s.writeConfig(t, name, nats, "127.0.0.1:8480")
	at.must(t, append(command, "--name", name, "--config", conf)...)
	a := startProgram(t, name, []string{"TRANSHIP_STREAMS=2"}, at.within(binary, "agent", "--config", conf)...)
	s.agents = append(s.agents, a)
	eventually(t, name+" to be there", time.Minute, func() bool { return s.state(t, name) == "running" })
}

// jobOf reads a job through the one address.
func (s *twoSites) jobOf(t testing.TB, id int64) jobView {
	t.Helper()
	return decode[jobView](t, must(t, s.env, "job", "show", strconv.FormatInt(id, 10), "-o", "json").stdout)
}

// wantDialOut checks that nobody waits for connections at the sites but the leaf
// node, for its own machine, and that the queue is reached as was said: from one
// site at the hub, from the other at the leaf node alone.
func (s *twoSites) wantDialOut(t testing.TB) {
	t.Helper()
	const port, leaf = ":107E", "0100007F:107E" // 4222, and at 127.0.0.1
	for _, at := range []*site{s.earth, s.mars} {
		atLeaf, atHub := 0, 0
		for _, k := range at.sockets(t) {
			switch {
			case k.state == listening && (at == s.earth || k.local != leaf):
				t.Errorf("at %s somebody listens at %s", at.namespace, k.local)
			case k.state == established && k.remote == leaf:
				atLeaf++
			case k.state == established && strings.HasSuffix(k.remote, port):
				atHub++
			}
		}
		if atMars := at == s.mars; (atLeaf > 0) != atMars || (atHub > 0) == atMars {
			t.Errorf("from %s %d connections lead to a leaf node and %d to the hub", at.namespace, atLeaf, atHub)
		}
	}
}

// nodeOf returns the node of the hub that the agent at a site is connected to.
func (s *twoSites) nodeOf(t testing.TB, at *site) *daemon {
	t.Helper()
	for _, k := range at.sockets(t) {
		for _, d := range s.nodes {
			ip := net.ParseIP(s.hosts[d.name]).To4()
			if k.state == established && k.remote == fmt.Sprintf("%02X%02X%02X%02X:107E", ip[3], ip[2], ip[1], ip[0]) {
				return d
			}
		}
	}
	t.Fatalf("the agent at %s is connected to no node", at.namespace)
	return nil
}

// TestTwoSites moves jobs between two sites, at the source's, at the target's
// and at any, while a coordinator is killed for good, a NATS node is killed and
// comes back, and one site loses its link for a while. Whoever follows a job
// through the one address sees it end.
func TestTwoSites(t *testing.T) {
	long(t)
	s := newTwoSites(t)
	objects := newCorpus(2500, newSeed(t))
	s.from.CreateBucket(t, "earth-all")
	objects.toBucket(t, s.from, "earth-all")
	buckets := siteBuckets("mars")
	var jobs []int64
	for i, at := range []string{"source", "target", "any"} {
		s.to.CreateBucket(t, buckets[i])
		keepVersions(t, s.to, buckets[i])
		jobs = append(jobs, s.begin(t, at, buckets[i]))
	}
	since := time.Now()
	watches := make([]*daemon, len(jobs))
	for i, id := range jobs {
		watches[i] = s.start(t, fmt.Sprintf("watch-%d", id), s.env, "job", "watch", strconv.FormatInt(id, 10), "-o", "json")
	}
	s.wantDialOut(t)

	node := s.nodeOf(t, s.earth)
	for _, fault := range []struct {
		name   string
		strike func()
	}{
		{"coordinator_killed", s.coordinators[0].kill}, // which the address leads to, and so the watches
		{"node_killed", node.kill},                     // which an agent is connected to
		{"node_back", func() { node.start(t); s.await(t, node) }},
		{"link_cut", func() {
			s.mars.cut(t)
			time.Sleep(s.lease + 3*time.Second) // so that what is held there is handed out again
			s.mars.mend(t)
		}},
	} {
		s.awaitMore(t)
		fault.strike()
		struck := time.Now()
		s.awaitMore(t)
		figures(t, "after", fault.name, "moved_within", seconds(time.Since(struck)), "copied", s.number(copiedQuery))
	}

	for i, id := range jobs {
		s.wantEnd(t, watches[i], 0)
		j := s.jobOf(t, id)
		if j.State != "succeeded" || j.Copied != int64(len(objects)) {
			t.Errorf("job %d ended %s with %d copied, want succeeded with %d: %s", id, j.State, j.Copied, len(objects), j.Error)
		}
		s.wantInvariant(t, j)
		wantEqual(t, bucketInventory(t, s.to, buckets[i]), objects.inventory())
	}
	figures(t, "ended_after", seconds(time.Since(since)))
	wantEqual(t, bucketInventory(t, s.from, "earth-all"), objects.inventory())
	s.wantDialOut(t)
	s.handOuts(t)
	figures(t, "parts", s.number("SELECT count(*) FROM tranship.items WHERE kind = 'part'"),
		"suspected", s.number("SELECT count(*) FROM tranship.items WHERE suspect"))
	if n := s.number("SELECT count(DISTINCT agent) FROM tranship.items WHERE job_id = (SELECT max(id) FROM tranship.jobs) AND state = 'done'"); n != 2 {
		t.Errorf("%d agents moved the job that any may move, want both", n)
	}
	needless(t, s.to, len(objects)*len(jobs), buckets...)
}

// begin orders a copy to a bucket, whose big objects travel in parts.
func (s *twoSites) begin(t testing.TB, at, bucket string) int64 {
	t.Helper()
	r := must(t, s.env, "copy", "-o", "json", "--at", at, "--split-size", "8MiB", "store://earth-all/", "store://"+bucket+"/")
	return decode[jobView](t, r.stdout).ID
}

const copiedQuery = "SELECT sum(copied) FROM tranship.jobs"

// awaitMore waits until more objects have arrived than now, and fails the test
// if nothing is left to do: what comes next would prove nothing.
func (s *twoSites) awaitMore(t testing.TB) {
	t.Helper()
	before := s.number(copiedQuery)
	eventually(t, "the jobs to move", 2*time.Minute, func() bool { return s.number(copiedQuery) > before })
	if s.number("SELECT sum(open) FROM tranship.jobs") < 1 {
		t.Errorf("the jobs are over too soon")
	}
}
