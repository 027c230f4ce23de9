package agent

import (
	"fmt"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A shipper plays the coordinator for big objects: what follows from which
// result, with as many attempts as it takes.
type shipper struct {
	r       *rig
	next    work.ItemID
	open    map[work.ItemID]work.Item
	uploads map[string]*uploading // by ID
	copied  map[string]work.ObjectOutcome
	aborted map[string]bool // by ID of the upload
	counts  map[string]int
}

func (s *shipper) hand(it work.Item, attempt int) {
	s.next++
	it.ID, it.Attempt = s.next, attempt
	s.open[it.ID] = it
	s.r.publish(it)
}

// giveUp aborts an upload and begins anew, once.
func (s *shipper) giveUp(it work.Item) {
	u, ok := s.uploads[it.Upload.ID]
	if !ok {
		return // another part was first
	}
	delete(s.uploads, it.Upload.ID)
	s.counts["given up"]++
	s.hand(u.item(0, work.Abort), 1)
	s.hand(bigItem(0, work.Begin, u.object), it.Attempt+1)
}

func (s *shipper) take(res work.Result) {
	it, ok := s.open[res.Item]
	if !ok { // reported twice; an upload that nobody knows is abandoned
		if u := res.Upload; u != nil && s.uploads[u.ID] == nil && !s.aborted[u.ID] {
			s.hand(uploading{object: *res.Object, upload: *u}.item(0, work.Abort), 1)
		}
		return
	}
	delete(s.open, res.Item)
	if res.Fault != "" {
		s.counts[string(it.Kind)+" "+string(res.Fault)]++
	}
	switch again := res.Fault.Retryable() && !res.Gone; {
	case it.Kind == work.Begin && res.Upload != nil:
		u := &uploading{object: *res.Object, upload: *res.Upload}
		s.uploads[res.Upload.ID] = u
		u.parts = make([]work.StoredPart, u.upload.Parts(u.object.Size))
		for i := range u.parts {
			s.hand(u.part(0, i+1), 1)
		}
	case it.Kind == work.Part && res.Fault == "":
		s.store(it, *res.Part)
	case it.Kind == work.Part && again:
		s.hand(it, it.Attempt+1)
	case it.Kind == work.Finish && again && res.Fault != work.Corrupt:
		s.hand(it, it.Attempt+1)
	case it.Kind == work.Part, it.Kind == work.Finish && res.Fault != "":
		s.giveUp(it)
	case it.Kind == work.Abort && res.Fault != "":
		s.hand(it, it.Attempt+1)
	case it.Kind == work.Abort:
		s.aborted[it.Upload.ID] = true
	case len(res.Outcomes) != 1:
		s.r.t.Fatalf("%s: %+v", it.Kind, res)
	case res.Outcomes[0].Outcome == work.Retry:
		s.counts["begin "+string(res.Outcomes[0].Fault)]++
		s.hand(it, it.Attempt+1)
	default:
		s.copied[it.Objects[0].Key] = res.Outcomes[0]
	}
}

// store keeps a part; after the last comes the finish.
func (s *shipper) store(it work.Item, p work.StoredPart) {
	u, ok := s.uploads[it.Upload.ID]
	if !ok {
		return
	}
	u.parts[it.N-1] = p
	for _, p := range u.parts {
		if p.Tag == "" {
			return
		}
	}
	s.hand(u.finish(0), 1)
}

// Whatever fails on either side, and although an agent is killed, every big
// object arrives, and none is called copied that did not.
func TestNoPartIsLostWhateverFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inner := noCopy(memstore.New())
	var tally storagetest.Tally
	rates := map[storagetest.Kind]float64{}
	for _, k := range []storagetest.Kind{storagetest.Lost, storagetest.Applied, storagetest.Broken, storagetest.Short,
		storagetest.Flipped, storagetest.Garbled, storagetest.Throttled} {
		rates[k] = 0.05
	}
	want := map[string][]byte{}
	s := &shipper{r: r, open: map[work.ItemID]work.Item{}, uploads: map[string]*uploading{},
		copied: map[string]work.ObjectOutcome{}, aborted: map[string]bool{}, counts: map[string]int{}}
	src := r.src
	var list []work.Object
	for i := range 12 {
		key := fmt.Sprintf("k%02d", i)
		want[key] = storagetest.Bytes(i, bigSize+i*1000)
		list = append(list, object(t, src, key, want[key]))
	}
	r.src = storagetest.Faulty(src, storagetest.Faults{Seed: 1, Rates: rates, Tally: &tally})
	r.dst = partsOnlyOf(storagetest.Faulty(inner, storagetest.Faults{Seed: 2, Rates: rates, Tally: &tally}))
	for _, o := range list {
		s.hand(bigItem(0, work.Begin, o), 1)
	}
	first := r.start()
	r.start()
	for taken := 0; len(s.open) > 0; {
		for _, res := range r.results(func(rs []work.Result) bool { return len(rs) > 0 }) {
			s.take(res)
			if taken++; taken == 40 {
				first.Kill()
				first.wait(t)
				r.start()
			}
		}
	}
	for key, w := range want {
		if out := s.copied[key]; out.Outcome != work.Copied || string(content(t, inner, key)) != string(w) {
			t.Errorf("%s: %+v, and the target has other bytes or none", key, out)
		}
		left, err := inner.(storage.Multipart).Pending(t.Context(), key)
		if err != nil || len(left) > 0 {
			t.Errorf("%s: %d uploads left, %v", key, len(left), err)
		}
	}
	t.Logf("%v; %v; %d aborted", s.counts, &tally, len(s.aborted))
	for k := range rates {
		if tally.Struck(k) == 0 {
			t.Errorf("%s never struck", k)
		}
	}
}
