package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A rich store has objects with everything that can be lost.
type rich struct {
	*memstore.Store
	tags map[string]map[string]string
}

func (r *rich) Traits() storage.Traits {
	t := r.Store.Traits()
	t.Name, t.Meta.Tags, t.Meta.Class = "rich", true, true
	return t
}

func (r *rich) Probe(_ context.Context, write bool) ([]work.Fact, error) {
	return []work.Fact{{Name: "checksums", Text: "all of them"}, {Name: "write", Text: fmt.Sprint(write)}}, nil
}

func (r *rich) List(ctx context.Context, g work.Range, fn func([]storage.Info) error) error {
	return r.Store.List(ctx, g, func(page []storage.Info) error {
		for i := range page {
			page[i].Archived = strings.HasPrefix(page[i].Key, "cold/")
		}
		return fn(page)
	})
}

func (r *rich) Stat(ctx context.Context, key string) (storage.Info, error) {
	in, err := r.Store.Stat(ctx, key)
	in.TagCount = len(r.tags[key])
	if strings.HasPrefix(key, "secret/") {
		return in, &storage.Error{Op: "stat", Store: "rich:", Key: key, Fault: work.Denied, Err: errors.New("not allowed")}
	}
	if strings.HasPrefix(key, "gone/") {
		return in, &storage.Error{Op: "stat", Store: "rich:", Key: key, Fault: work.NotFound, Err: errors.New("not there")}
	}
	return in, err
}

func (r *rich) Tags(_ context.Context, key string) (map[string]string, error) {
	return r.tags[key], nil
}

// A poor store refuses much.
type poor struct {
	*memstore.Store
	name string
}

func (p *poor) Traits() storage.Traits {
	return storage.Traits{Name: p.name, Meta: storage.MetaTraits{Headers: true, User: true}}
}

func (p *poor) Limits() storage.Limits {
	return storage.Limits{MinPart: 1, MaxPart: 4, MaxObject: 1000, MaxParts: 25}
}

func (p *poor) Keeps(_ context.Context, key string) error {
	switch {
	case strings.Contains(key, "\xff"):
		return &storage.Error{Op: "keep", Store: "poor:", Key: key, Fault: work.Unsupported, Field: work.FieldKeys, Err: errors.New("not UTF-8")}
	case key == "unasked":
		return &storage.Error{Op: "keep", Store: "poor:", Key: key, Fault: work.Transient, Err: errors.New("no answer")}
	}
	return nil
}

func (p *poor) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	if _, ok := m.User["owner"]; ok {
		return m, []storage.Misfit{{Field: work.FieldMetadata, Name: "owner", Why: "the name is taken"}}
	}
	return m, nil
}

// poorTagger is a poor store with tags.
type poorTagger struct{ *poor }

func (p poorTagger) Traits() storage.Traits {
	t := p.poor.Traits()
	t.Meta.Tags = true
	return t
}

func (p poorTagger) Tags(context.Context, string) (map[string]string, error) { return nil, nil }

func (p poorTagger) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	if len(m.Tags) > 1 {
		return m, []storage.Misfit{{Field: work.FieldTags, Why: "one tag at most"}}
	}
	return p.poor.Fit(m)
}

func put(t *testing.T, s storage.Store, key, body string, m storage.Meta) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(body), int64(len(body)), storage.PutOptions{Meta: m}); err != nil {
		t.Fatal(err)
	}
}

// variety returns a store with something of each sort.
func variety(t *testing.T) *rich {
	t.Helper()
	r := &rich{Store: memstore.New(), tags: map[string]map[string]string{"tagged": {"a": "1", "b": "2"}, "tagged/one": {"a": "1"}}}
	for _, key := range []string{"cold/1", "cold/2", "bad\xff", "secret/1", "gone/1", "tagged", "tagged/one", "same"} {
		put(t, r.Store, key, "body", storage.Meta{})
	}
	put(t, r.Store, "owned", "body", storage.Meta{User: map[string]string{"owner": "ada"}})
	put(t, r.Store, "large", strings.Repeat("x", 101), storage.Meta{})
	put(t, r.Store, "limit", strings.Repeat("x", 100), storage.Meta{})
	return r
}

// brief returns what was found: field:name policy objects.
func (p *preflight) brief() string {
	var b strings.Builder
	for _, f := range p.Findings {
		fmt.Fprintf(&b, "%s %s %d %s\n", f.about(), f.Policy, f.Objects, f.examples())
	}
	return b.String()
}

func TestLookBefore(t *testing.T) {
	t.Parallel()
	target := &poor{memstore.New(), "file"}
	put(t, target.Store, "same", "body", storage.Meta{})
	options := work.Options{Compare: work.CompareSize, Split: 100, Class: "keep", Carry: "archived=skip,mtime=fail"}
	got, err := lookBefore(t.Context(), variety(t), target, options, 100)
	if err != nil {
		t.Fatal(err)
	}
	const want = "" +
		`keys fail 1 "bad\xff"` + "\n" +
		`keys fail 1 tagged/one` + "\n" +
		`read:denied fail 1 secret/1` + "\n" +
		`size fail 1 large` + "\n" +
		`archived skip 2 cold/1, cold/2` + "\n" +
		`tags drop 2 tagged, tagged/one` + "\n" +
		`metadata:owner drop 1 owned` + "\n"
	if got.brief() != want {
		t.Errorf("found\n%swant\n%s", got.brief(), want)
	}
	if got.Inspected != 5 || got.Big != (bigTally{From: 100, Objects: 1, Bytes: 100}) {
		t.Errorf("%d inspected, big %+v; want 5 and the one of 100 bytes", got.Inspected, got.Big)
	}
	if len(got.Plan) != 2 || got.Plan[0].Objects != 10 || got.Plan[1].Objects != 1 || got.Plan[1].Action != "skip" {
		t.Errorf("the plan is %+v", got.Plan)
	}
	if facts := fmt.Sprint(got.Report.Source.Facts); facts != "[{checksums all of them} {write false}]" || got.Report.Target.Driver != "file" {
		t.Errorf("the report is %+v", got.Report)
	}
	var losses []string
	for _, l := range got.Report.Losses {
		losses = append(losses, fmt.Sprintf("%s=%s", l.Field, l.Policy))
	}
	if s := strings.Join(losses, " "); s != "tags=drop class=drop mtime=fail" {
		t.Errorf("losses are %s", s)
	}
	if err := got.verdict(); err == nil || !strings.Contains(err.Error(), "fail at its start: the target cannot hold mtime") {
		t.Errorf("the verdict is %v", err)
	}
	if in, err := target.Stat(t.Context(), "owned"); !storage.Is(err, work.NotFound) {
		t.Errorf("a dry run wrote %+v, %v", in, err)
	}
}

// Tags that both ends have are read, and only what does not fit is told.
func TestLookBeforeReadsTags(t *testing.T) {
	t.Parallel()
	got, err := lookBefore(t.Context(), variety(t), poorTagger{&poor{memstore.New(), "x"}}, work.Options{Carry: "tags=fail,keys=skip,archived=skip"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.brief(), "tags fail 1 tagged\n") || strings.Contains(got.brief(), "keys skip 1 tagged") {
		t.Errorf("found\n%s", got.brief())
	}
}

func TestLookBeforeNothingAmiss(t *testing.T) {
	t.Parallel()
	source := memstore.New()
	put(t, source, "a", "body", storage.Meta{ContentType: "text/plain", User: map[string]string{"owner": "ada"}})
	put(t, source, "a/b", "body", storage.Meta{})
	got, err := lookBefore(t.Context(), source, memstore.New(), work.DefaultOptions(), 100)
	if err != nil || len(got.Findings)+len(got.Report.Losses) != 0 || got.Inspected != 2 || got.verdict() != nil {
		t.Errorf("found %+v, %v, verdict %v", got, err, got.verdict())
	}
	if got, err = lookBefore(t.Context(), source, memstore.New(), work.DefaultOptions(), 0); err != nil || got.Inspected != 0 {
		t.Errorf("with 0 to inspect: %+v, %v", got, err)
	}
}

// What is not known must not pass for a good answer.
func TestLookBeforeFails(t *testing.T) {
	t.Parallel()
	source, target := memstore.New(), &poor{memstore.New(), "x"}
	put(t, source, "unasked", "body", storage.Meta{})
	if _, err := lookBefore(t.Context(), source, target, work.DefaultOptions(), 9); !storage.Is(err, work.Transient) {
		t.Errorf("a target that does not say what it holds: err = %v", err)
	}
	for _, op := range []string{"source", "target"} {
		denied := storagetest.Faulty(memstore.New(), storagetest.Faults{Rates: map[storagetest.Kind]float64{storagetest.Denied: 1}})
		ends := map[string]storage.Store{"source": source, "target": memstore.New()}
		ends[op] = denied
		if _, err := lookBefore(t.Context(), ends["source"], ends["target"], work.DefaultOptions(), 9); !storage.Is(err, work.Denied) {
			t.Errorf("a %s that may not be listed: err = %v", op, err)
		}
	}
}

func TestLargest(t *testing.T) {
	t.Parallel()
	if got := largest(&poor{memstore.New(), "x"}); got != 100 {
		t.Errorf("25 parts of 4 bytes hold %d bytes, want 100", got)
	}
	if got := largest(memstore.New()); got != 1<<40 {
		t.Errorf("a memory store takes %d bytes, want %d", got, int64(1)<<40)
	}
	type onePut struct{ storage.Store }
	if got := largest(onePut{memstore.New()}); got != 1<<63-1 {
		t.Errorf("a store that names no limit takes %d bytes", got)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	s := newFindings("")
	for i := range 1000 {
		why := fmt.Sprintf("reason %d", i)
		s.add(alike{field: work.FieldMetadata, why: why}, why, fmt.Sprintf("k%d", i), 2)
	}
	list := s.sorted()
	var objects, bytes int64
	for _, f := range list {
		objects, bytes = objects+f.Objects, bytes+f.Bytes
		if len(f.Examples) > maxExamples {
			t.Errorf("%d examples of %s", len(f.Examples), f.Why)
		}
	}
	if len(list) != maxFindings+1 || objects != 1000 || bytes != 2000 || list[0].Why != "further reasons" {
		t.Errorf("%d findings about %d objects, the first %+v", len(list), objects, list[0])
	}
}

// TestDryRunLooks compares the forms of a dry run with those that were found
// good.
func TestDryRunLooks(t *testing.T) {
	t.Parallel()
	p := &preflight{
		Report: work.Report{
			Source: work.StoreReport{Driver: "s3", Facts: []work.Fact{{Name: "checksums", Text: "CRC64NVME of whole objects"}}},
			Target: work.StoreReport{Driver: "file"},
			Losses: []work.Loss{{Field: work.FieldTags, Policy: work.PolicyDrop, Why: "a store of kind file has no place for it"}}},
		Plan: []dryTally{{Action: "copy", Objects: 250_000, Bytes: 402 << 30, Why: "not at the target"}},
		Big:  bigTally{From: work.SplitSize, Objects: 12, Bytes: 90 << 30}, Inspected: 1000,
		Findings: []*finding{
			{Field: work.FieldKeys, Policy: work.PolicyFail, Objects: 3, Bytes: 12345, Why: "not UTF-8", Examples: []exampleKey{"bad\xff", "a\x00b", "日本/写真"}},
			{Field: work.FieldMetadata, Name: "owner", Policy: work.PolicyDrop, Objects: 40, Bytes: 1 << 20, Sampled: true, Why: "the name is taken", Examples: []exampleKey{"a"}}},
	}
	var table, tsv, js bytes.Buffer
	if err := errors.Join(writeRows(&table, formatTable, each(p.rows()), dryColumns()),
		writeRows(&tsv, formatTSV, each(p.rows()), dryColumns()), writeOne(&js, formatJSON, p, nil)); err != nil {
		t.Fatal(err)
	}
	golden(t, "dryrun.txt", table.String())
	golden(t, "dryrun.tsv", tsv.String())
	golden(t, "dryrun.json", js.String())
	var back preflight
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Findings[0].Examples[0] != "bad\xff" || back.Findings[0].Examples[2] != "日本/写真" {
		t.Errorf("read back: %+v, %v", back, err)
	}
	if err := p.verdict(); err == nil || err.Error() != "objects would fail: 3 because of keys: not UTF-8" {
		t.Errorf("the verdict is %v", err)
	}
}
