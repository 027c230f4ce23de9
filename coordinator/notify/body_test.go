package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Whatever names, keys and errors look like, a body is small, is JSON, and shows
// no secret.
func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"<", "\x00", "\xff", "\"", "\u202e", "日"} {
		long := strings.Repeat(c, 5000)
		n := work.Notice{ID: "msg_1", Kind: work.NoticeFinished, At: time.Now(), Job: work.Job{
			ID: 1 << 60, Name: long, Source: "s3://AKIA:hunter2@bucket/" + long + "?secret=hunter2#hunter2", Target: long, Site: strings.Repeat("s", 40),
			Error: long, SubmittedBy: long, CreatedAt: time.Now(), StartedAt: time.Now(), FinishedAt: time.Now(),
			Stalled: &work.Stall{Why: long, Next: long},
		}}
		for range 12 {
			n.Faults = append(n.Faults, work.Tally{Name: "unsupported", Count: 1 << 60, Key: long, Text: long})
		}
		text, err := bodyOf(n, "https://tranship.example.org/")
		if err != nil {
			t.Fatal(err)
		}
		var b body
		if err := json.Unmarshal([]byte(text), &b); err != nil || len(b.Data.Faults) != maxFaults {
			t.Errorf("of %q: %v, %d faults", c, err, len(b.Data.Faults))
		}
		if len(text) > 20<<10 {
			t.Errorf("of %q: a body of %d bytes, want 20 KiB at most", c, len(text))
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("of %q: the body shows a secret", c)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	j := work.Job{ID: 7, Name: "photos", Counts: work.Counts{Planned: 1000, Copied: 900, Failed: 100}}
	want := map[work.NoticeKind]string{
		work.NoticeFinished: "job 7 photos: finished, 100 objects failed",
		work.NoticeFailed:   "job 7 photos: failed",
		work.NoticeCanceled: "job 7 photos: canceled",
		work.NoticeStalled:  "job 7 photos: stalled",
		work.NoticeMoving:   "job 7 photos: moves again",
		work.NoticeFailing:  "job 7 photos: 10.0% of its objects fail so far",
		work.NoticeTest:     "a test: notices arrive",
	}
	for _, kind := range append(work.NoticeKinds(), work.NoticeTest) {
		if got := Summary(work.Notice{Kind: kind, Job: j}); got != want[kind] {
			t.Errorf("of %s the summary is %q, want %q", kind, got, want[kind])
		}
	}
}
