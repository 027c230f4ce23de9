package e2e

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// Two servers with credentials of their own, in one agent that has neither in
// its environment's names: one's are in files, the other's in variables. Jobs
// know names alone, and no secret is anywhere but where its operator put it.
func TestNamedStores(t *testing.T) {
	t.Parallel()
	from, to := servers.VersityGW(t), servers.VersityGWTwin(t)
	objects := newCorpus(60, newSeed(t))
	from.CreateBucket(t, "named-from")
	to.CreateBucket(t, "named-to")
	objects.toBucket(t, from, "named-from")
	secrets := t.TempDir()
	const wrong = "canary-of-a-wrong-secret-key-0123456789"
	writeFile(t, filepath.Join(secrets, "id"), from.AccessKey+"\n")
	writeFile(t, filepath.Join(secrets, "secret"), from.SecretKey+"\n")
	writeFile(t, filepath.Join(secrets, "wrong"), wrong)
	store := func(name, bucket string, srv *servers.S3, id, secret string) string {
		return "  " + name + ":\n    url: " + placeOf(srv, bucket) + "\n    match: [" + "s3://" + bucket + "-" + name + "]\n    site: mars\n" +
			"    credentials: {access_key_id: " + id + ", secret_access_key: " + secret + "}\n"
	}
	f := newFleet(t, 0, []string{"TRANSHIP_SITE=mars", "TO_ID=" + to.AccessKey, "TO_SECRET=" + to.SecretKey}, func(f *fleet) {
		f.stores = "stores:\n" +
			store("from", "named-from", from, "file:"+secrets+"/id", "file:"+secrets+"/secret") +
			store("to", "named-to", to, "env:TO_ID", "env:TO_SECRET") +
			store("twin", "named-from", from, "file:"+secrets+"/id", "file:"+secrets+"/secret") +
			store("wrong", "named-from", from, "file:"+secrets+"/id", "file:"+secrets+"/wrong")
	})

	// Nobody is there, which is said at once.
	id := f.submit(t, "--at", "source", "store://from/", "store://to/")
	r := f.cli(t, "job", "show", strconv.FormatInt(id, 10), "-o", "json")
	for _, text := range []string{`"site": "mars"`, `"source": "store://from/"`, "no agent is at site mars", "tranship fleet invite --site mars"} {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("the job of a site without agents does not say %q: %s", text, r.stdout)
		}
	}
	f.startAgent(t)
	if j := f.awaitEnd(t, id, 3*time.Minute); j.State != "succeeded" || j.Copied != int64(len(objects)) {
		t.Fatalf("the job is %+v\n%s", j, f.agents[0].log.tail(4000))
	}
	wantEqual(t, bucketInventory(t, to, "named-to"), objects.inventory())

	// Two names of one place are one place.
	id = f.submit(t, "--at", "mars", "store://from/", "store://twin/inside/")
	if j := f.awaitEnd(t, id, time.Minute); j.State != "failed" || !strings.Contains(j.Error, "the target lies inside the source") {
		t.Errorf("into itself under another name: %+v", j)
	}
	// A key that is refused is an error of the job, without the key.
	id = f.submit(t, "--at", "target", "store://wrong/", "store://to/b/")
	if j := f.awaitEnd(t, id, time.Minute); j.State != "failed" || !strings.Contains(j.Error, "SignatureDoesNotMatch") {
		t.Errorf("with a wrong key: %+v", j)
	}
	// What nobody there knows waits, and fails nothing.
	id = f.submit(t, "--at", "mars", "store://nowhere/", "store://to/c/")
	eventually(t, "the job to say why it waits", time.Minute, func() bool {
		return strings.Contains(f.cli(t, "job", "show", strconv.FormatInt(id, 10), "-o", "json").stdout, "no agent at site mars knows the store nowhere")
	})
	eventually(t, "the agent to say what it lacks", time.Minute, func() bool {
		return strings.Contains(f.cli(t, "fleet", "ls", "-o", "json").stdout, "this configuration does not know the store nowhere")
	})
	if j := f.job(t, id); j.State != "running" || j.Failed != 0 {
		t.Errorf("the job of an unknown store is %+v", j)
	}
	wantError(t, f.cli(t, "copy", "--at", "source", "s3://elsewhere", "store://to/"), 2, "add an entry to stores that matches it and has a site")
	wantError(t, f.cli(t, "copy", "s3://a?X-Amz-Signature="+wrong, "store://to/"), 2, "must not hold credentials")

	f.wantNowhere(t, from.SecretKey, to.SecretKey, wrong, from.AccessKey, to.AccessKey)
}

// placeOf is the URL of a bucket with all that it takes to find it, and nothing of
// who asks.
func placeOf(srv *servers.S3, bucket string) string {
	u, q := url.URL{Scheme: "s3", Host: bucket}, url.Values{"endpoint": {srv.Endpoint}, "region": {srv.Region}, "use_path_style": {"true"}}
	u.RawQuery = q.Encode()
	return u.String()
}

// wantNowhere looks for secrets in all that the fleet has written or shows: its
// folders with the ledger's and the queue's files, its logs, pages and metrics,
// and the ledger's tables.
func (f *fleet) wantNowhere(t testing.TB, secrets ...string) {
	t.Helper()
	seen := map[string][]byte{}
	for _, d := range append([]*daemon{f.coordinator}, f.agents...) {
		seen["the log of "+d.name] = []byte(d.log.tail(1 << 30))
	}
	for _, path := range []string{"/", "/jobs", "/jobs/1", "/jobs/2", "/jobs/3", "/jobs/4", "/agents", "/metrics", "/v1/jobs", "/v1/agents", "/v1/events"} {
		resp, err := impatient.Get(f.api + path)
		if err != nil {
			continue // a live view does not end
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err == nil {
			seen[path] = text
		}
	}
	seen["the ledger"] = []byte(f.sql(t, `SELECT query_to_xml(format('SELECT * FROM tranship.%I', table_name), true, false, '')
		FROM information_schema.tables WHERE table_schema = 'tranship'`))
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // Postgres removes files meanwhile
		}
		if text, err := os.ReadFile(path); err == nil {
			seen[path] = text
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for where, text := range seen {
		all += len(text)
		for i, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("secret %d of %d is in %s", i+1, len(secrets), where)
			}
		}
	}
	if len(seen) < 20 || !bytes.Contains(seen["the ledger"], []byte("store://from/")) || !bytes.Contains(seen["/metrics"], []byte("tranship_")) {
		t.Errorf("only %d texts with %d bytes were looked at", len(seen), all)
	}
}

// A guard lets requests to an S3 server through that are signed by one key.
type guard struct {
	allowed atomic.Pointer[string]
	refused atomic.Int64
	passed  atomic.Int64
}

func (g *guard) serve(t testing.TB, srv *servers.S3) string {
	t.Helper()
	to, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+*g.allowed.Load()+"/") {
			g.refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>")
			return
		}
		if r.Method == http.MethodPut {
			g.passed.Add(1)
			time.Sleep(20 * time.Millisecond) // so that the job is under way for a while
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// An operator puts new credentials in the place of the old ones and then has
// the old ones refused. The agent goes on with the new ones, and no object
// notices.
func TestCredentialsAreReplaced(t *testing.T) {
	t.Parallel()
	objects := newCorpus(600, newSeed(t))
	src := filepath.Join(t.TempDir(), "src")
	objects.toFolder(t, src)
	fake := servers.GoFakeS3(t)
	fake.CreateBucket(t, "replaced")
	g, old, fresh := &guard{}, "OLDKEY", "FRESHKEY"
	g.allowed.Store(&old)
	behind := *fake
	behind.Endpoint = g.serve(t, fake)
	secrets := t.TempDir()
	writeFile(t, secrets+"/id", old)
	writeFile(t, secrets+"/secret", "secret-of-"+old)
	f := newFleet(t, 1, []string{"TRANSHIP_STREAMS=4"}, func(f *fleet) {
		f.stores = "stores:\n  new:\n    url: " + placeOf(&behind, "replaced") +
			"\n    credentials: {access_key_id: file:" + secrets + "/id, secret_access_key: file:" + secrets + "/secret}\n"
	})
	id := f.submit(t, src, "store://new/")
	eventually(t, "some objects to arrive", time.Minute, func() bool { return g.passed.Load() > 50 })
	replace(t, secrets+"/secret", "secret-of-"+fresh)
	replace(t, secrets+"/id", fresh)
	g.allowed.Store(&fresh)
	j := f.awaitEnd(t, id, 3*time.Minute)
	if j.State != "succeeded" || j.Failed != 0 || j.Copied != int64(len(objects)) {
		t.Errorf("the job is %+v\n%s", j, f.cli(t, "job", "failures", "1").stdout)
	}
	if g.refused.Load() == 0 {
		t.Error("the old key was never refused: the job was over too soon")
	}
	wantEqual(t, bucketInventory(t, fake, "replaced"), objects.inventory())
	t.Logf("figures: %d requests were refused before the new key was in use", g.refused.Load())
}

// replace puts another content in the place of a file's, at once.
func replace(t testing.TB, path, text string) {
	t.Helper()
	writeFile(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
