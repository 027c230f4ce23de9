package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// ways are how an object may travel, by its size and what the target can do.
var ways = []struct {
	name   string
	size   int
	server bool
}{{"nothing", 0, false}, {"small", 1000, false}, {"streamed", 20 << 10, false}, {"in parts", 100 << 10, false}, {"by the server", 1000, true}}

// unaided hides that a particular store copies by itself.
type unaided struct {
	storage.Store
	storage.Multipart
	storage.Fitter
}

func TestPoliciesOfMetadata(t *testing.T) {
	t.Parallel()
	full := storage.Meta{ContentType: "text/plain", User: map[string]string{"a": "1", "b": "2"}, Class: "COLD", ModTime: time.Unix(1700000000, 0).UTC()}
	tags := map[string]string{"t": "1"}
	with := func(change func(*storage.Meta)) storage.Meta {
		m := full
		m.Tags = tags
		m.Class = ""
		change(&m)
		return m
	}
	tests := []struct {
		name    string
		class   work.ClassRule
		carry   work.Carry
		change  func(src, dst *particular)
		want    storage.Meta // at the target
		dropped string
		skipped string
		failed  work.Field
		carried bool // only if the server does not copy
	}{
		{name: "all fits", want: with(func(*storage.Meta) {})},
		{name: "class kept", class: "keep", want: with(func(m *storage.Meta) { m.Class = "COLD" })},
		{name: "class by rule", class: "COLD=ICY,*=HOT", want: with(func(m *storage.Meta) { m.Class = "ICY" })},
		{name: "class by another rule", class: "WARM=ICY,*=HOT", want: with(func(m *storage.Meta) { m.Class = "HOT" })},
		{name: "no classes", class: "keep", change: func(_, dst *particular) { dst.has.Class = false },
			want: with(func(*storage.Meta) {}), dropped: "class"},
		{name: "no classes and none asked for", change: func(_, dst *particular) { dst.has.Class = false }, want: with(func(*storage.Meta) {})},
		{name: "no classes, to fail", class: "keep", carry: "class=fail", change: func(_, dst *particular) { dst.has.Class = false }, failed: work.FieldClass},
		{name: "no such class", class: "keep", change: func(_, dst *particular) {
			dst.fit = func(m storage.Meta) (storage.Meta, []storage.Misfit) {
				if m.Class == "" {
					return m, nil
				}
				m.Class = ""
				return m, []storage.Misfit{{Field: work.FieldClass, Why: "unknown"}}
			}
		}, want: with(func(*storage.Meta) {}), dropped: "class"},
		{name: "no tags", change: func(_, dst *particular) { dst.has.Tags = false },
			want: with(func(m *storage.Meta) { m.Tags = nil }), dropped: "tags", carried: true},
		{name: "no tags, to skip", carry: "tags=skip", change: func(_, dst *particular) { dst.has.Tags = false }, skipped: "tags"},
		{name: "no tags, to fail", carry: "tags=fail", change: func(_, dst *particular) { dst.has.Tags = false }, failed: work.FieldTags},
		{name: "tags may not be read", change: func(src, _ *particular) {
			src.untagged = &storage.Error{Op: "tags", Fault: work.Denied, Err: errors.New("injected")}
		}, want: with(func(m *storage.Meta) { m.Tags = nil }), dropped: "tags", carried: true},
		{name: "tags may not be read, to fail", carry: "tags=fail", change: func(src, _ *particular) {
			src.untagged = &storage.Error{Op: "tags", Fault: work.Denied, Err: errors.New("injected")}
		}, failed: work.FieldTags, carried: true},
		{name: "no headers and no metadata", change: func(_, dst *particular) { dst.has.Headers, dst.has.User = false, false },
			want: with(func(m *storage.Meta) { m.ContentType, m.User = "", nil }), dropped: "headers,metadata", carried: true},
		{name: "the worst policy decides", carry: "headers=skip,metadata=fail", change: func(_, dst *particular) { dst.has.Headers, dst.has.User = false, false },
			failed: work.FieldMetadata},
		{name: "no times", change: func(_, dst *particular) { dst.has.ModTime = false }, want: with(func(*storage.Meta) {}), dropped: "mtime"},
		{name: "one name", change: func(_, dst *particular) {
			dst.fit = func(m storage.Meta) (storage.Meta, []storage.Misfit) {
				if m.User == nil {
					return m, nil
				}
				m.User = map[string]string{"a": m.User["a"]}
				return m, []storage.Misfit{{Field: work.FieldMetadata, Name: "b", Why: "odd"}}
			}
		}, want: with(func(m *storage.Meta) { m.User = map[string]string{"a": "1"} }), dropped: "metadata:b", carried: true},
	}
	for _, tt := range tests {
		for _, way := range ways {
			if tt.carried && way.server {
				continue
			}
			t.Run(tt.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				src, dst := newParticular(), newParticular()
				if tt.change != nil {
					tt.change(src, dst)
				}
				in := put(t, src.Store, "k", storagetest.Bytes(1, way.size), full)
				src.tags["k"] = tags
				var target storage.Store = dst
				if !way.server {
					target = unaided{dst, dst, dst}
				}
				tr := newTransfer(src, target, work.Object{Key: "k", Size: in.Size, ETag: in.ETag})
				tr.options.Class, tr.options.Carry = tt.class, tt.carry
				out, err := carry(t, tr)
				if tt.failed != "" {
					var e *storage.Error
					if !errors.As(err, &e) || e.Fault != work.Unsupported || e.Field != tt.failed || !strings.Contains(err.Error(), string(tt.failed)+"=drop") {
						t.Errorf("%+v, %v, want it refused for its %s", out, err, tt.failed)
					}
				} else if tt.skipped != "" {
					if want := (work.ObjectOutcome{Outcome: work.Skipped, Reason: tt.skipped}); err != nil || out != want {
						t.Errorf("%+v, %v, want %+v", out, err, want)
					}
				}
				if tt.failed != "" || tt.skipped != "" {
					if content(t, dst, "k") != nil {
						t.Error("it was copied")
					}
					return
				}
				if err != nil || out.Outcome != work.Copied || out.Dropped != tt.dropped {
					t.Fatalf("%+v, %v, want it copied without %q", out, err, tt.dropped)
				}
				got, err := dst.Stat(t.Context(), "k")
				if err != nil {
					t.Fatal(err)
				}
				got.Meta.Tags = dst.tags["k"]
				if !reflect.DeepEqual(got.Meta, tt.want) {
					t.Errorf("the target has %+v, want %+v", got.Meta, tt.want)
				}
				if asked := src.asked.Load(); way.server && asked > 0 || !way.server && asked > 1 {
					t.Errorf("the tags were read %d times", asked)
				}
				tr.again = true
				if again, err := carry(t, tr); err != nil || again.Reason != "present" || again.Dropped != tt.dropped {
					t.Errorf("and again: %+v, %v, want it present without %q", again, err, tt.dropped)
				}
			})
		}
	}
}

// Tags are not asked for where there are none, and their loss by accident is no
// loss by policy.
func TestTagsAreReadOnlyIfThereAreAny(t *testing.T) {
	t.Parallel()
	src, dst := newParticular(), newParticular()
	tr := newTransfer(src, unaided{dst, dst, dst}, object(t, src.Store, "k", []byte("x")))
	if out, err := carry(t, tr); err != nil || out.Dropped != "" || src.asked.Load() != 0 {
		t.Errorf("%+v, %v after tags were read %d times, want never", out, err, src.asked.Load())
	}
	src.tags["k"] = map[string]string{"t": "1"}
	src.untagged = &storage.Error{Op: "tags", Fault: work.Transient, Err: errors.New("injected")}
	if out, err := carry(t, tr); !storage.Is(err, work.Transient) {
		t.Errorf("%+v, %v, want it tried again", out, err)
	}
}

func TestObjectsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		for _, field := range []work.Field{work.FieldKeys, work.FieldArchived} {
			for _, policy := range []work.Policy{work.PolicyFail, work.PolicySkip} {
				t.Run(strings.Join([]string{way.name, string(field), string(policy)}, " "), func(t *testing.T) {
					t.Parallel()
					src, dst := newParticular(), newParticular()
					key := "k"
					if field == work.FieldKeys {
						key = "bad"
					}
					obj := object(t, src.Store, key, storagetest.Bytes(1, way.size))
					src.archived = field == work.FieldArchived
					var target storage.Store = dst
					if !way.server {
						target = unaided{dst, dst, dst}
					}
					tr := newTransfer(src, target, obj)
					tr.options.Carry = work.Carry(string(field) + "=" + string(policy))
					out, err := carry(t, tr)
					if policy == work.PolicySkip {
						if want := (work.ObjectOutcome{Outcome: work.Skipped, Reason: string(field)}); err != nil || out != want {
							t.Errorf("%+v, %v, want %+v", out, err, want)
						}
						return
					}
					if got := outcomeOf(err); got.Outcome != work.Failed || got.Fault != work.Unsupported || !strings.Contains(got.Error, string(field)+"=skip") {
						t.Errorf("%+v, want it refused, and what to choose", got)
					}
				})
			}
		}
	}
}

// What is awkward about an object arrives as it is.
func TestAwkwardObjectsStayExact(t *testing.T) {
	t.Parallel()
	gzip := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, tt := range []struct {
		key     string
		content []byte
		meta    storage.Meta
	}{
		{"empty", nil, storage.Meta{ContentType: "application/x-empty"}},
		{"a/", nil, storage.Meta{ContentType: "application/x-directory", User: map[string]string{"made": "by hand"}}},
		{"a//b/", []byte("a marker with content"), storage.Meta{}},
		{"page.html", gzip, storage.Meta{ContentType: "text/html", ContentEncoding: "gzip"}},
	} {
		for _, server := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.key, server), func(t *testing.T) {
				t.Parallel()
				src, inner := memstore.New(), memstore.New()
				dst := storage.Store(inner)
				if !server {
					dst = noCopy(inner)
				}
				in := put(t, src, tt.key, tt.content, tt.meta)
				tr := newTransfer(src, dst, work.Object{Key: tt.key, Size: in.Size, ETag: in.ETag})
				tr.options.Verify = work.VerifyReadback
				if out, err := carry(t, tr); err != nil || out.Proof != "crc32c" || out.Dropped != "" {
					t.Fatalf("%+v, %v, want it copied and proven", out, err)
				}
				got, err := dst.Stat(t.Context(), tt.key)
				if err != nil || string(content(t, dst, tt.key)) != string(tt.content) || !reflect.DeepEqual(got.Meta, in.Meta) {
					t.Errorf("%+v, %v arrived, want %+v", got, err, in)
				}
			})
		}
	}
}

func TestDroppedOf(t *testing.T) {
	t.Parallel()
	m := func(f work.Field, names ...string) (all []storage.Misfit) {
		for _, n := range names {
			all = append(all, storage.Misfit{Field: f, Name: n})
		}
		return all
	}
	many := make([]string, 2*mostNames)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, tt := range []struct {
		lost []storage.Misfit
		want string
	}{
		{nil, ""},
		{m("tags", ""), "tags"},
		{append(m("tags", "b", "a"), m("metadata", "x")...), "metadata:x,tags:a,tags:b"},
		{m("tags", "a", ""), "tags"},
		{m("tags", "a,b"), "tags"},
		{m("tags", "\xff"), "tags"},
		{m("tags", many...), "tags"},
		{m("metadata", strings.Repeat("n", 100)), "metadata"},
	} {
		if got := droppedOf(tt.lost); got != tt.want {
			t.Errorf("droppedOf(%+v) = %q, want %q", tt.lost, got, tt.want)
		}
	}
}

// A refusing store does not know that its server keeps neither classes nor
// tags.
type refusing struct{ *particular }

func (r refusing) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	refused := work.Field("")
	switch {
	case opts.Meta.Class != "":
		refused = work.FieldClass
	case len(opts.Meta.Tags) > 0:
		refused = work.FieldTags
	default:
		return r.particular.Put(ctx, key, body, size, opts)
	}
	return storage.Info{}, &storage.Error{Op: "put", Key: key, Fault: work.Unsupported, Field: refused, Err: errors.New("injected: refused")}
}

// What a server refuses only when it is asked is dropped all the same, if that
// is the policy.
func TestDroppedAfterARefusal(t *testing.T) {
	t.Parallel()
	for carryRule, want := range map[work.Carry]string{"": "class,tags", "class=fail": "", "tags=fail": ""} {
		src, dst := newParticular(), newParticular()
		in := put(t, src.Store, "k", storagetest.Bytes(1, 100), storage.Meta{Class: "COLD"})
		src.tags["k"] = map[string]string{"a": "b"}
		target := refusing{dst}
		tr := newTransfer(src, unaided{target, dst, dst}, work.Object{Key: "k", Size: in.Size, ETag: in.ETag})
		tr.options.Class, tr.options.Carry = "keep", carryRule
		out, err := carry(t, tr)
		if want == "" {
			if !storage.Is(err, work.Unsupported) {
				t.Errorf("policy %q: %+v, %v, want it refused", carryRule, out, err)
			}
			continue
		}
		if err != nil || out.Outcome != work.Copied || out.Dropped != want {
			t.Errorf("policy %q: %+v, %v, want it copied without %s", carryRule, out, err, want)
		}
	}
}

// A reticent store tells the class to Stat alone, as Azure does.
type reticent struct{ *particular }

func (r reticent) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := r.particular.Get(ctx, key, etag, off, n)
	in.Meta.Class = ""
	return body, in, err
}

func TestClassThatOnlyStatTells(t *testing.T) {
	t.Parallel()
	src, dst := newParticular(), newParticular()
	in := put(t, src.Store, "k", storagetest.Bytes(1, 100), storage.Meta{Class: "COLD"})
	tr := newTransfer(reticent{src}, unaided{dst, dst, dst}, work.Object{Key: "k", Size: in.Size, ETag: in.ETag})
	tr.options.Class = "keep"
	out, err := carry(t, tr)
	if err != nil || out.Outcome != work.Copied {
		t.Fatalf("%+v, %v", out, err)
	}
	if got, err := dst.Stat(t.Context(), "k"); err != nil || got.Meta.Class != "COLD" {
		t.Errorf("the copy has class %q, %v, want COLD", got.Meta.Class, err)
	}
}
