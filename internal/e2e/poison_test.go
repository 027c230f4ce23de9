package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestPoisonousObjects moves 600 objects of which two end every agent that
// reads them: killed with SIGKILL in the middle of the request, and started
// again a moment later, as systemd does. All others must arrive, most of them
// long before the two are found, and the two must fail with the reason.
func TestPoisonousObjects(t *testing.T) {
	long(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	src.CreateBucket(t, "poison-src")
	dst.CreateBucket(t, "poison-dst")
	objects := corpus{}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 600 {
		objects[fmt.Sprintf("data/%03d.bin", i)] = randomBytes(rnd, 1000)
	}
	objects.toBucket(t, src, "poison-src")
	poison := []string{"data/123.bin", "data/456.bin"} // in two of the three batches

	f := newFleet(t, 0, nil)
	var deaths atomic.Int64
	for range 3 {
		f.mortalAgent(t, src, dst, "poison-src", poison, &deaths)
	}
	// No endpoint in the URL: each agent has its own in its profile.
	source := "s3://poison-src/?use_path_style=true&profile=" + src.Profile
	id := f.submit(t, source, dst.URL("poison-dst", ""), "--max-attempts", "2")
	j := f.awaitEnd(t, id, 5*time.Minute)
	t.Logf("%d agents died; %d planned, %d copied, %d failed", deaths.Load(), j.Planned, j.Copied, j.Failed)
	if j.State != "incomplete" || j.Planned != 600 || j.Copied != 598 || j.Failed != 2 {
		t.Errorf("job ended %s with %d copied and %d failed, want incomplete with 598 and 2", j.State, j.Copied, j.Failed)
	}
	f.wantInvariant(t, j)
	for _, key := range poison {
		const query = `SELECT fault || ': ' || message FROM tranship.failures WHERE job_id = %d AND key = '%s'`
		reason := f.sql(t, fmt.Sprintf(query, id, key))
		t.Logf("%s: %s", key, reason)
		if !strings.HasPrefix(reason, "internal: after 2 attempts: agents ended without a word while they had it in hand, alone") {
			t.Errorf("%s failed with %q", key, reason)
		}
		delete(objects, key)
	}
	wantEqual(t, bucketInventory(t, dst, "poison-dst"), objects.inventory())

	early, err := strconv.Atoi(f.sql(t, fmt.Sprintf(`
		SELECT count(*) FROM tranship.objects
		WHERE job_id = %[1]d AND outcome = 'copied' AND at < (SELECT min(at) FROM tranship.failures WHERE job_id = %[1]d)`, id)))
	if err != nil || early < 580 {
		t.Errorf("%d objects were copied before the first poison was failed, %v, want nearly all", early, err)
	}
	alone := f.sql(t, fmt.Sprintf(`
		SELECT bool_and(clean.done_at < bad.queued_at)
		FROM tranship.items clean, tranship.items bad
		WHERE clean.job_id = %[1]d AND bad.job_id = %[1]d
		AND clean.kind = 'copy' AND clean.objects_count = 88
		AND bad.id IN (SELECT item_id FROM tranship.failures WHERE job_id = %[1]d)`, id))
	t.Logf("%d objects were copied before the first poison was failed; the batch without any before either stood alone: %s", early, alone)
	if alone != "t" {
		t.Error("a batch without any poison waited for that of others")
	}
}

// mortalAgent adds an agent that is killed whenever it reads one of some
// objects, and started again.
func (f *fleet) mortalAgent(t *testing.T, src, dst *servers.S3, bucket string, poison []string, deaths *atomic.Int64) {
	t.Helper()
	reads := make(chan bool, 1)
	target, err := url.Parse(src.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, key := range poison {
			if r.Method == http.MethodGet && r.URL.Path == "/"+bucket+"/"+key {
				select {
				case reads <- true:
				default: // it is dying already
				}
				<-r.Context().Done()
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)

	behind := *src
	behind.Endpoint = front.URL
	a := f.startAgent(t, profiles(t, &behind, dst)...)
	over, surgeon := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(surgeon)
		for {
			select {
			case <-over:
				return
			case <-reads:
			}
			a.kill()
			deaths.Add(1)
			time.Sleep(300 * time.Millisecond)
			select {
			case <-reads: // of the dead
			default:
			}
			a.start(t)
		}
	}()
	t.Cleanup(func() {
		close(over)
		<-surgeon
	})
}
