package cli

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

var failedObjects = []api.Failure{
	{Failure: work.Failure{Job: 7, Item: 42, Key: "a/plain", Fault: work.Denied, Message: "no", Attempts: 1, Agent: "a1", At: time.Unix(1700000000, 0)}},
	{Failure: work.Failure{Job: 7, Item: 42, Key: "tab\tand\x1b[31m", Fault: work.Corrupt, Message: "two\nlines", Attempts: 12345, At: time.Unix(1700000000, 0)}},
}

func TestWriteRows(t *testing.T) {
	t.Parallel()
	columns := failureColumns()[:2]
	columns = append(columns, failureColumns()[3:]...) // all but the age
	tests := []struct {
		f    format
		want string
	}{
		{formatTable, "" +
			"FAULT    ATTEMPTS  AGENT  KEY                 MESSAGE\n" +
			"denied   1         a1     a/plain             no\n" +
			"corrupt  12,345    -      \"tab\\tand\\x1b[31m\"  \"two\\nlines\"\n"},
		{formatTSV, "" +
			"FAULT\tATTEMPTS\tAGENT\tKEY\tMESSAGE\n" +
			"denied\t1\ta1\ta/plain\tno\n" +
			"corrupt\t12345\t-\t\"tab\\tand\\x1b[31m\"\t\"two\\nlines\"\n"},
		{formatNDJSON, "" +
			`{"key":"a/plain","job":7,"item":42,"fault":"denied","message":"no","attempts":1,"agent":"a1","at":"` + local(1700000000) + `"}` + "\n" +
			`{"key":"tab\tand\u001b[31m","job":7,"item":42,"fault":"corrupt","message":"two\nlines","attempts":12345,"agent":"","at":"` + local(1700000000) + `"}` + "\n"},
	}
	for _, tt := range tests {
		var out strings.Builder
		if err := writeRows(&out, tt.f, each(failedObjects), columns); err != nil {
			t.Fatal(err)
		}
		if out.String() != tt.want {
			t.Errorf("%s is\n%swant\n%s", tt.f, out.String(), tt.want)
		}
	}
}

func local(sec int64) string { return time.Unix(sec, 0).Format(time.RFC3339) }

func TestJSONIsOneValue(t *testing.T) {
	t.Parallel()
	for n, want := range []string{"[]\n", "[\n  1\n]\n", "[\n  1,\n  2\n]\n"} {
		var out strings.Builder
		if err := writeRows(&out, formatJSON, each([]int{1, 2}[:n]), nil); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%d rows are %q, want %q", n, out.String(), want)
		}
	}
	var out strings.Builder
	if err := writeOne(&out, formatJSON, 1, nil); err != nil || out.String() != "1\n" {
		t.Errorf("one row is %q, %v, want no array", out.String(), err)
	}
}

// A listing that broke off must not look whole.
func TestRowsEndInTheirError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	rows := func(yield func(int, error) bool) {
		if yield(1, nil) {
			yield(0, broken)
		}
	}
	for _, f := range []format{formatTable, formatTSV, formatJSON, formatNDJSON} {
		var out strings.Builder
		err := writeRows(&out, f, iter.Seq2[int, error](rows), []column[int]{plain("n", func(n int) string { return fmt.Sprint(n) })})
		if !errors.Is(err, broken) {
			t.Errorf("%s: err = %v, want %v", f, err, broken)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ limit, want, calls int }{{0, 1200, 3}, {3, 3, 1}, {500, 500, 1}, {501, 501, 2}, {5000, 1200, 3}} {
		calls := 0
		next := func(p api.Page) ([]int, string, error) {
			calls++
			begin := 0
			if p.Cursor != "" {
				fmt.Sscan(p.Cursor, &begin)
			}
			end := min(begin+p.Limit, 1200)
			cursor := fmt.Sprint(end)
			if end == 1200 {
				cursor = ""
			}
			return make([]int, end-begin), cursor, nil
		}
		got := 0
		for _, err := range pages(tt.limit, next) {
			if err != nil {
				t.Fatal(err)
			}
			got++
		}
		if got != tt.want || calls != tt.calls {
			t.Errorf("limit %d: %d rows in %d calls, want %d in %d", tt.limit, got, calls, tt.want, tt.calls)
		}
	}
}

func TestSpanAndAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 4 * time.Second: "4s", 59900 * time.Millisecond: "1m00s", 187 * time.Second: "3m07s",
		125 * time.Minute: "2h05m", 76 * time.Hour: "3d4h",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0s ago", time.Second: "1s ago", 90 * time.Second: "1m ago", 26 * time.Hour: "26h ago", 100 * time.Hour: "4d ago",
	} {
		if got := ago(d, false); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
	if got := ago(0, true); got != "-" {
		t.Errorf("ago(never) = %q, want -", got)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for state, want := range map[work.JobState]int{
		work.Succeeded: ExitOK, work.Incomplete: ExitIncomplete, work.JobFailed: ExitFailed, work.Canceled: ExitCanceled,
	} {
		if got := status(jobEnd(work.Job{ID: 7, State: state, Error: "e"})); got != want {
			t.Errorf("a job that is %s ends its command with %d, want %d", state, got, want)
		}
	}
	for _, tt := range []struct {
		err  error
		want int
	}{
		{fmt.Errorf("list: %w", &api.Problem{Code: api.NoJob, Status: 404}), ExitFailed},
		{&api.Problem{Code: api.CrossOrigin, Status: 403}, ExitDenied},
		{&api.Problem{Status: 401}, ExitDenied},
		{&api.Problem{Code: api.Invalid, Status: 422}, ExitUsage},
		{&api.Problem{Code: api.Unavailable, Status: 503}, ExitUnreachable},
		{&api.Problem{Status: 502}, ExitUnreachable},
		{fmt.Errorf("list: %w", api.ErrUnreachable), ExitUnreachable},
		{errors.New("else"), ExitFailed},
	} {
		if got := status(answered(tt.err)); got != tt.want {
			t.Errorf("%v ends a command with %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestStoreURL(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"/a/b":            "file:///a/b",
		"/a/b/":           "file:///a/b",
		"/a/100% & #1?":   "file:///a/100%25%20&%20%231%3F",
		"s3://b/p?x=y":    "s3://b/p?x=y",
		"file:///a":       "file:///a",
		"/a:b/c://d":      "file:///a:b/c:/d",
		"azblob://c/p":    "azblob://c/p",
		"/\xff":           "file:///%FF",
		"/a/../b/./c//d/": "file:///b/c/d",
	} {
		got, err := storeURL("SOURCE", arg)
		if err != nil || got != want {
			t.Errorf("storeURL(%q) = %q, %v, want %q", arg, got, err, want)
		}
		if u, err := url.Parse(got); err != nil || u.Scheme == "" {
			t.Errorf("storeURL(%q) = %q, which is no URL: %v", arg, got, err)
		}
	}
}

func TestApart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		source, target string
		ok             bool
	}{
		{"file:///a", "file:///b", true},
		{"file:///a", "file:///ab", true},
		{"file:///a/b", "file:///a", true},
		{"s3://b/x", "s3://b/y", true},
		{"s3://b", "s3://c", true},
		{"s3://b?endpoint=http://1", "s3://b?endpoint=http://2", true},
		{"file:///a", "file:///a/", false},
		{"file:///a", "file:///a/b", false},
		{"s3://b", "s3://b/backup", false},
		{"s3://b/x", "s3://b/x", false},
	} {
		if err := apart(tt.source, tt.target); (err == nil) != tt.ok {
			t.Errorf("apart(%s, %s) = %v", tt.source, tt.target, err)
		}
	}
}

func TestAgentName(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"ip-10-0-0-1.eu-west-1.compute.internal": "ip-10-0-0-1-eu-west-1-compute-internal",
		"":                                       "agent", "...": "agent", "-x": "x", "ü1": "1", "web_1": "web_1",
		strings.Repeat("long", 20): strings.Repeat("long", 10),
	} {
		got := agentName(host)
		if got != want {
			t.Errorf("agentName(%q) = %q, want %q", host, got, want)
		}
		if err := work.CheckName("agent", got); err != nil {
			t.Errorf("agentName(%q): %v", host, err)
		}
	}
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	if got, want := shellQuote("psql", "postgres:///x?host=/a b", "it's", "", "plain-1"), `psql 'postgres:///x?host=/a b' 'it'\''s' '' plain-1`; got != want {
		t.Errorf("shellQuote = %s, want %s", got, want)
	}
}
