package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

const jsonType = "application/json"

// TestCreateRefuses sends requests with one thing wrong and expects the answer
// to name it.
func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	const good = `"source":"s3://a/b","target":"file:///c"`
	tests := []struct {
		name, body string
		pointers   string // of the findings, in order
		detail     string // part of the first finding
	}{
		{"nothing", `{}`, "/source /target", "is missing"},
		{"no target", `{"source":"s3://a"}`, "/target", "is missing"},
		{"path for a URL", `{"source":"/srv/data","target":"s3://a"}`, "/source", "no scheme"},
		{"no slashes", `{"source":"s3:bucket","target":"s3://a"}`, "/source", "names no store"},
		{"no store", `{"source":"s3://","target":"s3://a"}`, "/source", "names no store"},
		{"bad escape", `{"source":"s3://a/100%","target":"s3://a"}`, "/source", "%25"},
		{"user and password", `{"source":"s3://AKIA:hunter2@a/","target":"s3://b"}`, "/source", "credentials"},
		{"secret in the query", `{"source":"s3://a","target":"s3://b?secret_access_key=hunter2"}`, "/target", "credentials"},
		{"signed URL", `{"source":"s3://a?X-Amz-Signature=hunter2","target":"s3://b"}`, "/source", "credentials"},
		{"fragment", `{"source":"s3://a/#1","target":"s3://b"}`, "/source", "%23"},
		{"control character", `{"source":"s3://a/\u0007","target":"s3://b"}`, "/source", "printed"},
		{"long URL", `{"source":"s3://a/` + strings.Repeat("x", maxURL) + `","target":"s3://b"}`, "/source", "longer"},
		{"onto itself", `{"source":"s3://a","target":"s3://a"}`, "/target", "itself"},
		{"long name", `{"name":"` + strings.Repeat("x", maxName+1) + `",` + good + `}`, "/name", "longer"},
		{"name that turns", `{"name":"\u202e",` + good + `}`, "/name", "printed"},
		{"site", `{"site":"a.b",` + good + `}`, "/site", "1 to 40"},
		{"site that nobody knows", `{"site":"source",` + good + `}`, "/site", "say it"},
		{"shared access signature", `{"source":"azblob://a?sv=2024&sig=hunter2","target":"s3://b"}`, "/source", "credentials"},
		{"signed URL in the path", `{"source":"s3://a/x%3FX-Amz-Signature=hunter2","target":"s3://b"}`, "/source", "credentials"},
		{"password of an endpoint", `{"source":"s3://a?endpoint=https://u:hunter2@b","target":"s3://b"}`, "/source", "credentials"},
		{"named store without a name", `{"source":"store://a.b/","target":"s3://b"}`, "/source", "1 to 40"},
		{"named store with a parameter", `{"source":"store://a/?region=x","target":"s3://b"}`, "/source", "everything but the prefix"},
		{"class", `{"class":"urgent",` + good + `}`, "/class", "hi, norm or lo"},
		{"verify", `{"options":{"verify":"md6"},` + good + `}`, "/options/verify", "size, etag, checksum or readback"},
		{"compare", `{"options":{"compare":"vibes"},` + good + `}`, "/options/compare", "content, size or none"},
		{"no attempts", `{"options":{"max_attempts":0},` + good + `}`, "/options/max_attempts", "from 1 to 100"},
		{"many attempts", `{"options":{"max_attempts":101},` + good + `}`, "/options/max_attempts", "from 1 to 100"},
		{"small split", `{"options":{"split":8388607},` + good + `}`, "/options/split", "at least 8388608 bytes (8 MiB), or 0"},
		{"negative split", `{"options":{"split":-1},` + good + `}`, "/options/split", "at least 8388608"},
		{"split in words", `{"options":{"split":"1GiB"},` + good + `}`, "/options/split", "must not be a string"},
		{"storage class", `{"options":{"class":"COLD"},` + good + `}`, "/options/class", "write keep, or FROM=TO pairs"},
		{"long storage class", `{"options":{"class":"` + strings.Repeat("x", maxRule+1) + `"},` + good + `}`, "/options/class", "longer"},
		{"unknown field to carry", `{"options":{"carry":"acl=drop"},` + good + `}`, "/options/carry", "use headers, metadata, tags"},
		{"unknown policy", `{"options":{"carry":"tags=lose"},` + good + `}`, "/options/carry", "use fail, skip or drop"},
		{"keys dropped", `{"options":{"carry":"keys=drop"},` + good + `}`, "/options/carry", "use fail or skip"},
		{"carry that turns", `{"options":{"carry":"\u202e"},` + good + `}`, "/options/carry", "printed"},
		{"type", `{"source":5,"target":"s3://a"}`, "/source", "must not be a number"},
		{"inner type", `{"options":{"max_attempts":"5"},` + good + `}`, "/options/max_attempts", "must not be a string"},
		{"null", `{"name":null,` + good + `}`, "/name", "null"},
		{"unknown fields", `{"sourec":1,"a/b":2,"options":{"x":1},` + good + `}`, "/a~1b /options/x /sourec", "unknown field"},
		{"other case", `{"Source":"s3://a","target":"s3://b"}`, "/Source", "unknown field"},
		{"all at once", `{"source":"x","site":"*","options":{"verify":"v"}}`, "/source /target /site /options/verify", "no scheme"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := b.problem(t, "POST", "/v1/jobs", tt.body, "Content-Type", jsonType)
			var pointers []string
			for _, e := range p.Errors {
				pointers = append(pointers, e.Pointer)
			}
			if p.Code != api.Invalid || strings.Join(pointers, " ") != tt.pointers || !strings.Contains(p.Errors[0].Detail, tt.detail) {
				t.Errorf("got %s, %+v; want findings at %s, the first with %q", p.Code, p.Errors, tt.pointers, tt.detail)
			}
			if text := fmt.Sprint(p); strings.Contains(text, "hunter2") {
				t.Errorf("the answer repeats a secret: %s", text)
			}
		})
	}
	if len(b.fake.jobs) != 0 {
		t.Errorf("%d jobs were created", len(b.fake.jobs))
	}
	if strings.Contains(b.log.String(), "hunter2") {
		t.Error("the log has a secret")
	}
}

// TestCreateRefusesWhole sends what is no request for a job at all.
func TestCreateRefusesWhole(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	good := `{"source":"s3://a","target":"s3://b"}`
	tests := []struct {
		name, body, mediaType string
		code                  api.Code
	}{
		{"no body", ``, jsonType, api.BadRequest},
		{"half", `{"source":`, jsonType, api.BadRequest},
		{"a list", `[]`, jsonType, api.BadRequest},
		{"two", good + good, jsonType, api.BadRequest},
		{"deep", strings.Repeat("[", 200000), jsonType, api.BadRequest},
		{"form", good, "application/x-www-form-urlencoded", api.MediaType},
		{"text", good, "text/plain", api.MediaType},
		{"no type", good, "", api.MediaType},
		{"large", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, jsonType, api.TooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p := b.problem(t, "POST", "/v1/jobs", tt.body, "Content-Type", tt.mediaType); p.Code != tt.code {
				t.Errorf("got %s, want %s", p.Code, tt.code)
			}
		})
	}
	if len(b.fake.jobs) != 0 {
		t.Errorf("%d jobs were created", len(b.fake.jobs))
	}
}

// TestCreatedWaits asks for jobs where no agent is, and is told at once.
func TestCreatedWaits(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.agents = []work.AgentRow{{Presence: work.Presence{Agent: "a", Site: "venus", State: "running"}, LastSeen: noon}}
	b := serve(t, f)
	for _, tt := range []struct{ site, source, why string }{
		{"mars", "s3://a", "no agent is at site mars"},
		{work.AnySite, "s3://a", ""},
		{work.AnySite, "store://old/", "no agent at any site knows the store old"},
	} {
		_, text := b.do(t, "POST", "/v1/jobs", fmt.Sprintf(`{"source":%q,"target":"file:///c","site":%q}`, tt.source, tt.site), "Content-Type", jsonType)
		var j api.Job
		if err := json.Unmarshal([]byte(text), &j); err != nil || j.Site != tt.site {
			t.Fatalf("the answer is %s", text)
		}
		_, text = b.do(t, "GET", "/v1/jobs/"+j.ID.String(), "")
		var again api.Job
		if err := json.Unmarshal([]byte(text), &again); err != nil {
			t.Fatal(err)
		}
		for _, w := range []*work.Wait{j.Waiting, again.Waiting} {
			if (w != nil) != (tt.why != "") || w != nil && (w.Why != tt.why || w.Next == "") {
				t.Errorf("at %s from %s it waits because %+v, want %q", tt.site, tt.source, w, tt.why)
			}
		}
		_, page := b.do(t, "GET", "/jobs/"+j.ID.String(), "")
		if tt.why != "" && !strings.Contains(page, "is waiting for an agent: "+tt.why) {
			t.Errorf("the page of job %d does not say that it waits", j.ID)
		}
	}
}

func TestCreateDefaults(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	resp, text := b.do(t, "POST", "/v1/jobs", `{"source":"s3://a/b?region=eu-west-1&use_path_style=true","target":"file:///c","options":{"compare":"size"}}`,
		"Content-Type", "application/json; charset=utf-8")
	var j api.Job
	if err := json.Unmarshal([]byte(text), &j); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, text)
	}
	want := work.Options{Verify: work.VerifyChecksum, Compare: work.CompareSize, MaxAttempts: 5}
	if j.Options != want || j.Site != work.DefaultSite || j.Class != work.Norm || j.SubmittedBy != "api" {
		t.Errorf("created %+v", j)
	}
	if got := resp.Header.Get("Location"); got != "/v1/jobs/1" {
		t.Errorf("Location = %q", got)
	}
}

// TestCreateChoices checks that choices arrive in the form in which they are
// compared.
func TestCreateChoices(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	resp, text := b.do(t, "POST", "/v1/jobs", `{"source":"s3://a","target":"s3://b","options":{"verify":"readback","split":8388608,
		"class":"STANDARD_IA=NEARLINE,*=STANDARD","carry":" tags=fail, archived=skip"}}`, "Content-Type", jsonType)
	var j api.Job
	if err := json.Unmarshal([]byte(text), &j); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, text)
	}
	want := work.Options{Verify: work.VerifyReadback, Compare: work.CompareContent, MaxAttempts: 5, Split: api.MinSplit,
		Class: "STANDARD_IA=NEARLINE,*=STANDARD", Carry: "archived=skip,tags=fail"}
	if j.Options != want {
		t.Errorf("created with %+v, want %+v", j.Options, want)
	}
	_, text = b.do(t, "POST", "/v1/jobs", `{"source":"s3://a","target":"s3://b","options":{"split":0}}`, "Content-Type", jsonType)
	if j = (api.Job{}); json.Unmarshal([]byte(text), &j) != nil || j.Options != work.DefaultOptions() {
		t.Errorf("a split of 0 is not the default: %s", text)
	}
}

// TestIdempotency repeats a request under its key, also at once from many
// sides, and uses the key for another request.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	body := `{"source":"s3://a","target":"s3://b","name":"n"}`
	same := `{ "name":"n", "target":"s3://b", "source":"s3://a", "options":{"max_attempts":5} }`
	var wg sync.WaitGroup
	var mu sync.Mutex
	replayed := map[string]int{}
	for i := range 20 {
		wg.Go(func() {
			text := []string{body, same}[i%2]
			resp, got := b.do(t, "POST", "/v1/jobs", text, "Content-Type", jsonType, "Idempotency-Key", "k 1")
			var j api.Job
			if err := json.Unmarshal([]byte(got), &j); err != nil || resp.StatusCode != http.StatusCreated || j.ID != 1 {
				t.Errorf("%s: %s", resp.Status, got)
			}
			mu.Lock()
			defer mu.Unlock()
			replayed[resp.Header.Get(api.HeaderReplayed)]++
		})
	}
	wg.Wait()
	if replayed[""] != 1 || replayed["true"] != 19 {
		t.Errorf("replayed: %v, want one that is not", replayed)
	}
	if p := b.problem(t, "POST", "/v1/jobs", strings.Replace(body, "s3://b", "s3://c", 1), "Content-Type", jsonType,
		"Idempotency-Key", "k 1"); p.Code != api.KeyReused || p.Status != http.StatusUnprocessableEntity {
		t.Errorf("another request under the same key: %+v", p)
	}
	for _, key := range []string{"", strings.Repeat("k", 256), "ü"} {
		p := b.problem(t, "POST", "/v1/jobs", body, "Content-Type", jsonType, "Idempotency-Key", key)
		if p.Code != api.Invalid || p.Errors[0].Header != api.HeaderIdempotencyKey {
			t.Errorf("key %q: %+v", key, p)
		}
	}
	if _, text := b.do(t, "POST", "/v1/jobs", body, "Content-Type", jsonType); !strings.Contains(text, `"id":2`) {
		t.Errorf("a request without a key is new each time: %s", text)
	}
}
