package web

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// TestGoldenPages compares every page with the one that was looked at and
// found good; -update rewrites them.
func TestGoldenPages(t *testing.T) {
	t.Parallel()
	full, none, set := serve(t, atWork()), serve(t, newFake()), serve(t, governed())
	tests := []struct {
		name, path string
		from       *bench
		status     int
	}{
		{"overview", "/", full, http.StatusOK},
		{"overview_empty", "/", none, http.StatusOK},
		{"jobs", "/jobs?limit=4", full, http.StatusOK},
		{"jobs_paused", "/jobs?state=paused", full, http.StatusOK},
		{"job_running", "/jobs/7", full, http.StatusOK},
		{"job_waiting", "/jobs/6", full, http.StatusOK},
		{"job_paused", "/jobs/5", full, http.StatusOK},
		{"job_incomplete", "/jobs/4", full, http.StatusOK},
		{"job_canceled", "/jobs/3", full, http.StatusOK},
		{"job_failed", "/jobs/2", full, http.StatusOK},
		{"job_succeeded", "/jobs/1", full, http.StatusOK},
		{"failures", "/jobs/7/failures?fault=unsupported", full, http.StatusOK},
		{"objects", "/jobs/7/objects?limit=6&outcome=failed&prefix=bad%00", full, http.StatusOK},
		{"attempts", "/jobs/7/attempts?key=bad%00key%FF%232", full, http.StatusOK},
		{"attempts_listing", "/jobs/2/attempts", full, http.StatusOK},
		{"agents", "/agents", full, http.StatusOK},
		{"agents_filtered", "/agents?site=aws-eu-west-1&text=RACK%3Db&job=5", full, http.StatusOK},
		{"agent", "/agents/aws-eu-west-1/hub-1", full, http.StatusOK},
		{"agent_silent", "/agents/gcp-europe-west4/west-1", full, http.StatusOK},
		{"jobs_text", "/jobs?text=IMAGES&failed=true", full, http.StatusOK},
		{"job_parts", "/jobs/7?prefix=eu/2025/&span=all", full, http.StatusOK},
		{"search", "/search", full, http.StatusOK},
		{"search_found", "/search?q=%22bad%5Cx00%5Cxff%22&match=whole", full, http.StatusOK},
		{"search_job", "/search?q=eu/000&job=7", full, http.StatusOK},
		{"search_none", "/search?q=nowhere", full, http.StatusOK},
		{"problem_no_agent", "/agents/aws-eu-west-1/none", full, http.StatusNotFound},
		{"settings", "/settings", set, http.StatusOK},
		{"settings_empty", "/settings", none, http.StatusOK},
		{"audit", "/settings/audit?before=5", set, http.StatusOK},
		{"agent_revoked", "/agents/gcp-europe-west4/west-2", set, http.StatusOK},
		{"agent_unseen", "/agents/gcp-europe-west4/west-3", set, http.StatusOK},
		{"agent_joined", "/agents/aws-eu-west-1/hub-1", set, http.StatusOK},
		{"agents_joined", "/agents?site=gcp-europe-west4", set, http.StatusOK},
		{"job_limited", "/jobs/7", set, http.StatusOK},
		{"job_awaiting", "/jobs/8", set, http.StatusOK},
		{"problems", "/problems", full, http.StatusOK},
		{"problem_no_job", "/jobs/99", full, http.StatusNotFound},
		{"problem_invalid", "/jobs?state=busy&x=1", full, http.StatusUnprocessableEntity},
		{"problem_not_found", "/nothing", full, http.StatusNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, page := tt.from.do(t, "GET", tt.path, "", "Accept", "text/html", "X-Request-Id", "a-request", "Host", "localhost:8480")
			if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Fatalf("%s answered %s, %s", tt.path, resp.Status, resp.Header.Get("Content-Type"))
			}
			page = regexp.MustCompile(`\?v=[0-9a-f]{12}`).ReplaceAllString(page, "?v=HASH")
			path := filepath.Join("testdata", tt.name+".html")
			if *update {
				if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if page != string(want) {
				t.Errorf("%s is not as %s has it; if that is meant, look at it and run with -update\n%s", tt.path, path, firstDifference(page, string(want)))
			}
		})
	}
}

// firstDifference shows the first line in which two pages differ.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer"
}

// TestHostileTexts puts markup, control characters and text that turns round
// into everything a page shows.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	const evil = "\"'><script>alert(1)</script>{{.}}\u202e\x1b[2J\n\x00\xff"
	f := governed()
	f.change(7, func(j *work.Job) {
		j.Name, j.Source, j.Target, j.Site, j.SubmittedBy, j.Error = evil, "s3://"+evil, "s3://"+evil, evil, evil, evil
	})
	f.change(2, func(j *work.Job) { j.Error = evil })
	for i := range f.failures {
		f.failures[i].Key, f.failures[i].Message, f.failures[i].Agent = evil, evil, evil
	}
	for i := range f.objects {
		o := &f.objects[i]
		o.Key, o.Agent, o.Reason, o.Proof, o.Checksum, o.Error, o.Dropped = evil, evil, evil, evil, evil, evil, evil
	}
	for i := range f.events {
		e := &f.events[i]
		e.Who, e.What, e.Note, e.From = evil, evil, evil, evil
	}
	for i := range f.tokens {
		f.tokens[i].Name, f.tokens[i].CreatedBy, f.tokens[i].Scope = evil, evil, evil
	}
	for i := range f.limits {
		l := &f.limits[i]
		l.Name, l.ChangedBy, l.Windows = evil, evil, []work.Window{{From: evil, Until: evil, Zone: evil}}
	}
	for i := range f.agents {
		a := &f.agents[i]
		a.Agent, a.Host, a.Site, a.Version, a.State, a.Trouble = evil, evil, evil, evil, evil, evil
		if a.Identity != nil {
			a.Identity.Key, a.Identity.Host, a.Identity.RevokedBy = evil, evil, evil
		}
		a.Labels, a.Stores, a.Moving = map[string]string{evil: evil}, []string{evil}, []work.JobID{7}
		a.Tuning = []work.Tuning{{Source: "s3://" + evil, Target: "s3://" + evil, Why: evil}}
	}
	for _, prefix := range []string{"", evil + "/"} {
		f.parts[work.BreakdownQuery{Job: 7, Prefix: prefix}] = work.Breakdown{Rows: []work.BreakdownRow{{Prefix: prefix + evil + "/"}, {Leaf: true, Prefix: prefix}}}
	}
	for _, jobs := range f.remarks {
		jobs[7] = []work.Tally{{Name: evil, Count: 1, Key: evil}}
	}
	f.change(7, func(j *work.Job) {
		store := work.StoreReport{Driver: evil, Facts: []work.Fact{{Name: evil, Text: evil}}}
		j.Report = &work.Report{Agent: evil, Source: store, Target: store, Losses: []work.Loss{{Field: evil, Policy: evil, Why: evil}}}
		j.Options.Class, j.Options.Carry = evil, evil
		j.Stalled = &work.Stall{Since: noon, Cause: evil, Why: evil, Next: evil}
	})
	b := serve(t, f)
	for _, path := range []string{"/", "/jobs", "/jobs/7", "/jobs/2", "/agents", "/jobs/7/objects", "/jobs/7/failures",
		"/jobs/7?prefix=" + url.QueryEscape(evil+"/"), "/agents/" + url.PathEscape(evil) + "/" + url.PathEscape(evil),
		"/search?match=whole&q=" + url.QueryEscape(work.Quote(evil)), "/agents?text=%3Cscript%3Ealert(1)", "/jobs?text=%3Cscript%3Ealert(1)",
		attemptsHref(7, evil), "/jobs/2/attempts", "/jobs/7/attempts?key=%3Cscript%3Ealert(1)",
		"/jobs/7/failures?prefix=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/jobs?state=%3Cscript%3Ealert(1)", "/settings", "/settings/audit", "/<script>alert(1)"} {
		resp, page := b.do(t, "GET", path, "", "Accept", "text/html")
		if resp.StatusCode >= 500 {
			t.Errorf("%s answered %s", path, resp.Status)
		}
		if strings.Contains(page, "<script>alert") || strings.ContainsAny(page, "\u202e\x1b\x00\ufffd") {
			t.Errorf("%s shows a hostile text as it is:\n%s", path, page)
		}
	}
}

// TestPagesOfThousands checks that a page stays a page however much there is.
func TestPagesOfThousands(t *testing.T) {
	t.Parallel()
	f := newFake()
	for i := range work.JobID(3000) {
		state := []work.JobState{work.Running, work.Paused, work.Incomplete}[i%3]
		f.jobs[i+1] = work.Job{ID: i + 1, State: state, Site: "s", CreatedAt: noon, Counts: work.Counts{Planned: 2, Failed: 1, Open: 1}}
	}
	for range 5000 {
		f.agents = append(f.agents, work.AgentRow{LastSeen: noon, Presence: work.Presence{Agent: "a", Site: "s", State: "running"}})
	}
	b := serve(t, f)
	for path, most := range map[string]int{"/": 150 << 10, "/jobs": 80 << 10, "/jobs?state=running": 80 << 10, "/jobs/3000": 40 << 10} {
		if _, page := b.do(t, "GET", path, "", "Accept", "text/html"); len(page) > most {
			t.Errorf("%s has %d bytes, want at most %d", path, len(page), most)
		}
	}
	_, page := b.do(t, "GET", "/", "", "Accept", "text/html")
	for _, want := range []string{`<a href="/jobs?state=running">25+</a>`, "All 5,000 agents", "All running jobs"} {
		if !strings.Contains(page, want) {
			t.Errorf("the overview does not say %q", want)
		}
	}
	pages, next := 0, "/jobs?state=paused"
	link := regexp.MustCompile(`<a href="([^"]+)" rel="next">`)
	for next != "" {
		pages++
		_, page := b.do(t, "GET", strings.ReplaceAll(next, "&amp;", "&"), "", "Accept", "text/html")
		next = ""
		if m := link.FindStringSubmatch(page); m != nil {
			next = m[1]
		}
	}
	if pages != 20 {
		t.Errorf("1,000 paused jobs take %d pages, want 20", pages)
	}
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"eu/2025-01": "eu/2025-01", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "nul\x00\xff": `$'\x6e\x75\x6c\x00\xff'`, "日本": "'日本'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s", time.Hour: "1 h", 26 * time.Hour: "1 d 2 h", -time.Second: "0 s",
		24*time.Hour + 5*time.Minute: "1 d", 1400 * time.Millisecond: "1 s",
	} {
		if got := durationText(d); got != want {
			t.Errorf("durationText(%s) = %q, want %q", d, got, want)
		}
	}
	for f, want := range map[float64]string{0: "0%", 0.00001: "<0.1%", 0.5: "50.0%", 0.99999: ">99.9%", 1: "100%"} {
		if got := percentText(f); got != want {
			t.Errorf("percentText(%v) = %q, want %q", f, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "now", 3 * time.Minute: "3 min ago", -90 * time.Second: "in 1 min 30 s"} {
		if got := when(noon.Add(-d), noon).Ago; got != want {
			t.Errorf("%s ago is %q, want %q", d, got, want)
		}
	}
	if m := when(time.Time{}, noon); m.ISO != "" {
		t.Errorf("no time is shown as %+v", m)
	}
	if got := perSecond(0.25); got != "0.2/s" && got != "0.3/s" {
		t.Errorf("perSecond(0.25) = %q", got)
	}
}
