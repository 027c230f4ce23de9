package api

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Found is what a search has found.
type Found struct {
	Objects []Object `json:"objects"`
	Jobs    int      `json:"jobs"`           // that were looked through
	Next    string   `json:"next,omitempty"` // cursor of the search in older jobs
}

// A SearchQuery says which objects to look for.
type SearchQuery struct {
	Key    string // whole; else Prefix
	Prefix string
	Job    work.JobID // zero: all, the newest first
	Cursor string
}

// Search looks for objects by their key, or by its beginning.
func (c *Client) Search(ctx context.Context, q SearchQuery) (Found, error) {
	v := url.Values{}
	setText(v, "key", q.Key)
	setText(v, "prefix", q.Prefix)
	setText(v, "cursor", q.Cursor)
	if q.Job != 0 {
		v.Set("job", q.Job.String())
	}
	var f Found
	err := c.get(ctx, "search", "/v1/search", v, &f)
	return f, err
}

// Breakdown counts a job's objects below a prefix by the next part of their
// keys.
func (c *Client) Breakdown(ctx context.Context, q work.BreakdownQuery) (work.Breakdown, error) {
	v := url.Values{}
	setText(v, "prefix", q.Prefix)
	var b Breakdown
	err := c.get(ctx, "break job "+q.Job.String()+" down", jobPath(q.Job, "breakdown"), v, &b)
	for _, r := range b.Rows {
		b.Breakdown.Rows = append(b.Breakdown.Rows, r.BreakdownRow)
	}
	return b.Breakdown, err
}

// Series returns at most so many samples of a job since a moment, evenly over
// the time they span.
func (c *Client) Series(ctx context.Context, id work.JobID, since time.Time, points int) ([]work.Sample, error) {
	v := url.Values{"points": {strconv.Itoa(points)}, "since": {since.UTC().Format(time.RFC3339Nano)}}
	var l SampleList
	err := c.get(ctx, "read the samples of job "+id.String(), jobPath(id, "samples"), v, &l)
	return l.Samples, err
}

// A Breakdown is a job's objects by a part of their keys.
type Breakdown struct {
	Rows []BreakdownRow `json:"rows"`
	work.Breakdown
	Exact bool `json:"exact"` // every object was counted where it belongs
}

// BreakdownOf returns what the API says of a breakdown.
func BreakdownOf(b work.Breakdown) Breakdown {
	out := Breakdown{Rows: make([]BreakdownRow, 0, len(b.Rows)), Breakdown: b, Exact: b.Exact()}
	for _, r := range b.Rows {
		out.Rows = append(out.Rows, BreakdownRow{r})
	}
	return out
}

// A BreakdownRow is what lies below one prefix.
type BreakdownRow struct{ work.BreakdownRow }

type breakdownRowJSON struct {
	Prefix   string `json:"prefix,omitempty"`
	Prefix64 []byte `json:"prefix64,omitempty"`
	work.BreakdownRow
}

// MarshalJSON implements json.Marshaler.
func (r BreakdownRow) MarshalJSON() ([]byte, error) {
	w := breakdownRowJSON{BreakdownRow: r.BreakdownRow}
	if work.IsText(r.Prefix) {
		w.Prefix = r.Prefix
	} else {
		w.Prefix64 = []byte(r.Prefix)
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *BreakdownRow) UnmarshalJSON(b []byte) error {
	var w breakdownRowJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	r.BreakdownRow = w.BreakdownRow
	r.BreakdownRow.Prefix = w.Prefix
	if w.Prefix64 != nil {
		r.BreakdownRow.Prefix = string(w.Prefix64)
	}
	return nil
}
