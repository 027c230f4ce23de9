package ledger_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/internal/work"
)

// TestMemory lives through random histories in a Ledger and in a Memory at
// once and looks after each step whether they have answered the same and hold
// the same rows. With TRANSHIP_LONG=1 there are many.
func TestMemory(t *testing.T) {
	t.Parallel()
	seed, fixed := randomSeed(t)
	histories := uint64(3)
	switch {
	case fixed:
		histories = 1
	case os.Getenv("TRANSHIP_LONG") != "":
		histories = 25
	}
	for i := range histories {
		t.Run(fmt.Sprintf("seed %d", seed+i), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed+i)
			w.window = []int{6, 25, 60}[(seed+i)%3] // in small ones work piles up
			w.history(120)
			w.t.Logf("items by kind and state: %s", w.text(`SELECT string_agg(kind || ' ' || state || ' ' || n, ', ' ORDER BY kind, state)
				FROM (SELECT kind, state, count(*) AS n FROM tranship.items GROUP BY kind, state) counted`))
			w.settleDown()
			w.finishAll()
			w.abortAll()
		})
	}
}

// history does things at random.
func (w *world) history(steps int) {
	w.odd, w.sites, w.decide = true, []string{work.DefaultSite, "elsewhere"}, slow
	w.delay = func() time.Duration { return time.Duration(w.rng.IntN(4)) * time.Hour }
	for len(w.jobs) < 2 {
		w.newJob()
	}
	all := []func(){
		w.hand, w.hand, w.work, w.toil, w.toil, w.toil, w.collect, w.collect, w.collect, w.release, w.reconcile,
		w.control, w.again, w.tidyUp, w.wait, w.wait, w.browse, w.newJob, w.cancel,
	}
	for range steps {
		for range 1 + w.rng.IntN(3) {
			all[w.rng.IntN(len(all))]()
		}
		_, err := w.FinishJobs(w.ctx())
		w.must(err)
		_, err = w.ActiveSites(w.ctx())
		w.must(err)
		_, err = w.OpenControls(w.ctx())
		w.must(err)
		_, err = w.Uploads(w.ctx())
		w.must(err)
		for id := range w.source {
			w.balanced(id)
		}
		w.same()
	}
}

// slow is the real planner, whose seconds are hours; and it suspects some.
func slow(it work.Item, r work.Result) work.Verdict {
	v := plan.Planner{Jitter: func() float64 { return 1 }}.Decide(it, r)
	v.Delay = v.Delay / (500 * time.Millisecond) * time.Hour
	for i := range v.Items {
		v.Items[i].Delay = v.Items[i].Delay / (500 * time.Millisecond) * time.Hour
		v.Items[i].Suspect = it.ID%5 == 0
	}
	return v
}

// settleDown ends all delays, and makes no more.
func (w *world) settleDown() {
	w.advance(10_000)
	w.decide, w.delay = decide, func() time.Duration { return 0 }
}

// toil has agents do items that were handed out one after the other, mostly
// not long ago.
func (w *world) toil() {
	if n := len(w.seen); n > 0 {
		i := w.rng.IntN(n)
		if w.rng.IntN(3) > 0 {
			i = n - 1 - w.rng.IntN(min(n, 20))
		}
		for _, it := range w.seen[i:min(i+12, len(w.seen))] {
			w.do(it)
		}
	}
}

// wait lets some hours pass, or sets the clock back.
func (w *world) wait() { w.advance(w.rng.IntN(30) - 6) }

// newJob asks for a job, at times once more.
func (w *world) newJob() {
	if len(w.source) == 6 {
		return
	}
	n := newJob()
	n.Name, n.SubmittedBy = "odd \x00\xff", []string{"", "me"}[w.rng.IntN(2)]
	n.Site = append(w.sites, "")[w.rng.IntN(len(w.sites)+1)]
	n.Class = append(work.Classes(), "")[w.rng.IntN(4)]
	n.Options.MaxAttempts, n.Options.Split = 1+w.rng.IntN(3), 3+int64(w.rng.IntN(6))
	idem := work.Idempotency{Key: []string{"", "", "k"}[w.rng.IntN(3)], Hash: []byte{byte(w.rng.IntN(2))}}
	j, created, _ := w.CreateJob(w.ctx(), n, idem)
	if created {
		w.jobs = append(w.jobs, j.ID)
		w.source[j.ID] = w.keys(60)
	}
}

// cancel ends a job, at times.
func (w *world) cancel() {
	i := w.rng.IntN(len(w.jobs))
	if len(w.jobs) < 2 || w.rng.IntN(3) > 0 {
		return
	}
	j, err := w.Cancel(w.ctx(), w.jobs[i], "me")
	if err == nil && j.State == work.Canceled {
		w.jobs = slices.Delete(w.jobs, i, i+1)
	}
}

// browse looks at what there is, a page at a time.
func (w *world) browse() {
	q := work.ObjectQuery{Job: w.jobs[w.rng.IntN(len(w.jobs))], Limit: 1 + w.rng.IntN(30)}
	q.Outcome = []work.Outcome{"", work.Copied, work.Failed}[w.rng.IntN(3)]
	q.Prefix, q.Open = []string{"", "a"}[w.rng.IntN(2)], w.rng.IntN(4) == 0
	w.objects(q)
}

// spoil makes a result of an agent that is out of its mind, at times.
func (w *world) spoil(r *work.Result) {
	const text = "not \x00 text \xff"
	w.garnish(r)
	if w.honest || w.rng.IntN(6) > 0 {
		return
	}
	switch w.rng.IntN(8) {
	case 0:
		r.Kind = []work.Kind{work.Scan, work.Copy, work.Begin, work.Part, work.Finish, work.Abort}[w.rng.IntN(6)]
	case 1:
		r.Moved = -1
	case 2:
		r.Epoch = w.rng.IntN(4)
	case 3:
		r.Job, r.Item = r.Job+work.JobID(w.rng.IntN(3)*50), r.Item+work.ItemID(w.rng.IntN(2)*9000)
	case 4:
		r.Agent, r.Error = text, strings.Repeat(text, 100)
	case 5:
		r.Outcomes = append(r.Outcomes, work.ObjectOutcome{Outcome: work.Copied})[w.rng.IntN(2):]
	case 6:
		w.spoilBig(r, text)
	default:
		for i := range r.Outcomes {
			o := &r.Outcomes[i]
			if w.rng.IntN(2) == 0 {
				o.Reason, o.Proof, o.Error, o.Dropped = text, text, text, text+",tags"
			}
		}
	}
}

func (w *world) spoilBig(r *work.Result, text string) {
	switch {
	case r.Part != nil:
		p := []work.StoredPart{
			{N: r.Part.N + 1, Tag: "t"}, {N: r.Part.N}, {N: r.Part.N, Tag: text},
			{N: r.Part.N, Tag: "t", CRC32C: []byte{}, CRC64NVME: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		}[w.rng.IntN(4)]
		r.Part = &p
	case r.Upload != nil:
		u := *r.Upload
		u.ID = []string{"", text, "again"}[w.rng.IntN(3)]
		u.Part, u.Dropped, u.Stood, u.Repeated = int64(w.rng.IntN(4)), text, text, true
		r.Upload = &u
	default:
		r.Gone = true
	}
}

// garnish adds what not every result has.
func (w *world) garnish(r *work.Result) {
	for i := range r.Outcomes {
		r.Outcomes[i].Proof = []string{"crc32c", "crc32c/source", "size", ""}[w.rng.IntN(4)]
		r.Outcomes[i].Dropped = []string{"", "", "tags", "mtime,metadata:a"}[w.rng.IntN(4)]
	}
	if r.Page == nil {
		return
	}
	if r.Page.After == "" && w.rng.IntN(2) == 0 {
		r.Report = &work.Report{Agent: "x", Source: work.StoreReport{Driver: "\xff\x00", Facts: []work.Fact{{Name: "n", Text: "t"}}}}
	}
	for i := range r.Page.Found {
		f := &r.Page.Found[i]
		switch w.rng.IntN(12) {
		case 0:
			f.Skip = "etag \xff"
		case 1:
			f.Fail = "cannot be \x00"
		case 2:
			f.ETag = "odd \xff\x00"
		case 3:
			f.ModTime = time.Unix(int64(w.rng.IntN(3)), 0).In(time.FixedZone("odd", 3600))
		}
	}
}

// BenchmarkMemory measures the life of a job of 50 objects.
func BenchmarkMemory(b *testing.B) {
	ctx := context.Background()
	keys := make([]string, 50)
	for i := range keys {
		keys[i] = fmt.Sprintf("key %02d", i)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		m := ledger.NewMemory(nil)
		j, _, err := m.CreateJob(ctx, newJob(), work.Idempotency{})
		must(err)
		for {
			items, err := m.Claim(ctx, work.DefaultSite, 100)
			must(err)
			if len(items) == 0 {
				break
			}
			for _, it := range items {
				r := copiedResult(it, 0)
				if it.Kind == work.Scan {
					r = page(it, true, keys...)
				}
				_, err := m.Record(ctx, []work.Result{r}, decide)
				must(err)
			}
		}
		jobs, err := m.FinishJobs(ctx)
		must(err)
		if len(jobs) != 1 || jobs[0].ID != j.ID || jobs[0].Copied != 50 {
			b.Fatalf("FinishJobs = %+v", jobs)
		}
	}
}
