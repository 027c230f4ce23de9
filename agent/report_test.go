package agent

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

func TestReportComesWithTheFirstPage(t *testing.T) {
	t.Parallel()
	for _, objects := range []int{0, 2500} {
		t.Run(fmt.Sprint(objects), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			src, dst := newParticular(), newParticular()
			dst.has.Tags, dst.has.ModTime = false, false
			r.src, r.dst = src, dst
			for i := range objects {
				put(t, src.Store, fmt.Sprintf("%04d", i), nil)
			}
			r.start()
			it := item(1)
			it.Options.Carry = "mtime=skip"
			scan := func() []work.Result {
				r.publish(it)
				return r.results(func(rs []work.Result) bool {
					return len(rs) > 0 && (rs[len(rs)-1].Page == nil || rs[len(rs)-1].Page.Last)
				})
			}
			want := &work.Report{
				Source: work.StoreReport{Driver: "mem", Facts: []work.Fact{{Name: "write", Text: "false"}}},
				Target: work.StoreReport{Driver: "mem", Facts: []work.Fact{{Name: "write", Text: "true"}}},
				Losses: []work.Loss{
					{Field: work.FieldTags, Policy: work.PolicyDrop, Why: "a store of kind mem has no place for it"},
					{Field: work.FieldMTime, Policy: work.PolicySkip, Why: "a store of kind mem has no place for it"},
				},
			}
			for i, res := range scan() {
				if i == 0 && !reflect.DeepEqual(res.Report, want) || i > 0 && res.Report != nil {
					t.Errorf("page %d has the report %+v, want only the first to have %+v", i, res.Report, want)
				}
			}
			it.ID = 2 // another job's, or a repeat
			if res := scan(); !reflect.DeepEqual(res[0].Report, want) {
				t.Errorf("the next scan's report is %+v", res[0].Report)
			}
			if a, b := src.probes.Load(), dst.probes.Load(); a != 1 || b != 1 {
				t.Errorf("the stores were probed %d and %d times, want once each", a, b)
			}
			it.ID, it.Range = 3, &work.Range{After: "2000"}
			if res := scan(); res[0].Report != nil {
				t.Errorf("a later scan has the report %+v", res[0].Report)
			}
		})
	}
}

func TestScanFailsForWhatNoObjectCanKeep(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(src, dst *particular, it *work.Item)
		fault  work.Fault
		text   []string
	}{
		{"tags", func(_, dst *particular, it *work.Item) { dst.has.Tags, it.Options.Carry = false, "tags=fail" },
			work.Unsupported, []string{"tags=fail", "tags=drop", "tags=skip", "has no place for it"}},
		{"class", func(_, dst *particular, it *work.Item) {
			dst.has.Class, it.Options.Carry, it.Options.Class = false, "class=fail", "keep"
		}, work.Unsupported, []string{"class=drop"}},
		{"a store that cannot be used", func(_, dst *particular, _ *work.Item) {
			dst.probe = &storage.Error{Op: "probe", Fault: work.NotFound, Err: fmt.Errorf("no such bucket")}
		}, work.NotFound, []string{"no such bucket"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			src, dst := newParticular(), newParticular()
			r.src, r.dst = src, dst
			put(t, src.Store, "k", nil)
			it := item(1)
			tt.change(src, dst, &it)
			r.start()
			res := r.result(it)
			if res.Fault != tt.fault || res.Page != nil {
				t.Errorf("%+v, want fault %s", res, tt.fault)
			}
			for _, text := range tt.text {
				if !strings.Contains(res.Error, text) {
					t.Errorf("error %q says nothing of %q", res.Error, text)
				}
			}
			if dst.probe != nil {
				dst.probe = nil
				it.ID = 2
				if res := r.result(it); res.Page == nil {
					t.Errorf("%+v after the store was made good", res)
				}
			}
		})
	}
}

// What cannot be copied is said by the scan, for the reason's policy.
func TestScanOfWhatCannotBeCopied(t *testing.T) {
	t.Parallel()
	for _, policy := range []work.Policy{work.PolicyFail, work.PolicySkip} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			src, dst := newParticular(), newParticular()
			r.src, r.dst = src, dst
			want := map[string]string{"bad": "keys", "bad cold": "keys", "cold": "archived", "cold there": "etag", "cold changed": "", "good": "", "unsure": ""}
			for key := range want {
				put(t, src.Store, key, []byte(key))
			}
			put(t, dst.Store, "cold there", []byte("cold there"))
			put(t, dst.Store, "cold changed", []byte("cold CHANGED"))
			r.start()
			it := item(1)
			it.Options.Carry = work.Carry(fmt.Sprintf("keys=%s,archived=%s", policy, policy))
			found, _ := r.scanAll(it)
			if len(found) != len(want) {
				t.Errorf("%d objects found, want %d", len(found), len(want))
			}
			for _, f := range found {
				why := want[f.Key]
				if barred := slices.Contains([]string{"keys", "archived"}, why); barred && policy == work.PolicyFail {
					if f.Skip != "" || f.Check || !strings.Contains(f.Fail, why+"=skip") {
						t.Errorf("%s: %+v, want it barred, and told what to choose", f.Key, f)
					}
				} else if f.Fail != "" || f.Skip != why {
					t.Errorf("%s: %+v, want it skipped for %q", f.Key, f, why)
				}
				if f.Check != (f.Key == "cold changed") {
					t.Errorf("%s: check %v", f.Key, f.Check)
				}
			}
		})
	}
}

// A source that is archived is still compared where it may stand already.
func TestArchivedObjectThatIsThere(t *testing.T) {
	t.Parallel()
	src, dst := newParticular(), memstore.New()
	obj := object(t, src.Store, "k", []byte("x"))
	put(t, dst, "k", []byte("x"))
	obj.Check, src.archived = true, true
	if out, err := carry(t, newTransfer(src, dst, obj)); err != nil || out.Outcome != work.Skipped || out.Reason != "etag" {
		t.Errorf("%+v, %v, want it skipped: it is there", out, err)
	}
}
