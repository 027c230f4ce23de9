package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A world is two jobs, their sources, and everything that may go wrong between
// the ledger and the agents: items handed out twice, results lost, repeated,
// late and out of order.
type world struct {
	*bench
	rng    *rand.Rand
	jobs   []work.JobID
	source map[work.JobID][]string
	seen   []work.Item   // that agents have, or had
	inbox  []work.Result // not recorded yet
	honest bool          // agents succeed in all they do
	odd    bool          // agents at times say what they never should
	opened int           // uploads

	window int // at most
	sites  []string
	decide decider
	delay  func() time.Duration // whatever is waited for
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{
		bench: setup(t), rng: rand.New(rand.NewPCG(seed, 1)), source: map[work.JobID][]string{},
		window: 20, sites: []string{work.DefaultSite}, decide: decide, delay: func() time.Duration { return 0 },
	}
}

// randomSeed returns a seed and whether it was asked for.
func randomSeed(t *testing.T) (seed uint64, fixed bool) {
	seed, err := strconv.ParseUint(os.Getenv("LEDGER_TEST_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("to repeat: LEDGER_TEST_SEED=%d", seed)
	return seed, err == nil
}

// TestRandom does things at random and looks after each of them whether every
// object is accounted for; then it lets the jobs finish and looks whether
// every object of the source was moved.
func TestRandom(t *testing.T) {
	t.Parallel()
	seed, _ := randomSeed(t)
	w := newWorld(t, seed)
	for range 2 {
		id := w.create(func(n *work.NewJob) { n.Options.MaxAttempts, n.Options.Split = 3, 7 })
		w.jobs = append(w.jobs, id)
		w.source[id] = w.keys(100)
	}
	steps := []func(){w.hand, w.hand, w.work, w.work, w.work, w.collect, w.collect, w.collect, w.release, w.reconcile, w.control, w.again, w.tidyUp, w.rest}
	for range 300 {
		steps[w.rng.IntN(len(steps))]()
		if _, err := w.FinishJobs(w.ctx()); err != nil {
			t.Fatal(err)
		}
		for _, id := range w.jobs {
			w.balanced(id)
			w.eachOnce(id)
		}
	}
	w.finishAll()
	w.abortAll()
}

// keys makes up to n keys of few and odd bytes.
func (w *world) keys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		b := make([]byte, 1+w.rng.IntN(5))
		for j := range b {
			b[j] = "a/\x00\xff"[w.rng.IntN(4)]
		}
		keys[i] = string(b)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (w *world) some() work.Item { return w.seen[w.rng.IntN(len(w.seen))] }

// hand gives items to agents.
func (w *world) hand() { w.seen = append(w.seen, w.claimAll(w.rng.IntN(w.window))...) }

// claimAll claims items of all sites.
func (w *world) claimAll(window int) (all []work.Item) {
	for _, site := range w.sites {
		items, err := w.Claim(w.ctx(), site, window)
		w.must(err)
		all = append(all, items...)
	}
	return all
}

// rest lets items rest that were given back.
func (w *world) rest() { w.advance(1) }

// work has an agent do an item it has or once had.
func (w *world) work() {
	if len(w.seen) > 0 {
		w.do(w.some())
	}
}

func (w *world) do(it work.Item) {
	var results []work.Result
	switch {
	case !w.honest && w.rng.IntN(20) == 0, w.odd && !w.honest && w.rng.IntN(8) == 0:
		fault := []work.Fault{work.Transient, work.Denied}[w.rng.IntN(2)]
		results = []work.Result{result(it, work.Result{Fault: fault, Error: "no"})}
	case !w.honest && w.rng.IntN(20) == 0:
		results = []work.Result{silent(it)}
	case !w.honest && w.rng.IntN(20) == 0:
		results = []work.Result{returned(it)}
	case it.Kind == work.Scan:
		results = w.list(it)
	case it.Kind == work.Part || it.Kind == work.Abort || it.Kind == work.Begin && w.rng.IntN(4) > 0:
		results = []work.Result{w.step(it)}
	case it.Kind == work.Finish && !w.honest && w.rng.IntN(8) == 0:
		results = []work.Result{gone(it)}
	default:
		r := all(it, "copied")
		for i := range r.Outcomes {
			if w.honest {
				break
			}
			words := []string{"copied", "copied", "copied", "copied", "copied", "skipped", "retry transient", "retry corrupt", "failed denied", "changed changed"}
			r.Outcomes[i] = outcomes(it, words[w.rng.IntN(len(words))]).Outcomes[0]
		}
		results = []work.Result{r}
	}
	if w.odd {
		for i := range results {
			w.spoil(&results[i])
		}
	}
	w.inbox = append(w.inbox, results...)
	if w.rng.IntN(4) == 0 {
		w.inbox = append(w.inbox, results...)
	}
}

// step does what has no outcome: an upload opened or aborted, or a part.
func (w *world) step(it work.Item) work.Result {
	switch {
	case it.Kind == work.Begin:
		w.opened++
		r := opens(it, fmt.Sprintf("upload %d", w.opened))
		r.Upload.Part = 1 + int64(w.rng.IntN(4))
		return r
	case it.Kind == work.Abort:
		return result(it, work.Result{})
	case w.honest || w.rng.IntN(8) > 0 && (!w.odd || w.rng.IntN(4) > 0):
		return stored(it)
	case w.rng.IntN(2) == 0:
		return gone(it)
	}
	return faulty(it, []work.Fault{work.Transient, work.Corrupt, work.SrcChanged, work.NotFound}[w.rng.IntN(4)])
}

// tidyUp has useless uploads aborted.
func (w *world) tidyUp() {
	_, err := w.Janitor(w.ctx(), w.delay())
	w.must(err)
}

// abortAll lets all aborts end and looks whether every upload did.
func (w *world) abortAll() {
	for w.tidyUp(); ; {
		w.rest()
		items := w.claimAll(1000)
		lost, err := w.Overdue(w.ctx(), 0, 1000)
		w.must(err)
		if len(items)+len(lost) == 0 {
			break
		}
		w.must(w.Requeued(w.ctx(), lost))
		for _, it := range append(items, lost...) {
			w.record1(w.step(it))
		}
	}
	for _, id := range w.jobs {
		w.balanced(id)
	}
	const open = `SELECT count(*) FROM tranship.uploads WHERE state NOT IN ('finished', 'aborted', 'orphaned')`
	if n := w.text(open); n != "0" {
		w.t.Errorf("%s uploads are left open", n)
	}
	w.t.Logf("uploads by state: %s", w.text(`SELECT string_agg(state || ' ' || n, ', ')
		FROM (SELECT state, count(*) AS n FROM tranship.uploads GROUP BY state) counted`))
	const torn = `
		SELECT count(*) FROM tranship.uploads u
		WHERE u.state = 'finished' AND (u.parts_left <> 0 OR u.parts <> (
			SELECT count(*) FROM tranship.items i WHERE i.upload = u.id AND i.kind = 'part' AND i.result IS NOT NULL))`
	if n := w.text(torn); n != "0" {
		w.t.Errorf("%s uploads were finished without all of their parts", n)
	}
}

func (w *world) record1(r work.Result) {
	_, err := w.Record(w.ctx(), []work.Result{r}, w.decide)
	w.must(err)
}

// list returns the pages of a scan. The last leaves something over at times.
func (w *world) list(it work.Item) []work.Result {
	var left []string
	for _, k := range w.source[it.Job] {
		if it.Range.Contains(k) {
			left = append(left, k)
		}
	}
	var pages []work.Result
	at := it.Range.After
	for n := 1 + w.rng.IntN(4); ; n-- {
		size := min(len(left), 1+w.rng.IntN(10))
		found := left[:size]
		left = left[size:]
		whole := it
		whole.Range = &work.Range{After: at, Upto: it.Range.Upto}
		switch {
		case len(left) == 0:
			return append(pages, page(whole, true, found...))
		case n <= 1:
			last := page(whole, true, found...)
			last.Page.Upto = found[size-1]
			middle := left[w.rng.IntN(len(left))]
			if middle == it.Range.Upto {
				middle = found[size-1]
			}
			last.Page.Rest = []work.Range{{After: last.Page.Upto, Upto: it.Range.Upto}}
			if middle > last.Page.Upto && middle != it.Range.Upto {
				last.Page.Rest = []work.Range{{After: last.Page.Upto, Upto: middle}, {After: middle, Upto: it.Range.Upto}}
			}
			return append(pages, last)
		}
		pages = append(pages, page(whole, false, found...))
		at = found[size-1]
	}
}

// collect records some results, at times out of order, twice or not at all.
func (w *world) collect() {
	if w.rng.IntN(3) == 0 {
		w.rng.Shuffle(len(w.inbox), func(i, j int) { w.inbox[i], w.inbox[j] = w.inbox[j], w.inbox[i] })
	}
	n := w.rng.IntN(len(w.inbox) + 1)
	take := slices.Clone(w.inbox[:n])
	w.inbox = w.inbox[n:]
	for range 1 + w.rng.IntN(2) {
		_, err := w.Record(w.ctx(), take, w.decide)
		w.must(err)
	}
	if len(w.inbox) > 0 && w.rng.IntN(5) == 0 {
		w.inbox = w.inbox[1:]
	}
}

func (w *world) release() {
	if len(w.seen) > 0 {
		w.must(w.Release(w.ctx(), []work.Item{w.some(), w.some()}))
	}
}

// reconcile publishes items again, some of which had been lost.
func (w *world) reconcile() {
	items, err := w.Overdue(w.ctx(), w.delay(), 1+w.rng.IntN(20))
	w.must(err)
	var lost []work.Item
	for _, it := range items {
		if w.rng.IntN(2) == 0 {
			w.seen, lost = append(w.seen, it), append(lost, it)
		}
	}
	if w.rng.IntN(4) > 0 { // else the coordinator died in between
		w.must(w.Requeued(w.ctx(), lost))
	}
}

// control pauses, resumes or does neither; the job may have ended.
func (w *world) control() {
	id := w.jobs[w.rng.IntN(len(w.jobs))]
	switch w.rng.IntN(3) {
	case 0:
		w.Pause(w.ctx(), id, "me")
	default:
		w.Resume(w.ctx(), id, "me")
	}
}

// again retries some failures or all.
func (w *world) again() {
	q := work.RetryQuery{Job: w.jobs[w.rng.IntN(len(w.jobs))]}
	q.Fault = []work.Fault{"", work.Denied, work.SrcChanged}[w.rng.IntN(3)]
	q.Prefix = []string{"", "", "a", "\xff"}[w.rng.IntN(4)]
	_, err := w.Retry(w.ctx(), q, "me")
	w.must(err)
}

// eachOnce fails the test if the view shows an object twice, or another number
// than was planned.
func (w *world) eachOnce(id work.JobID) {
	const query = `SELECT count(*) || ' ' || count(DISTINCT key_bytes) FROM tranship.objects WHERE job_id = $1`
	planned := strconv.FormatInt(w.job(id).Planned, 10)
	if got := w.text(query, id); got != planned+" "+planned {
		w.t.Fatalf("objects and distinct objects of job %d: %s, want %s of each", id, got, planned)
	}
}

// finishAll heals everything and runs the jobs to their end.
func (w *world) finishAll() {
	w.honest = true
	for _, id := range w.jobs {
		for round := 0; ; round++ {
			if round == 200 {
				w.t.Fatalf("job %d does not end: %+v", id, w.job(id))
			}
			w.Resume(w.ctx(), id, "me")
			_, err := w.Retry(w.ctx(), work.RetryQuery{Job: id}, "me")
			w.must(err)
			w.rest()
			items := w.claimAll(1000)
			lost, err := w.Overdue(w.ctx(), 0, 1000)
			w.must(err)
			w.must(w.Requeued(w.ctx(), lost))
			for _, it := range append(items, lost...) {
				w.do(it)
			}
			_, err = w.Record(w.ctx(), w.inbox, w.decide)
			w.must(err)
			w.inbox = nil
			_, err = w.FinishJobs(w.ctx())
			w.must(err)
			if w.job(id).State == work.Succeeded {
				break
			}
		}
		keys := keysOf(w.objects(work.ObjectQuery{Job: id}))
		slices.Sort(keys)
		if !slices.Equal(keys, w.source[id]) {
			w.t.Errorf("moved %d objects %q, want the %d of the source %q", len(keys), keys, len(w.source[id]), w.source[id])
		}
		j := w.job(id)
		if j.Copied+j.Skipped != int64(len(w.source[id])) || j.Open != 0 || j.Failed != 0 {
			w.t.Errorf("counters = %+v, want %d objects there", j.Counts, len(w.source[id]))
		}
		w.balanced(id)
	}
}
