package s3store

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

var absent = storage.PutOptions{If: storage.Condition{Absent: true}, Sums: storage.Sums{CRC32C: make([]byte, 4)}}

// conditional reports whether a request carries a condition of what it stores.
func conditional(r *http.Request) bool {
	return r.Header.Get("If-None-Match") != "" || r.Method != http.MethodGet && r.Header.Get("If-Match") != ""
}

// version is a condition that no made-up object meets but under its own ETag.
var version = storage.PutOptions{If: storage.Condition{ETag: "v"}, Sums: absent.Sums}

// TestServerRefusesConditions: such a server is asked without from then on, and
// nothing fails for it. A body that can be read once costs an attempt. The other
// condition, which it knows, is still asked for.
func TestServerRefusesConditions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		unknown, known string
		opts, other    storage.PutOptions
	}{
		{"If-None-Match", "If-Match", absent, version},
		{"If-Match", "If-None-Match", version, absent},
	} {
		for _, status := range []int{http.StatusNotImplemented, http.StatusBadRequest} {
			for _, seekable := range []bool{true, false} {
				t.Run(fmt.Sprint(tt.unknown, status, seekable), func(t *testing.T) {
					t.Parallel()
					var refused, kept, stored atomic.Int32
					s := liar(t, func(w http.ResponseWriter, r *http.Request) {
						body, _ := io.ReadAll(r.Body)
						w.Header().Set("Etag", `"e"`)
						switch {
						case r.Header.Get(tt.unknown) != "":
							refused.Add(1)
							refuseWith(w, status, "NotImplemented")
						case r.Header.Get(tt.known) != "":
							kept.Add(1)
						case string(body) == "x" && !strings.Contains(r.URL.Path, "probe"):
							stored.Add(1)
						}
					})
					store := func(opts storage.PutOptions) error {
						body := io.Reader(strings.NewReader("x"))
						if !seekable {
							body = io.MultiReader(body)
						}
						_, err := s.Put(t.Context(), "key", body, 1, opts)
						return err
					}
					if !seekable {
						if err := store(tt.opts); !storage.Is(err, work.Transient) || storage.Clashed(err) {
							t.Errorf("Put of a stream = %v, want it to be tried again", err)
						}
					}
					for i := range 4 {
						if err := store(tt.opts); err != nil {
							t.Errorf("Put %d = %v", i, err)
						}
					}
					if refused.Load() > 2 || stored.Load() != 4 {
						t.Errorf("%d refusals, want up to 2; %d objects stored, want 4", refused.Load(), stored.Load())
					}
					if err := store(tt.other); err != nil || kept.Load() != 1 {
						t.Errorf("Put = %v; %d requests with %s, want 1", err, kept.Load(), tt.known)
					}
				})
			}
		}
	}
}

// TestBlameUnknown: where the made-up object fails for a passing reason, nothing
// was found out.
func TestBlameUnknown(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "probe") {
			refuseWith(w, http.StatusInternalServerError, "InternalError")
		} else {
			refuseWith(w, http.StatusNotImplemented, "NotImplemented")
		}
	})
	for _, opts := range []storage.PutOptions{absent, version} {
		_, err := s.Put(t.Context(), "key", io.MultiReader(strings.NewReader("x")), 1, opts)
		wantFault(t, "Put", err, work.Transient)
		if s.unconditional.put.of(opts.If).Load() {
			t.Errorf("the store does without %+v now", opts.If)
		}
	}
}

// TestOtherRefusal: an object that is refused for itself leaves the conditions
// as they are.
func TestOtherRefusal(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "probe") {
			refuseWith(w, http.StatusBadRequest, "InvalidArgument")
		}
	})
	for _, opts := range []storage.PutOptions{absent, version} {
		for _, body := range []io.Reader{strings.NewReader("x"), io.MultiReader(strings.NewReader("x"))} {
			_, err := s.Put(t.Context(), "key", body, 1, opts)
			wantFault(t, "Put", err, work.Invalid)
		}
		if s.unconditional.put.of(opts.If).Load() {
			t.Errorf("the store does without %+v now", opts.If)
		}
	}
}

func TestClash(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		code   string
		opts   storage.PutOptions
		calls  int32
		clash  bool
	}{
		{412, "PreconditionFailed", absent, 1, true},
		{412, "PreconditionFailed", version, 1, true},
		{409, "ConditionalRequestConflict", absent, attempts, true},
		{404, "NoSuchKey", version, 1, true},
		{404, "NoSuchBucket", version, 1, false},
		{404, "NoSuchKey", absent, 1, false},
		{500, "InternalError", absent, attempts, false},
		{412, "PreconditionFailed", storage.PutOptions{Sums: absent.Sums}, 1, false},
	} {
		t.Run(fmt.Sprint(tt.code, tt.opts.If), func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			s := liar(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				refuseWith(w, tt.status, tt.code)
			})
			_, err := s.Put(t.Context(), "key", strings.NewReader("x"), 1, tt.opts)
			if storage.Clashed(err) != tt.clash || tt.clash && !storage.Is(err, work.Transient) {
				t.Errorf("Put = %v, want a clash: %v", err, tt.clash)
			}
			if calls.Load() != tt.calls {
				t.Errorf("the server was asked %d times, want %d", calls.Load(), tt.calls)
			}
		})
	}
}

// TestLostAnswerClashes: what was stored unseen is in the way of the repeat, and
// whoever is told of the clash finds it.
func TestLostAnswerClashes(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	var puts atomic.Int32
	s := between(t, real, nil, func(r *http.Response) error {
		if strings.HasSuffix(r.Request.URL.Path, "/key") && r.Request.Method == http.MethodPut && puts.Add(1) == 1 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	content := []byte("content")
	_, err := s.Put(t.Context(), "key", bytes.NewReader(content), int64(len(content)), storage.PutOptions{If: absent.If})
	if !storage.Clashed(err) {
		t.Errorf("Put = %v, want a clash", err)
	}
	wantContent(t, real, "key", "content")
}

// TestWhoseCondition: servers have one word for a source that changed and for a
// target that did.
func TestWhoseCondition(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	var blind atomic.Bool
	s := between(t, real, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Header.Get("X-Amz-Copy-Source") != "":
			refuseWith(w, http.StatusPreconditionFailed, "PreconditionFailed")
		case blind.Load():
			refuseWith(w, http.StatusInternalServerError, "InternalError")
		default:
			return false
		}
		return true
	}, nil)
	put(t, real, "from", "one", storage.PutOptions{})
	in, err := s.Stat(t.Context(), "from")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CopyFrom(t.Context(), "to", s, in, storage.PutOptions{If: absent.If}); !storage.Clashed(err) {
		t.Errorf("CopyFrom = %v, want a clash", err)
	}
	blind.Store(true)
	_, err = s.CopyFrom(t.Context(), "to", s, in, storage.PutOptions{If: absent.If})
	wantFault(t, "CopyFrom of what cannot be looked at", err, work.Transient)
	if storage.Clashed(err) {
		t.Errorf("CopyFrom = %v, a clash that nobody has seen", err)
	}
	blind.Store(false)
	put(t, real, "from", "two", storage.PutOptions{})
	_, err = s.CopyFrom(t.Context(), "to", s, in, storage.PutOptions{If: absent.If})
	wantFault(t, "CopyFrom of a version that is gone", err, work.SrcChanged)
	if err := real.Delete(t.Context(), "from"); err != nil {
		t.Fatal(err)
	}
	_, err = s.CopyFrom(t.Context(), "to", s, in, storage.PutOptions{If: absent.If})
	wantFault(t, "CopyFrom of what is gone", err, work.SrcChanged)
}

// TestCommitWithoutConditions: a server may know conditions of a Put alone.
func TestCommitWithoutConditions(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	var refused atomic.Int32
	s := between(t, real, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !conditional(r) {
			return false
		}
		refused.Add(1)
		refuseWith(w, http.StatusNotImplemented, "NotImplemented")
		return true
	}, nil)
	for range 2 {
		u, err := s.Begin(t.Context(), "key", 1, s.Limits().MinPart, storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.PutPart(t.Context(), u, 1, strings.NewReader("x"), 1, storage.Sums{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{If: absent.If}); err != nil {
			t.Errorf("Commit = %v", err)
		}
	}
	if n := refused.Load(); n != 1 {
		t.Errorf("the server was asked for a condition %d times, want once", n)
	}
	_, err := s.Put(t.Context(), "key", strings.NewReader("y"), 1, storage.PutOptions{If: absent.If})
	if !storage.Clashed(err) {
		t.Errorf("Put = %v, want a clash", err)
	}
}

// TestConditionCostsNoRequest counts what the server is asked.
func TestConditionCostsNoRequest(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	var calls atomic.Int32
	s := between(t, real, func(http.ResponseWriter, *http.Request) bool { calls.Add(1); return false }, nil)
	content := []byte("content")
	sum := storage.NewDigest(storage.CRC32C)
	sum.Write(content)
	in, err := s.Put(t.Context(), "key", bytes.NewReader(content), 7, storage.PutOptions{If: absent.If, Sums: sum.Sums()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "key", bytes.NewReader(content), 7, storage.PutOptions{If: storage.Condition{ETag: in.ETag}, Sums: sum.Sums()}); err != nil {
		t.Fatal(err)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("two objects took %d requests", n)
	}
}
