package agent

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestExamine(t *testing.T) {
	t.Parallel()
	// examined looks at a store of three objects, with kind happening at op, and
	// returns the checks that do not say ok, and what is left in the store.
	examined := func(t *testing.T, write bool, op string, kind storagetest.Kind) (bad []string, left int) {
		t.Helper()
		mem := memstore.New()
		put(t, mem, "a", []byte("content"))
		drivers := storage.Drivers{"x": func(context.Context, *url.URL, storage.Credentials) (storage.Store, error) {
			return storagetest.Faulty(mem, storagetest.Faults{Script: func(c storagetest.Call) storagetest.Kind {
				if c.Op == op {
					return kind
				}
				return ""
			}}), nil
		}}
		for _, c := range Examine(testContext(t), Opener{Drivers: drivers}, work.StoreCheck{Store: "x://y/", Write: write}) {
			if c.State == work.CheckOK {
				continue
			}
			bad = append(bad, c.What+" "+string(c.State))
			if c.Advice == "" {
				t.Errorf("without advice: %+v", c)
			}
		}
		err := mem.List(t.Context(), work.Range{}, func(infos []storage.Info) error {
			left += len(infos)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return bad, left
	}
	tests := []struct {
		name  string
		write bool
		op    string
		kind  storagetest.Kind
		want  string // what is bad
		left  int
	}{
		{name: "a source", left: 1},
		{name: "a target", write: true, left: 1},
		{name: "may not be listed", op: "list", kind: storagetest.Denied, want: "list failing", left: 1},
		{name: "may not be read", op: "get", kind: storagetest.Denied, want: "read failing", left: 1},
		{name: "may not be written", write: true, op: "put", kind: storagetest.Denied, want: "write failing", left: 1},
		{name: "does not say that it was written", write: true, op: "put", kind: storagetest.Applied, want: "write failing", left: 1},
		{name: "changes what it is given", write: true, op: "put", kind: storagetest.Perjured, want: "read back failing", left: 1},
		{name: "may not be cleared", write: true, op: "delete", kind: storagetest.Denied, want: "delete failing", left: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad, left := examined(t, tt.write, tt.op, tt.kind)
			if got := strings.Join(bad, ", "); got != tt.want || left != tt.left {
				t.Errorf("bad: %q with %d objects left, want %q with %d", got, left, tt.want, tt.left)
			}
		})
	}
	found := Examine(t.Context(), Opener{}, work.StoreCheck{Store: "ftp://nowhere/"})
	if len(found) != 1 || found[0].What != "open" || found[0].State != work.CheckFailing || found[0].Advice == "" {
		t.Errorf("of a store that nobody knows: %+v", found)
	}
}
