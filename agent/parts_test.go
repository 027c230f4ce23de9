package agent

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func TestSizeOf(t *testing.T) {
	t.Parallel()
	s3 := storage.Limits{MinPart: 5 << 20, MaxPart: 5 << 30, MaxObject: 5 << 40, MaxParts: 10_000}
	tests := []struct {
		name    string
		size    int64
		limits  storage.Limits
		want    int64  // 0: refused
		because string // in the refusal
	}{
		{"as usual", 17 << 20, s3, 16 << 20, ""},
		{"grown, so that the parts fit a message", 1 << 40, s3, 128 << 20, ""},
		{"the largest object", 5 << 40, s3, 640 << 20, ""},
		{"larger than the largest object", 5<<40 + 1, s3, 0, "holds at most 5497558138880"},
		{"no limits but ours", 1 << 40, storage.Limits{}, 128 << 20, ""},
		{"large parts wanted", 1 << 30, storage.Limits{MinPart: 64 << 20}, 64 << 20, ""},
		{"one part", 1 << 20, storage.Limits{MinPart: 64 << 20}, 64 << 20, ""},
		{"small parts wanted", 1 << 30, storage.Limits{MaxPart: 4 << 20}, 4 << 20, ""},
		{"few parts", 1 << 40, storage.Limits{MaxParts: 1000}, 1049 << 20, ""},
		{"few small parts", 1 << 40, storage.Limits{MaxParts: 100, MaxPart: 1 << 30}, 0, "at most 100 parts of 1073741824 bytes"},
		{"as large as possible, which is no round number", 1000, storage.Limits{MaxParts: 10, MaxPart: 100}, 100, ""},
		{"many small parts", work.MaxParts << 20, storage.Limits{MaxParts: 10_000, MaxPart: 1<<20 - 1}, 0, fmt.Sprint(work.MaxParts, " parts")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := sizeOf(tt.size, 16<<20, tt.limits)
			if got != tt.want || storage.Is(err, work.Unsupported) != (tt.want == 0) {
				t.Fatalf("sizeOf(%d, %+v) = %d, %v, want %d", tt.size, tt.limits, got, err, tt.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.because) {
					t.Errorf("%q does not say %q", err, tt.because)
				}
				return
			}
			if n := (work.Upload{Part: got}).Parts(tt.size); n > work.MaxParts || tt.limits.MaxParts > 0 && n > tt.limits.MaxParts {
				t.Errorf("sizeOf(%d, %+v) = %d makes %d parts", tt.size, tt.limits, got, n)
			}
		})
	}
}

func TestVouchedIsBounded(t *testing.T) {
	t.Parallel()
	var v vouched
	x := func(i int) version { return version{"mem://a/", "k", fmt.Sprint(i)} }
	for i := range 3 * vouchedMost {
		if _, ok := v.of(x(i)); ok {
			t.Fatalf("version %d is known before it was noted", i)
		}
		v.note(x(i), storage.MD5)
		v.note(x(i), storage.CRC32C)
	}
	if len(v.known) != vouchedMost || len(v.order) != vouchedMost {
		t.Errorf("%d versions remembered in %d places, want %d", len(v.known), len(v.order), vouchedMost)
	}
	for i := range 3 * vouchedMost {
		have, ok := v.of(x(i))
		if late := i >= 2*vouchedMost; ok != late || late && have != storage.CRC32C {
			t.Errorf("version %d: %v, %v", i, have, ok)
		}
	}
	if _, ok := v.of(version{"mem://b/", "k", fmt.Sprint(3*vouchedMost - 1)}); ok {
		t.Error("the version of another store is taken for it")
	}
}

// A store that copies a huge object by itself shows no sign of life for hours.
func TestServerSideCopyMayTakeItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := &flight{total: new(atomic.Int64)}
		go watch(ctx, []*flight{f}, stallLimit)
		moving := f.begin(&held{moving: ctx})
		const hours = 4
		err := f.patientlyFor(hours*3600*slowestCopy, func() error {
			time.Sleep(hours * time.Hour)
			return context.Cause(moving)
		})
		if err != nil {
			t.Errorf("after %d hours: %v", hours, err)
		}
		err = f.patientlyFor(1<<20, func() error {
			<-moving.Done()
			return context.Cause(moving)
		})
		if err != errStalled {
			t.Errorf("a store that says nothing of 1 MiB for long: %v, want %v", err, errStalled)
		}
		f.end()
	})
}
