package agent

import (
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// knowing prepares an agent that knows the store "named" by the secret in a
// file.
func knowing(secret string) func(*Agent) {
	return func(a *Agent) {
		a.rest = 100 * time.Millisecond
		a.stores.opener.Known = config.Stores{"named": {URL: "test://src",
			Credentials: map[string]string{"secret": "file:" + secret, "profile": "p"}}}
	}
}

// An agent that does not know a store gives its items back until they come to
// one that does. No object notices.
func TestStoreThatOneAgentKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	list := objects(t, r.src, 3, 100)
	it := item(1, list...)
	it.Source = "store://named/"
	r.prepare = func(a *Agent) { a.rest = 100 * time.Millisecond }
	ignorant := r.start()
	r.publish(it)
	r.eventually("the agent says what it lacks", func() bool {
		return strings.Contains(ignorant.Presence().Trouble, "does not know the store named")
	})
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "x")
	r.prepare = knowing(secret)
	able := r.start()
	if names := able.Presence().Stores; len(names) != 1 || names[0] != "named" {
		t.Errorf("the agent says that it knows %v", names)
	}
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 3)
}

// Credentials that are not where they should be are waited for, too.
func TestCredentialsThatAreNotThereYet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	it := item(1, objects(t, r.src, 3, 100)...)
	it.Source = "store://named/"
	secret := filepath.Join(t.TempDir(), "secret")
	r.prepare = knowing(secret)
	a := r.start()
	r.publish(it)
	r.eventually("the agent says what it lacks", func() bool {
		text := a.Presence().Trouble
		return strings.Contains(text, "stores.named.credentials.secret") && strings.Contains(text, "no such file")
	})
	write(t, secret, "x")
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 3)
	r.eventually("nothing is wrong any more", func() bool { return a.Presence().Trouble == "" })
}

// picky is a store that serves who has its secret, and counts whom it refused.
type picky struct {
	storage.Store
	secret  string
	wanted  *atomic.Pointer[string]
	refused *atomic.Int64
}

func (p picky) Put(ctx context.Context, key string, body io.Reader, size int64, o storage.PutOptions) (storage.Info, error) {
	if p.secret != *p.wanted.Load() {
		p.refused.Add(1)
		return storage.Info{}, &storage.Error{Op: "put", Store: "test://dst", Key: key, Fault: work.Denied, Err: os.ErrPermission}
	}
	return p.Store.Put(ctx, key, body, size, o)
}

// A store that refuses the secret it was opened with is opened again once there
// is another, and only then.
func TestSecretIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "old\n")
	var wanted atomic.Pointer[string]
	old, fresh := "old", "fresh"
	wanted.Store(&old)
	var refused, closed atomic.Int64
	var mu sync.Mutex
	var opened []string
	r.prepare = func(a *Agent) {
		knowing(secret)(a)
		a.stores.opener.Known["named"] = config.Store{URL: "test://dst", Credentials: a.stores.opener.Known["named"].Credentials}
		a.stores.opener.Drivers = storage.Drivers{"test": func(ctx context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
			st, err := r.open(ctx, u, c)
			if err != nil || u.Host != "dst" {
				return st, err
			}
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, c.Get("secret")+" "+c.Get("profile"))
			return counted{picky{st, c.Get("secret"), &wanted, &refused}, &closed}, nil
		}}
	}
	r.start()
	list := objects(t, r.src, 40, 100)
	of := func(id work.ItemID, objects ...work.Object) work.Item {
		it := item(id, objects...)
		it.Target = "store://named/"
		return it
	}
	allCopied(t, r.result(of(1, list[:10]...)), 10)

	write(t, secret+".new", "fresh")
	if err := os.Rename(secret+".new", secret); err != nil {
		t.Fatal(err)
	}
	wanted.Store(&fresh)
	allCopied(t, r.result(of(2, list[10:20]...)), 10)
	if refused.Load() == 0 {
		t.Error("the old secret was not used to its end")
	}

	wanted.Store(&old) // nothing that is there will do
	for _, o := range r.result(of(3, list[20:30]...)).Outcomes {
		if o.Outcome != work.Failed || o.Fault != work.Denied {
			t.Errorf("with a refused secret and no other the outcome is %+v", o)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(opened, ", "); got != "old p, fresh p" || closed.Load() != -1 {
		t.Errorf("opened with %s, and closed %d", got, -closed.Load())
	}
}

// Two names of one place are one place.
func TestNamesAreApart(t *testing.T) {
	t.Parallel()
	s := &stores{lanes: newLanes(0, 1<<20), open: map[string]*end{}, opener: Opener{Known: config.Stores{
		"one": {URL: "s3://b/x?endpoint=https://H/"}, "two": {URL: "s3://b?endpoint=h"}, "three": {URL: "s3://b/x?endpoint=other"},
		"home": {URL: "azblob://c?storage_account=a"}, "away": {URL: "azblob://c?storage_account=b"},
	}}}
	for _, tt := range []struct {
		source, target string
		ok             bool
	}{
		{"store://one/", "store://two/x/", false},
		{"store://one/", "store://two/", false},
		{"store://one/", "store://two/y/", true},
		{"store://one/", "s3://b/x/inside?endpoint=h", false},
		{"store://one/", "store://three/", true},
		{"store://home/", "store://away/", true},
		{"store://home/", "azblob://c/inside", false},
	} {
		if err := s.apart(work.Item{Source: tt.source, Target: tt.target}); (err == nil) != tt.ok {
			t.Errorf("apart(%s, %s) = %v, want an error: %v", tt.source, tt.target, err, !tt.ok)
		}
	}
	for _, tt := range []struct{ raw, bucket string }{
		{"store://one/a/", "s3://b"}, {"s3://b/a/", "s3://b"}, {"store://unknown/a/", "store://unknown"},
	} {
		e, err := s.find(tt.raw)
		if err != nil || e.bucket.name != tt.bucket {
			t.Errorf("metrics call %s %q, %v, want %s", tt.raw, e.bucket.name, err, tt.bucket)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
