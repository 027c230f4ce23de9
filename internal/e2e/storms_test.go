package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/proxy"
	"github.com/tranship/tranship/internal/e2e/servers"
)

// The tests of this file copy by way of proxies that do to the traffic what
// overloaded, broken and absent servers do. Most of their time is waiting, so
// they run side by side.

// by returns a server as it is reached through a proxy.
func by(p *proxy.Proxy, srv *servers.S3) *servers.S3 {
	other := *srv
	other.Endpoint = p.Endpoint
	return &other
}

// smallCorpus makes n objects of some KiB.
func smallCorpus(n int, seed uint64) corpus {
	rnd := rand.New(rand.NewPCG(seed, 3))
	c := corpus{}
	for i := range n {
		c[fmt.Sprintf("data/%04d", i)] = randomBytes(rnd, 6<<10+rnd.IntN(4<<10))
	}
	return c
}

// isWrite reports whether a request stores an object or a part.
func isWrite(r *http.Request) bool { return r.Method == http.MethodPut }

// isRead reports whether a request reads an object.
func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/data/")
}

// attempts returns how often the object of a job was tried that was tried most.
func (f *fleet) attempts(t testing.TB, id int64) string {
	t.Helper()
	return f.sql(t, fmt.Sprintf("SELECT max(attempt) FROM tranship.items WHERE job_id = %d", id))
}

// wantArrived waits for the end of a job and checks that everything arrived.
func (f *fleet) wantArrived(t *testing.T, id int64, srv *servers.S3, bucket string, objects corpus) jobView {
	t.Helper()
	j := f.awaitEnd(t, id, 5*time.Minute)
	if j.State != "succeeded" || j.Failed != 0 || j.Planned != int64(len(objects)) {
		t.Errorf("job %d ended %s with %d of %d planned and %d failed, want succeeded: %s\n%s", id, j.State, j.Planned, len(objects), j.Failed,
			j.Error, f.cli(t, "job", "failures", strconv.FormatInt(id, 10)).stdout)
	}
	f.wantInvariant(t, j)
	wantEqual(t, bucketInventory(t, srv, bucket), objects.inventory())
	return j
}

// An agentView is what the tests read of an agent's JSON.
type agentView struct{ Agent, Trouble string }

func (f *fleet) troubles(t testing.TB) string {
	t.Helper()
	var all []string
	for _, a := range decode[[]agentView](t, f.cli(t, "fleet", "ls", "-o", "json").stdout) {
		all = append(all, a.Trouble)
	}
	return strings.Join(all, "; ")
}

// TestStorms has targets refuse requests in the ways of overloaded servers. No
// attempt is spent on that, and a job between other stores goes on.
func TestStorms(t *testing.T) {
	long(t)
	t.Parallel()
	src := servers.VersityGW(t)
	objects := smallCorpus(300, newSeed(t))
	src.CreateBucket(t, "storm-src")
	objects.toBucket(t, src, "storm-src")
	f := newFleet(t, 1, append(profiles(t, src), "TRANSHIP_STREAMS=8"))

	storms := []struct {
		name  string
		burst proxy.Fault // of all requests, for a while
		after proxy.Fault // of some, to the end
	}{
		{"503", proxy.Refuse(503, 0), proxy.Share(0.2, proxy.Refuse(503, 0))},
		{"503 with Retry-After", proxy.Refuse(503, 3), proxy.Share(0.02, proxy.Refuse(503, 1))},
		{"429", proxy.Refuse(429, 0), proxy.Share(0.1, proxy.Refuse(429, 0))},
	}
	calm := proxy.New(t, src.Endpoint)
	src.CreateBucket(t, "storm-calm")
	f.wantArrived(t, f.submit(t, src.URL("storm-src", ""), by(calm, src).URL("storm-calm", "")), src, "storm-calm", objects)

	proxies := make([]*proxy.Proxy, len(storms))
	ids := make([]int64, len(storms))
	for i, s := range storms {
		src.CreateBucket(t, fmt.Sprintf("storm-%d", i))
		proxies[i] = proxy.New(t, src.Endpoint)
		proxies[i].Set(proxy.Rule{For: isWrite, Fault: proxy.Late(50 * time.Millisecond)})
		ids[i] = f.submit(t, src.URL("storm-src", ""), by(proxies[i], src).URL(fmt.Sprintf("storm-%d", i), ""), "--max-attempts", "2")
		eventually(t, "the first objects", time.Minute, func() bool { return f.job(t, ids[i]).Copied > 0 })
		proxies[i].Set(proxy.Rule{Fault: s.burst})
	}
	began := time.Now()
	src.CreateBucket(t, "storm-other")
	other := f.submit(t, src.URL("storm-src", ""), src.URL("storm-other", "copied/"), "--name", "other")
	j := f.awaitEnd(t, other, 2*time.Minute)
	t.Logf("the other job ended %s in %v, while three storms were raging", j.State, time.Since(began).Round(time.Millisecond))
	if j.State != "succeeded" {
		t.Errorf("the other job ended %s: %s", j.State, j.Error)
	}
	for i := range storms {
		if f.over(t, ids[i]) {
			t.Errorf("the job of %s was over before the storm was", storms[i].name)
		}
	}
	time.Sleep(max(0, 15*time.Second-time.Since(began)))
	for i, s := range storms {
		proxies[i].Set(proxy.Rule{Fault: s.after})
	}
	for i, s := range storms {
		f.wantArrived(t, ids[i], src, fmt.Sprintf("storm-%d", i), objects)
		if n := f.attempts(t, ids[i]); n != "1" {
			t.Errorf("%s: an object was tried %s times: refusals cost attempts", s.name, n)
		}
		t.Logf("%s: %d requests, %.2f times the %d of a calm day", s.name,
			proxies[i].Requests(), float64(proxies[i].Requests())/float64(calm.Requests()), calm.Requests())
	}
}

// TestOutages takes targets away for most of a minute, and brings them back.
// That costs no attempt, the fleet says what is wrong, and a job between other
// stores is not held up.
func TestOutages(t *testing.T) {
	long(t)
	t.Parallel()
	src := servers.VersityGW(t)
	objects := smallCorpus(400, newSeed(t))
	src.CreateBucket(t, "outage-src")
	objects.toBucket(t, src, "outage-src")
	f := newFleet(t, 1, append(profiles(t, src), "TRANSHIP_STREAMS=8"))

	outages := []struct {
		name string
		away func(p *proxy.Proxy)
		back func(p *proxy.Proxy)
	}{
		{"nobody listens", (*proxy.Proxy).Away, func(p *proxy.Proxy) { p.Set(); p.Back(t) }},
		{"a gateway without servers", func(p *proxy.Proxy) { p.Set(proxy.Rule{Fault: proxy.Refuse(502, 0)}) }, func(p *proxy.Proxy) { p.Set() }},
		{"no answer", func(p *proxy.Proxy) { p.Set(proxy.Rule{Fault: proxy.CutBody(0)}) }, func(p *proxy.Proxy) { p.Set() }},
	}
	proxies := make([]*proxy.Proxy, len(outages))
	ids := make([]int64, len(outages))
	for i, o := range outages {
		bucket := fmt.Sprintf("outage-%d", i)
		src.CreateBucket(t, bucket)
		proxies[i] = proxy.New(t, src.Endpoint)
		proxies[i].Set(proxy.Rule{For: isWrite, Fault: proxy.Late(100 * time.Millisecond)})
		ids[i] = f.submit(t, src.URL("outage-src", ""), by(proxies[i], src).URL(bucket, ""), "--max-attempts", "2")
		eventually(t, "the first objects", time.Minute, func() bool { return f.job(t, ids[i]).Copied > 0 })
		o.away(proxies[i])
	}
	began := time.Now()
	src.CreateBucket(t, "outage-other")
	other := f.submit(t, src.URL("outage-src", ""), src.URL("outage-other", "copied/"))
	j := f.awaitEnd(t, other, 2*time.Minute)
	t.Logf("the other job ended %s in %v, while three stores were away", j.State, time.Since(began).Round(time.Millisecond))
	if j.State != "succeeded" {
		t.Errorf("the other job ended %s: %s", j.State, j.Error)
	}
	eventually(t, "the fleet to say what is wrong", time.Minute, func() bool {
		said := f.troubles(t)
		for i := range outages {
			if !strings.Contains(said, fmt.Sprintf("s3://outage-%d cannot be reached", i)) {
				return false
			}
		}
		return true
	})
	t.Logf("trouble: %s", f.troubles(t))
	time.Sleep(max(0, 40*time.Second-time.Since(began)))
	var asked [3]int64
	for i, o := range outages {
		if f.over(t, ids[i]) {
			t.Errorf("the job of %s was over before the outage was", o.name)
		}
		asked[i] = proxies[i].Requests()
		o.back(proxies[i])
	}
	for i, o := range outages {
		f.wantArrived(t, ids[i], src, fmt.Sprintf("outage-%d", i), objects)
		t.Logf("%s: %d requests before the end of the outage", o.name, asked[i])
		if n := f.attempts(t, ids[i]); n != "1" {
			t.Errorf("%s: an object was tried %s times: the outage cost attempts", o.name, n)
		}
	}
	eventually(t, "the trouble to be over", time.Minute, func() bool { return strings.Trim(f.troubles(t), "; ") == "" })
}

// TestBodiesThatStall has bodies stop or drip in the middle, at either end.
// They are cut by what moves, not by how long they take: one that is slow but
// gets on is left alone.
func TestBodiesThatStall(t *testing.T) {
	long(t)
	t.Parallel()
	srv := servers.VersityGW(t)
	seed := newSeed(t)
	objects := smallCorpus(300, seed)
	objects["data/slow"] = randomBytes(rand.New(rand.NewPCG(seed, 4)), 1<<20)
	srv.CreateBucket(t, "stall-src")
	srv.CreateBucket(t, "stall-dst")
	objects.toBucket(t, srv, "stall-src")
	const stall = 8 * time.Second
	src, dst := proxy.New(t, srv.Endpoint), proxy.New(t, srv.Endpoint)
	named := func(like func(*http.Request) bool, ends string) func(*http.Request) bool {
		return func(r *http.Request) bool { return like(r) && strings.HasSuffix(r.URL.Path, ends) }
	}
	src.Set(
		proxy.Rule{For: named(isRead, "10"), Fault: proxy.First(1, proxy.StallAnswer(1000))},
		proxy.Rule{For: named(isRead, "20"), Fault: proxy.First(1, proxy.DripAnswer(1, time.Second))},
		proxy.Rule{For: named(isRead, "slow"), Fault: proxy.DripAnswer(16<<10, 250*time.Millisecond)}, // 16 s in all
	)
	dst.Set(proxy.Rule{For: named(isWrite, "30"), Fault: proxy.First(1, proxy.StallBody(1000))})
	f := newFleet(t, 1, append(profiles(t, srv), "TRANSHIP_STREAMS=8", "TRANSHIP_STALL="+stall.String()))
	began := time.Now()
	id := f.submit(t, by(src, srv).URL("stall-src", ""), by(dst, srv).URL("stall-dst", ""))
	j := f.wantArrived(t, id, srv, "stall-dst", objects)
	t.Logf("%d objects in %v, %d tried again", len(objects), time.Since(began).Round(time.Millisecond), j.Retries)
	if j.Retries == 0 {
		t.Error("nothing was tried again: nothing stalled")
	}
	slow := f.sql(t, fmt.Sprintf("SELECT attempt FROM tranship.objects WHERE job_id = %d AND key = 'data/slow'", id))
	if slow != "1" {
		t.Errorf("the slow object took %s attempts: it was cut although it got on", slow)
	}
}

// TestConnectionsThatBreak cuts the first reading and the first writing of
// every object, and takes some writings for done whose answer is lost.
func TestConnectionsThatBreak(t *testing.T) {
	long(t)
	t.Parallel()
	srv := servers.VersityGW(t)
	objects := newCorpus(200, newSeed(t))
	srv.CreateBucket(t, "cut-src")
	srv.CreateBucket(t, "cut-dst")
	objects.toBucket(t, srv, "cut-src")
	src, dst := proxy.New(t, srv.Endpoint), proxy.New(t, srv.Endpoint)
	src.Set(proxy.Rule{For: func(r *http.Request) bool { return r.Method == http.MethodGet && !r.URL.Query().Has("list-type") },
		Fault: proxy.First(1, proxy.CutAnswer(500))})
	dst.Set(
		proxy.Rule{For: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "tranship-probe") }, Fault: proxy.Share(0, nil)},
		proxy.Rule{For: func(r *http.Request) bool { return isWrite(r) && strings.HasSuffix(r.URL.Path, "7.bin") }, Fault: proxy.First(1, proxy.Swallow)},
		proxy.Rule{For: isWrite, Fault: proxy.First(1, proxy.CutBody(500))},
		proxy.Rule{For: func(r *http.Request) bool { return r.Method == http.MethodPost }, Fault: proxy.First(2, proxy.Swallow)},
	)
	f := newFleet(t, 1, append(profiles(t, srv), "TRANSHIP_STREAMS=8"))
	began := time.Now()
	j := f.wantArrived(t, f.submit(t, by(src, srv).URL("cut-src", ""), by(dst, srv).URL("cut-dst", "")), srv, "cut-dst", objects)
	t.Logf("%d objects in %v, %d tried again; %d requests to the source, %d to the target",
		len(objects), time.Since(began).Round(time.Millisecond), j.Retries, src.Requests(), dst.Requests())
	if j.Retries == 0 {
		t.Error("nothing was tried again: nothing broke")
	}
}
