package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	splitSize = 8 // bytes from which an object is big
	partSize  = 4
)

// An object of the source. Its versions are numbers that only grow.
type object struct {
	version int
	size    int64
	gone    bool
	lively  bool // its version may change
	late    bool // it was added after the job had begun
	fault   work.Fault
	until   time.Time // of the fault; zero: for ever
	made    map[work.Fault]int
}

// A source is what is to be copied.
type source struct {
	*world
	objects  map[string]*object
	versions int
	// Listing fails until then.
	unlisted      time.Time
	unlistedFault work.Fault
	wasUnlisted   bool
}

// A copied is an object of the target.
type copied struct {
	version int
	size    int64
	writes  int
}

// An upload is a big object on its way.
type upload struct {
	key      string
	version  int
	size     int64
	parts    map[int]int // versions of what was sent, by number
	open     bool
	recorded bool // the ledger was told of it
	refusals int  // to abort it
}

// A target is where the copies go.
type target struct {
	*world
	objects  map[string]*copied
	uploads  map[string]*upload
	needless int       // writes of what stood there already
	stubborn time.Time // aborting fails until then
}

// newStores returns a source with some keys, of which the target has a few
// already.
func newStores(w *world) (*source, *target) {
	s := &source{world: w, objects: map[string]*object{}}
	t := &target{world: w, objects: map[string]*copied{}, uploads: map[string]*upload{}}
	for range 1 + w.rng.IntN(30) {
		s.add()
	}
	for _, key := range s.keys() {
		o := s.objects[key]
		switch n := w.rng.IntN(20); {
		case n < 3:
			t.objects[key] = &copied{version: o.version, size: o.size}
		case n < 5:
			t.objects[key] = &copied{version: 0, size: o.size}
		}
		o.lively = w.rng.IntN(4) == 0
		if w.rng.IntN(5) == 0 {
			s.sicken(o)
		}
	}
	if w.rng.IntN(8) == 0 {
		s.unlisted, s.unlistedFault, s.wasUnlisted = w.within(2*time.Minute), work.Transient, true
		if w.rng.IntN(3) == 0 {
			s.unlistedFault = work.Denied
		}
	}
	return s, t
}

// add puts a new object into the source.
func (s *source) add() {
	key := fmt.Sprintf("%c%02d", 'a'+s.rng.IntN(4), s.rng.IntN(40))
	if s.rng.IntN(20) == 0 {
		key += "\x00\xff"
	}
	o := s.objects[key]
	if o == nil {
		o = &object{made: map[work.Fault]int{}, late: s.job != 0, gone: true}
		s.objects[key] = o
	}
	if o.gone {
		s.renew(o)
	}
}

// renew gives an object another version.
func (s *source) renew(o *object) {
	s.versions++
	o.version, o.gone, o.size = s.versions, false, 1+s.rng.Int64N(splitSize-1)
	if s.rng.IntN(4) == 0 {
		o.size = splitSize + s.rng.Int64N(4*splitSize)
	}
}

// sicken makes an object fail, for a while or for ever.
func (s *source) sicken(o *object) {
	if s.rng.IntN(2) == 0 {
		s.ail(o)
		return
	}
	lasting := []work.Fault{work.Denied, work.Unsupported, work.Invalid, work.Transient, work.Corrupt, work.Internal}
	o.fault, o.until = lasting[s.rng.IntN(len(lasting))], time.Time{}
}

// ail makes an object fail for a while.
func (s *source) ail(o *object) {
	passing := []work.Fault{work.Transient, work.Throttled, work.Corrupt, work.Internal, work.Denied}
	o.fault, o.until = passing[s.rng.IntN(len(passing))], s.within(10*time.Minute)
}

// heal ends what is not for ever.
func (s *source) heal() {
	s.unlisted, s.target.stubborn = time.Time{}, time.Time{}
	for _, o := range s.objects {
		if !o.until.IsZero() {
			o.fault = ""
		}
	}
}

// keys returns what a listing gives.
func (s *source) keys() []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if !s.objects[key].gone {
			keys = append(keys, key)
		}
	}
	return keys
}

// change does something to an object that may change.
func (s *source) change() {
	keys := slices.Sorted(maps.Keys(s.objects))
	o := s.objects[keys[s.rng.IntN(len(keys))]]
	switch n := s.rng.IntN(12); {
	case n == 0:
		s.add()
	case n < 3 && o.fault == "":
		s.ail(o)
	case !o.lively:
	case n == 3:
		o.gone = true
	default:
		s.renew(o)
		s.logf("source: version %d", o.version)
	}
}

// read is a request for an object, pinned to a version if etag is not empty.
func (s *source) read(key, etag string) (o object, fault work.Fault) {
	is := s.objects[key]
	switch {
	case is == nil || is.gone:
		fault = work.NotFound
	case is.fault != "" && (is.until.IsZero() || is.until.After(s.now)):
		fault = is.fault
	case etag != "" && etag != is.etag():
		fault = work.SrcChanged
	default:
		return *is, ""
	}
	s.blame(key, fault)
	return object{}, fault
}

// blame notes that the world made an object fail.
func (s *source) blame(key string, f work.Fault) {
	if o := s.objects[key]; o != nil {
		o.made[f]++
	}
}

func (o object) etag() string { return fmt.Sprintf("v%d", o.version) }

// proof is how an outcome names the version that was copied.
func proof(version int) string { return fmt.Sprintf("sim:%d", version) }

func versionOf(text string) (version int) {
	if _, err := fmt.Sscanf(text, "sim:%d", &version); err != nil {
		_, _ = fmt.Sscanf(text, "v%d", &version) // zero is no version
	}
	return version
}

// stat returns which version stands under a key, 0 if none does.
func (t *target) stat(key string) int {
	if c := t.objects[key]; c != nil {
		return max(c.version, 0)
	}
	return 0
}

// put stores a version if what stands there still is the one that was seen.
func (t *target) put(key string, version int, size int64, seen int) (ok bool) {
	c := t.objects[key]
	if c == nil {
		c = &copied{}
		t.objects[key] = c
	}
	if c.version != seen {
		return false
	}
	if c.version == version {
		t.needless++
	}
	c.version, c.size, c.writes = version, size, c.writes+1
	return true
}

// begin opens an upload.
func (t *target) begin(key string, o object) string {
	id := fmt.Sprintf("u%d", t.next())
	t.uploads[id] = &upload{key: key, version: o.version, size: o.size, parts: map[int]int{}, open: true}
	t.logf("target: upload %s of %q version %d opened", id, key, o.version)
	return id
}

// sweep aborts the uploads of a key that hold no part.
func (t *target) sweep(key string) {
	for _, id := range slices.Sorted(maps.Keys(t.uploads)) {
		u := t.uploads[id]
		if u.open && u.key == key && len(u.parts) == 0 {
			u.open = false
			t.logf("target: upload %s swept", id)
		}
	}
}

// commit makes an object of an upload, under the same condition as put.
func (t *target) commit(up work.Upload, parts []work.StoredPart, seen int) (ok, gone bool) {
	id, u := up.ID, t.uploads[up.ID]
	if u == nil || !u.open {
		return false, true
	}
	if n := up.Parts(u.size); len(parts) != n || len(u.parts) != n {
		t.breaks("upload %s is finished with %d parts, has %d, needs %d", id, len(parts), len(u.parts), n)
		return false, false
	}
	for i, p := range parts {
		if p.N != i+1 || u.parts[p.N] != u.version {
			t.breaks("part %d of upload %s is of version %d, not %d", p.N, id, u.parts[p.N], u.version)
			return false, false
		}
	}
	if ok = t.put(u.key, u.version, u.size, seen); ok {
		u.open = false
	}
	return ok, false
}

// abort removes an upload.
func (t *target) abort(id string) work.Fault {
	u := t.uploads[id]
	switch {
	case u == nil || !u.open:
		return work.NotFound
	case t.stubborn.After(t.now):
		u.refusals++
		return work.Transient
	}
	u.open = false
	return ""
}
