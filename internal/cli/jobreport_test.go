package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// nastyKeys are those that a spreadsheet, a shell or a decoder may trip over.
var nastyKeys = []string{
	"plain.jpg", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\tafter a tab", "'quoted", "a,b", "say \"hi\"",
	"two\nlines", "\rreturn", "ünï\u202Ecode", "nul\x00", "\xff\xfe", "",
}

func reported(keys ...string) iter.Seq2[api.Object, error] {
	outcomes := []work.Outcome{work.Copied, work.Skipped, work.Failed, ""}
	return func(yield func(api.Object, error) bool) {
		for i, k := range keys {
			o := api.Object{ObjectRow: work.ObjectRow{Job: 7, Key: k, Size: int64(i), Outcome: outcomes[i%4], Error: "=1+1"}}
			if !yield(o, nil) {
				return
			}
		}
	}
}

func TestReportCSVIsReadBack(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	end, err := writeReportCSV(&b, 7, reported(nastyKeys...))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(nastyKeys)+1 || end.Objects != int64(len(nastyKeys)) {
		t.Fatalf("%d rows, %+v", len(rows), end)
	}
	for i, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
				t.Errorf("row %d has a formula: %q", i, cell)
			}
		}
		key := strings.TrimPrefix(row[0], "'")
		if row[1] != "" {
			raw, err := base64.StdEncoding.DecodeString(row[1])
			if err != nil {
				t.Error(err)
			}
			key = string(raw)
		}
		// encoding/csv reads a line break of a quoted cell as \n.
		if want := strings.ReplaceAll(nastyKeys[i], "\r\n", "\n"); key != want {
			t.Errorf("row %d: key %q, want %q", i, key, want)
		}
	}
}

func TestReportJSONLIsExact(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if _, err := writeReportJSONL(&b, 7, reported(nastyKeys...)); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&b)
	for _, key := range nastyKeys {
		var o api.Object
		if err := dec.Decode(&o); err != nil || o.Key != key {
			t.Errorf("key %q, %v, want %q", o.Key, err, key)
		}
	}
	var end reportEnd
	if err := dec.Decode(&end); err != nil {
		t.Fatal(err)
	}
	if want := (reportEnd{End: true, Job: 7, Objects: 15, Copied: 4, Skipped: 4, Failed: 4, Open: 3, Bytes: 0 + 4 + 8 + 12 + 1 + 5 + 9 + 13}); end != want {
		t.Errorf("the last line is %+v, want %+v", end, want)
	}
}

func TestReportThatMissesObjectsFails(t *testing.T) {
	t.Parallel()
	end := reportEnd{Objects: 2, Copied: 2}
	whole := work.Job{State: work.Succeeded, Counts: work.Counts{Planned: 2, Copied: 2}}
	if err := end.agrees(whole); err != nil {
		t.Errorf("agrees with what it counted: %v", err)
	}
	missing := work.Job{State: work.Succeeded, Counts: work.Counts{Planned: 3, Copied: 3}}
	var f *failure
	if err := end.agrees(missing); !errors.As(err, &f) || f.status != ExitMismatch {
		t.Errorf("agrees although one is missing: %v", err)
	}
	missing.State = work.Running
	if err := end.agrees(missing); err != nil {
		t.Errorf("a job that runs has more soon: %v", err)
	}
}
