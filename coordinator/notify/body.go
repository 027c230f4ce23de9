package notify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Bounds of what is told, so that a body stays below 20 KiB whatever names and
// errors look like.
const (
	maxFaults = 5
	maxName   = 120 // bytes, also of keys
	maxText   = 200 // bytes, of errors and stores
)

// A body is what receivers get, as JSON. Fields may be added.
type body struct {
	Type      work.NoticeKind `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      data            `json:"data"`
}

type data struct {
	Summary string  `json:"summary"` // one line for people
	Job     *job    `json:"job,omitempty"`
	Stall   *stall  `json:"stall,omitempty"`
	Faults  []fault `json:"faults,omitempty"` // the most frequent first
	URL     string  `json:"url,omitempty"`    // of the job's page
}

// A job is what is told of one. Its stores are without parameters.
type job struct {
	ID          work.JobID    `json:"id"`
	Name        string        `json:"name"`
	State       work.JobState `json:"state"`
	Source      string        `json:"source"`
	Target      string        `json:"target"`
	Site        string        `json:"site"`
	Error       string        `json:"error,omitempty"`
	SubmittedBy string        `json:"submitted_by,omitempty"`
	CreatedAt   time.Time     `json:"created_at"`
	StartedAt   time.Time     `json:"started_at,omitzero"`
	FinishedAt  time.Time     `json:"finished_at,omitzero"`
	work.Counts
}

// A stall is why nothing moves.
type stall struct {
	Since time.Time       `json:"since"`
	Cause work.StallCause `json:"cause"`
	Why   string          `json:"why"`
	Next  string          `json:"next"` // what to do
}

// A fault is how many objects failed for one reason, with one of them.
type fault struct {
	Fault   string `json:"fault"`
	Count   int64  `json:"count"`
	Example string `json:"example"` // its key, quoted if it is not plain text
	Error   string `json:"error"`
}

// bodyOf returns what receivers get of a notice. base is where the status page
// is.
func bodyOf(n work.Notice, base string) (string, error) {
	b := body{Type: n.Kind, Timestamp: n.At.UTC(), Data: data{Summary: Summary(n)}}
	if j := n.Job; j.ID != 0 {
		b.Data.Job = &job{
			ID: j.ID, Name: shown(j.Name, maxName), State: j.State, Source: storeText(j.Source), Target: storeText(j.Target),
			Site: j.Site, Error: shown(j.Error, maxText), SubmittedBy: shown(j.SubmittedBy, maxName),
			CreatedAt: j.CreatedAt, StartedAt: j.StartedAt, FinishedAt: j.FinishedAt, Counts: j.Counts,
		}
		b.Data.URL = strings.TrimRight(base, "/") + "/jobs/" + j.ID.String()
		if s := j.Stalled; s != nil {
			b.Data.Stall = &stall{Since: s.Since, Cause: s.Cause, Why: shown(s.Why, maxText), Next: shown(s.Next, maxText)}
		}
	}
	for _, t := range n.Faults[:min(len(n.Faults), maxFaults)] {
		b.Data.Faults = append(b.Data.Faults, fault{Fault: t.Name, Count: t.Count, Example: shown(t.Key, maxName), Error: shown(t.Text, maxText)})
	}
	text, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("write notice %s: %w", n.ID, err)
	}
	return string(text), nil
}

// Summary says in one line what happened.
func Summary(n work.Notice) string {
	if n.Kind == work.NoticeTest {
		return "a test: notices arrive"
	}
	name := "job " + n.Job.ID.String()
	if n.Job.Name != "" {
		name += " " + shown(n.Job.Name, maxName)
	}
	return name + ": " + happened(n.Kind, n.Job)
}

// happened says what a notice tells of a job.
func happened(kind work.NoticeKind, j work.Job) string {
	switch kind {
	case work.NoticeFinished:
		if j.Failed > 0 {
			return "finished, " + objects(j.Failed) + " failed"
		}
		return "finished, " + objects(j.Copied) + " copied"
	case work.NoticeFailed:
		return "failed"
	case work.NoticeCanceled:
		return "canceled"
	case work.NoticeStalled:
		return "stalled"
	case work.NoticeMoving:
		return "moves again"
	case work.NoticeFailing:
		return fmt.Sprintf("%.1f%% of its objects fail so far", 100*float64(j.Failed)/float64(max(1, j.Copied+j.Skipped+j.Failed)))
	}
	return string(kind)
}

func objects(n int64) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}

// shown returns a text of a stranger on one line, and not too much of it. An
// empty one stays so.
func shown(s string, most int) string {
	if s == "" {
		return ""
	}
	if s = work.Quote(s); len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// storeText returns a store's URL without what a stranger has no use for:
// parameters and, should there ever be any, credentials.
func storeText(store string) string {
	u, err := url.Parse(store)
	if err != nil {
		scheme, _, _ := strings.Cut(store, ":")
		return shown(scheme, maxName) + ":…"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return shown(u.String(), maxText)
}
