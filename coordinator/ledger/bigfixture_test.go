package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// partSize is that of the uploads of these tests, and what is big in them.
const partSize = 100

func split(n *work.NewJob) { n.Options.Split = partSize }

// sized is the one page of a scan that finds an object of each size.
func sized(it work.Item, sizes map[string]int64) work.Result {
	var keys []string
	for k := range sizes {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	p := page(it, true, keys...)
	for i, k := range keys {
		p.Page.Found[i].Size = sizes[k]
	}
	return p
}

// toBegin makes a job with one big object and returns its begin.
func (b *bench) toBegin(parts int, change ...func(*work.NewJob)) (work.JobID, work.Item) {
	b.t.Helper()
	id := b.create(append([]func(*work.NewJob){split}, change...)...)
	b.record(sized(b.claimOne(), map[string]int64{"big": int64(parts) * partSize}))
	it := b.claimOne()
	if it.Kind != work.Begin || len(it.Objects) != 1 || it.Objects[0].Key != "big" {
		b.t.Fatalf("claimed %+v, want the begin of big", it)
	}
	return id, it
}

// opens is the result of a begin that opened an upload.
func opens(it work.Item, upload string) work.Result {
	o := it.Objects[0]
	o.ETag = "pinned"
	return result(it, work.Result{Object: &o, Upload: &work.Upload{ID: upload, Part: partSize, Stood: "before"}})
}

// begun makes a job with a big object whose upload u1 is open, and returns its
// parts, in order.
func (b *bench) begun(parts int, change ...func(*work.NewJob)) (work.JobID, []work.Item) {
	b.t.Helper()
	id, begin := b.toBegin(parts, change...)
	b.record(opens(begin, "u1"))
	items := b.claim(1000)
	if len(items) != parts {
		b.t.Fatalf("claimed %d items, want %d parts", len(items), parts)
	}
	return id, items
}

// stored is the result of a part that was stored.
func stored(it work.Item) work.Result {
	return result(it, work.Result{Moved: partSize, Part: &work.StoredPart{
		N: it.N, Tag: fmt.Sprintf(`"tag-%d"`, it.N), CRC32C: []byte{byte(it.N), 0, 0, 0}, Named: true,
	}})
}

func faulty(it work.Item, f work.Fault) work.Result {
	return result(it, work.Result{Fault: f, Error: "because of " + string(f)})
}

func gone(it work.Item) work.Result {
	r := faulty(it, work.Transient)
	r.Gone = true
	return r
}

// toFinish makes a job with a big object all of whose parts are stored, and
// returns its finish.
func (b *bench) toFinish(parts int, change ...func(*work.NewJob)) (work.JobID, work.Item) {
	b.t.Helper()
	id, items := b.begun(parts, change...)
	for _, it := range items {
		b.record(stored(it))
	}
	it := b.claimOne()
	if it.Kind != work.Finish || len(it.Parts) != parts {
		b.t.Fatalf("claimed %+v, want the finish", it)
	}
	return id, it
}

// uploads fails the test unless these are all uploads, as "name state left".
func (b *bench) uploads(want ...string) {
	b.t.Helper()
	got := b.text(`SELECT string_agg(upload_id || ' ' || state || ' ' || parts_left, ', ' ORDER BY id) FROM tranship.uploads`)
	if got != strings.Join(want, ", ") {
		b.t.Errorf("uploads are %q, want %q", got, strings.Join(want, ", "))
	}
}

// once fails the test if the view does not show each of n objects once.
func (b *bench) once(id work.JobID, n int) {
	b.t.Helper()
	const query = `SELECT count(*) || ' ' || count(DISTINCT key_bytes) FROM tranship.objects WHERE job_id = $1`
	if got, want := b.text(query, id), fmt.Sprintf("%d %d", n, n); got != want {
		b.t.Errorf("objects and distinct objects: %s, want %s", got, want)
	}
}

// tidy has useless uploads aborted and returns the aborts.
func (b *bench) tidy(want int) []work.Item {
	b.t.Helper()
	n, err := b.Janitor(b.ctx(), 0)
	b.must(err)
	if n != want {
		b.t.Fatalf("Janitor took up %d uploads, want %d", n, want)
	}
	var aborts []work.Item
	for _, it := range b.claim(1000) {
		if it.Kind == work.Abort {
			aborts = append(aborts, it)
		}
	}
	if len(aborts) != want {
		b.t.Fatalf("claimed %d aborts, want %d", len(aborts), want)
	}
	return aborts
}

// encodes fails the test unless an agent can read the item.
func encodes(t *testing.T, it work.Item) {
	t.Helper()
	body, err := it.Encode()
	if err == nil {
		_, err = work.DecodeItem(body)
	}
	if err != nil {
		t.Error(err)
	}
}
